"""What a channel's series are like, taken while they are read: for the log, for derived arguments, for sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluonts_shell.errors import DataError, counted
from gluonts_shell.forecasting.data.covariates import KINDS, STATIC_CAT, Kind
from gluonts_shell.forecasting.data.naming.labels import Labels
from gluonts_shell.forecasting.data.naming.order import Names

# What files have where a value is missing: netCDF's default fill value and its older relatives.
# -9999 may be a value, so it is only told.
FILL_VALUE = 1e18
SUSPECT = -9999.0
# fields whose largest category is kept; those of static_cat are all kept
PEAKING = frozenset({"feat_dynamic_cat", "past_feat_dynamic_cat"})


@dataclass
class Statistics:
    """Of a channel's series. categories: the values that each categorical feature has; labels: as in Features.

    counts: how many features of each kind the first series has; uneven: the first series that has another number.
    left_out: categories that only series have which are left out. largest_at: where the value of `largest_absolute`
    is; suspects: series that hold -9999, and the first of them. peaks: the largest category of each feature over time.
    names: of covariates.
    """

    series: int = 0
    too_short: int = 0
    observations: int = 0
    missing: int = 0
    dimensions: int = 1
    total: float = 0.0
    total_absolute: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")
    largest_absolute: float = 0.0
    largest_at: str = ""
    suspects: int = 0
    first_suspect: str = ""
    integers: bool = True
    categories: list[set[int]] = field(default_factory=list)
    left_out: list[set[int]] = field(default_factory=list)
    labels: Labels = ()
    names: Names = field(default_factory=Names)
    peaks: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    uneven: dict[str, str] = field(default_factory=dict)

    def add(self, entry: dict[str, Any], where: Callable[[], str]) -> None:
        """where: how to name the series in a sentence. Raises DataError for other dimensions than those before it."""
        target = entry["target"]
        self._add_dimensions(1 if target.ndim == 1 else len(target), where)
        observed = target[~np.isnan(target)]
        self.series += 1
        self.observations += len(observed)
        self.missing += target.size - len(observed)
        if len(observed):
            self._add_values(observed, where)
        for kind in KINDS:
            self._add_count(kind, len(entry.get(kind.name, ())), where)
        _collect(self.categories, entry.get("feat_static_cat", ()))
        for name in entry.keys() & PEAKING:
            self._add_peaks(name, entry[name])

    def add_left_out(self, entry: dict[str, Any]) -> None:
        """Of a series that is too short: its categories are not the model's, and a sentence may have to say so."""
        self.too_short += 1
        _collect(self.left_out, entry.get("feat_static_cat", ()))

    def check_even(self, kind: Kind) -> None:
        """Raises DataError where not all series have as many features of the kind."""
        if kind.name in self.uneven:
            raise DataError(self.uneven[kind.name])

    def count(self, kind: Kind) -> int:
        """How many features of the kind the series have."""
        return self.counts.get(kind.name, 0)

    def peaks_of(self, kind: Kind) -> list[int]:
        """Of each of a kind's categorical features the largest category."""
        if kind is STATIC_CAT:
            return [max(seen) for seen in self.categories]
        return self.peaks.get(kind.name, [])

    def _add_count(self, kind: Kind, count: int, where: Callable[[], str]) -> None:
        before = self.counts.setdefault(kind.name, count)
        if count != before:
            text = f"{where()}: it has {count} {kind.called}, the series before it have {before}"
            self.uneven.setdefault(kind.name, text)

    def _add_dimensions(self, dimensions: int, where: Callable[[], str]) -> None:
        if not self.series:
            self.dimensions = dimensions
        if dimensions != self.dimensions:
            found = f"its target has {counted(dimensions, 'dimensions')}"
            raise DataError(f"{where()}: {found}, the series before it have {self.dimensions}")

    def _add_values(self, observed: np.ndarray, where: Callable[[], str]) -> None:
        self.total += float(observed.sum(dtype=float))
        self.total_absolute += float(np.abs(observed).sum(dtype=float))
        least, most = float(observed.min()), float(observed.max())
        self.smallest = min(self.smallest, least)
        self.largest = max(self.largest, most)
        if max(most, -least) > self.largest_absolute:
            self.largest_absolute, self.largest_at = max(most, -least), where()
        if least == SUSPECT:
            self.suspects += 1
            self.first_suspect = self.first_suspect or where()
        self.integers = self.integers and not np.mod(observed, 1).any()

    def _add_peaks(self, name: str, rows: np.ndarray) -> None:
        peaks = self.peaks.setdefault(name, [])
        for position, row in enumerate(rows):
            if position == len(peaks):
                peaks.append(0)
            peaks[position] = max(peaks[position], int(row.max(initial=0)))

    @property
    def extreme(self) -> str:
        """`the largest value of the data is 1e+20 (train/data.json line 1)`; it is negative where it is."""
        value = self.largest if self.largest == self.largest_absolute else self.smallest
        which = "largest" if value >= 0 else "smallest"
        return f"the {which} value of the data is {value:g} ({self.largest_at})"

    def settled(self) -> dict[str, Any]:
        """What of Features only the series tell."""
        return {"dimensions": self.dimensions, **self.names.settled()}

    def lines(self) -> Iterator[str]:
        """As DeepAR writes them at the start of a job."""
        count = max(self.observations, 1)
        length = (self.observations + self.missing) / max(self.series, 1) / self.dimensions
        yield "Integer time series" if self.integers else "Real time series"
        yield f"number of time series: {self.series}"
        yield f"number of observations: {self.observations}"
        yield f"mean target length: {length}"
        if self.dimensions > 1:
            yield f"number of dimensions: {self.dimensions}"
        if self.observations:
            yield f"min/mean/max target: {self.smallest}/{self.total / count}/{self.largest}"
        yield f"mean abs(target): {self.total_absolute / count}"
        yield f"contains missing values: {'yes' if self.missing else 'no'}"

    def warnings(self, channel: str) -> Iterator[str]:
        """What is no fault by itself, but often is one."""
        if self.suspects:
            first = f"the smallest value of {self.suspects} series is -9999, first in {self.first_suspect}"
            yield f"channel {channel!r}: {first}; where it stands for a missing value, null is expected"
        if self.largest_absolute >= FILL_VALUE:
            yield f"channel {channel!r}: {self.extreme}; if it is a fill value, null is expected"


def _collect(found: list[set[int]], categories: Any) -> None:
    for position, category in enumerate(categories):
        if position == len(found):
            found.append(set())
        found[position].add(int(category))
