"""Training windows of GluonTS's Lightning estimators, filled straight from the series: the same batches, sooner.

GluonTS makes a dictionary for each window, which gets a pandas Period, is selected from, stacked and copied again.
Here its own sampler draws the positions, in its own order, and each field of a batch is filled in one pass. Only a
loader that is exactly what `as_stacked_batches` builds is recognised; anything else is left as it is.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.loader import Batch, Stack
from gluonts.itertools import Cyclic, IterableSlice, PseudoShuffled, batcher
from gluonts.time_feature import _base as calendar_features
from gluonts.transform import (
    AddTimeFeatures,
    Chain,
    InstanceSplitter,
    SelectFields,
    Transformation,
    TransformedDataset,
    Valmap,
)
from gluonts.transform._base import FlatMapTransformation
from gluonts.transform.split import TFTInstanceSplitter

# Time features are kept for at most so many periods: six features of a million are 24 MB.
KEPT_PERIODS = 1_000_000

# a transformed series, and where in it a window's future begins
Row = tuple[Mapping[str, Any], int]


@dataclass(frozen=True)
class Cut:
    """A field of a batch: these stretches of a series' field, in steps from the window's position."""

    field: str
    stretches: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        return sum(end - begin for begin, end in self.stretches)


@dataclass(frozen=True)
class Plan:
    """What a splitter makes of a series. padding: what stands before its first value; pad: the field that tells it."""

    cuts: Mapping[str, Cut]
    pad: str
    pad_type: Any  # None: as the target
    # fields of the series that its windows do not have, or that are made elsewhere
    absent: frozenset[str]


class Windows:
    """The batches of one epoch a pass, as GluonTS's own loader gives them. The stream of series goes on between passes.

    state and restore: how far that stream is, and what the sampler has counted, in plain numbers.
    """

    def __init__(
        self, data: Iterable[Any], loader: IterableSlice, found: Recognised, plan: Plan
    ) -> None:
        self.data, self.plan = data, plan
        self.splitter, self.fields = found.splitter, found.fields
        self.batch_size, self.shuffle = found.batch_size, found.shuffle
        self.batches = loader.length
        self.drawn = 0
        self.stream = self._stream()

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        rows: Any = _Positions(self.splitter)(self.stream, is_train=True)
        if self.shuffle:
            rows = PseudoShuffled(rows, self.shuffle)
        for batch in itertools.islice(batcher(rows, self.batch_size), self.batches):
            yield {name: self._column(name, batch) for name in self.fields}

    def state(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "sampler": _counts(self.splitter.instance_sampler)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another process was; before the first pass."""
        self.drawn = state["drawn"]
        for name, count in state["sampler"].items():
            setattr(self.splitter.instance_sampler, name, count)

    def _stream(self) -> Iterator[Any]:
        """Endless, as `Cyclic`; `drawn` counts the series of the present round."""
        series: Iterator[Any] = itertools.islice(self.data, self.drawn, None)
        while True:
            for entry in series:
                self.drawn += 1
                yield entry
            if not self.drawn:
                return
            self.drawn, series = 0, iter(self.data)

    def _column(self, name: str, rows: Sequence[Row]) -> torch.Tensor:
        if name == self.plan.pad:
            return torch.from_numpy(self._padded(rows))
        cut = self.plan.cuts.get(name)
        if cut is None:
            return torch.tensor(np.array([entry[name] for entry, _ in rows]))
        return torch.from_numpy(_filled(cut, rows, self.splitter.dummy_value))

    def _padded(self, rows: Sequence[Row]) -> np.ndarray:
        length, target = self.splitter.past_length, self.splitter.target_field
        kind = self.plan.pad_type or _common_type([entry[target] for entry, _ in rows])
        padded = np.zeros((len(rows), length), dtype=kind)
        for row, (_, position) in zip(padded, rows, strict=True):
            row[: max(length - position, 0)] = 1
        return padded


def _filled(cut: Cut, rows: Sequence[Row], padding: float) -> np.ndarray:
    """(windows, steps, ...). Raises ValueError where the series differ in shape or a window reaches beyond one."""
    arrays = [entry[cut.field] for entry, _ in rows]
    shape = arrays[0].shape[:-1]
    filled = np.empty((len(rows), cut.length, *shape[::-1]), dtype=_common_type(arrays))
    for window, array, (_, position) in zip(filled, arrays, rows, strict=True):
        if array.shape[:-1] != shape:
            raise ValueError(
                f"{cut.field} has shape {array.shape} where other series have {(*shape, '...')}"
            )
        at = 0
        for begin, end in cut.stretches:
            _fill(window[at : at + end - begin], array, position + begin, position + end, padding)
            at += end - begin
    return filled


def _common_type(arrays: Sequence[np.ndarray]) -> np.dtype[Any]:
    return np.result_type(*{array.dtype for array in arrays})


def _fill(window: np.ndarray, array: np.ndarray, begin: int, end: int, padding: float) -> None:
    if end > array.shape[-1]:
        raise ValueError(f"a window ends at {end}, and its series has {array.shape[-1]} values")
    if begin < 0:
        window[:-begin] = padding
        window, begin = window[-begin:], 0
    window[...] = array[..., begin:end].T


class _Positions(FlatMapTransformation):  # type: ignore[misc]
    """A splitter that says where it would cut; GluonTS's base class counts the series without a window."""

    def __init__(self, splitter: Any) -> None:
        self.max_idle_transforms = splitter.max_idle_transforms
        self.sampler, self.target = splitter.instance_sampler, splitter.target_field

    def flatmap_transform(self, entry: Any, _is_train: bool) -> Iterator[Row]:
        for position in self.sampler(entry[self.target]):
            yield entry, int(position)


@dataclass(frozen=True)
class Recognised:
    splitter: Any
    fields: tuple[str, ...]
    batch_size: int
    shuffle: int | None


def straight(loader: Any, data: Any) -> Any:
    """A loader with the same batches, sooner, where this one is exactly GluonTS's over `data`; else the loader."""
    found = _recognised(loader, data)
    if found is None:
        return loader
    plan = PLANS[type(found.splitter)](found.splitter)
    if not plan.absent.isdisjoint(found.fields):
        return loader
    return Windows(data, loader, found, plan)


def _recognised(loader: Any, data: Any) -> Recognised | None:
    """The parts of what `as_stacked_batches` makes of a splitter over an endless stream of `data` that has not begun"""
    batches: Any = getattr(loader, "iterable", None)
    if (type(loader), type(batches)) != (IterableSlice, TransformedDataset):
        return None
    steps = getattr(batches.transformation, "transformations", [])
    if tuple(map(type, steps)) != (SelectFields, Batch, Stack, Valmap):
        return None
    select, batch, _, output = steps
    if (output.fn, select.allow_missing) != (torch.tensor, False):
        return None
    instances, shuffle = batches.base_dataset, None
    if type(instances) is PseudoShuffled:
        instances, shuffle = instances.iterable, instances.shuffle_buffer_length
    splitter: Any = getattr(instances, "transformation", None)
    if type(instances) is not TransformedDataset or type(splitter) not in PLANS:
        return None
    if (instances.is_train, splitter.output_NTC) != (True, True) or not _endless(
        instances.base_dataset, data
    ):
        return None
    # GluonTS cuts a window that reaches beyond its series short
    needed = splitter.lead_time + splitter.future_length
    if getattr(splitter.instance_sampler, "min_future", 0) < needed:
        return None
    return Recognised(splitter, tuple(select.input_fields), batch.batch_size, shuffle)


def _endless(stream: Any, data: Any) -> bool:
    if getattr(stream, "gi_code", None) is not Cyclic.__iter__.__code__:
        return False
    if inspect.getgeneratorstate(stream) != inspect.GEN_CREATED:
        return False
    cyclic = inspect.getgeneratorlocals(stream)["self"]
    return cyclic.iterable is data


def _instance_splitter(splitter: InstanceSplitter) -> Plan:
    split = [*splitter.ts_fields, splitter.target_field]
    cuts = _halves(split, *_stretches(splitter))
    absent = frozenset([splitter.forecast_start_field, *split])
    return Plan(cuts, f"past_{splitter.is_pad_field}", None, absent)


def _tft_splitter(splitter: TFTInstanceSplitter) -> Plan:
    """Known features are one piece, past and future; features of the past keep their names."""
    past, future = _stretches(splitter)
    split = [splitter.target_field]
    if splitter.observed_value_field is not None:
        split.append(splitter.observed_value_field)
    cuts = _halves(split, past, future)
    for field in splitter.past_ts_fields:
        cuts[field] = Cut(field, (past,))
    for field in splitter.ts_fields:
        cuts[field] = Cut(field, (past, future))
    absent = frozenset([splitter.forecast_start_field, *split])
    return Plan(cuts, f"past_{splitter.is_pad_field}", np.float64, absent)


def _halves(
    fields: Sequence[str], past: tuple[int, int], future: tuple[int, int]
) -> dict[str, Cut]:
    cuts = {}
    for field in fields:
        cuts[f"past_{field}"] = Cut(field, (past,))
        cuts[f"future_{field}"] = Cut(field, (future,))
    return cuts


def _stretches(splitter: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    lead = splitter.lead_time
    return (-splitter.past_length, 0), (lead, lead + splitter.future_length)


PLANS: dict[type, Any] = {InstanceSplitter: _instance_splitter, TFTInstanceSplitter: _tft_splitter}


def _counts(sampler: Any) -> dict[str, int]:
    """What `ExpectedNumInstanceSampler` has counted; the others of GluonTS's samplers count nothing."""
    found = {name: getattr(sampler, name, None) for name in ("n", "total_length")}
    return {name: int(count) for name, count in found.items() if count is not None}


def with_calendar(transformation: Transformation) -> Transformation:
    """The same transformation, whose time features are computed once for each period, not once for each series."""
    if type(transformation) is not Chain:
        return transformation
    steps = transformation.transformations
    return Chain([Calendar(step) if _is_calendar(step) else step for step in steps])


def _is_calendar(step: Any) -> bool:
    """Whether each feature of a period is known to depend on that period alone."""
    if type(step) is not AddTimeFeatures:
        return False
    modules = {getattr(feature, "__module__", None) for feature in step.date_features}
    return modules == {calendar_features.__name__} and all(
        map(inspect.isfunction, step.date_features)
    )


class Calendar(AddTimeFeatures):  # type: ignore[misc]
    """Keeps the features of the stretch of time that the series have covered so far. For training: it is not saved."""

    def __init__(self, original: AddTimeFeatures) -> None:
        self.__dict__.update(vars(original))
        self.kept: dict[Any, tuple[int, np.ndarray]] = {}

    def map_transform(self, data: Any, is_train: bool) -> Any:
        start, length = data[self.start_field], data[self.target_field].shape[-1]
        if not is_train or not length:
            return super().map_transform(data, is_train)
        step = start.freq.n
        place = (start.freqstr, start.ordinal % step)
        begin = start.ordinal // step
        first, features = self._covering(place, start, begin, begin + length)
        data[self.output_field] = features[:, begin - first : begin - first + length]
        return data

    def _covering(
        self, place: Any, start: pd.Period, begin: int, end: int
    ) -> tuple[int, np.ndarray]:
        """The features from some period on, which reach at least from `begin`, where `start` is, to `end`."""
        if place not in self.kept:
            self.kept[place] = begin, self._features(start, end - begin)
        first, features = self.kept[place]
        last = first + features.shape[1]
        if first <= begin and end <= last:
            return first, features
        # a quarter more, so that series that begin or end one after another do not make them anew each time
        more = features.shape[1] // 4
        low, high = min(first, begin - more), max(last, end + more)
        if high - low > KEPT_PERIODS:
            return begin, self._features(start, end - begin)
        self.kept[place] = low, self._features(start + (low - begin), high - low)
        return self.kept[place]

    def _features(self, start: pd.Period, length: int) -> np.ndarray:
        index = pd.period_range(start, periods=length, freq=start.freq)
        features = np.vstack([feature(index) for feature in self.date_features]).astype(self.dtype)
        features.flags.writeable = False  # it is shared by the series
        return features
