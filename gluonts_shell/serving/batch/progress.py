"""How far a long command is: a bar for a person, a line now and then for a log."""

from __future__ import annotations

import logging
import sys
import time

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0
DRAW_SECONDS = 0.2
WIDTH = 30


class Progress:
    """total: bytes to read. Lines are what is counted for the reader, bytes are what tells the share that is done."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bytes = self._lines = 0
        self._person = sys.stderr is not None and sys.stderr.isatty()
        self._started = self._shown = time.monotonic()

    def add(self, lines: int, done: int) -> None:
        """done: bytes read so far, of all files."""
        self._lines += lines
        self._bytes = done

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._shown >= (DRAW_SECONDS if self._person else LOG_SECONDS):
            self._shown = now
            self._draw() if self._person else log.info("%s", self._sentence())

    def end(self) -> None:
        if self._person:
            self._draw()
            print(file=sys.stderr)  # noqa: T201
        log.info("%s", self._sentence())

    def _share(self) -> float:
        return min(1.0, self._bytes / self._total) if self._total else 1.0

    def _sentence(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        pace = f"{self._lines} lines in {seconds:.0f} s, {self._lines / seconds:.1f} a second"
        return f"{pace}, {self._share():.0%} of the input"

    def _draw(self) -> None:
        bar = "#" * round(self._share() * WIDTH)
        print(f"\r[{bar:{WIDTH}}] {self._sentence():60}", end="", file=sys.stderr, flush=True)  # noqa: T201
