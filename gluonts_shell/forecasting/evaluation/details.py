"""What a report shows beyond the scores: the baseline's, the error of each step, and a few series with their forecasts.

It is gathered while the series are scored, from the arrays that are there for that, and fails without a word: scores
are worth more than pictures of them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gluonts_shell.forecasting.evaluation import baseline
from gluonts_shell.forecasting.evaluation.examples import Example, Examples
from gluonts_shell.forecasting.evaluation.formulas import MEDIAN, Metrics

Array = np.ndarray
LEAST_HISTORY, MOST_HISTORY = (
    24,
    400,
)  # values of a history that are kept to be shown, unless its season is longer


@dataclass(frozen=True)
class Shown:
    """An example with what it is called: the dimension of its target, where that has several, and where it begins.

    naive: the baseline's value of the metric that ranks it; NaN where it has none.
    """

    example: Example
    item_id: str
    dimension: int | None
    start: pd.Period
    naive: float


@dataclass(frozen=True)
class Details:
    """naive: scores of the seasonal naive forecast, under the names that the aggregate has for the forecaster's.

    better: share of the series for which the forecaster's absolute error is smaller than that; NaN where it has none.
    by_step, naive_by_step: (prediction_length,), sums of absolute errors over the mean sum of the actual values, so
    that their mean is ND. ranked_by: the metric of `shown`.
    """

    seasonality: int
    naive: dict[str, float]
    better: float
    by_step: Array
    naive_by_step: Array
    ranked_by: str | None
    shown: tuple[Shown, ...]


class Collector:
    """`begin` once, then `add` for each series and `measure` for each batch; `finish` has what came of it, or None.

    failure: what went wrong, after which nothing more is gathered; none of the methods raises.
    """

    def __init__(self, metrics: Metrics, prediction_length: int, seasonality: int) -> None:
        self.metrics = metrics
        self.seasonality = seasonality
        self.width = max(seasonality, min(max(2 * prediction_length, LEAST_HISTORY), MOST_HISTORY))
        self.examples = Examples(metrics)
        self.errors: list[baseline.Errors] = []
        self.by_step = np.zeros(prediction_length)
        self.naive_by_step = np.zeros(prediction_length)
        self.failure: Exception | None = None

    def begin(self, capacity: int, target: Array) -> None:
        """capacity: series (and dimensions) of a batch; target: of the first series."""
        dtype = np.result_type(target.dtype, np.float32)
        self.pasts = np.full((capacity, self.width), np.nan, dtype)
        # of histories; one that fills its row of `pasts` is longer than a season, and its length is not asked for
        self.lengths = np.full(capacity, self.width + 1)

    def add(self, part: slice, past: Array) -> None:
        """part: the rows of the batch that are this series's; past: (length,) or (dimensions, length)."""
        length = past.shape[-1]
        try:
            if length > self.width:
                self.pasts[part] = past[..., -self.width :]
            else:
                self.lengths[part] = length
                self.pasts[part, : self.width - length] = np.nan
                self.pasts[part, self.width - length :] = past
        except Exception as error:
            self.failure = error

    def measure(
        self, labels: Array, rows: Array, seasonal_errors: Array, found: Mapping[str, Array]
    ) -> None:
        """The first n series of the batch: arrays as `formulas` takes them, and the metrics that came of it."""
        if self.failure is not None:
            return
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._measure(labels, rows, seasonal_errors, found)
        except Exception as error:
            self.failure = error

    def _measure(
        self, labels: Array, rows: Array, seasonal_errors: Array, found: Mapping[str, Array]
    ) -> None:
        count, steps = labels.shape
        pasts = self.pasts[:count]
        naive = baseline.forecast(pasts, self.lengths[:count], self.seasonality, steps)
        self.lengths[:] = self.width + 1
        self.errors.append(baseline.Errors.of(naive, labels, seasonal_errors))
        observed = np.isfinite(labels)
        actual = np.where(observed, labels, 0.0)
        self.by_step += np.where(observed, np.abs(actual - rows[:, MEDIAN]), 0.0).sum(axis=0)
        self.naive_by_step += np.where(observed, np.abs(actual - naive), 0.0).sum(axis=0)
        self.examples.add(found, pasts, labels, rows, naive)

    def finish(
        self,
        series: Mapping[str, Array],
        item_ids: Sequence[Any],
        starts: array[int],
        freq: Any,
        dimensions: int,
    ) -> Details | None:
        """series: the metrics of all series; item_ids, starts (ordinals of freq): of each, in their order."""
        if self.failure is not None:
            return None
        try:
            return self._finish(series, item_ids, starts, freq, dimensions)
        except Exception as error:
            self.failure = error
            return None

    def _finish(
        self,
        series: Mapping[str, Array],
        item_ids: Sequence[Any],
        starts: array[int],
        freq: Any,
        dimensions: int,
    ) -> Details:
        errors, sizes = baseline.Errors.joined(self.errors), series["abs_target_sum"]
        size = dimensions or 1
        ranked = errors.metrics.get(self.examples.ranked_by or "")
        shown = []
        for example in self.examples.chosen():
            number, dimension = divmod(example.position, size)
            start = pd.Period(ordinal=starts[number], freq=freq)
            called = str(item_ids[number])
            naive = math.nan if ranked is None else float(ranked[example.position])
            shown.append(Shown(example, called, dimension if dimensions else None, start, naive))
        own = series["abs_error"]
        compared = ~np.isnan(own) & ~np.isnan(errors.absolute)
        better = own[compared] < errors.absolute[compared]
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.nansum(sizes) / len(self.by_step)
            return Details(
                seasonality=self.seasonality,
                naive=self._naive(errors, sizes, dimensions),
                better=float(better.mean()) if len(better) else float("nan"),
                by_step=self.by_step / scale,
                naive_by_step=self.naive_by_step / scale,
                ranked_by=self.examples.ranked_by,
                shown=tuple(shown),
            )

    def _naive(self, errors: baseline.Errors, sizes: Array, dimensions: int) -> dict[str, float]:
        levels = [level for _, level in self.metrics.quantiles]
        found = errors.scores(np.nansum(sizes), levels)
        for dimension in range(dimensions):
            part = slice(dimension, None, dimensions)
            own = errors.scores(np.nansum(sizes[part]), levels, part)
            found |= {f"{dimension}_{name}": value for name, value in own.items()}
        return found
