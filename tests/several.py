"""Jobs on several hosts for tests: each host is a process with an /opt/ml tree of its own, and a loopback address or,
where the kernel allows it, a network namespace.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from gluonts_shell.sagemaker.paths import Paths
from tests.conftest import MONTHLY, Tree

# The addresses are the names of the hosts, so that nothing has to be resolved.
NAMES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def free_port() -> int:
    """Of two in a row that are free, below those that the system hands out: nobody else gets them meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        try:
            for one in (port, port + 1):
                socket.create_server(("", one)).close()
        except OSError:
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
    """Of one host; it talks by eth0, if it has that."""
    made = Tree(Paths(folder / host))
    made.configure("hyperparameters", dict(hyperparameters))
    made.configure(
        "resourceconfig",
        {"current_host": host, "hosts": list(hosts), "network_interface_name": "eth0"},
    )
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
        self.names: Sequence[str] = NAMES
        # what each host's command begins with
        self.prefixes: Sequence[Sequence[str]] = [()] * len(NAMES)
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
        set_up: Sequence[Mapping[str, Any]] = (),
        **settings: str,
    ) -> list[Popen[str]]:
        """shares: the channels of each host; the same monthly series for all unless given. folder: of the trees.
        set_up: hyperparameters of each host, besides those of all.
        """
        names = self.names[:hosts]
        same = {"train": MONTHLY / "train", "test": MONTHLY / "test"}
        self.last = [
            tree(self.folder / folder, {**hyperparameters, **own}, host, names, channels, sharded)
            for host, channels, own in zip(
                names, shares or [same] * hosts, set_up or [{}] * hosts, strict=True
            )
        ]
        self.trees += self.last
        return self.restarted(**settings)

    def restarted(self, **settings: str) -> list[Popen[str]]:
        """The last job once more, in the trees that it left; at a port of its own, for others may still run."""
        self.settings["MASTER_PORT"] = str(free_port())
        environment = {**self.settings, **settings}
        return [
            self.start(one, prefix=prefix, **environment)
            for one, prefix in zip(self.last, self.prefixes, strict=False)
        ]


def ends(processes: Sequence[Popen[str]], seconds: float = 100) -> list[tuple[int, str]]:
    """The exit status of each, and what it said."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=seconds)
        found.append((process.returncode, out + err))
    return found


class Forbidden(Exception):
    """The kernel, or who runs the tests, allows no network namespaces."""


@contextmanager
def namespaces() -> Iterator[list[str]]:
    """Names of two that are connected by their eth0, with the addresses 10.213.7.1 and 10.213.7.2."""
    names = [f"hosts-{os.getpid()}-{number}" for number in (1, 2)]
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        one, other = names
        ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other)
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.213.7.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Forbidden(str(error)) from error
