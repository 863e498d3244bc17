"""What somebody may have meant by a name that is not known: the one place that looks for similar names."""

from __future__ import annotations

from collections.abc import Iterable

NEAR_MISS = 0.8
"""Similarity from which a name is taken for a slip. `num_samplse`, `output_type` and `forecaster` are above it, names
that mean something else (`num_parallel_samples`, `context_length`, `epochs`) are below it."""
STEM = 4  # characters that the beginning of a name must have to stand for the whole of it, as `config` does


def similar(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names that are most like this one, the best first, whatever their capitals, dashes and underscores."""
    import difflib  # for a mistake, which most starts do not see

    by_letters = {_letters(each): each for each in known}
    found = difflib.get_close_matches(_letters(name[:100]), by_letters, n=count, cutoff=cutoff)
    return [by_letters[letters] for letters in found]


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a sentence about a name that is wrong in any case: `; did you mean 'epochs'?`, or nothing."""
    found = similar(name, known, cutoff=cutoff)
    return f"; did you mean {found[0]!r}?" if found else ""


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name of which this one must be a slip; None for a name that may well mean something else."""
    letters, names = _letters(name), list(known)
    for each in names:
        shorter, longer = sorted((letters, _letters(each)), key=len)
        if len(shorter) >= STEM and longer.startswith(shorter):
            return each
    found = similar(name, names, cutoff=NEAR_MISS)
    return found[0] if found else None


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
