"""A forecaster's constructor: which parameters it has and needs, and how it is called. It converts no value."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor, RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, ShellError
from gluonts_shell.forecasting.forecaster import faults

ROOTS = (Estimator, Predictor, RepresentablePredictor, object)
# the first gets the training data too, so it goes first
HOOKS = (
    "from_inputs",
    "from_hyperparameters",
)
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def constructor_parameters(kind: type) -> tuple[dict[str, Any], bool]:
    """Names and annotations of a constructor's parameters, and whether it takes any others too.

    One with `**kwargs` usually hands them on to its base class, so that one's are counted in. A class with a
    from_hyperparameters or from_inputs of its own is constructed by that, so what it takes counts too.
    """
    parameters, takes_more = _of_the_constructor(kind)
    for hook in hooks(kind):
        hints, found = hints_of(hook), _parameters(hook)
        named = [name for name, parameter in found.items() if parameter.kind not in VARIADIC]
        parameters = {**{name: hints.get(name, Any) for name in named}, **parameters}
        takes_more = takes_more or _is_open(found)
    parameters.pop("train_iter", None)  # what from_inputs calls the training data
    return parameters, takes_more


def hooks(kind: type) -> list[Any]:
    """GluonTS's hooks for constructing that a class defines itself, as functions: from_inputs, from_hyperparameters.

    Those of GluonTS's own classes do what is done here without them: mxnet's give flat arguments to the Trainer.
    """
    methods = [getattr(kind, name, None) for name in HOOKS]
    functions = [method.__func__ for method in methods if inspect.ismethod(method)]
    return [function for function in functions if not function.__module__.startswith("gluonts.")]


def _of_the_constructor(kind: type) -> tuple[dict[str, Any], bool]:
    parameters: dict[str, Any] = {}
    takes_more = True
    for depth, function in enumerate(_constructors(kind)):
        hints, found = hints_of(function), _parameters(function)
        for name, parameter in found.items():
            if parameter.kind not in VARIADIC:
                parameters.setdefault(name, _wanted(parameter, hints.get(name, Any)))
        if not _is_open(found):
            takes_more = depth > 0
            break
        validated = _validated_names(function, found)
        if validated:
            return {**validated, **parameters}, False
    return parameters, takes_more


def _is_open(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _wanted(parameter: inspect.Parameter, annotation: Any) -> Any:
    """A parameter whose default is a class wants a class, whatever its annotation says."""
    if not isinstance(parameter.default, type) or parameter.default is parameter.empty:
        return annotation
    named = isinstance(annotation, type) and annotation is not type
    return type[annotation] if named else type


def _validated_names(function: Any, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """What `@validated(model)` names and the signature does not: that of TreeEstimator is **kwargs alone."""
    model = getattr(function, "Model", None)
    hints = hints_of(model) if model is not None else {}
    more = [name for name in getattr(model, "__fields__", ()) if name not in parameters]
    return {name: hints.get(name, Any) for name in more}


def required_parameters(kind: type) -> list[str]:
    found = _parameters(next(_constructors(kind)))
    return [name for name, p in found.items() if p.default is p.empty and p.kind not in VARIADIC]


def _constructors(kind: type) -> Iterator[Any]:
    """The class's own and those of its bases, but for GluonTS's roots, which are named where nothing else is."""
    owners = [base for base in kind.__mro__ if "__init__" in vars(base)]
    for base in [base for base in owners if base not in ROOTS] or owners[:1]:
        yield vars(base)["__init__"]


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Without self."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def check_complete(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raises ConfigurationError, naming the arguments that the class cannot do without."""
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing and not hooks(kind):  # a hook may fill them in
        raise ConfigurationError(
            f"{kind.__name__} needs hyperparameter {', '.join(map(repr, missing))}"
        )


def with_frequency(kind: type, arguments: Mapping[str, Any], freq: str) -> dict[str, Any]:
    """The arguments, with freq where the class has a use for it: by its signature, its model, or behind `**kwargs`."""
    return {**arguments, "freq": freq} if _takes(kind, "freq", arguments) else dict(arguments)


def _takes(kind: type, name: str, arguments: Mapping[str, Any]) -> bool:
    parameters, takes_more = constructor_parameters(kind)
    if name in parameters or not takes_more:
        return name in parameters
    if any(_mentions(function, name) for function in (*hooks(kind), *_constructors(kind))):
        return True
    handed_to = [
        value for value in arguments.values() if isinstance(value, type) and value is not kind
    ]
    return any(name in constructor_parameters(other)[0] for other in handed_to)


def _mentions(function: Any, name: str) -> bool:
    """`kwargs["freq"]`, `kwargs.get("freq")`: the name is a constant of the function's code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and name in code.co_consts


def construct(kind: type, arguments: Mapping[str, Any], train: Any = None) -> Any:
    """The estimator or predictor, by the class's own hook where it has one; train: the data that from_inputs gets.

    Raises ForecasterError with the class's own reason where it refuses, and where what it made is no forecaster.
    """
    check_complete(kind, arguments)
    if "cardinality" in constructor_parameters(kind)[0]:
        faults.check_categories(arguments)
    try:
        made = _call(kind, arguments, train)
    except ShellError:
        raise
    except ImportError as error:  # prophet and R are looked for only now
        raise ForecasterError(faults.not_installed(kind, error)) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or "an assertion in its constructor fails"
        raise ForecasterError(f"{kind.__name__} refuses its arguments: {reason[:600]}") from error
    if isinstance(made, Predictor):
        faults.check_predictor(made)
    return made


def _call(kind: Any, arguments: Mapping[str, Any], train: Any) -> Any:
    own = [hook.__name__ for hook in hooks(kind)]
    if "from_inputs" in own and train is not None:
        return kind.from_inputs(train, **arguments)
    if "from_hyperparameters" in own:
        return kind.from_hyperparameters(**arguments)
    return kind(**arguments)


def hints_of(holder: Any) -> dict[str, Any]:
    """Annotations, resolved where they can be."""
    try:
        return typing.get_type_hints(holder)
    except Exception:
        found = inspect.get_annotations(holder)
        return {name: hint for name, hint in found.items() if not isinstance(hint, str)}
