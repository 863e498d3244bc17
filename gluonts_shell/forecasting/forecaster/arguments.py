"""Flat hyperparameters -> constructor arguments, trainer arguments and our own options; what is left is an error.

Source of the rule that everything is flat: the shell module's document, "Arguments to a trainer should be passed in
flat". Parameters of the class win over those of the trainer, and explicit `trainer_kwargs` over flat ones.
"""

from __future__ import annotations

import difflib
import logging
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.evaluation.formulas import Metrics
from gluonts_shell.forecasting.forecaster.constructors import constructor_parameters, hints_of
from gluonts_shell.forecasting.forecaster.names import Forecaster
from gluonts_shell.forecasting.forecaster.values import NOTHING, Unfit, fit, literal

log = logging.getLogger(__name__)

# Names from DeepAR that other estimators have under a name of their own.
ALIASES = {"learning_rate": "lr", "mini_batch_size": "batch_size", "time_freq": "freq"}
LEAST = {
    "num_eval_samples": 1,
    "num_prefetch": 1,
    "shuffle_buffer_length": 1,
    "num_workers": 0,
    "seed": 0,
    "checkpoint_every": 0,
}


@dataclass(frozen=True)
class Options:
    """The shell's own hyperparameters. freq is also given to the classes that want it."""

    freq: str | None = None
    test_quantiles: list[str] = field(default_factory=lambda: [f"0.{i}" for i in range(1, 10)])
    num_eval_samples: int = 100
    evaluation: typing.Literal["optional", "required"] = "optional"
    unknown_hyperparameters: typing.Literal["error", "ignore"] = "error"
    seed: int | None = None
    listify_dataset: bool | None = None
    num_workers: int | None = None
    num_prefetch: int | None = None
    shuffle_buffer_length: int | None = None
    cache_data: bool | None = None
    checkpoint_every: float | None = None


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

    hints = hints_of(Options)
    options = Options(**{name: _typed(name, given[name], hints[name]) for name in hints if name in given})
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
        trainers = _trainer_parameters() if "trainer_kwargs" in parameters else {}
        known = [*parameters, *Options.__dataclass_fields__, *ALIASES, *trainers]
        message = "; ".join(_unknown(name, kind, known) for name in rest)
        if options.unknown_hyperparameters == "error":
            raise ConfigurationError(message)
        log.warning("ignored, because unknown_hyperparameters is 'ignore': %s", message)
    _check(options)
    return Routed(arguments, options)


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """`trainer_kwargs.max_epochs` is the entry max_epochs of trainer_kwargs; it wins over the same one in its JSON."""
    values = {name: value for name, value in hyperparameters.items() if "." not in name}
    for name, value in hyperparameters.items():
        if name in values:
            continue
        *path, last = name.split(".")
        group = values
        for outer in path:
            inner = literal(group.get(outer, {}))
            if not isinstance(inner, Mapping):
                found = f"hyperparameter {outer!r} is {str(inner)[:200]!r}"
                raise ConfigurationError(f"{found}, expected a JSON object because of {name!r}")
            group[outer] = dict(inner)
            group = group[outer]
        group[last] = value
    return values


def _trainer_arguments(rest: dict[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Takes out of `rest` what lightning's Trainer knows, and types it as the Trainer's annotations say."""
    known = _trainer_parameters()
    if "epochs" in rest and "max_epochs" in rest:
        raise ConfigurationError("hyperparameters 'epochs' and 'max_epochs' are the same; give one of them")
    flat = {name: rest.pop(name) for name in list(rest) if name in known or name == "epochs"}
    given = [*flat.items(), *explicit.items()]  # the later ones win
    merged = {("max_epochs" if name == "epochs" else name): value for name, value in given}
    unknown = [name for name in merged if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        found = f"hyperparameter 'trainer_kwargs' has {unknown[0]!r}"
        raise ConfigurationError(f"{found}, which lightning's Trainer does not know{hint}")
    if str(merged.get("max_time", "null")).lower() not in NOTHING:
        merged["max_time"] = _duration(merged["max_time"])
    arguments = {name: _typed(name, value, known[name]) for name, value in merged.items()}
    if arguments.get("enable_checkpointing") is False:
        raise ConfigurationError("hyperparameter 'enable_checkpointing' is false, but GluonTS needs checkpoints")
    for name in ("devices", "num_nodes"):
        value = arguments.get(name, 1)
        if value not in (1, "auto") and not (isinstance(value, list) and len(value) == 1):
            # a process for each device would train on all of the data, and all of them would write the model
            raise ConfigurationError(
                f"hyperparameter {name!r} is {value}, but GluonTS trains in one process; remove it"
            )
    return {name: 1 if (name, value) == ("devices", "auto") else value for name, value in arguments.items()}


def _duration(given: Any) -> Any:
    """Lightning's DD:HH:MM:SS, or a number of seconds, which it does not take; its objects are its own business."""
    value = literal(given)
    if isinstance(value, dict):
        return value
    text = str(value).strip()
    if re.fullmatch(r"\d+:\d\d:\d\d:\d\d", text):
        return text
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text) or float(text) == 0:
        expected = "a number of seconds, or DD:HH:MM:SS"
        raise ConfigurationError(f"hyperparameter 'max_time' is {text[:200]!r}, expected {expected}")
    minutes, seconds = divmod(math.ceil(float(text)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days:02}:{hours:02}:{minutes:02}:{seconds:02}"


def _trainer_parameters() -> dict[str, Any]:
    from lightning.pytorch import Trainer

    return constructor_parameters(Trainer)[0]


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
    try:
        Metrics.parse(options.test_quantiles)
    except ConfigurationError as error:
        raise ConfigurationError(f"hyperparameter 'test_quantiles': {error}") from None
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < least:
            kind = "a number of seconds," if isinstance(value, float) else "a whole number of"
            raise ConfigurationError(f"hyperparameter {name!r} is {value}, expected {kind} at least {least}")
    if options.seed is not None and options.seed >= 2**32:
        raise ConfigurationError(f"hyperparameter 'seed' is {options.seed}, expected a whole number below 2**32")
