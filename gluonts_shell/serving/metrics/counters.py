"""How many requests there were and how long they took, in memory that all workers share.

Each worker writes in a slot of its own, so that no lock is needed between processes, and whoever reads adds the slots
up. What a worker counted stays when it dies, in whatever way, and its successor in the slot goes on from there: a count
only ever grows. Made by the parent before it forks.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

CLASSES = {2: "2xx", 4: "4xx", 5: "5xx"}
# seconds, six bounds to a power of ten: a quantile that is read from them is right within a quarter or so
STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
BOUNDS = (*(step * 10.0**power for power in range(-4, 2) for step in STEPS), 100.0)

# The cells of a slot, unsigned numbers of 8 bytes. The first two are the worker's own and end with it.
PROCESS, WAITING, JOINED, NANOSECONDS, STATUSES = range(5)
BUCKETS = STATUSES + 6  # of statuses by their first digit
WIDTH = BUCKETS + len(BOUNDS) + 1
CELL = 8


@dataclass(frozen=True)
class Totals:
    """Of all workers.

    requests: by the class of their status. joined: those that were predicted together with others. seconds: of all
    that were computed, and buckets: how many of them took no longer than each of BOUNDS, but longer than the one
    before, and how many took longer than all. waiting: at this moment, for the model to be free.
    """

    requests: dict[str, int]
    joined: int
    seconds: float
    buckets: tuple[int, ...]
    waiting: int

    def since(self, before: Totals) -> Totals:
        return Totals(
            {name: count - before.requests[name] for name, count in self.requests.items()},
            self.joined - before.joined,
            self.seconds - before.seconds,
            tuple(now - then for now, then in zip(self.buckets, before.buckets, strict=True)),
            self.waiting,
        )

    def quantile(self, level: float) -> float | None:
        """Seconds, as if those of a bucket were spread evenly over it; None where nothing was computed."""
        left = level * sum(self.buckets)
        if not left:
            return None
        below = 0.0
        for bound, count in zip(BOUNDS, self.buckets, strict=False):
            if count and left <= count:
                return below + (bound - below) * left / count
            left, below = left - count, bound
        return BOUNDS[-1]


class Counters:
    """Of all workers; slots: how many of them there may be at a time, those that are about to end too."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        cells = memoryview(mmap.mmap(-1, CELL * WIDTH * slots)).cast("Q")
        self._slots = [cells[start : start + WIDTH] for start in range(0, WIDTH * slots, WIDTH)]
        self._parent = os.getpid()

    def of(self, slot: int) -> Meter:
        return Meter(self, self._slots[slot])

    def left(self, slot: int) -> None:
        """The slot's worker has ended; its counts stay."""
        self._slots[slot][PROCESS] = self._slots[slot][WAITING] = 0

    def processes(self) -> list[int]:
        """The parent and the workers that count."""
        return [self._parent, *(slot[PROCESS] for slot in self._slots if slot[PROCESS])]

    def totals(self) -> Totals:
        sums = [sum(column) for column in zip(*self._slots, strict=True)]
        return Totals(
            {name: sums[STATUSES + digit] for digit, name in CLASSES.items()},
            sums[JOINED],
            sums[NANOSECONDS] / 1e9,
            tuple(sums[BUCKETS:]),
            sums[WAITING],
        )


class Meter:
    """What one worker writes. Its threads take turns; other processes only read."""

    def __init__(self, counters: Counters, cells: memoryview) -> None:
        self.counters = counters
        self._cells = cells
        self._turn = threading.Lock()

    def begin(self) -> None:
        """Called in the worker."""
        self._cells[PROCESS] = os.getpid()

    def count(self, status: int, seconds: float, joined: int) -> None:
        """One request. seconds: that it was computed, 0 where it was refused before; joined: with how many, and it."""
        cells = self._cells
        with self._turn:
            cells[STATUSES + status // 100] += 1
            if joined > 1:
                cells[JOINED] += 1
            if seconds:
                cells[NANOSECONDS] += int(seconds * 1e9)
                cells[BUCKETS + bisect_left(BOUNDS, seconds)] += 1

    def waits(self, requests: int) -> None:
        """How many wait at this moment."""
        self._cells[WAITING] = requests


def cumulative(buckets: Sequence[int]) -> list[int]:
    """How many took no longer than each bound, and last how many there were."""
    found, total = [], 0
    for count in buckets:
        total += count
        found.append(total)
    return found
