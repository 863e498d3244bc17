"""Which of the processes that train one model this is: its share of series, batches and random numbers.

The exchange of gradients is torch.distributed's, through Lightning. GluonTS's loaders are endless shuffled streams,
which Lightning's samplers do not divide; so each process has its own series, and draws its own windows from them.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from gluonts_shell.errors import ConfigurationError

# A collective operation waits so long for the other processes, one of which may still be reading its data. Whether
# they live at all, others watch.
PATIENCE = timedelta(minutes=30)
FIND_UNUSED = "ddp_find_unused_parameters_true"
STRATEGIES = ("auto", "ddp", FIND_UNUSED)

OnDevices = Callable[[int, Callable[[int], Any]], Any]


def _here(_: int, run: Callable[[int], Any]) -> Any:
    return run(0)


def _alone(value: Any) -> list[Any]:
    return [value]


@dataclass
class Ranks:
    """position: of this host, among so many; local: of this process, among those of the host's devices.

    sharded: the channels of which each host has a share; the others are the same on all hosts. environment: what torch
    is to know of the other processes. gather: what each host says, in their order, before there are local processes.
    on_devices: runs something in a process for each device of this host; it is given the process's number.
    """

    position: int = 0
    hosts: int = 1
    devices: int = 1
    local: int = 0
    seed: int | None = None
    sharded: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    gather: Callable[[Any], list[Any]] = _alone
    on_devices: OnDevices = _here

    @property
    def rank(self) -> int:
        return self.position * self.devices + self.local

    @property
    def count(self) -> int:
        return self.hosts * self.devices

    def trainer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of Lightning's Trainer for this process; given: those of the job."""
        chosen = given.get("devices")
        if self.count == 1:
            # for any other number Lightning would start this program once for each of them
            return {"devices": chosen[:1] if isinstance(chosen, list) else 1}
        from lightning.fabric.plugins.environments import LightningEnvironment
        from lightning.pytorch.strategies import DDPStrategy

        named = given.get("strategy") or "auto"
        more = {"find_unused_parameters": True} if named == FIND_UNUSED else {}
        return {
            "num_nodes": self.hosts,
            "devices": chosen if isinstance(chosen, list) else self.devices,
            "strategy": DDPStrategy(
                cluster_environment=LightningEnvironment(), timeout=PATIENCE, **more
            ),
            "use_distributed_sampler": False,
        }

    def run(self, train: Callable[[], Any]) -> Any:
        """What `train` returns in this process; it runs in one for each device."""
        if self.count == 1:
            return train()
        os.environ.update(self.environment)
        return self.on_devices(self.devices, lambda local: self._as(local, train))

    def batches(self, of_the_job: int) -> int:
        """Of this process in an epoch; all of them together have those of the job, or a few more."""
        return math.ceil(of_the_job / self.count)

    def _as(self, local: int, train: Callable[[], Any]) -> Any:
        self.local = local
        os.environ["LOCAL_RANK"] = str(local)
        if self.rank:
            self._draw_other_numbers()
        return train()

    def _draw_other_numbers(self) -> None:
        """Than the first process: all of them would draw the same windows otherwise."""
        if self.seed is not None:
            seed_everything((self.seed + self.rank) % 2**32)
        elif self.local:  # a fork has the numbers of its parent
            seed_everything(int.from_bytes(os.urandom(4), "little"))


def seed_everything(seed: int) -> None:
    """python, numpy and, where it was imported, torch."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)


class Share:
    """The series of a data set from which this process draws: every n-th, or of a channel's share those of its device.

    Where there are fewer series than processes, some have the same.
    """

    def __init__(self, data: Any, ranks: Ranks) -> None:
        self.data, self.ranks = data, ranks
        self.statistics = getattr(data, "statistics", None)

    def __len__(self) -> int:
        first, step = self._every()
        return len(range(first, len(self.data), step))

    def __iter__(self) -> Iterator[Any]:
        first, step = self._every()
        return itertools.islice(self.data, first, None, step)

    def _every(self) -> tuple[int, int]:
        ranks = self.ranks
        which, of = (
            (ranks.local, ranks.devices) if "train" in ranks.sharded else (ranks.rank, ranks.count)
        )
        return which % max(len(self.data), 1), of


def devices(trainer: Mapping[str, Any]) -> int:
    """How many of a host a training uses, as its trainer's arguments say: all accelerators unless they say otherwise.

    Asking torch for their number, in contrast to whether there are any, does not begin to use them.
    """
    accelerator, given = trainer.get("accelerator") or "auto", trainer.get("devices")
    if isinstance(given, list):
        return len(given)
    with suppress(TypeError, ValueError):
        if int(given or 0) > 0:
            return int(given or 0)
    if accelerator not in ("auto", "gpu", "cuda"):
        return 1
    import torch

    return max(int(torch.cuda.device_count()), 1)


def check_strategy(trainer: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for a strategy other than that of several processes here."""
    named = trainer.get("strategy") or "auto"
    if named not in STRATEGIES:
        raise ConfigurationError(
            f"hyperparameter 'strategy' is {named!r}, expected one of {', '.join(STRATEGIES)} "
            "where several processes train"
        )
