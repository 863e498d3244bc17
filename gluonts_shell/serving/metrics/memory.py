"""What processes take of the machine's memory, as the kernel tells it (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# of pages that several processes share, as forked workers share a model, each has its part: the sum is what they take
SHARE = re.compile(rb"(?m)^Pss: +([0-9]+) kB$")


def taken(processes: Iterable[int]) -> int:
    """Bytes of all of them together; 0 where the kernel does not tell."""
    return sum(map(_share, processes))


def _share(process: int) -> int:
    try:
        found = SHARE.search(Path(f"/proc/{process}/smaps_rollup").read_bytes())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0
