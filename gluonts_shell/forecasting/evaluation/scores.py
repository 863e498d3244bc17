"""Pairs each test series with its forecast and measures the pairs in batches.

It knows how GluonTS cuts a test series and what its kinds of forecast can tell; the formulas are in `metrics`.
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
from gluonts_shell.forecasting.evaluation.formulas import MEAN, Metrics, seasonal_error

DataEntry = dict[str, Any]
BATCH_VALUES = 500_000
"""Forecast values measured at once (4 MB): enough that numpy's overhead per call vanishes, and fits a cache."""


class Histories:
    """The test series without the part to forecast: what the predictor may see, handed out one by one.

    A whole series waits here until its forecast comes; how many wait is up to the predictor's own look-ahead.
    """

    def __init__(self, dataset: Iterable[DataEntry], prediction_length: int, lead_time: int) -> None:
        self.dataset = dataset
        self.window = prediction_length + lead_time
        self.waiting: deque[DataEntry] = deque()
        self.left_out = self.longest = 0
        self.reading = self.read()

    def __iter__(self) -> Iterator[DataEntry]:
        self.reading = self.read()
        return self.reading

    def read(self) -> Iterator[DataEntry]:
        self.waiting.clear()  # a predictor may begin again
        self.left_out = self.longest = 0
        for entry in self.dataset:
            length = len(entry["target"])
            if length <= self.window:
                self.left_out += 1
                self.longest = max(self.longest, length)
                continue
            self.waiting.append(entry)
            yield history(entry, length, self.window)

    def take(self) -> DataEntry:
        if not self.waiting:
            raise ModelError("the forecaster gave more forecasts than there are test series")
        return self.waiting.popleft()

    def check_all_taken(self) -> None:
        if self.waiting or next(self.reading, None) is not None:
            raise ModelError("the forecaster stopped before it had given a forecast for every test series")


def history(entry: DataEntry, length: int, window: int) -> DataEntry:
    """Cut an entry as GluonTS' `split` does: features known in advance keep the window that is to be forecast."""
    cut = dict(entry, target=entry["target"][: length - window])
    for name, end in (
        ("feat_dynamic_real", length),
        ("feat_dynamic_cat", length),
        ("past_feat_dynamic_real", length - window),
    ):
        if name in entry:
            cut[name] = entry[name][:, :end]
    return cut


class Scores:
    """Collects forecasts with their labels, and measures them whenever a batch is full."""

    def __init__(self, metrics: Metrics, prediction_length: int, seasonality: int, num_samples: int) -> None:
        rows = 1 + len(metrics.levels)
        size = max(1, min(256, BATCH_VALUES // (rows * prediction_length)))
        self.metrics = metrics
        self.levels = metrics.levels
        self.seasonality = seasonality
        self.num_samples = num_samples
        self.labels = np.empty((size, prediction_length))
        self.rows = np.empty((size, rows, prediction_length))
        self.seasonal_errors = np.empty(size)
        self.filled = 0
        self.item_ids: list[Any] = []
        self.starts = array("q")  # ordinals: 8 bytes a series, and nothing for the garbage collector to visit
        self.freq: Any = None
        self.measured: list[dict[str, np.ndarray]] = []
        self.incomplete: np.ndarray = np.zeros(rows, dtype=np.int64)
        self.first_incomplete: tuple[Any, list[str] | None] | None = None

    def add(self, forecast: Any, entry: DataEntry) -> None:
        target, start = entry["target"], entry["start"]
        length = self.labels.shape[1]
        offset = (forecast.start_date.ordinal - start.ordinal) // start.freq.n
        if forecast.prediction_length != length or not 0 < offset <= len(target) - length:
            raise ModelError(
                f"the forecast for item_id {entry.get('item_id')!r} covers {forecast.prediction_length} values from "
                f"{forecast.start_date}, which is not the end of its test series: {len(target)} values from {start}"
            )
        row = self.filled
        self.labels[row] = target[offset : offset + length]
        self.seasonal_errors[row] = seasonal_error(target[:offset], self.seasonality)
        item_id = entry.get("item_id") if forecast.item_id is None else forecast.item_id
        try:
            fill(self.rows[row], forecast, self.levels, self.num_samples)
        except Exception as error:
            raise ModelError(
                f"the {type(forecast).__name__} for item_id {item_id!r} does not give a mean and quantiles of "
                f"{length} values each: {type(error).__name__}: {error}"
            ) from error
        self.item_ids.append(item_id)
        self.starts.append(forecast.start_date.ordinal)
        self.freq = start.freq
        if np.isnan(self.rows[row]).any():
            self.mark_incomplete(forecast)
        self.filled += 1
        if self.filled == len(self.labels):
            self.measure()

    def measure(self) -> None:
        if self.filled:
            part = slice(self.filled)
            found = self.metrics.of_series(self.labels[part], self.rows[part], self.seasonal_errors[part].copy())
            self.measured.append(found)
        self.filled = 0

    def mark_incomplete(self, forecast: Any) -> None:
        """A row with one NaN is no use to any metric: all of it becomes NaN, and its metrics with it."""
        lacking = np.isnan(self.rows[self.filled]).any(axis=1)
        self.rows[self.filled, lacking] = np.nan
        self.incomplete += lacking
        if self.first_incomplete is None:
            self.first_incomplete = (self.item_ids[-1], getattr(forecast, "forecast_keys", None))

    def finish(self) -> tuple[dict[str, float], pd.DataFrame]:
        """The metrics of all the data, and a frame with a line for each series."""
        self.measure()
        series = {name: np.concatenate([part[name] for part in self.measured]) for name in self.measured[0]}
        starts = pd.arrays.PeriodArray(np.asarray(self.starts, dtype=np.int64), dtype=pd.PeriodDtype(self.freq))
        items = pd.DataFrame({"item_id": self.item_ids, "forecast_start": starts, **series}, copy=False)
        return self.metrics.of_dataset(series, self.incomplete > 0), items

    def warnings(self, forecaster: str) -> Iterator[str]:
        if self.first_incomplete is None:
            return
        item_id, keys = self.first_incomplete
        names = ["mean", *(f"{level:g}" for level in self.levels)]
        lacking = dict.fromkeys(names[row] for row in np.flatnonzero(self.incomplete))
        yield (
            f"{forecaster} gave NaN for {', '.join(lacking)} in {self.incomplete.max()} of {len(self.item_ids)} "
            f"forecasts, first for item_id {item_id!r}"
            + (f", whose forecast holds only {', '.join(keys)}" if keys else "")
            + "; the metrics that need them are NaN"
        )


def fill(rows: np.ndarray, forecast: Any, levels: Sequence[float], num_samples: int) -> None:
    """Fill rows, (1 + len(levels), prediction_length), with the forecast's mean and quantiles.

    Of samples, the quantile is GluonTS': the sample at the nearest rank (halves to even), without interpolation.
    A distribution that cannot invert its cumulative function (counts, for one) is sampled instead.
    """
    if type(forecast) is SampleForecast and forecast.samples.ndim == 2:
        samples = forecast.samples
        rows[MEAN] = forecast.mean
        ranks = np.round((len(samples) - 1) * np.asarray(levels)).astype(int)
        rows[MEAN + 1 :] = np.sort(samples, axis=0)[ranks] if len(samples) > 1 else samples
        return
    try:
        quantiles = {level: forecast.quantile(level) for level in dict.fromkeys(levels)}
    except NotImplementedError:
        if not hasattr(forecast, "to_sample_forecast"):
            raise
        fill(rows, forecast.to_sample_forecast(num_samples), levels, num_samples)
        return
    try:
        mean = forecast.mean
    except NotImplementedError:
        mean = None
    rows[MEAN] = np.nan if mean is None else np.reshape(mean, rows.shape[1])
    for row, level in enumerate(levels, start=MEAN + 1):
        rows[row] = np.reshape(quantiles[level], rows.shape[1])
