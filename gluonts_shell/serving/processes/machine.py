"""How many processors this container really has, which is rarely how many the host has.

It knows the kernel's files (cgroups(7), sched_getaffinity(2)) and refuses to know what the processes do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = PurePosixPath("/sys/fs/cgroup")


def available() -> int:
    """Of this process, now; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors(affinity, lambda path: Path(path).read_text())


def processors(affinity: int, read: Callable[[str], str]) -> int:
    """The processors of the scheduler's affinity or of the tightest quota, whichever is less; at least 1.

    Half a processor of a quota counts as a whole one: two workers use 1.5 up, one would not.
    read: the text of a file; raises OSError where there is none.
    """
    quotas = list(_quotas(read))
    return max(1, min([affinity, *(int(quota + 0.5) for quota in quotas)]))


def _quotas(read: Callable[[str], str]) -> Iterator[float]:
    """In processors: of every control group that this process is in, up to the root, versions 1 and 2."""
    for line in _text(read, "/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            for folder in _upwards(ROOT, group):
                yield from _quota(*_text(read, f"{folder}/cpu.max").split())
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                for folder in _upwards(ROOT / mount, group):
                    yield from _quota(
                        _text(read, f"{folder}/cpu.cfs_quota_us").strip(),
                        _text(read, f"{folder}/cpu.cfs_period_us").strip(),
                    )


def _upwards(mount: PurePosixPath, group: str) -> Iterator[PurePosixPath]:
    """In a container the file may name the host's group while only the mount's own root can be read."""
    parts = PurePosixPath(group.lstrip("/")).parts
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota(quota: str = "", period: str = "") -> Iterator[float]:
    if quota.isdigit() and period.isdigit() and int(period) > 0:  # "max" and -1 are no quota
        yield int(quota) / int(period)


def _text(read: Callable[[str], str], path: str) -> str:
    try:
        return read(path)
    except (OSError, ValueError):
        return ""
