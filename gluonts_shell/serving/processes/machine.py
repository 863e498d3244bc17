"""What the machine gives this container: processors, which are rarely as many as the host has, and what forbids a fork.

It knows the kernel's files (cgroups(7), sched_getaffinity(2)) and the variables of native libraries, and refuses to
know what the processes do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = PurePosixPath("/sys/fs/cgroup")
# Read by the OpenMP runtimes and BLAS libraries when numpy or torch is imported, so set before that.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/neuron0")


@dataclass(frozen=True)
class Machine:
    """workers: processes; threads: native ones of each; forks: whether a loaded model may be shared by forking."""

    workers: int
    threads: int
    forks: bool

    @classmethod
    def of(cls, workers: int | None) -> Machine:
        """workers: how many there shall be, None for one a processor."""
        cpus = available()
        forks = sys.platform == "linux" and not has_accelerator()
        count = 1
        if forks:
            count = workers or cpus
        return cls(count, max(1, cpus // count), forks)

    def limit_threads(self, environ: MutableMapping[str, str]) -> None:
        """Workers that each start a thread a CPU are slower together than with one each; what the user set stays."""
        for variable in THREAD_VARIABLES:
            environ.setdefault(variable, str(self.threads))
        # spinning threads steal the time of the other workers
        environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def has_accelerator() -> bool:
    """Whether a driver is there; asking torch would begin to use it, and then no process may fork."""
    return any(Path(device).exists() for device in DRIVERS)


def resident_bytes(pid: int | str = "self") -> int:
    """Of a process's memory, what is in RAM now, with the pages that it shares; 0 where the kernel tells nothing."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def available() -> int:
    """The processors of this process, now; at least 1."""
    affinity = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        affinity = len(os.sched_getaffinity(0))
    return processors(affinity, lambda path: Path(path).read_text())


def processors(affinity: int, read: Callable[[str], str]) -> int:
    """The processors of the scheduler's affinity or of the tightest quota, whichever is less; at least 1.

    Half a processor of a quota counts as a whole one: two workers use 1.5 up, one would not.
    read: the text of a file; raises OSError where there is none.
    """
    least = affinity
    for quota in _quotas(read):
        least = min(least, int(quota + 0.5))
    return max(1, least)


def control_groups(
    read: Callable[[str], str], controller: str
) -> Iterator[tuple[int, PurePosixPath]]:
    """(version, folder) of each control group that this process is in and that may have the controller, to the root."""
    for line in text_of(read, "/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            yield from ((2, folder) for folder in _upwards(ROOT, group))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((ROOT / controller, ROOT / controllers)):
                yield from ((1, folder) for folder in _upwards(mount, group))


def _quotas(read: Callable[[str], str]) -> Iterator[float]:
    """In processors."""
    for version, folder in control_groups(read, "cpu"):
        if version == 2:
            yield from _quota(*text_of(read, f"{folder}/cpu.max").split())
        else:
            quota = text_of(read, f"{folder}/cpu.cfs_quota_us")
            period = text_of(read, f"{folder}/cpu.cfs_period_us")
            yield from _quota(quota.strip(), period.strip())


def _upwards(mount: PurePosixPath, group: str) -> Iterator[PurePosixPath]:
    """In a container the file may name the host's group while only the mount's own root can be read."""
    parts = PurePosixPath(group.lstrip("/")).parts
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota(quota: str = "", period: str = "") -> Iterator[float]:
    if quota.isdigit() and period.isdigit() and int(period) > 0:  # "max" and -1 are no quota
        yield int(quota) / int(period)


def text_of(read: Callable[[str], str], path: str) -> str:
    """Of one of the kernel's files; empty where it is not there."""
    try:
        return read(path)
    except (OSError, ValueError):
        return ""
