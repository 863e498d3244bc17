"""One configure(), called by the cli and by each worker, never at import. Everything goes to stdout."""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import warnings
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO


def configure(level: str = "INFO") -> None:
    """One line a record, flushed at once; a closed or full stream never stops the work that logs to it."""
    logging.raiseExceptions = False
    # looked up for each record, and in none of our lines
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if isinstance(sys.stdout, TextIOWrapper):
        # what a forecaster prints comes in its order, and is not lost if it is killed; no text makes a line fail
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s", "%m/%d/%Y %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if isinstance(logging.getLevelName(level), int) else "INFO")
    logging.captureWarnings(True)
    # what these libraries say of each other's spellings is for their developers, not for who reads a job's log
    warnings.filterwarnings("ignore", module=r"(gluonts|pandas|torch|lightning|lightning_fabric|pydantic)(\..*)?$")


def never_wait() -> None:
    """From now on lines are lost, not waited for, while nobody reads the stream: a server must answer all the same."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            with suppress(OSError, ValueError, AttributeError):  # no stream, or one without a descriptor
                handler.setStream(Unwaiting(handler.stream))


class Unwaiting:
    """A text stream on the same file as another, without its buffer."""

    def __init__(self, stream: TextIO) -> None:
        self.descriptor = stream.fileno()
        mode = os.fstat(self.descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            # opened once more, since O_NONBLOCK would hold for everybody who shares the open file
            with suppress(OSError):
                self.descriptor = os.open(f"/dev/fd/{self.descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            if select.select([], [self.descriptor], [], 0)[1]:
                os.write(self.descriptor, text.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
