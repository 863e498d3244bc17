"""A channel's folder and a frequency -> a data set of GluonTS entries, with its statistics.

Every series is checked while it is read, and what is wrong is named by file, line and item. Files and formats are
`files`' business, the fields of one series `instances`'.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data import instances
from gluonts_shell.forecasting.data.fields import FieldError, quoted
from gluonts_shell.forecasting.data.files import data_files, rows, short

log = logging.getLogger(__name__)

# Series are held as float32, about a third of their size as JSON; larger channels are read anew in each pass.
HELD_BYTES = 2 * 1024**3
# fields of which each series has the same number -> how sentences call them; users may know DeepAR's names alone
COUNTED = {
    "feat_static_cat": "feat_static_cat (or cat)",
    "feat_static_real": "feat_static_real",
    "feat_dynamic_real": "feat_dynamic_real (or dynamic_feat)",
    "past_feat_dynamic_real": "past_feat_dynamic_real",
}


@dataclass
class Statistics:
    """Of a channel's series. categories: the values that each categorical feature has; labels: as in Features.

    counts: how many features of each kind the first series has; uneven: the first series that has another number.
    """

    series: int = 0
    too_short: int = 0
    observations: int = 0
    missing: int = 0
    total: float = 0.0
    total_absolute: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")
    integers: bool = True
    categories: list[set[int]] = field(default_factory=list)
    labels: tuple[tuple[str, ...] | None, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    uneven: dict[str, str] = field(default_factory=dict)

    def add(self, entry: dict[str, Any], where: str) -> None:
        target = entry["target"]
        observed = target[~np.isnan(target)]
        self.series += 1
        self.observations += len(observed)
        self.missing += len(target) - len(observed)
        if len(observed):
            self.total += float(observed.sum(dtype=float))
            self.total_absolute += float(np.abs(observed).sum(dtype=float))
            self.smallest = min(self.smallest, float(observed.min()))
            self.largest = max(self.largest, float(observed.max()))
            self.integers = self.integers and not np.mod(observed, 1).any()
        for name, called in COUNTED.items():
            count = len(entry.get(name, ()))
            if count != self.counts.setdefault(name, count):
                text = f"{where}: it has {count} {called}, the series before it have {self.counts[name]}"
                self.uneven.setdefault(name, text)
        for position, category in enumerate(entry.get("feat_static_cat", ())):
            if position == len(self.categories):
                self.categories.append(set())
            self.categories[position].add(int(category))

    def lines(self) -> Iterator[str]:
        """As DeepAR writes them at the start of a job."""
        count = max(self.observations, 1)
        yield "Integer time series" if self.integers else "Real time series"
        yield f"number of time series: {self.series}"
        yield f"number of observations: {self.observations}"
        yield f"mean target length: {(self.observations + self.missing) / max(self.series, 1)}"
        if self.observations:
            yield f"min/mean/max target: {self.smallest}/{self.total / count}/{self.largest}"
        yield f"mean abs(target): {self.total_absolute / count}"
        yield f"contains missing values: {'yes' if self.missing else 'no'}"


@dataclass(frozen=True)
class Data:
    """A data set: sized, and to be iterated again and again. Held in memory, or read anew in each pass."""

    channel: Channel
    statistics: Statistics
    held: list[dict[str, Any]] | None

    def __len__(self) -> int:
        return self.statistics.series

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.held) if self.held is not None else (entry for entry, _ in self.channel.entries())


@dataclass(frozen=True)
class Channel:
    """What to read, and how. features: what the series must have, as `instances.Reader` takes it.

    shortest: series with fewer values are skipped.
    """

    name: str
    path: Path
    freq: str
    content_type: str | None = None
    features: Features = Features()  # noqa: RUF009 - it is frozen
    shortest: int = 0

    def read(self, hold: bool | None = None) -> Data:
        """Read and check the whole channel. hold: in memory or not; None decides by its size.

        Raises DataError naming file, line and item of the first series that is wrong, or if there is no series left.
        """
        if hold is None:
            hold = sum(file.stat().st_size for file, _ in self.files) <= HELD_BYTES
        held: list[dict[str, Any]] | None = [] if hold else None
        statistics = Statistics()
        labels = None if self.features.labels or self.features.static_cat == () else _Labels()
        too_short = longest = 0
        for entry, where in self.entries(labels, skip=False):
            longest = max(longest, len(entry["target"]))
            if len(entry["target"]) < self.shortest:
                too_short += 1
                continue
            statistics.add(entry, where)
            if held is not None:
                held.append(entry)
        if not statistics.series:
            lengths = f"the longest has {longest} values, and at least {self.shortest} are needed"
            reason = f"no series is long enough: {lengths}" if too_short else "its files hold no series"
            raise DataError(f"channel {self.name!r}: {reason}")
        if too_short:
            log.warning("channel %r: %d of %d series have fewer than %d values and are left out",
                        self.name, too_short, too_short + statistics.series, self.shortest)  # fmt: skip
        statistics.too_short = too_short
        channel = self
        if labels is not None and labels.found:
            statistics.labels = labels.sorted(len(statistics.categories))
            channel = replace(self, features=replace(self.features, labels=statistics.labels))
            for entry in held or ():
                labels.reorder(entry["feat_static_cat"], statistics.labels)
        return Data(channel, statistics, held)

    @functools.cached_property
    def files(self) -> list[tuple[Path, str]]:
        return data_files(self.path, self.content_type)

    def entries(self, labels: _Labels | None = None, skip: bool = True) -> Iterator[tuple[dict[str, Any], str]]:
        """Each series, and how to name it in a sentence."""
        reader = instances.Reader(0, self.features, pads_empty=False)
        for file, kind in self.files:
            noun = "line" if kind == "json lines" else "row"
            for number, row in rows(file, kind):
                try:
                    entry = reader.entry(labels.replaced(row) if labels is not None else row, self.freq)
                except FieldError as fault:
                    raise DataError(f"{_where(file, noun, number, row)}: {_field(str(fault))}") from None
                if entry["item_id"] is None:
                    entry["item_id"] = f"{file.name}:{number}"
                if not skip or len(entry["target"]) >= self.shortest:
                    yield entry, _where(file, noun, number, row)


class _Labels:
    """Categories that are text get numbers in order of appearance, and in order of the alphabet at the end."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, int]] = {}

    def replaced(self, row: Any) -> Any:
        name = "cat" if isinstance(row, dict) and "cat" in row else "feat_static_cat"
        value = row.get(name) if isinstance(row, dict) else None
        values = value if isinstance(value, list) else [value]
        if not self.found and not any(isinstance(category, str) for category in values):
            return row
        numbers = []
        for position, category in enumerate(values):
            number = category
            if isinstance(category, str):
                known = self.found.setdefault(position, {})
                number = known.setdefault(category, len(known))
            elif position in self.found:
                text = f"{name}[{position}] is {quoted(category)}, expected text as in the series before"
                raise FieldError(text)
            numbers.append(number)
        return {**row, name: numbers}

    def sorted(self, count: int) -> tuple[tuple[str, ...] | None, ...]:
        return tuple(tuple(sorted(self.found[i])) if i in self.found else None for i in range(count))

    def reorder(self, categories: np.ndarray, labels: tuple[tuple[str, ...] | None, ...]) -> None:
        for position, known in self.found.items():
            by_number = _by_number(tuple(known), labels[position] or ())
            categories[position] = by_number[categories[position]]


def _field(fault: str) -> str:
    """`target[3] is ...` -> `field 'target': target[3] is ...`"""
    name = re.match(r"(start|target|cat|dynamic_feat|(?:past_)?feat_\w+)\b", fault)
    return f"field {name[1]!r}: {fault}" if name else fault


@functools.lru_cache(maxsize=64)
def _by_number(appeared: tuple[str, ...], ordered: tuple[str, ...]) -> list[int]:
    positions = {label: index for index, label in enumerate(ordered)}
    return [positions[label] for label in appeared]


def _where(file: Path, noun: str, number: int, row: Any) -> str:
    item_id = row.get("item_id") if isinstance(row, dict) else None
    return f"{short(file)} {noun} {number}" + ("" if item_id is None else f" (item_id {quoted(item_id)})")
