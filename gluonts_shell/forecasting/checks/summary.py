"""A data set -> figures by which a person sees whether it is what was meant. Reads each series once, holds none."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from gluonts_shell.forecasting.data.naming.labels import Labels

# of what a channel may have by the thousand: categories, duplicates
MOST_NAMED = 10
COUNTED = (
    "feat_static_real",
    "feat_dynamic_real",
    "past_feat_dynamic_real",
    "feat_dynamic_cat",
    "past_feat_dynamic_cat",
)


@dataclass
class Summary:
    """Of the series that will be used; too_short counts those that will not, for they have fewer values than `needed`.

    lengths: shortest, median, longest. start, end: of the first and the last step of all series, as pandas shows them.
    constant: series with one value again and again, without those of zeros. categories: for each feature, name ->
    series. features: fields over time and numbers, with how many each series has.
    """

    series: int = 0
    too_short: int = 0
    needed: int = 0
    lengths: tuple[int, float, int] = (0, 0.0, 0)
    start: str = ""
    end: str = ""
    observations: int = 0
    missing: int = 0
    with_missing: int = 0
    empty: int = 0
    constant: int = 0
    zeros: int = 0
    dimensions: int = 1
    duplicates: dict[str, int] = field(default_factory=dict)
    categories: list[dict[str, int]] = field(default_factory=list)
    features: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """For a person."""
        shortest, median, longest = self.lengths
        yield f"{self.series:,} series of {shortest:,} to {longest:,} values (median {median:,g})"
        if self.too_short:
            yield f"{self.too_short:,} series are left out: they have fewer than {self.needed:,} values"
        yield f"from {self.start} to {self.end}"
        values = self.observations + self.missing
        yield f"{self.missing:,} of {values:,} values are missing, in {self.with_missing:,} series"
        if self.empty:
            yield f"{self.empty:,} series have no value"
        if self.zeros:
            yield f"{self.zeros:,} series have zeros only"
        if self.constant:
            yield f"{self.constant:,} series have one value only"
        if self.dimensions > 1:
            yield f"targets of {self.dimensions} dimensions"
        if self.duplicates:
            first = islice(self.duplicates.items(), MOST_NAMED)
            shown = ", ".join(f"{name!r} ({count} times)" for name, count in first)
            yield f"{len(self.duplicates):,} item_ids occur more than once: {shown}"
        for position, counts in enumerate(self.categories):
            yield f"cat[{position}]: {len(counts):,} categories: {_most_frequent(counts)}"
        for name, count in self.features.items():
            yield f"{name}: {count}"


def _most_frequent(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in islice(counts.items(), MOST_NAMED)]
    if len(counts) > MOST_NAMED:
        shown.append("...")
    return ", ".join(shown)


def summarize(
    entries: Iterable[dict[str, Any]], labels: Labels = (), too_short: int = 0, needed: int = 0
) -> Summary:
    """entries: with start (Period), target (1-d, or dimensions x length) and item_id; labels: as in Features."""
    found = Summary(too_short=too_short, needed=needed)
    lengths: list[int] = []
    first = last = None
    items: Counter[str] = Counter()
    categories: list[Counter[int]] = []
    for entry in entries:
        length = entry["target"].shape[-1]
        lengths.append(length)
        start, end = entry["start"], entry["start"] + max(length - 1, 0)
        first, last = min(first or start, start), max(last or end, end)
        items[entry["item_id"]] += 1
        _add_values(found, entry["target"])
        _add_categories(categories, entry.get("feat_static_cat", ()))
        for name in COUNTED:
            if len(entry.get(name, ())):
                found.features[name] = len(entry[name])
    found.series = len(lengths)
    if lengths:
        found.lengths = (min(lengths), float(statistics.median(lengths)), max(lengths))
        found.start, found.end = str(first), str(last)
    found.duplicates = {name: count for name, count in items.most_common() if count > 1}
    found.categories = [
        _named(counts, labels, position) for position, counts in enumerate(categories)
    ]
    return found


def _add_values(found: Summary, target: np.ndarray) -> None:
    observed = target[~np.isnan(target)]
    missing = target.size - observed.size
    found.observations += observed.size
    found.missing += missing
    found.with_missing += missing > 0
    found.dimensions = 1 if target.ndim == 1 else len(target)
    if not observed.size:
        found.empty += 1
    elif not observed.any():
        found.zeros += 1
    elif observed.min() == observed.max():
        found.constant += 1


def _add_categories(categories: list[Counter[int]], values: Iterable[Any]) -> None:
    for position, value in enumerate(values):
        if position == len(categories):
            categories.append(Counter())
        categories[position][int(value)] += 1


def _named(counts: Counter[int], labels: Labels, position: int) -> dict[str, int]:
    """The most frequent first."""
    known = None
    if position < len(labels):
        known = labels[position]
    if not known:
        return {str(index): count for index, count in counts.most_common()}
    return {known[index]: count for index, count in counts.most_common()}
