"""hyperparameters.json, inputdataconfig.json and resourceconfig.json -> a TrainingJob. Reads, checks, changes nothing.

Unknown keys are tolerated, because SageMaker adds new ones; so are missing files, because laptops have none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.sagemaker import hyperparameters
from gluonts_shell.sagemaker.paths import Paths

log = logging.getLogger(__name__)

# What a training job of ours reads; any other channel belongs to somebody else and is left alone.
DATA_CHANNELS = ("train", "validation", "test", "metadata", "model")
CODE_CHANNELS = ("code", "sm_drivers")


@dataclass(frozen=True)
class Channel:
    """A folder (or file) of input; content_type is what the job declared, None where it declared nothing."""

    name: str
    path: Path
    content_type: str | None = None


@dataclass(frozen=True)
class TrainingJob:
    """What SageMaker told the container. hosts: sorted. env: the entries of `$env.`, for `gluonts.env`."""

    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Channel]
    host: str = "local"
    hosts: tuple[str, ...] = ("local",)
    env: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, paths: Paths) -> TrainingJob:
        """Raises ConfigurationError, naming file and key, where a file cannot be understood, or no job is there."""
        if not paths.config.is_dir() and not paths.data.is_dir():
            raise ConfigurationError(
                f"there is no job in {str(paths.base)!r}, expected input/config or input/data in it; "
                "give the tree with --data-path or SAGEMAKER_DATA_PATH"
            )
        values, env = hyperparameters.decode(_object(paths.config / "hyperparameters.json") or {})
        resources = _object(paths.config / "resourceconfig.json") or {}
        host = str(resources.get("current_host") or "local")
        hosts = resources.get("hosts")
        return cls(
            hyperparameters=values,
            channels=_channels(paths),
            host=host,
            hosts=tuple(sorted(map(str, hosts))) if isinstance(hosts, list) and hosts else (host,),
            env=env,
        )


def _channels(paths: Paths) -> dict[str, Channel]:
    """The channels of inputdataconfig.json; without that file the folders under input/data."""
    declared = _object(paths.config / "inputdataconfig.json")
    if declared is None:
        found = sorted(paths.data.iterdir()) if paths.data.is_dir() else []
        declared = {path.name: {} for path in found if path.is_dir() and not path.name.startswith(".")}
    channels = {}
    for name, declaration in declared.items():
        details = declaration if isinstance(declaration, dict) else {}
        if name not in DATA_CHANNELS:
            if name not in CODE_CHANNELS:
                log.info("channel %r is left alone: this program reads %s and code", name, ", ".join(DATA_CHANNELS))
            continue
        if details.get("TrainingInputMode") == "Pipe":
            raise ConfigurationError(
                f"channel {name!r} has TrainingInputMode 'Pipe', which is not supported; use 'File' or 'FastFile'"
            )
        if not (paths.data / name).exists():
            raise ConfigurationError(
                f"channel {name!r} is in inputdataconfig.json, but there is no folder {str(paths.data / name)!r}"
            )
        content_type = details.get("ContentType")
        channels[name] = Channel(name, paths.data / name, content_type if isinstance(content_type, str) else None)
    return channels


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no such file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path.name} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path.name} holds a JSON {type(value).__name__}, expected an object")
    return value
