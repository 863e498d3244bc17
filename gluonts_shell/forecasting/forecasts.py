"""What a GluonTS forecast of any kind can tell: a mean, quantiles, samples, and None for what it does not have.

    SampleForecast         has all three
    DistributionForecast   has a mean and quantiles where its distribution computes them; all can be drawn from it
    QuantileForecast       has what it stores; between two stored levels or more GluonTS interpolates
    any other              has what its class implements, and what samples that it draws tell

A mean that is not there is that of drawn samples, else the median, as GluonTS's QuantileForecast has it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from gluonts.model.forecast import QuantileForecast, SampleForecast

Array = np.ndarray[Any, Any]


class View:
    """One forecast. Its arrays are (prediction_length,), or (prediction_length, dimensions), samples in front.

    num_samples: how many are drawn where the forecast holds none and something asks for them; they are drawn once.
    """

    def __init__(self, forecast: Any, num_samples: int) -> None:
        self.forecast = forecast
        self.num_samples = num_samples
        self._inverts = True
        self._quantiles: dict[float, Array | None] = {}

    @cached_property
    def stored(self) -> dict[float, Array] | None:
        """The levels that a QuantileForecast holds; under numbers, because GluonTS finds no '0.10' for 0.1."""
        if not isinstance(self.forecast, QuantileForecast):
            return None
        rows = zip(self.forecast.forecast_keys, self.forecast.forecast_array, strict=True)
        return {float(key): row for key, row in rows if key != "mean"}

    @property
    def description(self) -> str:
        """What it has, for a sentence: `only a mean`."""
        if self.stored is None:
            return "no such quantile"
        return "only " + (", ".join(f"{level:g}" for level in self.stored) or "a mean")

    @cached_property
    def samples(self) -> Array | None:
        if isinstance(self.forecast, SampleForecast):
            return np.asarray(self.forecast.samples)
        draw = getattr(self.forecast, "to_sample_forecast", None)
        return None if draw is None else np.asarray(draw(self.num_samples).samples)

    @cached_property
    def mean(self) -> Array | None:
        if self.own_mean is not None:
            return self.own_mean
        if self.samples is not None:
            return np.asarray(self.samples.mean(axis=0))
        return self.quantile(0.5)

    @cached_property
    def own_mean(self) -> Array | None:
        """As the forecast has it; of stored quantiles the median stands for it, as in GluonTS."""
        if self.stored is not None and "mean" not in self.forecast.forecast_keys:
            return self.quantile(0.5)  # where that is not stored either, GluonTS would give NaN
        try:
            found = self.forecast.mean
        # AttributeError: a class of one's own that defines none
        except (
            NotImplementedError,
            AttributeError,
        ):
            return None
        return None if found is None else np.asarray(found)

    def quantile(self, level: float) -> Array | None:
        """Computed once for each level."""
        if level not in self._quantiles:
            self._quantiles[level] = self._quantile(level)
        return self._quantiles[level]

    def _quantile(self, level: float) -> Array | None:
        if self.stored is not None:
            return self._stored_quantile(level)
        if self._inverts:
            try:
                return np.asarray(self.forecast.quantile(level))
            # some distributions have no inverse of their CDF, but can be drawn from
            except NotImplementedError:
                self._inverts = False
        if self.samples is None:
            return None
        return np.asarray(self._ordered[rank(len(self._ordered), level)])

    @cached_property
    def _ordered(self) -> Array:
        return np.sort(np.asarray(self.samples), axis=0)

    def _stored_quantile(self, level: float) -> Array | None:
        assert self.stored is not None
        if level in self.stored:
            return np.asarray(self.stored[level])
        if len(self.stored) < 2:  # nothing to interpolate between, where GluonTS answers NaN
            return None
        return np.asarray(self.forecast.quantile(level))


def rank(count: int, levels: Any) -> Any:
    """Which of so many ordered samples is the quantile, as `SampleForecast.quantile` has it: no interpolation."""
    return np.round((count - 1) * np.asarray(levels)).astype(int)
