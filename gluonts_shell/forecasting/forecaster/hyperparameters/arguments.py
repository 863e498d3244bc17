"""Flat hyperparameters -> constructor arguments, trainer arguments and our own options; what is left is an error.

Source of the rule that everything is flat: the shell module's document, "Arguments to a trainer
should be passed in flat". Parameters of the class win over those of the trainer, and explicit
`trainer_kwargs` over flat ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.constructors import constructor_parameters
from gluonts_shell.forecasting.forecaster.hyperparameters import trainers
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options
from gluonts_shell.forecasting.forecaster.hyperparameters.values import given_twice, literal, typed
from gluonts_shell.forecasting.forecaster.names import Forecaster

log = logging.getLogger(__name__)

# Names from DeepAR that other estimators have under a name of their own.
ALIASES = {"learning_rate": "lr", "mini_batch_size": "batch_size", "time_freq": "freq"}


@dataclass(frozen=True)
class Routed:
    arguments: dict[str, Any]
    options: Options


def route(kind: Forecaster, hyperparameters: Mapping[str, Any]) -> Routed:
    """Every hyperparameter goes to the constructor, to its trainer, or into Options, typed as its taker wants it.

    Raises ConfigurationError naming the hyperparameter that fits nowhere or has no fitting value.
    """
    parameters, takes_more = constructor_parameters(kind)
    given = _renamed(nested(hyperparameters), parameters)
    options = Options.parse(given)
    arguments = typed(given, parameters)
    ours = {*parameters, *Options.__dataclass_fields__}
    rest = {name: value for name, value in given.items() if name not in ours}
    arguments |= trainers.arguments(parameters, arguments, rest)
    if takes_more:
        arguments |= typed(rest, dict.fromkeys(rest, Any))
    elif rest:
        _refuse(rest, kind, [*ours, *ALIASES, *trainers.known(parameters)], options)
    return Routed(arguments, options)


def _renamed(given: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Without the forecaster's name, and with DeepAR's names as the class calls them."""
    found = dict(given)
    found.pop("forecaster_name", None)
    aliases = ALIASES.keys() & found.keys() - parameters.keys()
    for alias in sorted(aliases):
        name = ALIASES[alias]
        if name not in {*parameters, "freq"}:
            continue
        value = found.pop(alias)
        if found.setdefault(name, value) != value:
            raise given_twice(alias, name)
    return found


def nested(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """`trainer_kwargs.max_epochs` is the entry max_epochs of trainer_kwargs; it wins over the same one in its JSON.

    Nobody annotates what is in a dict, so what a dotted name has is a value: `"false"` is false, `"[80, 90]"` a list.
    """
    dotted = [name for name in hyperparameters if "." in name]
    values = dict(hyperparameters)
    for name in dotted:
        del values[name]
    for name in dotted:
        _enter(values, name, literal(hyperparameters[name]))
    return values


def _enter(values: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    group = values
    for outer in path:
        inner = literal(group.get(outer, {}))
        found = f"hyperparameter {outer!r} is {str(inner)[:200]!r}"
        expected = f"a JSON object because of {name!r}"
        ConfigurationError.expect(isinstance(inner, Mapping), found, expected)
        group[outer] = dict(inner)
        group = group[outer]
    group[last] = value


def _refuse(rest: Mapping[str, Any], kind: type, known: list[str], options: Options) -> None:
    """Raises ConfigurationError about what nobody takes, or only warns where the job says so."""
    message = "; ".join(_unknown(name, kind, known) for name in rest)
    if options.unknown_hyperparameters == "error":
        raise ConfigurationError(message)
    log.warning("ignored, because unknown_hyperparameters is 'ignore': %s", message)


def _unknown(name: str, kind: type, known: list[str]) -> str:
    hint = nearby.did_you_mean(name, known)
    return f"hyperparameter {name!r} is not known to {kind.__name__}{hint}"
