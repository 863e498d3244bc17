"""The memory of this container: what it may have, what it has, what one process has of its own.

It knows the kernel's files (cgroups(7), proc(5)) and refuses to know what the memory is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gluonts_shell.serving.processes.machine import control_groups, text_of

KIBIBYTE = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes. used: without what the kernel can drop at any time, as pages of files that nobody has read lately."""

    limit: int
    used: int

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)


def read_file(path: str) -> str:
    return Path(path).read_text()


def memory(read: Callable[[str], str] = read_file) -> Memory | None:
    """Of the control group, or of the whole machine, that leaves the least; None where the kernel does not tell.

    read: the text of a file; raises OSError where there is none.
    """
    return min(_known(read), key=lambda known: known.free, default=None)


def _known(read: Callable[[str], str]) -> Iterator[Memory]:
    machine = _amounts(text_of(read, "/proc/meminfo"))
    total, available = machine.get("MemTotal"), machine.get("MemAvailable")
    if total is not None and available is not None:
        yield Memory(KIBIBYTE * total, KIBIBYTE * (total - available))
    for version, folder in control_groups(read, "memory"):
        found = _of_group(read, version, folder)
        # version 1 has a limit beyond every machine for none
        if found is not None and (total is None or found.limit < KIBIBYTE * total):
            yield found


def _of_group(read: Callable[[str], str], version: int, folder: PurePosixPath) -> Memory | None:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used = (text_of(read, f"{folder}/{name}").strip() for name in names[:2])
    # "max" is no limit
    if not (limit.isdigit() and used.isdigit()):
        return None
    dropped = _amounts(text_of(read, f"{folder}/memory.stat")).get(names[2], 0)
    return Memory(int(limit), max(0, int(used) - dropped))


def own_bytes(pid: int | str = "self") -> int:
    """What would be free without the process: pages that it shares with another do not count. 0 where nothing tells."""
    amounts = _amounts(text_of(read_file, f"/proc/{pid}/smaps_rollup"))
    return KIBIBYTE * (amounts.get("Private_Clean", 0) + amounts.get("Private_Dirty", 0))


def _amounts(text: str) -> dict[str, int]:
    """Of lines that are a name, perhaps with a colon, and a number."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1])
    return found
