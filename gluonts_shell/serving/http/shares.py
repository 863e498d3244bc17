"""How many connections each worker serves, in memory that they share, so that the one with the fewest takes the next.

All workers wake for a new connection, and left to themselves mostly the same one is quickest: of a client's two
connections both went to one worker, while the other one's processor was idle. It knows numbers, and no sockets.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

# nobody waits for a worker with so many: it is not there, not ready, or about to end
FULL = 2**32 - 1
WIDTH = 4


class Shares:
    """Of all workers. Made before they are forked."""

    def __init__(self, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, WIDTH * workers)).cast("I")
        for slot in range(workers):
            self._counts[slot] = FULL

    def of(self, slot: int) -> Share:
        return Share(self._counts, slot)


@dataclass(frozen=True)
class Share:
    """Of the worker in one slot."""

    counts: memoryview
    slot: int

    @property
    def count(self) -> int:
        return int(self.counts[self.slot])

    def set(self, count: int) -> None:
        self.counts[self.slot] = count

    def leave(self) -> None:
        self.set(FULL)

    def fewest_elsewhere(self) -> int:
        """The count of the least busy other worker; FULL if there is none."""
        fewest = FULL
        for slot, count in enumerate(self.counts):
            if slot != self.slot and count < fewest:
                fewest = count
        return fewest
