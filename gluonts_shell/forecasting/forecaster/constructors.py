"""A forecaster's constructor: which parameters it has and needs, and how it is called. It converts no value."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor, RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, ShellError
from gluonts_shell.forecasting.forecaster import faults

ROOTS = (Estimator, Predictor, RepresentablePredictor, object)
# the first gets the training data too, so it goes first
HOOKS = ("from_inputs", "from_hyperparameters")
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Signature:
    """Of a constructor, without what it is called on.

    named: annotation of each parameter that has a name; required: those without a default; open: whether it takes
    others too, as `**kwargs` does.
    """

    named: Mapping[str, Any]
    required: tuple[str, ...]
    open: bool

    @classmethod
    def of(cls, function: Any) -> Signature:
        hints = hints_of(function)
        found = list(inspect.signature(function).parameters.values())[1:]
        named = [parameter for parameter in found if parameter.kind not in VARIADIC]
        return cls(
            {each.name: _wanted(each, hints.get(each.name, Any)) for each in named},
            tuple(each.name for each in named if each.default is each.empty),
            any(parameter.kind is parameter.VAR_KEYWORD for parameter in found),
        )


def constructor_parameters(kind: type) -> tuple[dict[str, Any], bool]:
    """Names and annotations of a constructor's parameters, and whether it takes any others too.

    One with `**kwargs` usually hands them on to its base class, so that one's are counted in. A class with a
    from_hyperparameters or from_inputs of its own is constructed by that, so what it takes counts too.
    """
    parameters, takes_more = _of_the_constructor(kind)
    for hook in hooks(kind):
        signature = Signature.of(hook)
        parameters = {**signature.named, **parameters}
        takes_more = takes_more or signature.open
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
    for depth, function in enumerate(_constructors(kind)):
        signature = Signature.of(function)
        parameters |= {**signature.named, **parameters}
        if not signature.open:
            return parameters, depth > 0
        validated = _validated(function)
        if validated.keys() - signature.named.keys():
            return {**validated, **parameters}, False
    return parameters, True


def _wanted(parameter: inspect.Parameter, annotation: Any) -> Any:
    """A parameter whose default is a class wants a class, whatever its annotation says."""
    if not isinstance(parameter.default, type) or parameter.default is parameter.empty:
        return annotation
    named = isinstance(annotation, type) and annotation is not type
    return type[annotation] if named else type


def _validated(function: Any) -> dict[str, Any]:
    """What `@validated(model)` names, which the signature need not: that of TreeEstimator is **kwargs alone."""
    model = getattr(function, "Model", None)
    if model is None:
        return {}
    hints = hints_of(model)
    return {name: hints.get(name, Any) for name in model.__fields__}


def required_parameters(kind: type) -> list[str]:
    return list(Signature.of(next(_constructors(kind))).required)


def _constructors(kind: type) -> Iterator[Any]:
    """The class's own and those of its bases, but for GluonTS's roots, which are named where nothing else is."""
    owners = [base for base in kind.__mro__ if "__init__" in vars(base)]
    for base in [base for base in owners if base not in ROOTS] or owners[:1]:
        yield vars(base)["__init__"]


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
    # one that hands its arguments to a class that it is given
    others = [value for value in arguments.values() if isinstance(value, type)]
    return any(name in constructor_parameters(other)[0] for other in others if other is not kind)


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
