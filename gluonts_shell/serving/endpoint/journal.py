"""The line that the log has of a request: its status, its size, its time, its id, and why it was refused.

It tells nothing of the customer's data. An endpoint has a line for each request; a batch transform job only for what
was refused, since it may have a hundred thousand requests. Refusals have a few lines a second and one with the number
of the rest, so that no client fills the log.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from gluonts_shell.log import say, tell

log = logging.getLogger(__name__)

INFERENCE_ID = "x-amzn-sagemaker-inference-id"
# AWS, InvokeEndpoint: InferenceId has 1 to 64 characters; others than printable ones could forge a line of the log
IDENTITY = re.compile(r"[\x20-\x7e]{1,64}")
# which of many models was asked, as the client named it; AWS, InvokeEndpoint: TargetModel has 1 to 1024 characters
TARGET_MODEL = "x-amzn-sagemaker-target-model"
TARGET = re.compile(r"[\x21-\x7e]{1,1024}")
MOST = 10  # refusals that have a line, a second and a worker
SECOND = 1.0


@dataclass(slots=True)
class Note:
    """What is known of a request when its line is logged. lengths: of its targets, the shortest and the longest."""

    instances: int = 0
    lengths: tuple[int, int] | None = None
    joined: int = 0
    error: str = ""


class Journal:
    def __init__(self, successes: bool = True) -> None:
        self._successes = successes
        self._lock = threading.Lock()
        self._began = -inf
        self._lines = self._left_out = 0

    def write(self, status: int, seconds: float, headers: Mapping[str, str], note: Note) -> None:
        """The line of one request; an error in the note makes it a refusal's."""
        if note.error:
            if self._may_write():
                line = Line(status, 1000 * seconds, note, _identity(headers), _target(headers))
                tell(log, logging.WARNING, line.text(), line.fields())
        elif self._successes:
            line = Line(status, 1000 * seconds, note, _identity(headers), _target(headers))
            say(log, line.text(), line.fields)

    def _may_write(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now - self._began >= SECOND:
                self._began, self._lines = now, 0
            self._lines += 1
            if self._lines <= MOST:
                return True
            self._left_out += 1
            if self._left_out == 1:
                self._tell_soon()
        return False

    def _tell_soon(self) -> None:
        timer = threading.Timer(SECOND, self._tell)
        timer.daemon = True
        # no thread can be started: the lines are left out all the same
        with suppress(RuntimeError):
            timer.start()

    def _tell(self) -> None:
        with self._lock:
            count, self._left_out = self._left_out, 0
        log.warning("%d more requests were refused, and have no line here", count)


def _identity(headers: Mapping[str, str]) -> str:
    identity = headers.get(INFERENCE_ID, "")
    return identity if identity and IDENTITY.fullmatch(identity) else ""


def _target(headers: Mapping[str, str]) -> str:
    target = headers.get(TARGET_MODEL, "")
    return target if target and TARGET.fullmatch(target) else ""


class Line(NamedTuple):
    """The same as a sentence and as fields."""

    status: int
    milliseconds: float
    note: Note
    identity: str
    model: str

    def text(self) -> str:
        status, milliseconds, note, identity, model = self
        lengths = " of %d to %d values" % note.lengths if note.lengths else ""  # noqa: UP031 - the tuple is the two numbers
        joined = f", {note.joined} joined" if note.joined else ""
        known_as = f", id {identity}" if identity else ""
        asked = f", model {model}" if model else ""
        error = f": {note.error}" if note.error else ""
        return (
            f"invocation: status {status}, {note.instances} instances{lengths}, "
            f"{milliseconds:.1f} ms{joined}{known_as}{asked}{error}"
        )

    def fields(self) -> dict[str, object]:
        """Without those that say nothing."""
        found = {
            "status": self.status,
            "instances": self.note.instances,
            "ms": round(self.milliseconds, 1),
        }
        more = {
            "joined": self.note.joined,
            "id": self.identity,
            "model": self.model,
            "error": self.note.error,
        }
        return {**found, **{name: value for name, value in more.items() if value}}
