"""Predictors that requests name: how one is built from what the client sent.

The class comes from `allowed`, the values from `plain`; nothing here imports by name or evaluates a text.
"""

from __future__ import annotations

import json
from typing import Any

from gluonts.model.predictor import Predictor

from gluonts_shell import nearby
from gluonts_shell.errors import AskedError, ConfigurationError, ForecasterError, RequestError
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.forecaster.constructors import (
    construct,
    constructor_parameters,
    required_parameters,
)
from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Unfit
from gluonts_shell.forecasting.service.configuration import MAX_PREDICTION_LENGTH
from gluonts_shell.forecasting.service.plain import check
from gluonts_shell.messages import Configuration

# keys of ours that a client may have meant
OURS = ("freq", "num_samples", "output_types", "quantiles")


def build(kind: type[Predictor], configuration: Configuration) -> Predictor:
    """A predictor of this class with the parameters of the configuration.

    Raises RequestError with the parameter, what was found and what was expected.
    """
    arguments = _arguments(kind, configuration)
    try:
        predictor = construct(kind, arguments)
    except (ForecasterError, ConfigurationError) as error:
        raise RequestError(f"configuration: {error}") from error
    length = getattr(predictor, "prediction_length", None)
    fits = isinstance(length, int) and 0 < length <= MAX_PREDICTION_LENGTH
    found = f"{kind.__name__} has prediction_length {quoted(length)}"
    RequestError.expect(fits, found, f"a whole number from 1 to {MAX_PREDICTION_LENGTH}")
    return predictor


def _arguments(kind: type, configuration: Configuration) -> dict[str, Any]:
    parameters, takes_more = constructor_parameters(kind)
    arguments = {}
    for name, value in _given(configuration, parameters).items():
        known = name in parameters or (takes_more and _is_public(name))
        if not known:
            raise RequestError(_unknown(name, kind, parameters))
        try:
            arguments[name] = check(value, parameters.get(name, Any))
        except Unfit as error:
            raise AskedError(name[:100], f"is {quoted(value)}, expected {error}") from None
    missing = sorted(set(required_parameters(kind)) - set(arguments), key=list(parameters).index)
    if missing:
        raise AskedError(missing[0], f"is missing: {kind.__name__} needs it")
    return arguments


def _given(configuration: Configuration, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the client sent for the constructor, and what it sent for every forecaster, where this one takes it."""
    given: dict[str, Any] = json.loads(configuration.parameters or "{}")
    if "freq" in parameters and configuration.freq is not None:
        given["freq"] = configuration.freq
    if "num_samples" in parameters:
        given["num_samples"] = configuration.num_samples
    return given


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _unknown(name: str, kind: type, parameters: dict[str, Any]) -> str:
    hint = nearby.did_you_mean(name, [*parameters, *OURS])
    if not hint:
        hint = f"; it has {', '.join(map(repr, parameters))}"
    return f"configuration.{name[:100]} is not a parameter of {kind.__name__}{hint}"
