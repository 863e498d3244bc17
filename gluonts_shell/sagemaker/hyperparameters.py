"""What hyperparameters.json holds -> names and values, without the wire's accidents. Pure; types come later.

SageMaker sends every value as a string of limited length. The SDK quotes strings once more as JSON, long values
travel in numbered parts, and the service adds entries of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from gluonts_shell.errors import ConfigurationError

# `sagemaker_*` comes from the SDK, `_tuning_objective_metric` from tuning jobs, the others from DeepAR's image,
# which took them and told nobody; none of them describes a forecaster.
BOOKKEEPING = re.compile(
    r"sagemaker_.*|_tuning_objective_metric|_kvstore|_num_gpus|_num_kv_servers"
)
QUOTED = re.compile(r'".*"', re.DOTALL)
PART = re.compile(r"_(\d+)_(.+)")
# the second is for SDK v3, whose driver exports each name to a shell, which takes no dollar
ENV = ("$env.", "env_")


def decode(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyperparameters and, apart from them, the `$env.` and `env_` entries, which set `gluonts.env`.

    Values are the strings of the wire, unquoted, or JSON values as they were.
    Raises ConfigurationError where a part of a split value is missing, or something is given twice.
    """
    values: dict[str, Any] = {}
    env: dict[str, Any] = {}
    for name, value in joined(raw).items():
        if not BOOKKEEPING.fullmatch(name):
            place, key = _place(name.strip(), values, env)
            if key in place:
                raise ConfigurationError(
                    f"hyperparameter {name!r} is given twice, as {key!r} too; give it once"
                )
            place[key] = unquoted(value)
    forecaster = values.get("forecaster_name")
    if isinstance(forecaster, str):
        values["forecaster_name"] = forecaster.strip()
    return values, env


def _place(name: str, values: dict[str, Any], env: dict[str, Any]) -> tuple[dict[str, Any], str]:
    for prefix in ENV:
        if name.startswith(prefix):
            return env, name[len(prefix) :]
    return values, name


def source_dir(raw: Mapping[str, Any]) -> str | None:
    """Where the SDK's estimators (version 2) put their source_dir; other images unpack and run it."""
    value = unquoted(raw.get("sagemaker_submit_directory"))
    if not isinstance(value, str):
        return None
    return value or None


def joined(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Put values together that were split into `_0_name`, `_1_name`, ... because a value's length is limited."""
    whole: dict[str, Any] = {}
    parts: dict[str, dict[int, str]] = {}
    for name, value in raw.items():
        match = PART.fullmatch(name)
        if match:
            parts.setdefault(match[2], {})[int(match[1])] = str(value)
        else:
            whole[name] = value
    for name, pieces in parts.items():
        if name in whole:
            raise ConfigurationError(
                f"hyperparameter {name!r} is given whole and in parts; give it once"
            )
        whole[name] = _whole(name, pieces)
    return whole


def _whole(name: str, pieces: Mapping[int, str]) -> str:
    text = ""
    for number in range(max(pieces) + 1):
        if number not in pieces:
            missing = f"_{number}_{name}"
            raise ConfigurationError(
                f"hyperparameter {name!r} is split into parts, and {missing!r} is missing"
            )
        text += pieces[number]
    return text


def unquoted(value: Any) -> Any:
    """`"\\"text\\""` is how the SDK's framework estimators write `text`."""
    if not isinstance(value, str) or not QUOTED.fullmatch(value):
        return value
    try:
        inner = json.loads(value)
    except ValueError:
        return value
    return inner if isinstance(inner, str) else value
