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
    """A folder (or file) of input; content_type is what the job declared, None where it declared nothing.

    sharded: whether each host has files of its own (ShardedByS3Key), or all have the same.
    """

    name: str
    path: Path
    content_type: str | None = None
    sharded: bool = False


@dataclass(frozen=True)
class TrainingJob:
    """What SageMaker told the container.

    hosts: sorted; interface: of the network between them, where the job names one. env: the entries of `$env.`, for
    `gluonts.env`. strangers: names of channels that are left alone.
    source_dir: what the SDK's estimators of version 2 uploaded; nothing is installed from there.
    """

    hyperparameters: Mapping[str, Any]
    channels: Mapping[str, Channel]
    host: str = "local"
    hosts: tuple[str, ...] = ("local",)
    env: Mapping[str, Any] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    source_dir: str | None = None
    interface: str | None = None

    @classmethod
    def read(cls, paths: Paths) -> TrainingJob:
        """Raises ConfigurationError, naming file and key, where a file cannot be understood, or no job is there."""
        _check_tree(paths)
        raw = _object(paths.config / "hyperparameters.json") or {}
        values, env = hyperparameters.decode(raw)
        resources = _object(paths.config / "resourceconfig.json") or {}
        host, hosts = _hosts(resources)
        channels, strangers = _channels(paths)
        return cls(
            hyperparameters=values,
            channels=channels,
            host=host,
            hosts=hosts,
            env=env,
            strangers=strangers,
            source_dir=hyperparameters.source_dir(raw),
            interface=_interface(resources),
        )


def _check_tree(paths: Paths) -> None:
    if paths.config.is_dir() or paths.data.is_dir():
        return
    raise ConfigurationError(
        f"there is no job in {str(paths.base)!r}, expected input/config or input/data in it; "
        "give the tree with --data-path or SAGEMAKER_DATA_PATH"
    )


def _hosts(resources: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """This host, and all of them, sorted."""
    host, hosts = resources.get("current_host"), resources.get("hosts") or []
    names = isinstance(hosts, list) and all(isinstance(each, str) and each for each in hosts)
    found = f"resourceconfig.json: hosts is {repr(hosts)[:300]}"
    ConfigurationError.expect(names, found, "a list of names")
    if not hosts:
        return str(host or "local"), (str(host or "local"),)
    said = "is missing" if host is None else f"is {repr(host)[:100]}"
    found = f"resourceconfig.json: current_host {said}"
    ConfigurationError.expect(host in hosts, found, f"one of the hosts, {hosts}")
    return str(host), tuple(sorted(set(hosts)))


def _interface(resources: Mapping[str, Any]) -> str | None:
    name = resources.get("network_interface_name")
    if not isinstance(name, str):
        return None
    return name or None


def _channels(paths: Paths) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """The channels that are ours, and the names of those that are nobody's."""
    channels = {}
    strangers = []
    for name, declaration in _declared(paths).items():
        if name in DATA_CHANNELS:
            channels[name] = _channel(name, declaration, paths)
        elif name not in CODE_CHANNELS:
            log.info(
                "channel %r is left alone: this program reads %s and code",
                name,
                ", ".join(DATA_CHANNELS),
            )
            strangers.append(name)
    return channels, tuple(strangers)


def _declared(paths: Paths) -> dict[str, Any]:
    """What inputdataconfig.json declares; without that file the folders under input/data."""
    declared = _object(paths.config / "inputdataconfig.json")
    if declared is not None:
        return declared
    if not paths.data.is_dir():
        return {}
    folders = sorted(filter(Path.is_dir, paths.data.iterdir()))
    names = [path.name for path in folders if not path.name.startswith(".")]
    return dict.fromkeys(names)


def _channel(name: str, declaration: Any, paths: Paths) -> Channel:
    details = declaration if isinstance(declaration, dict) else {}
    if details.get("TrainingInputMode") == "Pipe":
        raise ConfigurationError(
            f"channel {name!r} has TrainingInputMode 'Pipe', which is not supported; use 'File' or 'FastFile'"
        )
    folder = paths.data / name
    if not folder.exists():
        raise ConfigurationError(
            f"channel {name!r} is in inputdataconfig.json, but there is no folder {str(folder)!r}"
        )
    content_type = details.get("ContentType")
    if not isinstance(content_type, str):
        content_type = None
    sharded = details.get("S3DistributionType") == "ShardedByS3Key"
    return Channel(name, folder, content_type, sharded)


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no such file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path.name} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{path.name} holds a JSON {type(value).__name__}, expected an object"
        )
    return value
