"""Pairs each test series with its forecast and measures the pairs in batches.

It knows what of a test series a predictor may see and what kinds of forecast can tell; the formulas are in `formulas`.
It keeps a few numbers for each series and never all forecasts, and knows no predictor, log or file.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from gluonts_shell.errors import ModelError
from gluonts_shell.forecasting.data.instances import history, length_of
from gluonts_shell.forecasting.evaluation.details import Collector, Details
from gluonts_shell.forecasting.evaluation.formulas import MEAN, MEDIAN, Metrics, seasonal_error
from gluonts_shell.forecasting.forecasts import View, rank

DataEntry = dict[str, Any]
BATCH_VALUES = 500_000
"""Forecast values measured at once (4 MB): enough that numpy's overhead per call vanishes, and fits a cache."""


class Histories:
    """The test series without the part to forecast: what the predictor may see, handed out one by one.

    A predictor may read them as often as it likes, and several times side by side (an ensemble reads them once for
    each member). Forecasts belong to series by position, so each series is kept once, until its forecast has come;
    how many wait is up to the predictor's own look-ahead.
    """

    def __init__(
        self, dataset: Iterable[DataEntry], prediction_length: int, lead_time: int
    ) -> None:
        self.dataset = list(dataset) if isinstance(dataset, Iterator) else dataset
        self.window = prediction_length + lead_time
        self.waiting: deque[DataEntry] = deque()
        self.taken = 0
        self.complete = False  # whether some reader has come to the end
        self.left_out = self.longest = 0

    def __len__(self) -> int:
        return sum(length_of(entry) > self.window for entry in self.dataset)

    def __iter__(self) -> Iterator[DataEntry]:
        left_out = position = 0
        for entry in self.dataset:
            length = length_of(entry)
            if length <= self.window:
                left_out += 1
                self.longest = max(self.longest, length)
                continue
            if position == self.taken + len(self.waiting):  # no other reader was here before
                self.waiting.append(entry)
            position += 1
            yield history(entry, length, self.window)
        self.left_out = left_out
        self.complete = True

    def take(self) -> DataEntry:
        if not self.waiting:
            raise ModelError("the forecaster gave more forecasts than there are test series")
        self.taken += 1
        return self.waiting.popleft()

    def check_all_taken(self) -> None:
        if self.waiting or (not self.complete and self.taken < sum(1 for _ in self)):
            raise ModelError(
                "the forecaster stopped before it had given a forecast for every test series"
            )


class Scores:
    """Collects forecasts with their labels, and measures them whenever a batch is full.

    A series of several dimensions takes a row of the batch for each; `dimensions` is 0 where targets have one.
    collector: sees each series, and each batch once it is measured.
    """

    def __init__(
        self,
        metrics: Metrics,
        prediction_length: int,
        seasonality: int,
        num_samples: int,
        collector: Collector | None = None,
    ) -> None:
        self.collector = collector
        self.details: Details | None = None
        self.metrics = metrics
        self.levels = metrics.levels
        self.prediction_length = prediction_length
        self.seasonality = seasonality
        self.num_samples = num_samples
        self.dimensions = 0
        self.filled = 0
        self.item_ids: list[Any] = []
        # ordinals: 8 bytes a series, and nothing for the garbage collector to visit
        self.starts = array("q")
        self.freq: Any = None
        self.measured: list[dict[str, np.ndarray]] = []
        self.points = 0  # forecasts that have no median
        self.first_incomplete: tuple[Any, list[str] | None] | None = None

    def add(self, forecast: Any, entry: DataEntry) -> None:
        target, start = entry["target"], entry["start"]
        if not self.item_ids:
            self._begin(target)
        item_id = self._checked_id(forecast, entry)
        offset = self._offset(forecast, entry)
        if self.filled + self.size > len(self.labels):
            self.measure()
        part = slice(self.filled, self.filled + self.size)
        window = slice(offset, offset + self.prediction_length)
        self.labels[part] = target[..., window]
        past = target[..., :offset]
        self.seasonal_errors[part] = seasonal_error(past, self.seasonality)
        if self.collector is not None:
            self.collector.add(part, past)
        try:
            # a view: (levels, steps), or (levels, steps, dimensions) as GluonTS orders them
            rows = self.rows[part].transpose(1, 2, 0) if self.dimensions else self.rows[self.filled]
            self.points += fill(rows, forecast, self.levels, self.num_samples)
        except Exception as error:
            raise ModelError(
                f"the {type(forecast).__name__} for item_id {item_id!r} does not give a mean and quantiles of "
                f"{self._expected()} each: {type(error).__name__}: {error}"
            ) from error
        self.item_ids.append(item_id)
        self.starts.append(forecast.start_date.ordinal)
        self.freq = start.freq
        if np.isnan(self.rows[part]).any():
            self._mark_incomplete(part, forecast)
        self.filled += self.size

    def _begin(self, target: np.ndarray) -> None:
        self.dimensions = len(target) if target.ndim > 1 and len(target) > 1 else 0
        self.size = self.dimensions or 1
        rows = 1 + len(self.levels)
        most = max(1, min(256, BATCH_VALUES // (rows * self.prediction_length)))
        capacity = max(self.size, most - most % self.size)
        self.labels = np.empty((capacity, self.prediction_length))
        self.rows = np.empty((capacity, rows, self.prediction_length))
        self.seasonal_errors = np.empty(capacity)
        if self.collector is not None:
            self.collector.begin(capacity, target)
        self.incomplete: np.ndarray = np.zeros((self.size, rows), dtype=np.int64)

    def _expected(self) -> str:
        steps = f"{self.prediction_length} values"
        return f"{steps} x {self.dimensions} dimensions" if self.dimensions else steps

    def _checked_id(self, forecast: Any, entry: DataEntry) -> Any:
        given, found = entry.get("item_id"), forecast.item_id
        if found is not None and given is not None and str(found) != str(given):
            raise ModelError(
                f"the forecaster answered out of order: item_id {found!r} came, expected {given!r}"
            )
        return given if found is None else found

    def _offset(self, forecast: Any, entry: DataEntry) -> int:
        """Where in the target the forecast begins; of one that is dated at the start of its series it is the end's.

        GluonTS's ConstantPredictor dates its forecasts so; by position they are those of the last steps.
        """
        start, length, steps = entry["start"], length_of(entry), self.prediction_length
        offset = (forecast.start_date.ordinal - start.ordinal) // start.freq.n
        offset = offset or length - steps
        if forecast.prediction_length == steps and 0 < offset <= length - steps:
            return int(offset)
        raise ModelError(
            f"the forecast for item_id {entry.get('item_id')!r} covers {forecast.prediction_length} values from "
            f"{forecast.start_date}, which is not the end of its test series: {length} values from {start}"
        )

    def measure(self) -> None:
        if self.filled:
            part = slice(self.filled)
            labels, rows = self.labels[part], self.rows[part]
            seasonal_errors = self.seasonal_errors[part].copy()
            found = self.metrics.of_series(labels, rows, seasonal_errors)
            self.measured.append(found)
            if self.collector is not None:
                self.collector.measure(labels, rows, seasonal_errors, found)
        self.filled = 0

    def _mark_incomplete(self, part: slice, forecast: Any) -> None:
        """A row with one NaN is no use to any metric: all of it becomes NaN, and its metrics with it."""
        lacking = np.isnan(self.rows[part]).any(axis=2)
        self.rows[part][lacking] = np.nan
        self.incomplete += lacking
        if self.first_incomplete is None:
            self.first_incomplete = (self.item_ids[-1], getattr(forecast, "forecast_keys", None))

    def finish(self) -> tuple[dict[str, float], pd.DataFrame]:
        """The metrics of all the data, and a frame with a line for each series.

        Of several dimensions they are those of GluonTS's MultivariateEvaluator: `0_MASE` for the first, `MASE` for
        all together; the frame has the lines of the first dimension first, and says in `dimension` whose they are.
        What the collector, if there is one, gathered is in `details` afterwards.
        """
        self.measure()
        series = {
            name: np.concatenate([part[name] for part in self.measured])
            for name in self.measured[0]
        }
        if self.collector is not None:
            self.details = self.collector.finish(
                series, self.item_ids, self.starts, self.freq, self.dimensions
            )
        starts = pd.arrays.PeriodArray(
            np.asarray(self.starts, dtype=np.int64), dtype=pd.PeriodDtype(self.freq)
        )
        items = pd.DataFrame({"item_id": self.item_ids, "forecast_start": starts}, copy=False)
        if self.dimensions > 1:
            return self._of_dimensions(series), self._lines(items, series)
        found = self.metrics.of_dataset(series, self.incomplete[0] > 0)
        return found, items.join(pd.DataFrame(series, copy=False))

    def _of_dimensions(self, series: dict[str, np.ndarray]) -> dict[str, float]:
        found = {}
        for dimension in range(self.dimensions):
            own = {name: values[dimension :: self.dimensions] for name, values in series.items()}
            for name, value in self.metrics.of_dataset(own, self.incomplete[dimension] > 0).items():
                found[f"{dimension}_{name}"] = value
        return found | self.metrics.of_dataset(series, self.incomplete.sum(axis=0) > 0)

    def _lines(self, items: pd.DataFrame, series: dict[str, np.ndarray]) -> pd.DataFrame:
        count = len(items)
        ordered = {name: values.reshape(count, -1).T.reshape(-1) for name, values in series.items()}
        ordered["dimension"] = np.repeat(np.arange(self.dimensions), count)
        repeated = pd.concat([items] * self.dimensions, ignore_index=True)
        lines: pd.DataFrame = repeated.join(pd.DataFrame(ordered, copy=False))
        return lines

    def warnings(self, forecaster: str) -> Iterator[str]:
        if self.points:
            yield (
                f"{self.points} of {len(self.item_ids)} forecasts of {forecaster} have no median: their mean stands "
                "for it in MASE, ND, sMAPE and the like"
            )
        if self.first_incomplete is None:
            return
        item_id, keys = self.first_incomplete
        names = ["mean", *(f"{level:g}" for level in self.levels)]
        lacking = dict.fromkeys(names[row] for row in np.flatnonzero(self.incomplete.sum(axis=0)))
        yield (
            f"{forecaster} gave NaN for {', '.join(lacking)} in {self.incomplete.max()} of {len(self.item_ids)} "
            f"forecasts, first for item_id {item_id!r}"
            + (f", whose forecast holds only {', '.join(keys)}" if keys else "")
            + "; the metrics that need them are NaN"
        )


def fill(rows: np.ndarray, forecast: Any, levels: Sequence[float], num_samples: int) -> bool:
    """Fill rows, (1 + len(levels), prediction_length[, dimensions]), with the forecast's mean and quantiles.

    NaN stands for what it does not have. Returns whether it has no median, and its mean stands for that: a point
    forecast. A distribution that cannot invert its cumulative function (counts, for one) is sampled instead.
    """
    if type(forecast) is SampleForecast and forecast.samples.ndim == rows.ndim:
        samples = forecast.samples
        rows[MEAN] = forecast.mean
        rows[MEAN + 1 :] = (
            np.sort(samples, axis=0)[rank(len(samples), levels)] if len(samples) > 1 else samples
        )
        return False
    view, shape = View(forecast, num_samples), rows.shape[1:]
    rows[MEAN] = _shaped(_mean(view), shape)
    for row, level in enumerate(levels, start=MEAN + 1):
        rows[row] = _shaped(view.quantile(level), shape)
    if view.quantile(0.5) is not None:
        return False
    rows[MEDIAN] = rows[MEAN]
    return True


def _mean(view: View) -> np.ndarray | None:
    """Its own, or that of samples which it draws; a median does not stand for it here, and in GluonTS neither."""
    return view.own_mean if view.own_mean is not None or view.samples is None else view.mean


def _shaped(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | float:
    """Values of this shape, without an axis for one dimension more; NaN for none."""
    if values is None:
        return np.nan
    if values.shape == (*shape, 1):
        values = values[..., 0]
    if values.shape != shape:
        raise ValueError(f"an array of shape {values.shape} came, expected {shape}")
    return values
