"""GluonTS forecasts -> predictions. The values are those of `forecast.mean` and `forecast.quantile`, got faster.

It knows three kinds of forecast: with samples, with quantiles, and any other that computes both.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from gluonts.model.forecast import Forecast, QuantileForecast, SampleForecast

from gluonts_shell.errors import RequestError
from gluonts_shell.messages import Configuration, Prediction


def prediction(forecast: Forecast, configuration: Configuration) -> Prediction:
    """What was asked for and no more. Raises RequestError where this kind of forecast does not have it."""
    wanted = configuration.output_types
    if isinstance(forecast, SampleForecast):
        return _of_samples(_univariate(forecast.samples, forecast), configuration)
    if "samples" in wanted:
        raise RequestError(
            f"configuration.output_types asks for 'samples', but this model's forecasts are of type "
            f"{type(forecast).__name__}, which has none; ask for 'mean' or 'quantiles'"
        )
    found = Prediction()
    if "mean" in wanted:
        found.mean = _row(forecast.mean, forecast)
    if "quantiles" in wanted:
        found.quantiles = {
            text: _row(_quantile(forecast, level, configuration), forecast) for text, level in configuration.quantiles
        }
    return found


def _of_samples(samples: np.ndarray, configuration: Configuration) -> Prediction:
    """All quantiles from one sort; a forecaster that draws a single path has the same value everywhere."""
    wanted, count = configuration.output_types, len(samples)
    found = Prediction()
    only = samples[0].tolist() if count == 1 else None
    if "mean" in wanted:
        found.mean = only or samples.mean(axis=0).tolist()
    if "quantiles" in wanted:
        if only is not None:
            found.quantiles = {text: only for text, _ in configuration.quantiles}
        else:
            rows = np.sort(samples, axis=0)[_ranks(configuration.quantiles, count)].tolist()
            found.quantiles = {text: row for (text, _), row in zip(configuration.quantiles, rows, strict=True)}
    if "samples" in wanted:
        found.samples = samples.tolist()
    return found


@functools.lru_cache(maxsize=256)
def _ranks(quantiles: Sequence[tuple[str, float]], count: int) -> list[int]:
    """Which of the sorted samples is a quantile, as `SampleForecast.quantile` has it."""
    return [int(np.round((count - 1) * level)) for _, level in quantiles]


def _quantile(forecast: Forecast, level: float, configuration: Configuration) -> Any:
    if isinstance(forecast, QuantileForecast):
        stored = {float(key): key for key in forecast.forecast_keys if key != "mean"}
        if level in stored:  # under its own key: GluonTS does not find '0.10' when it looks for '0.1'
            return forecast.forecast_array[forecast.forecast_keys.index(stored[level])]
        if len(stored) < 2:  # nothing to interpolate between, where GluonTS answers NaN
            known = ", ".join(stored.values()) or "a mean"
            raise RequestError(
                f"configuration.quantiles asks for {level:g}, but this model's forecasts have only {known}"
            )
    try:
        return forecast.quantile(level)
    except NotImplementedError:  # some distributions have no inverse of their CDF, but all can be drawn from
        return forecast.to_sample_forecast(configuration.num_samples).quantile(level)


def _row(values: Any, forecast: Forecast) -> list[float]:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        _univariate(array[None], forecast)
    return array.tolist()  # type: ignore[no-any-return]


def _univariate(samples: np.ndarray, forecast: Forecast) -> np.ndarray:
    """(samples, prediction_length) floats, also where the model has one target dimension as an axis of its own."""
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    if samples.ndim == 2:
        return samples if samples.dtype.kind == "f" else samples.astype(float)
    raise RequestError(
        f"this model's forecasts ({type(forecast).__name__}) have several dimensions, which the answer has no place for"
    )
