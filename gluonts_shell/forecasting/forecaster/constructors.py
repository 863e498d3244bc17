"""A forecaster's constructor: which parameters it has and needs, and how it is called. It converts no value."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
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

    named: annotation of each parameter that has a name; required: those without a default; open:
    whether it takes others too, as `**kwargs` does.
    """

    named: Mapping[str, Any]
    required: tuple[str, ...]
    open: bool

    @classmethod
    def of(cls, function: Any) -> Signature:
        hints = hints_of(function)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        named: dict[str, Any] = {}
        required: list[str] = []
        takes_more = False
        for each in parameters:
            if each.kind in VARIADIC:
                takes_more |= each.kind is each.VAR_KEYWORD
                continue
            named[each.name] = _wanted(each, hints.get(each.name, Any))
            if each.default is each.empty:
                required.append(each.name)
        return cls(named, tuple(required), takes_more)

    def joined(self, other: Signature) -> Signature:
        """With what another function takes; what both name is as this one has it."""
        named = {**self.named, **other.named, **self.named}
        return Signature(named, self.required, self.open or other.open)


def constructor_parameters(kind: type) -> tuple[dict[str, Any], bool]:
    """Names and annotations of a constructor's parameters, and whether it takes any others too.

    One with `**kwargs` usually hands them on to its base class, so that one's are counted in. A
    class with a from_hyperparameters or from_inputs of its own is constructed by that, so what it
    takes counts too.
    """
    found = _of_the_constructor(kind)
    for hook in hooks(kind):
        found = found.joined(Signature.of(hook))
    parameters = dict(found.named)
    parameters.pop("train_iter", None)  # what from_inputs calls the training data
    return parameters, found.open


def hooks(kind: type) -> list[Any]:
    """GluonTS's hooks for constructing that a class defines itself, as functions: from_inputs, from_hyperparameters.

    Those of GluonTS's own classes do what is done here without them: mxnet's give flat arguments to the Trainer.
    """
    found = []
    for name in HOOKS:
        method = getattr(kind, name, None)
        if inspect.ismethod(method) and not method.__module__.startswith("gluonts."):
            found.append(method.__func__)
    return found


def _of_the_constructor(kind: type) -> Signature:
    """Of its own and those that its `**kwargs` go on to; one that ends behind `**kwargs` still is open."""
    found = None
    for function in _constructors(kind):
        signature = Signature.of(function)
        found = signature if found is None else found.joined(signature)
        if not signature.open:
            return found
        validated = _validated(function)
        if validated.keys() - signature.named.keys():
            return Signature({**validated, **found.named}, found.required, open=False)
    return found or Signature({}, (), open=True)


def _wanted(parameter: inspect.Parameter, annotation: Any) -> Any:
    """A parameter whose default is a class wants a class, whatever its annotation says."""
    if not isinstance(parameter.default, type) or parameter.default is parameter.empty:
        return annotation
    if annotation is type or not isinstance(annotation, type):
        return type
    return type[annotation]


def _validated(function: Any) -> dict[str, Any]:
    """What `@validated(model)` names, which the signature need not: that of TreeEstimator is **kwargs alone."""
    model = getattr(function, "Model", None)
    if model is None:
        return {}
    hints = hints_of(model)
    return {name: hints.get(name, Any) for name in model.__fields__}


def required_parameters(kind: type) -> list[str]:
    return list(Signature.of(_constructors(kind)[0]).required)


def _constructors(kind: type) -> list[Any]:
    """The class's own and those of its bases, but for GluonTS's roots, which are named where nothing else is."""
    found = []
    for base in kind.__mro__:
        if base not in ROOTS and "__init__" in vars(base):
            found.append(vars(base)["__init__"])
    return found or [kind.__init__]  # type: ignore[misc]


def check_complete(kind: type, arguments: Mapping[str, Any]) -> None:
    """Raises ConfigurationError, naming the arguments that the class cannot do without."""
    if hooks(kind):  # they may fill them in
        return
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise ConfigurationError(
            f"{kind.__name__} needs hyperparameter {', '.join(map(repr, missing))}"
        )


def with_frequency(kind: type, arguments: Mapping[str, Any], freq: str) -> dict[str, Any]:
    """The arguments, with freq where the class has a use for it: by its signature, its model, or behind `**kwargs`."""
    found = dict(arguments)
    if _takes(kind, "freq", arguments):
        found["freq"] = freq
    return found


def _takes(kind: type, name: str, arguments: Mapping[str, Any]) -> bool:
    parameters, takes_more = constructor_parameters(kind)
    if name in parameters or not takes_more:
        return name in parameters
    if any(_mentions(function, name) for function in (*hooks(kind), *_constructors(kind))):
        return True
    return any(_hands_on(kind, other, name) for other in arguments.values())


def _hands_on(kind: type, value: Any, name: str) -> bool:
    """Whether an argument is a class to which the first hands its own arguments, and which takes this one."""
    if not isinstance(value, type) or value is kind:
        return False
    parameters, _ = constructor_parameters(value)
    return name in parameters


def _mentions(function: Any, name: str) -> bool:
    """`kwargs["freq"]`, `kwargs.get("freq")`: the name is a constant of the function's code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return name in getattr(code, "co_consts", ())


def construct(kind: type, arguments: Mapping[str, Any], train: Any = None) -> Any:
    """The estimator or predictor, by the class's own hook where it has one; train: the data that from_inputs gets.

    Raises ForecasterError with the class's own reason where it refuses, and where what it made is no forecaster.
    """
    check_complete(kind, arguments)
    parameters, _ = constructor_parameters(kind)
    if "cardinality" in parameters:
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
