"""Whether the container's memory holds one more model.

What a model takes is known only once it is loaded. So before it is begun it is guessed, by the size of its files and by
what other models took beyond theirs; while it loads, the memory is looked at again and again; and what it took in the
end makes the next guess better. Some memory is kept for predictions, and never given to a model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gluonts_shell.errors import NoRoom
from gluonts_shell.serving.processes.memory import Memory, memory

MEBIBYTE = 1024 * 1024
KEPT, KEPT_MOST = 0.05, 512 * MEBIBYTE  # of the limit, for predictions
FIRST_GUESS = 8 * MEBIBYTE  # that a process takes beyond its model's files, before one was measured


class Room:
    """Used by many threads. measure: as `memory`; None where the system tells nothing, and then everything fits."""

    def __init__(self, measure: Callable[[], Memory | None] = memory) -> None:
        self._measure = measure
        self._lock = threading.Lock()
        self._claimed = 0
        self._loads = 0
        self._beyond = 0  # bytes beyond their files that all loads have taken

    @contextmanager
    def claimed(self, folder: Path) -> Iterator[Callable[[int], None]]:
        """While a model is loaded from the folder; what is yielded is called with the bytes that it took.

        Raises NoRoom, with the numbers.
        """
        files = size(folder)
        with self._lock:
            wanted = files + self._guess()
            self._check(wanted + self._claimed, wanted)
            self._claimed += wanted

        def took(found: int) -> None:
            with self._lock:
                self._loads += 1
                self._beyond += max(0, found - files)

        try:
            yield took
        finally:
            with self._lock:
                self._claimed -= wanted

    def scarce(self) -> bool:
        """Whether what is kept for predictions has been touched."""
        now = self._measure()
        return now is not None and now.free < _kept(now)

    def _guess(self) -> int:
        return self._beyond // self._loads if self._loads else FIRST_GUESS

    def _check(self, needed: int, wanted: int) -> None:
        now = self._measure()
        if now is None or needed + _kept(now) <= now.free:
            return
        raise NoRoom(
            f"there is no memory for it: it takes about {_mib(wanted)}, and of {_mib(now.limit)} "
            f"{_mib(now.free)} are free, {_mib(_kept(now))} of which are kept for predictions"
        )


def _kept(now: Memory) -> int:
    return min(int(KEPT * now.limit), KEPT_MOST)


def _mib(count: int) -> str:
    return f"{count / MEBIBYTE:.0f} MiB"


def size(folder: Path) -> int:
    """Bytes of all files below."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
