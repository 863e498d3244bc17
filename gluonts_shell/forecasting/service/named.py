"""Predictors that requests name: how one is built from what the client sent, and which are kept.

The class comes from `allowed`, the values from `plain`; nothing here imports by name or evaluates a text.
"""

from __future__ import annotations

import difflib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, RequestError
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.forecaster.constructors import construct, constructor_parameters, required_parameters
from gluonts_shell.forecasting.service.configuration import MAX_PREDICTION_LENGTH
from gluonts_shell.forecasting.service.plain import Refused, check
from gluonts_shell.messages import Configuration

Key = TypeVar("Key")
Value = TypeVar("Value")
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
    if not isinstance(length, int) or not 0 < length <= MAX_PREDICTION_LENGTH:
        raise RequestError(
            f"{kind.__name__} has prediction_length {quoted(length)}, expected a whole number "
            f"from 1 to {MAX_PREDICTION_LENGTH}"
        )
    return predictor


def _arguments(kind: type, configuration: Configuration) -> dict[str, Any]:
    parameters, takes_more = constructor_parameters(kind)
    given = json.loads(configuration.parameters or "{}")
    for name, value in (("freq", configuration.freq), ("num_samples", configuration.num_samples)):
        if name in parameters and value is not None:
            given[name] = value
    arguments = {}
    for name, value in given.items():
        if name not in parameters and not (takes_more and name.isidentifier() and not name.startswith("_")):
            raise RequestError(_unknown(name, kind, parameters))
        try:
            arguments[name] = check(value, parameters.get(name, Any))
        except Refused as refusal:
            raise RequestError(f"configuration.{name[:100]} is {quoted(value)}, expected {refusal}") from None
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise RequestError(f"configuration.{missing[0]} is missing: {kind.__name__} needs it")
    return arguments


def _unknown(name: str, kind: type, parameters: dict[str, Any]) -> str:
    close = difflib.get_close_matches(name[:100], [*parameters, *OURS], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(map(repr, parameters))}"
    return f"configuration.{name[:100]} is not a parameter of {kind.__name__}{hint}"


@dataclass
class Recent(Generic[Key, Value]):
    """The values that were asked for last, made where they are missing; for several threads.

    Two threads may make the same value at once: making is slow, and nobody else should wait for it.
    """

    make: Callable[[Key], Value]
    size: int = 8
    kept: OrderedDict[Key, Value] = field(default_factory=OrderedDict)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, key: Key) -> Value:
        with self.mutex:
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]
        value = self.make(key)
        with self.mutex:
            self.kept[key] = value
            while len(self.kept) > self.size:
                self.kept.popitem(last=False)
        return value
