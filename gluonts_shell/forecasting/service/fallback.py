"""The predictor that stands in for the model when its time is up: how it is found, built and asked.

What its constructor asks for comes from the model: freq and horizon, the number of samples of the
job, and whatever else it needs and the model was made with.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, ForecasterError
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.instances import padded
from gluonts_shell.forecasting.forecaster.catalog import class_path
from gluonts_shell.forecasting.forecaster.constructors import (
    construct,
    constructor_parameters,
    required_parameters,
)
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Unfit
from gluonts_shell.forecasting.forecaster.hyperparameters.values import fit
from gluonts_shell.forecasting.forecaster.known import default_forecaster
from gluonts_shell.forecasting.forecaster.names import resolve
from gluonts_shell.forecasting.service.named import build
from gluonts_shell.forecasting.service.service import Model
from gluonts_shell.messages import Call, Configuration, Prediction, always

VARIABLE = "GLUONTS_BATCH_FALLBACK_PREDICTOR"


def fallback(
    name: str, configuration: Configuration, contract: Contract | None
) -> tuple[Callable[[Sequence[Call], Callable[[], bool]], list[list[Prediction]]], str]:
    """What predicts in the model's place, and its class path. contract: of the trained model, if there is one.

    Raises ConfigurationError where the class cannot be found or built.
    """
    try:
        kind = resolve(name)
    except ForecasterError as error:
        raise ConfigurationError(f"{VARIABLE}: {error}") from error
    if not issubclass(kind, Predictor) or inspect.isabstract(kind):
        raise ConfigurationError(
            f"{VARIABLE} is {name!r}, expected a Predictor, which needs no training"
        )
    try:
        predictor = construct(kind, _arguments(kind, _known(configuration, contract)))
    except (ForecasterError, ConfigurationError) as error:
        raise ConfigurationError(f"{VARIABLE} is {name!r}: {error}") from error
    model = Model.of(predictor, configuration.freq, Features())

    def predict(
        calls: Sequence[Call], wanted: Callable[[], bool] = always
    ) -> list[list[Prediction]]:
        found: list[list[Prediction]] = []
        for call in calls:
            answers = [_stand_in(model, one, call.configuration, wanted) for one in call.entries]
            found.append(answers)
        return found

    return predict, class_path(kind)


def _stand_in(
    model: Model, entry: dict[str, Any], configuration: Configuration, wanted: Callable[[], bool]
) -> Prediction:
    """What the predictor says of a series; of several dimensions, simple ones forecast each alone."""
    # the model may have taken a cold start as it was; simple predictors index into the target
    filled = entry
    if not entry["target"].shape[-1]:
        filled = padded(entry)
    target = filled["target"]
    if target.ndim == 1:
        return model.predict([filled], configuration, wanted)[0]
    rows = model.predict([{**filled, "target": row} for row in target], configuration, wanted)
    return _joined(rows, configuration.output_types)


def _joined(rows: list[Prediction], wanted: Sequence[str]) -> Prediction:
    """The predictions of each dimension as one of all; simple predictors have every output type."""
    found = Prediction()
    if "mean" in wanted:
        found.mean = [row.mean for row in rows]
    if "quantiles" in wanted:
        quantiles = [row.quantiles or {} for row in rows]
        found.quantiles = {name: [each[name] for each in quantiles] for name in quantiles[0]}
    if "samples" in wanted:
        paths = [row.samples or () for row in rows]
        found.samples = list(map(list, zip(*paths, strict=True)))
    return found


def _known(configuration: Configuration, contract: Contract | None) -> dict[str, Any]:
    """What is known of the forecaster that may be late."""
    if contract is None or configuration.forecaster is not None:
        known = json.loads(configuration.parameters or "{}")
        kind = default_forecaster(configuration.forecaster or "")
        known["prediction_length"] = build(kind, configuration).prediction_length
    else:
        known = {**contract.arguments, "prediction_length": contract.prediction_length}
    return {**known, "freq": configuration.freq, "num_samples": configuration.num_samples}


def _arguments(kind: type, known: dict[str, Any]) -> dict[str, Any]:
    """The same horizon and samples, always; the other arguments of the model only where there is no default."""
    parameters, _ = constructor_parameters(kind)
    wanted = {"freq", "prediction_length", "num_samples", *required_parameters(kind)}
    arguments = {}
    for name in filter(wanted.__contains__, parameters):
        value = known.get(name)
        if value is not None:
            arguments[name] = _fitted(name, value, parameters[name])
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise ConfigurationError(
            f"it needs {missing[0]!r}, which the model was not made with; name another predictor"
        )
    return arguments


def _fitted(name: str, value: Any, annotation: Any) -> Any:
    try:
        return fit(value, annotation)
    except Unfit as error:
        raise ConfigurationError(f"its {name} would be {value!r:.100}, expected {error}") from None
