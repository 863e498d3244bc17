"""Predictors that requests name: which names are allowed, how one is built, and which are kept.

A name is judged before anything is imported for it, and the class that it leads to is judged again.
"""

from __future__ import annotations

import difflib
import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, RequestError
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.forecaster.arguments import construct, constructor_parameters, required_parameters
from gluonts_shell.forecasting.forecaster.names import SHORT_NAMES, class_path, resolve
from gluonts_shell.forecasting.forecaster.values import Unfit, fit
from gluonts_shell.forecasting.service.configuration import MAX_PREDICTION_LENGTH
from gluonts_shell.messages import Configuration

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Rule:
    """Which forecasters a request may name: those under `prefixes` if given, else GluonTS's and the code channel's.

    code: the folder that the code channel was installed to. refused: why none may be named, if so.
    """

    prefixes: tuple[str, ...] | None = None
    code: Path | None = None
    refused: str | None = None

    def check(self, name: str) -> None:
        """Imports nothing. Raises RequestError."""
        path = SHORT_NAMES.get(name, name)
        if self.refused:
            raise RequestError(f"configuration.forecaster_name is {quoted(name)}, but {self.refused}")
        if not all(part.isidentifier() for part in path.split(".")) or "." not in path:
            raise RequestError(
                f"configuration.forecaster_name is {quoted(name)}, expected a class path such as "
                "'gluonts.model.trivial.constant.ConstantValuePredictor'"
            )
        if not self.allows(path):
            allowed = (
                "'gluonts.' and the code channel" if self.prefixes is None else ", ".join(map(repr, self.prefixes))
            )
            raise RequestError(
                f"configuration.forecaster_name is {quoted(name)}, which is not allowed: only {allowed or 'none'}"
            )

    def allows(self, path: str) -> bool:
        if self.prefixes is not None:
            return any(f"{path}.".startswith(prefix.rstrip(".") + ".") for prefix in self.prefixes)
        top = path.partition(".")[0]
        return top == "gluonts" or (
            self.code is not None and ((self.code / top).is_dir() or (self.code / f"{top}.py").is_file())
        )

    def allows_class(self, kind: type, path: str) -> bool:
        """A path can end at what its module only imported, so the class's own home counts too."""
        home = f"{kind.__module__}.{kind.__qualname__}"
        same_package = home.partition(".")[0] == path.partition(".")[0]
        return self.allows(home) or self.allows(class_path(kind)) or (self.prefixes is not None and same_package)


def build(configuration: Configuration, rule: Rule | None) -> Predictor:
    """The predictor that the configuration names, with all its parameters; no `rule` for the operator's own choice.

    Raises RequestError with the parameter, what was found and what was expected.
    """
    name = configuration.forecaster or ""
    if rule is not None:
        rule.check(name)
    try:
        kind = resolve(name)
    except ForecasterError as error:
        raise RequestError(f"configuration.forecaster_name: {error}") from error
    if rule is not None and not rule.allows_class(kind, SHORT_NAMES.get(name, name)):
        raise RequestError(
            f"configuration.forecaster_name is {quoted(name)}, whose class {class_path(kind)!r} is not allowed"
        )
    if not issubclass(kind, Predictor) or inspect.isabstract(kind):
        raise RequestError(
            f"configuration.forecaster_name is {quoted(name)}, an Estimator, which needs training; expected a Predictor"
        )
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
        if name not in parameters and not takes_more:
            close = difflib.get_close_matches(
                name, [*parameters, "freq", "num_samples", "output_types", "quantiles"], n=1
            )
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(map(repr, parameters))}"
            raise RequestError(f"configuration.{name[:100]} is not a parameter of {kind.__name__}{hint}")
        try:
            arguments[name] = fit(value, parameters.get(name, Any))
        except Unfit as unfit:
            raise RequestError(f"configuration.{name[:100]} is {quoted(value)}, expected {unfit}") from None
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise RequestError(f"configuration.{missing[0]} is missing: {kind.__name__} needs it")
    return arguments


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
