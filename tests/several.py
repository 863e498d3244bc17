"""Jobs on several hosts for tests: each host is a process with an /opt/ml tree and a loopback address of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import Popen
from typing import Any

from gluonts_shell.sagemaker.paths import Paths
from tests.conftest import MONTHLY, Tree

# The addresses are the names of the hosts, so that nothing has to be resolved.
NAMES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def free_port() -> int:
    """Of two in a row that are free."""
    while True:
        with closing(socket.create_server(("", 0))) as one:
            port: int = one.getsockname()[1]
            try:
                socket.create_server(("", port + 1)).close()
            except (OSError, OverflowError):
                continue
            return port


def tree(
    folder: Path,
    hyperparameters: Mapping[str, Any],
    host: str,
    hosts: Sequence[str],
    channels: Mapping[str, Any],
    sharded: Sequence[str] = (),
) -> Tree:
    """Of one host."""
    made = Tree(Paths(folder / host))
    made.configure("hyperparameters", dict(hyperparameters))
    made.configure("resourceconfig", {"current_host": host, "hosts": list(hosts)})
    kinds = {True: "ShardedByS3Key", False: "FullyReplicated"}
    made.configure(
        "inputdataconfig",
        {
            name: {"TrainingInputMode": "File", "S3DistributionType": kinds[name in sharded]}
            for name in channels
        },
    )
    for name, content in channels.items():
        made.channel(name, content)
    return made


class Job:
    """start: the fixture. Every process gets the settings; enough silence for a slow import of torch."""

    def __init__(self, start: Callable[..., Popen[str]], folder: Path) -> None:
        self.start, self.folder = start, folder
        self.trees: list[Tree] = []
        self.last: list[Tree] = []
        self.settings = {
            "GLUONTS_SHELL_HOSTS_SILENCE": "20",
            "GLUONTS_SHELL_HOSTS_WAIT": "60",
            "GLUONTS_SHELL_CANARY": "false",
        }

    def __call__(
        self,
        hyperparameters: Mapping[str, Any],
        *shares: Mapping[str, Any],
        hosts: int = 2,
        sharded: Sequence[str] = (),
        folder: str = "",
        **settings: str,
    ) -> list[Popen[str]]:
        """shares: the channels of each host; the same monthly series for all unless given. folder: of the trees."""
        names = NAMES[:hosts]
        same = {"train": MONTHLY / "train", "test": MONTHLY / "test"}
        self.last = [
            tree(self.folder / folder, hyperparameters, host, names, channels, sharded)
            for host, channels in zip(names, shares or [same] * hosts, strict=True)
        ]
        self.trees += self.last
        return self.restarted(**settings)

    def restarted(self, **settings: str) -> list[Popen[str]]:
        """The last job once more, in the trees that it left; at a port of its own, for others may still run."""
        self.settings["MASTER_PORT"] = str(free_port())
        return [self.start(one, **{**self.settings, **settings}) for one in self.last]


def ends(processes: Sequence[Popen[str]], seconds: float = 100) -> list[tuple[int, str]]:
    """The exit status of each, and what it said."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=seconds)
        found.append((process.returncode, out + err))
    return found
