"""The machine that measures: what it is, whether it is busy with something else, and what a process takes of it.

Linux tells all of it in /proc; elsewhere nothing is known of other work, and rows about memory are left out.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 0.10  # of the machine's processors may be at other work
PROC = Path("/proc")


def cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> str:
    tool = "wrk" if shutil.which("wrk") else "generator.py (wrk is not installed)"
    load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
    return (
        f"{platform.system()} {platform.machine()}, {cpus()} processors, Python {platform.python_version()}, "
        f"load by {tool}, load averages {load}"
    )


def busy() -> float:
    """Processor seconds that the whole machine has spent on anything; NaN where that is not told."""
    try:
        fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return float("nan")
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def spent() -> float:
    """Processor seconds of this process and of all its descendants that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


class Watch:
    """Tells which share of the machine's processors others took while a block ran; every child must end in it."""

    def __enter__(self) -> Watch:
        self.share = 0.0
        self._began = (time.monotonic(), busy(), spent())
        return self

    def __exit__(self, *_: object) -> None:
        seconds, total, own = (
            now - then
            for now, then in zip((time.monotonic(), busy(), spent()), self._began, strict=True)
        )
        self.share = max(0.0, (total - own) / (seconds * cpus())) if total == total else 0.0

    @property
    def disturbed(self) -> bool:
        return self.share > QUIET


def quiet(patience: float) -> None:
    """Wait until others leave the processors alone for two seconds; after `patience` seconds go on all the same."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        with Watch() as watch:
            time.sleep(2)
        if not watch.disturbed:
            return


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        children = (PROC / f"{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def seconds_of(pid: int) -> float:
    """Processor seconds of a process and its descendants that still run."""
    total = 0
    for process in tree(pid):
        fields = (PROC / f"{process}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pss(pid: int) -> int:
    """Bytes of memory of a process and its descendants, where a page that N share counts as 1/N to each."""
    total = 0
    for process in tree(pid):
        lines = (PROC / f"{process}/smaps_rollup").read_text().split("\n")
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024
