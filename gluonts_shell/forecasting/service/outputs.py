"""GluonTS forecasts -> predictions. The values are those of `forecast.mean` and `forecast.quantile`, got faster.

The rule for what a forecast does not have: of the output types asked for, those are answered that
are there, and where none is, that is the client's error. A quantile that the client listed itself
must be there; the default ones need not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gluonts.model.forecast import Forecast, SampleForecast

from gluonts_shell.errors import AskedError, ModelError, RequestError
from gluonts_shell.forecasting.forecasts import View
from gluonts_shell.messages import Configuration, Prediction

Hint = Callable[[], str]


def no_hint() -> str:
    return ""


def prediction(
    forecast: Forecast, configuration: Configuration, hint: Hint = no_hint
) -> Prediction:
    """What was asked for and no more. hint: gives the end of the sentence about a quantile that is not there.

    Raises RequestError where this kind of forecast does not have it.
    """
    if isinstance(forecast, SampleForecast):
        return _of_samples(_samples(forecast.samples, forecast), configuration)
    view = View(forecast, configuration.num_samples)
    wanted = configuration.output_types
    found = Prediction()
    if "mean" in wanted:
        found.mean = _row(view.mean, forecast)
    if "quantiles" in wanted:
        found.quantiles = _quantiles(view, configuration, hint)
    if "samples" in wanted and view.samples is not None:
        found.samples = _samples(view.samples, forecast).tolist()
    if all(getattr(found, name) is None for name in wanted):
        raise RequestError(_nothing(view, wanted, hint))
    return found


def _quantiles(view: View, configuration: Configuration, hint: Hint) -> dict[str, Any] | None:
    """None where the forecast has none at all and the client named none."""
    found, lacking = {}, []
    for text, level in configuration.quantiles:
        row = _row(view.quantile(level), view.forecast)
        if row is None:
            lacking.append(text)
        else:
            found[text] = row
    if not lacking:
        return found
    if configuration.quantiles_given:
        has = f"but this model's forecasts have {view.description}"
        raise AskedError("quantiles", f"asks for {lacking[0]}, {has}{hint()}")
    return found or None


def _nothing(view: View, wanted: Sequence[str], hint: Hint) -> str:
    kind = type(view.forecast).__name__
    has = [
        name
        for name, value in (("mean", view.mean), ("quantiles", view.quantile(0.5)))
        if value is not None
    ]
    return (
        f"configuration.output_types asks for {' and '.join(map(repr, wanted))}, but this model's forecasts are of "
        f"type {kind}, which has none; ask for {' or '.join(map(repr, has)) or 'nothing'}"
        f"{hint() if 'quantiles' in wanted else ''}"
    )


def _of_samples(samples: np.ndarray, configuration: Configuration) -> Prediction:
    """All quantiles from one sort; a forecaster that draws a single path has the same value everywhere."""
    wanted, count = configuration.output_types, len(samples)
    found = Prediction()
    only = samples[0].tolist() if count == 1 else None
    if "mean" in wanted:
        found.mean = only or samples.mean(axis=0).tolist()
    if "quantiles" in wanted:
        found.quantiles = _of_sorted(samples, configuration.quantiles, only)
    if "samples" in wanted:
        found.samples = samples.tolist()
    return found


def _of_sorted(
    samples: np.ndarray, quantiles: Sequence[tuple[str, float]], only: list[Any] | None
) -> dict[str, list[Any]]:
    """only: the row of the only sample there is, which is every quantile."""
    texts = [text for text, _ in quantiles]
    if only is not None:
        return dict.fromkeys(texts, only)
    rows = np.sort(samples, axis=0)[_ranks(quantiles, len(samples))].tolist()
    return dict(zip(texts, rows, strict=True))


@functools.lru_cache(maxsize=256)
def _ranks(quantiles: Sequence[tuple[str, float]], count: int) -> list[int]:
    """Which of the sorted samples is a quantile, as `SampleForecast.quantile` has it."""
    return [int(np.round((count - 1) * level)) for _, level in quantiles]


def _samples(samples: np.ndarray, forecast: Forecast) -> np.ndarray:
    """(samples, prediction_length) floats; of several dimensions (samples, dimensions, prediction_length)."""
    if samples.ndim == 3:
        samples = samples[:, :, 0] if samples.shape[2] == 1 else samples.swapaxes(1, 2)
    if samples.ndim in (2, 3):
        return samples if samples.dtype.kind == "f" else samples.astype(float)
    raise _unreadable(forecast, samples)


def _row(values: np.ndarray | None, forecast: Forecast) -> list[Any] | None:
    """prediction_length floats; of several dimensions a list of them for each, as targets have it."""
    if values is None:
        return None
    array = np.asarray(values, dtype=float)
    if array.ndim == 2:
        array = array[:, 0] if array.shape[1] == 1 else array.T
    if not 1 <= array.ndim <= 2:
        raise _unreadable(forecast, array)
    return array.tolist()  # type: ignore[no-any-return]


def _unreadable(forecast: Forecast, values: np.ndarray) -> ModelError:
    return ModelError(
        f"this model's forecasts ({type(forecast).__name__}) are arrays of shape {values.shape}, expected "
        "prediction_length values, or prediction_length x dimensions"
    )
