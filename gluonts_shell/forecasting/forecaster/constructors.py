"""A forecaster's constructor: which parameters it has and needs, and how it is called. It converts no value."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor, RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, ShellError

ROOTS = (Estimator, Predictor, RepresentablePredictor, object)
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def constructor_parameters(kind: type) -> tuple[dict[str, Any], bool]:
    """Names and annotations of a constructor's parameters, and whether it takes any others too.

    One with `**kwargs` usually hands them on to its base class, so that one's are counted in.
    """
    parameters: dict[str, Any] = {}
    takes_more = True
    for depth, function in enumerate(_constructors(kind)):
        hints, found = hints_of(function), _parameters(function)
        for name, parameter in found.items():
            # a parameter whose default is a class wants a class, whatever its annotation says
            wants_class = isinstance(parameter.default, type) and parameter.default is not parameter.empty
            if parameter.kind not in VARIADIC:
                parameters.setdefault(name, type if wants_class else hints.get(name, Any))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values()):
            takes_more = depth > 0
            break
    return parameters, takes_more


def required_parameters(kind: type) -> list[str]:
    found = _parameters(next(_constructors(kind)))
    return [name for name, p in found.items() if p.default is p.empty and p.kind not in VARIADIC]


def _constructors(kind: type) -> Iterator[Any]:
    """The class's own and those of its bases, but for GluonTS's roots, which are named where nothing else is."""
    owners = [base for base in kind.__mro__ if "__init__" in vars(base)]
    for base in [base for base in owners if base not in ROOTS] or owners[:1]:
        yield inspect.unwrap(vars(base)["__init__"])


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Without self."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def check_complete(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raises ConfigurationError, naming the arguments that the class cannot do without."""
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise ConfigurationError(f"{kind.__name__} needs hyperparameter {', '.join(map(repr, missing))}")


def construct(kind: type, arguments: Mapping[str, Any]) -> Any:
    """The estimator or predictor. Raises ForecasterError with the class's own reason where it refuses."""
    check_complete(kind, arguments)
    try:
        return kind(**arguments)
    except ShellError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "an assertion in its constructor fails"
        if isinstance(error, ImportError):  # prophet and R are looked for only now
            raise ForecasterError(f"{kind.__name__} needs a package that is not installed: {reason[:600]}") from error
        raise ForecasterError(f"{kind.__name__} refuses its arguments: {reason[:600]}") from error


def hints_of(holder: Any) -> dict[str, Any]:
    """Annotations, resolved where they can be."""
    try:
        return typing.get_type_hints(holder)
    except Exception:
        found = inspect.get_annotations(holder)
        return {name: hint for name, hint in found.items() if not isinstance(hint, str)}
