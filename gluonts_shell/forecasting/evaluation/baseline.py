"""The seasonal naive forecast of many series at once: what any forecaster is measured against; pure numpy.

It is the forecast whose error within the history scales MASE: the value one season before, and the last value where a
history is no longer than the season.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def forecast(pasts: Array, lengths: Array, seasonality: int, steps: int) -> Array:
    """(n, steps), of finite numbers.

    pasts: (n, width), the last values of each history at the right, NaN where it is shorter; width is at least the
    seasonality. lengths: (n,), of the whole histories. A value that was not observed is that of an earlier season;
    where `pasts` has none it is the mean of what was observed, and 0 where that is nothing.
    """
    width = pasts.shape[1]
    last = width - seasonality + np.arange(steps) % seasonality
    found = np.asarray(pasts[:, last], dtype=np.float64)
    short = lengths <= seasonality
    if short.any():
        found[short] = pasts[short, -1:]
    lacking = ~np.isfinite(found).all(axis=1)
    if lacking.any():
        for rows, lag in ((lacking & short, 1), (lacking & ~short, seasonality)):
            found[rows] = _last_observed(pasts[rows], lag)[:, np.arange(steps) % lag]
    return found


def _last_observed(pasts: Array, lag: int) -> Array:
    """(n, lag): of each step of the season the last value that is there."""
    count, width = pasts.shape
    seasons = pasts[:, width % lag :].reshape(count, width // lag, lag)
    finite = np.isfinite(seasons)
    latest = seasons.shape[1] - 1 - finite[:, ::-1].argmax(axis=1)
    found = np.take_along_axis(seasons, latest[:, None], axis=1)[:, 0].astype(np.float64)
    observed = np.isfinite(pasts)
    total = np.where(observed, pasts, 0).sum(axis=1, dtype=np.float64)
    mean = total / np.maximum(observed.sum(axis=1), 1)
    return np.where(finite.any(axis=1), found, mean[:, None])


@dataclass(frozen=True)
class Errors:
    """Of the baseline, one number a series (and dimension), as in `formulas`; NaN where nothing was observed.

    above: the sum of what the forecast is above the actual values; what it is below them is the rest of abs_error.
    """

    squared: Array
    absolute: Array
    above: Array
    scaled: Array

    @classmethod
    def of(cls, forecasts: Array, labels: Array, seasonal_errors: Array) -> Errors:
        """forecasts, labels: (n, steps), of which labels that are not finite do not count; seasonal_errors: (n,)."""
        observed = np.isfinite(labels)
        count = observed.sum(axis=1)
        error = np.where(observed, forecasts - np.where(observed, labels, 0.0), 0.0)
        size = np.abs(error)
        absolute = np.where(count > 0, size.sum(axis=1), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            squared = np.square(error).sum(axis=1) / count
            scaled = absolute / count / seasonal_errors
        return cls(squared, absolute, (absolute + error.sum(axis=1)) / 2, scaled)

    @property
    def metrics(self) -> dict[str, Array]:
        """By the names that they have in `formulas`."""
        return {"MASE": self.scaled, "abs_error": self.absolute, "MSE": self.squared}

    @classmethod
    def joined(cls, parts: Sequence[Errors]) -> Errors:
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(x, name) for x in parts]) for name in names})

    def scores(
        self, total_size: float, levels: Sequence[float], part: slice = slice(None)
    ) -> dict[str, float]:
        """The names and rules of `formulas`, for the series in `part`; total_size: their abs_target_sum.

        The one value that the forecast has stands for its quantiles too.
        """
        absolute, above = np.nansum(self.absolute[part]), np.nansum(self.above[part])
        losses = [2 * (above * (1 - level) + (absolute - above) * level) for level in levels]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "MASE": _mean(self.scaled[part]),
                "ND": absolute / np.float64(total_size),
                "RMSE": np.sqrt(_mean(self.squared[part])),
                "mean_wQuantileLoss": np.mean(losses) / np.float64(total_size),
            }
        return {name: float(value) for name, value in found.items()}


def _mean(values: Array) -> np.float64:
    """Of what is a number; infinite ones are, as in `formulas`."""
    numbers = values[~np.isnan(values)]
    mean: np.float64 = numbers.sum() / np.float64(len(numbers))
    return mean
