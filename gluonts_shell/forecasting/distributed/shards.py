"""What all hosts know of a channel of which each of them has a share (ShardedByS3Key).

Cardinalities, labels and numbers of features decide what a model looks like, and it has to look the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import Any

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.data.channel import Data
from gluonts_shell.forecasting.data.naming.labels import Labels
from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.distributed import covariates

SUMS = ("series", "too_short", "observations", "missing", "total", "total_absolute", "suspects")
Gather = Callable[[Any], list[Any]]


def of_all(data: Data, gather: Gather) -> Data:
    """The series of this host, with statistics and labels of those of all.

    Raises DataError where the shares contradict each other.
    """
    shares = [_statistics(said) for said in gather(_said(data.statistics))]
    labels = _labels(shares)
    for share in shares:
        share.categories = _renumbered(share, labels)
    merged = _merged(shares, labels, data.channel.name)
    _renumber(data, merged)
    features = replace(
        data.channel.features,
        labels=labels or data.channel.features.labels,
        **merged.settled(),
    )
    unread = sorted({name for names in gather(list(data.unread)) for name in names})
    return replace(
        data,
        channel=replace(data.channel, features=features),
        statistics=merged,
        unread=tuple(unread),
        here=len(data),
    )


def _said(statistics: Statistics) -> dict[str, Any]:
    """As JSON has it."""
    said = asdict(statistics)
    for name in ("categories", "left_out"):
        said[name] = list(map(sorted, said[name]))
    return said


def _statistics(said: Mapping[str, Any]) -> Statistics:
    found = Statistics(**said)
    found.categories = list(map(set, said["categories"]))
    found.names = covariates.said(said["names"])
    found.left_out = list(map(set, said["left_out"]))
    found.labels = tuple(None if names is None else tuple(names) for names in said["labels"])
    return found


def _labels(shares: Sequence[Statistics]) -> Labels:
    """Of all: a position at which one of the hosts has texts has texts on all of them."""
    labelled = {position for share in shares for position in _labelled(share)}
    if not labelled:
        return ()
    positions = max(len(share.categories) for share in shares)
    found: list[tuple[str, ...] | None] = [None] * positions
    for position in labelled:
        names = set[str]().union(*(_called(share, position).values() for share in shares))
        found[position] = tuple(sorted(names))
    return tuple(found)


def _labelled(share: Statistics) -> list[int]:
    """The positions at which the share has texts."""
    return [position for position, names in enumerate(share.labels) if names is not None]


def _at(labels: Labels, position: int) -> tuple[str, ...] | None:
    return labels[position] if position < len(labels) else None


def _called(share: Statistics, position: int) -> dict[int, str]:
    """What each category of the share is called; a number among texts is a text too."""
    if position >= len(share.categories):
        return {}
    codes, own = share.categories[position], _at(share.labels, position)
    if own is None:
        return {code: str(code) for code in codes}
    return {code: own[code] for code in codes}


def _numbers(share: Statistics, position: int, labels: Labels) -> dict[int, int]:
    """The share's number of each category -> the number that it has on all hosts."""
    names, new = _called(share, position), _at(labels, position)
    if new is None:
        return dict(zip(names, names, strict=True))
    return {code: new.index(name) for code, name in names.items()}


def _renumbered(share: Statistics, labels: Labels) -> list[set[int]]:
    numbers = [_numbers(share, position, labels) for position in range(len(share.categories))]
    return [set(of_position.values()) for of_position in numbers]


def _renumber(data: Data, merged: Statistics) -> None:
    """The series themselves, in place."""
    own = data.statistics
    numbers = [_numbers(own, position, merged.labels) for position in range(len(own.categories))]
    for entry in data.held or ():
        if merged.labels:
            codes = entry["feat_static_cat"]
            for position, code in enumerate(codes):
                codes[position] = numbers[position][int(code)]
        covariates.renumber(entry, own.names, merged.names)


def _merged(shares: Sequence[Statistics], labels: Labels, channel: str) -> Statistics:
    merged = Statistics(
        **{name: sum(getattr(share, name) for share in shares) for name in SUMS},
        dimensions=_dimensions(shares, channel),
        integers=all(share.integers for share in shares),
        categories=_union([share.categories for share in shares]),
        left_out=[] if labels else _union([share.left_out for share in shares]),
        labels=labels,
        names=covariates.merged([share.names for share in shares], channel),
    )
    for share in shares:
        _add_extremes(merged, share)
        _add_counts(merged, share, channel)
    merged.peaks = covariates.peaks(merged.names, merged.peaks)
    return merged


def _dimensions(shares: Sequence[Statistics], channel: str) -> int:
    least, *_, most = sorted([share.dimensions for share in shares] * 2)
    if least != most:
        found = f"{least} dimensions on one host and {most} on another"
        raise DataError(f"channel {channel!r}: the targets have {found}")
    return least


def _add_extremes(merged: Statistics, share: Statistics) -> None:
    merged.smallest = min(merged.smallest, share.smallest)
    merged.largest = max(merged.largest, share.largest)
    merged.first_suspect = merged.first_suspect or share.first_suspect
    if share.largest_absolute > merged.largest_absolute:
        merged.largest_absolute, merged.largest_at = share.largest_absolute, share.largest_at
    for name, peaks in share.peaks.items():
        pairs = zip_longest(merged.peaks.get(name, []), peaks, fillvalue=0)
        merged.peaks[name] = list(map(max, pairs))


def _union(columns: Sequence[Sequence[set[int]]]) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(max(map(len, columns)))]
    for column in columns:
        for position, codes in enumerate(column):
            found[position] |= codes
    return found


def _add_counts(merged: Statistics, share: Statistics, channel: str) -> None:
    """Of features of each kind; a share whose series have another number than those of the shares before is uneven."""
    merged.uneven = {**share.uneven, **merged.uneven}
    for name, count in share.counts.items():
        before = merged.counts.setdefault(name, count)
        if before != count:
            text = f"channel {channel!r}: the series of one host have {before} {name}, those of another {count}"
            merged.uneven.setdefault(name, text)
