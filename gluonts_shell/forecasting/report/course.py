"""What happens while a job runs that a report tells afterwards: how long its steps take, and what the log warns of."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

OURS = "gluonts_shell"
MOST_WARNINGS = 30


@dataclass
class Course:
    """seconds: of each step, in their order. warnings: ours, each once; unnamed: how many there were beyond 30."""

    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unnamed: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Takes the time of the block."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - begin

    @contextmanager
    def listening(self) -> Iterator[Course]:
        """Inside, what is logged as a warning is kept too."""
        root, handler = logging.getLogger(), Listener(self)
        root.addHandler(handler)
        try:
            yield self
        finally:
            root.removeHandler(handler)

    def warn(self, text: str) -> None:
        if text in self.warnings:
            return
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(text)
        else:
            self.unnamed += 1


class Listener(logging.Handler):
    def __init__(self, course: Course) -> None:
        super().__init__(logging.WARNING)
        self.course = course

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == OURS:
            self.course.warn(record.getMessage())
