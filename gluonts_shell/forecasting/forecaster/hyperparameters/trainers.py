"""Arguments of an estimator's trainer, which hyperparameters give flat: of Lightning's Trainer, and of mxnet's.

Lightning's are collected in the estimator's `trainer_kwargs`; mxnet's estimators take the Trainer itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.constructors import constructor_parameters
from gluonts_shell.forecasting.forecaster.hyperparameters.values import (
    given_twice,
    is_null,
    literal,
    typed,
)

LIGHTNINGS_TIME = re.compile(r"\d+:\d\d:\d\d:\d\d")


def known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the trainer of a class with these constructor parameters takes; nothing where it has none."""
    if "trainer_kwargs" in parameters:
        return _lightning()
    trainer = parameters.get("trainer")
    return constructor_parameters(trainer)[0] if isinstance(trainer, type) else {}


def arguments(
    parameters: Mapping[str, Any], given: Mapping[str, Any], rest: dict[str, Any]
) -> dict[str, Any]:
    """The constructor's arguments for its trainer; takes what they are made of out of `rest`.

    given: the arguments so far; an explicit trainer_kwargs wins over flat ones. Raises ConfigurationError.
    """
    if "trainer_kwargs" in parameters:
        found = _of_lightning(rest, given.get("trainer_kwargs") or {})
        return {"trainer_kwargs": found} if found else {}
    flat = typed(rest, known(parameters))
    if not flat:
        return {}
    if "trainer" in given:
        names = ", ".join(map(repr, flat))
        raise ConfigurationError(
            f"hyperparameters {names} are the trainer's, and 'trainer' is given; give one of them"
        )
    for name in flat:
        del rest[name]
    return {"trainer": parameters["trainer"](**flat)}


def _of_lightning(rest: dict[str, Any], explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Typed as the annotations of Lightning's Trainer say; `epochs` is its max_epochs."""
    takes = _lightning()
    if rest.keys() >= {"epochs", "max_epochs"}:
        raise given_twice("epochs", "max_epochs")
    theirs = [name for name in rest if name in {*takes, "epochs"}]
    flat = {name: rest.pop(name) for name in theirs}
    merged = {**_renamed(flat), **_renamed(explicit)}
    _check_known(merged, takes)
    if "max_time" in merged:
        merged["max_time"] = _duration(merged["max_time"])
    found = typed(merged, takes)
    _check_nodes(found)
    if found.get("enable_checkpointing") is False:
        raise ConfigurationError(
            "hyperparameter 'enable_checkpointing' is false, but GluonTS needs checkpoints"
        )
    return found


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "epochs" in found:
        found["max_epochs"] = found.pop("epochs")
    return found


def _check_known(given: Mapping[str, Any], takes: Mapping[str, Any]) -> None:
    unknown = [name for name in given if name not in takes]
    if unknown:
        hint = nearby.did_you_mean(unknown[0], takes)
        found = f"hyperparameter 'trainer_kwargs' has {unknown[0]!r}"
        raise ConfigurationError(f"{found}, which lightning's Trainer does not know{hint}")


def _check_nodes(given: Mapping[str, Any]) -> None:
    """The job's resourceconfig.json tells how many hosts there are."""
    value = given.get("num_nodes", 1)
    if value != 1:
        raise ConfigurationError(
            f"hyperparameter 'num_nodes' is {value}, but the job's instance_count tells how many hosts there are; "
            "remove it"
        )


def _duration(given: Any) -> Any:
    """Lightning's DD:HH:MM:SS, or a number of seconds, which it does not take; its objects are its own business."""
    value = literal(given)
    text = str(value).strip()
    if isinstance(value, dict) or is_null(value) or LIGHTNINGS_TIME.fullmatch(text):
        return value
    number = 0.0
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        number = float(text)
    found = f"hyperparameter 'max_time' is {text[:200]!r}"
    ConfigurationError.expect(number, found, "a number of seconds, or DD:HH:MM:SS")
    minutes, seconds = divmod(math.ceil(number), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days:02}:{hours:02}:{minutes:02}:{seconds:02}"


def _lightning() -> dict[str, Any]:
    from lightning.pytorch import Trainer

    return constructor_parameters(Trainer)[0]
