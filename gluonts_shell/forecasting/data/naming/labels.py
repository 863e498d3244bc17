"""Categories that are text -> numbers: in order of appearance while a channel is read, of the alphabet at its end.

Whether a category is text is known only when the channel has been read: a column may hold 0, 0, "a". So numbers stay
what they are, texts get negative numbers, and what both mean is settled once, at the end.
"""

from __future__ import annotations

import numpy as np

from gluonts_shell.forecasting.contract import numbered

Labels = tuple[tuple[str, ...] | None, ...]


class Numbering:
    """The texts that were seen at each position of `cat`, with the negative numbers that stand for them."""

    def __init__(self) -> None:
        self._codes: dict[int, dict[str, int]] = {}

    def code(self, position: int, text: str) -> int:
        known = self._codes.setdefault(position, {})
        return known.setdefault(text, -1 - len(known))

    def names(self, position: int, codes: set[int]) -> dict[int, str]:
        """Codes -> texts. A number among texts is a text too: `0` and `"0"` are one category."""
        known = self._codes.get(position, {})
        texts = dict(zip(known.values(), known, strict=True))
        return {code: texts.get(code, str(code)) for code in codes}


class Settled:
    """What the codes mean: labels in order of the alphabet for each position that has texts, None for the others."""

    def __init__(self, numbering: Numbering, categories: list[set[int]]) -> None:
        self._indices: dict[int, dict[int, int]] = {}
        labels: list[tuple[str, ...] | None] = [None] * len(categories)
        for position, codes in enumerate(categories):
            if min(codes, default=0) >= 0:
                continue
            names = numbering.names(position, codes)
            order = sorted(set(names.values()))
            indices = numbered(order)
            labels[position] = tuple(order)
            self._indices[position] = {code: indices[name] for code, name in names.items()}
        self.labels: Labels = tuple(labels) if self._indices else ()

    def renumber(self, categories: np.ndarray) -> None:
        """In place; `categories` are those of one series, as codes."""
        for position, indices in self._indices.items():
            if position < len(categories):
                categories[position] = indices[int(categories[position])]

    def renumbered(self, categories: list[set[int]]) -> list[set[int]]:
        """Of all series."""
        settled = list(categories)
        for position, indices in self._indices.items():
            settled[position] = set(indices.values())
        return settled
