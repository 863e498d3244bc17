"""Flat hyperparameters -> constructor arguments, trainer arguments and the shell's own options; what is left is an error.

Source of the rule that everything is flat: the shell module's document, "Arguments to a trainer should be passed in
flat". Parameters of the class win over those of the trainer, and explicit `trainer_kwargs` over flat ones.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gluonts_shell.errors import ConfigurationError, ForecasterError
from gluonts_shell.forecasting.forecaster import Forecaster
from gluonts_shell.forecasting.values import Unfit, fit, literal

log = logging.getLogger(__name__)

# Names from DeepAR that other estimators have under a name of their own.
ALIASES = {"learning_rate": "lr", "mini_batch_size": "batch_size", "time_freq": "freq"}
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Options:
    """The shell's own hyperparameters. freq is also given to the classes that want it."""

    freq: str | None = None
    test_quantiles: list[float] = field(default_factory=lambda: list(DECILES))
    num_eval_samples: int = 100
    evaluation: typing.Literal["optional", "required"] = "optional"
    unknown_hyperparameters: typing.Literal["error", "ignore"] = "error"
    seed: int | None = None
    listify_dataset: bool | None = None
    num_workers: int | None = None
    num_prefetch: int | None = None
    shuffle_buffer_length: int | None = None
    cache_data: bool | None = None


@dataclass(frozen=True)
class Routed:
    arguments: dict[str, Any]
    options: Options


def route(kind: Forecaster, hyperparameters: Mapping[str, Any]) -> Routed:
    """Every hyperparameter goes to the constructor, into trainer_kwargs, or into Options, typed as its taker wants it.

    Raises ConfigurationError naming the hyperparameter that fits nowhere or has no fitting value.
    """
    parameters, takes_more = constructor_parameters(kind)
    given = _nested(hyperparameters)
    given.pop("forecaster_name", None)
    for alias, name in ALIASES.items():
        if alias in given and alias not in parameters and (name in parameters or name == "freq"):
            if name in given and given[name] != given[alias]:
                raise ConfigurationError(f"hyperparameters {alias!r} and {name!r} are the same; give one of them")
            given[name] = given.pop(alias)

    options = Options(**{f.name: _typed(f.name, given[f.name], _hints(Options)[f.name]) for f in fields(Options) if f.name in given})
    arguments = {name: _typed(name, given[name], parameters[name]) for name in given if name in parameters}
    rest = {n: v for n, v in given.items() if n not in parameters and n not in Options.__dataclass_fields__}
    if "trainer_kwargs" in parameters:
        arguments["trainer_kwargs"] = _trainer_arguments(rest, arguments.get("trainer_kwargs") or {})
        if not arguments["trainer_kwargs"]:
            del arguments["trainer_kwargs"]
    if takes_more:
        arguments |= {name: literal(value) for name, value in rest.items()}
        rest = {}
    if rest:
        known = [*parameters, *Options.__dataclass_fields__, *ALIASES, *_trainer_parameters("trainer_kwargs" in parameters)]
        message = "; ".join(_unknown(name, kind, known) for name in rest)
        if options.unknown_hyperparameters == "error":
            raise ConfigurationError(message)
        log.warning("ignored, because unknown_hyperparameters is 'ignore': %s", message)
    _check(options)
    return Routed(arguments, options)


def constructor_parameters(kind: type) -> tuple[dict[str, Any], bool]:
    """Names and annotations of a constructor's parameters, and whether it takes any others too."""
    function = inspect.unwrap(kind.__init__)  # type: ignore[misc]
    hints = _hints(function)
    parameters: dict[str, Any] = {}
    takes_more = False
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            # a parameter whose default is a class wants a class, whatever its annotation says
            parameters[name] = Any if isinstance(parameter.default, type) and parameter.default is not parameter.empty \
                else hints.get(name, Any)
    return parameters, takes_more


def required_parameters(kind: type) -> list[str]:
    function = inspect.unwrap(kind.__init__)  # type: ignore[misc]
    return [
        name
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]
        if parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


def construct(kind: Forecaster, arguments: Mapping[str, Any]) -> Any:
    """The estimator or predictor. Raises ForecasterError with the class's own reason where it refuses."""
    missing = [name for name in required_parameters(kind) if name not in arguments]
    if missing:
        raise ConfigurationError(f"{kind.__name__} needs hyperparameter {', '.join(map(repr, missing))}")
    try:
        return kind(**arguments)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "an assertion in its constructor fails"
        raise ForecasterError(f"{kind.__name__} refuses its arguments: {reason[:600]}") from error


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """`trainer_kwargs.max_epochs` is the entry max_epochs of trainer_kwargs; it wins over the same one in its JSON."""
    flat = {name: value for name, value in hyperparameters.items() if "." not in name}
    for name, value in hyperparameters.items():
        outer, dot, inner = name.partition(".")
        if dot:
            group = literal(flat.get(outer, {}))
            if not isinstance(group, Mapping):
                raise ConfigurationError(f"hyperparameter {outer!r} is {group!r}, expected a JSON object because of {name!r}")
            flat[outer] = {**group, inner: value}
    return flat


def _trainer_arguments(rest: dict[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Takes out of `rest` what lightning's Trainer knows, and types it as the Trainer's annotations say."""
    known = _trainer_parameters(True)
    if "epochs" in rest and "max_epochs" in rest:
        raise ConfigurationError("hyperparameters 'epochs' and 'max_epochs' are the same; give one of them")
    flat = {name: rest.pop(name) for name in list(rest) if name in known or name == "epochs"}
    merged = {("max_epochs" if name == "epochs" else name): v for name, v in {**flat, **explicit}.items()}
    if "epochs" in flat and ("epochs" in explicit or "max_epochs" in explicit):
        merged["max_epochs"] = explicit.get("max_epochs", explicit.get("epochs"))
    unknown = [name for name in merged if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"hyperparameter 'trainer_kwargs' has {unknown[0]!r}, which lightning's Trainer does not know{hint}")
    return {name: _typed(name, value, known[name]) for name, value in merged.items()}


def _trainer_parameters(wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    from lightning.pytorch import Trainer

    return constructor_parameters(Trainer)[0]


def _hints(holder: Any) -> dict[str, Any]:
    """Annotations, resolved where they can be."""
    try:
        return typing.get_type_hints(holder)
    except Exception:
        found = inspect.get_annotations(holder)
        return {name: hint for name, hint in found.items() if not isinstance(hint, str)}


def _typed(name: str, value: Any, annotation: Any) -> Any:
    try:
        return fit(value, annotation)
    except Unfit as error:
        raise ConfigurationError(f"hyperparameter {name!r} is {str(value)[:200]!r}, expected {error}") from None


def _unknown(name: str, kind: type, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"hyperparameter {name!r} is not known to {kind.__name__}{hint}"


def _check(options: Options) -> None:
    wrong = [q for q in options.test_quantiles if not 0 < q < 1]
    if wrong or not options.test_quantiles:
        found = repr(wrong[0]) if wrong else "empty"
        raise ConfigurationError(f"hyperparameter 'test_quantiles' has {found}, expected numbers between 0 and 1")
    for name in ("num_eval_samples", "num_workers", "num_prefetch", "shuffle_buffer_length"):
        value = getattr(options, name)
        if value is not None and value < (1 if name != "num_workers" else 0):
            raise ConfigurationError(f"hyperparameter {name!r} is {value}, expected a positive whole number")
