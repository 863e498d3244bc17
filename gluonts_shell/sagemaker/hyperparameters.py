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
BOOKKEEPING = re.compile(r"sagemaker_.*|_tuning_objective_metric|_kvstore|_num_gpus|_num_kv_servers")
PART = re.compile(r"_(\d+)_(.+)")
ENV = "$env."


def decode(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyperparameters and, apart from them, the `$env.` entries, which set `gluonts.env`.

    Values are the strings of the wire, unquoted, or JSON values as they were.
    Raises ConfigurationError where a part of a split value is missing.
    """
    values = {name: unquoted(value) for name, value in joined(raw).items() if not BOOKKEEPING.fullmatch(name)}
    env = {name[len(ENV) :]: value for name, value in values.items() if name.startswith(ENV)}
    return {name: value for name, value in values.items() if not name.startswith(ENV)}, env


def joined(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Put values together that were split into `_0_name`, `_1_name`, ... because a value's length is limited."""
    whole: dict[str, Any] = {}
    parts: dict[str, dict[int, str]] = {}
    for name, value in raw.items():
        if match := PART.fullmatch(name):
            parts.setdefault(match[2], {})[int(match[1])] = str(value)
        else:
            whole[name] = value
    for name, pieces in parts.items():
        missing = [f"_{i}_{name}" for i in range(max(pieces) + 1) if i not in pieces]
        if missing:
            raise ConfigurationError(f"hyperparameter {name!r} is split into parts, and {missing[0]!r} is missing")
        if name in whole:
            raise ConfigurationError(f"hyperparameter {name!r} is given whole and in parts; give it once")
        whole[name] = "".join(pieces[i] for i in sorted(pieces))
    return whole


def unquoted(value: Any) -> Any:
    """`"\\"text\\""` is how the SDK's framework estimators write `text`."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        return inner if isinstance(inner, str) else value
    return value
