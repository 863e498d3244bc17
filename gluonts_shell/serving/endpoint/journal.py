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
    """What is known of a request when its line is logged, as a sentence and as fields.

    lengths: of its targets, the shortest and the longest. The last four are known at the end.
    """

    instances: int = 0
    lengths: tuple[int, int] | None = None
    joined: int = 0
    error: str = ""
    status: int = 0
    milliseconds: float = 0.0
    identity: str = ""
    model: str = ""

    def text(self) -> str:
        lengths = " of %d to %d values" % self.lengths if self.lengths else ""  # noqa: UP031 - the tuple is the two numbers
        joined = f", {self.joined} joined" if self.joined else ""
        known_as = f", id {self.identity}" if self.identity else ""
        asked = f", model {self.model}" if self.model else ""
        error = f": {self.error}" if self.error else ""
        return (
            f"invocation: status {self.status}, {self.instances} instances{lengths}, "
            f"{self.milliseconds:.1f} ms{joined}{known_as}{asked}{error}"
        )

    def fields(self) -> dict[str, object]:
        """Without those that say nothing."""
        found = {
            "status": self.status,
            "instances": self.instances,
            "ms": round(self.milliseconds, 1),
        }
        more = {
            "joined": self.joined,
            "id": self.identity,
            "model": self.model,
            "error": self.error,
        }
        return {**found, **{name: value for name, value in more.items() if value}}


class Journal:
    def __init__(self, successes: bool = True) -> None:
        self._successes = successes
        self._lock = threading.Lock()
        self._began = -inf
        self._lines = self._left_out = 0

    def write(self, status: int, seconds: float, headers: Mapping[str, str], note: Note) -> None:
        """The line of one request; an error in the note makes it a refusal's."""
        note.status, note.milliseconds = status, 1000 * seconds
        note.identity = _header(headers, INFERENCE_ID, IDENTITY)
        note.model = _header(headers, TARGET_MODEL, TARGET)
        if note.error:
            if self._may_write():
                tell(log, logging.WARNING, note.text(), note.fields())
        elif self._successes:
            say(log, note.text(), note.fields)

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


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    """Its value where it has that form."""
    value = headers.get(name, "")
    return value if value and form.fullmatch(value) else ""
