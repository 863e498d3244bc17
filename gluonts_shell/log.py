"""One configure(), called by the cli and by each worker, never at import. Everything goes to stdout.

A server's workers gather their lines for a moment: to write each one would let the interpreter lock go twice a request,
and cost a quarter of the requests where many connections wait for it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import select
import stat
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from io import TextIOWrapper
from types import TracebackType
from typing import Any, TextIO

TEXT, JSON = "text", "json"
FORMAT = "[%(asctime)s %(levelname)s] %(message)s"
# U+0000 to U+001F and U+007F to U+009F (Unicode's category Cc), as Python writes them in a literal
CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}
BUT_LINES = {code: text for code, text in CONTROLS.items() if chr(code) not in "\t\n"}
PAUSE = 0.05  # seconds in which a worker gathers lines
PIECE = 4096  # bytes that a pipe takes whole or not at all (pipe(7), PIPE_BUF)
ENCODER = json.JSONEncoder(default=str)


def configure(level: str = "INFO", form: str = TEXT) -> None:
    """One line a record, flushed at once; a closed or full stream never stops the work that logs to it.

    form: TEXT, or JSON for a line that is one object (time, level, message, and what else a record tells).
    """
    logging.raiseExceptions = False
    # looked up for each record, and in none of our lines
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # the documented way ("Logging HOWTO", Optimization) to spare a walk up the stack
    logging._srcfile = None
    if isinstance(sys.stdout, TextIOWrapper):
        # what a forecaster prints comes in its order, and is not lost if it is killed; no text makes a line fail
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    handler = Lines(sys.stdout.under if isinstance(sys.stdout, Printed) else sys.stdout)
    handler.setFormatter(Objects() if form == JSON else Stamped(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if isinstance(logging.getLevelName(level), int) else "INFO")
    logging.captureWarnings(True)
    # The threads that Python 3.12 counts before it warns of a fork are those of the linear algebra
    # libraries, which make new ones in the child (pthread_atfork); ours start after the fork.
    warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
    # what these libraries say of each other's spellings is for their developers, not for who reads a job's log
    warnings.filterwarnings(
        "ignore", module=r"(gluonts|pandas|torch|lightning|lightning_fabric|pydantic)(\..*)?$"
    )


def catch_prints() -> None:
    """From now on, if lines are objects, what Python code prints and what ends a thread are objects too.

    What native code writes to the descriptors comes as it is.
    """
    lines = _lines()
    if lines is None or not lines.as_objects:
        return
    for name in ("stdout", "stderr"):
        setattr(sys, name, Printed(lines, getattr(sys, name), name))
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        logging.getLogger(__name__).critical("uncaught", exc_info=(kind, error, trace))


def say(
    log: logging.Logger, text: str, fields: Callable[[], Mapping[str, object]] | None = None
) -> None:
    """`log.info` for the line that each request has: what `logging` makes of one was a tenth of a small request.

    fields: what the text tells, for a log of objects; it is not called for any other.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    lines = _lines()
    if lines is None:
        tell(log, logging.INFO, text, fields() if fields else {})
    elif lines.as_objects:
        lines.object("INFO", text, fields() if fields else {})
    else:
        lines.text(text)


def put(message: str, fields: Mapping[str, object]) -> None:
    """A line that is an object, whatever the format and the level of the log."""
    lines = _lines()
    if lines is not None:
        lines.object("INFO", message, fields)


def _lines() -> Lines | None:
    """The handler that `configure` made; None where a program that imports this has its own."""
    handlers = logging.root.handlers
    return handlers[0] if len(handlers) == 1 and isinstance(handlers[0], Lines) else None


def tell(log: logging.Logger, level: int, text: str, fields: Mapping[str, object]) -> None:
    """A record with fields beside its text."""
    log.log(level, "%s", text, extra={"fields": fields})


def never_wait() -> None:
    """From now on lines are lost, not waited for, while nobody reads the stream: a server must answer all the same."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            # no stream, or one without a descriptor
            with suppress(OSError, ValueError, AttributeError):
                handler.setStream(Unwaiting.open(handler.stream))


def drop_prints() -> None:
    """From now on what the process prints, in whatever way, is lost while nobody reads it: nothing waits for that."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        with suppress(OSError):
            # native code writes to the number
            if (unwaiting := _opened_anew(descriptor)) != descriptor:
                os.dup2(unwaiting, descriptor)
                os.close(unwaiting)
        if isinstance(getattr(sys, name), Printed):
            continue
        raw = io.BufferedWriter(Dropping(descriptor))
        stream = TextIOWrapper(
            raw, encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, stream)


def gather() -> None:
    """From now on lines may be held back until `flush`, or the first line after a pause; warnings never are."""
    for stream in _streams():
        stream.pause = PAUSE


def flush() -> None:
    """Write what is held back. Called now and then by whoever called `gather`, and at the end."""
    for stream in _streams():
        stream.send()


def _streams() -> Iterator[Unwaiting]:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines) and isinstance(handler.stream, Unwaiting):
            yield handler.stream


@lru_cache(maxsize=2)
def stamp(second: int) -> str:
    return time.strftime("%m/%d/%Y %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=2)
def beginning(second: int) -> str:
    """Of a line at INFO."""
    return FORMAT % {"asctime": stamp(second), "levelname": "INFO", "message": ""}


@lru_cache(maxsize=2)
def universal(second: int) -> str:
    """As ISO 8601 has it, in UTC, without the zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def one_line(text: str) -> str:
    """Without a control character: what a file is called, or what a client or a model says, may hold any."""
    return text.translate(CONTROLS)


class Stamped(logging.Formatter):
    """Neither a name with a line break in it nor a terminal's escape sequence looks like a line of ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """What stands behind a line break in a message of ours, as pip's output does, may have several lines."""
        ours = record.name.partition(".")[0] == "gluonts_shell"
        inside = CONTROLS if ours and "\n" not in str(record.msg) else BUT_LINES
        record.message = record.message.translate(inside)
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        return stamp(int(record.created))


class Objects(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return as_object(record.created, record.levelname, record.getMessage(), fields)


def as_object(created: float, level: str, message: str, fields: Mapping[str, object]) -> str:
    """time: UTC, as ISO 8601 has it, to the millisecond."""
    stamped = f"{universal(int(created))}.{int(created % 1 * 1000):03d}Z"
    return ENCODER.encode({"time": stamped, "level": level, "message": message, **fields})


class Lines(logging.StreamHandler):  # type: ignore[type-arg]  # Python 3.10 cannot subscript it
    """Holds no warning back."""

    @property
    def as_objects(self) -> bool:
        return isinstance(self.formatter, Objects)

    def text(self, text: str) -> None:
        """A line at INFO, as if it came from a record."""
        self.stream.write(f"{beginning(int(time.time()))}{text}\n")
        self.stream.flush()

    def object(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """A line that is one, whatever the format of the others."""
        self.stream.write(as_object(time.time(), level, message, fields) + "\n")
        self.stream.flush()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if record.levelno >= logging.WARNING and isinstance(self.stream, Unwaiting):
            self.stream.send()


class Printed(io.TextIOBase):
    """In the place of stdout or stderr, `under`: each line becomes an object of the log, whatever the log's level.

    What has no line end yet waits for it, or for a flush.
    """

    encoding = "utf-8"

    def __init__(self, lines: Lines, under: TextIO, name: str) -> None:
        self.under = under
        self.buffer = under.buffer
        self._lines, self._name, self._rest = lines, name, ""

    def fileno(self) -> int:
        return self.under.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._lines.acquire()  # a lock that a fork frees in the child
        try:
            *whole, self._rest = (self._rest + text).split("\n")
            for line in whole:
                self._say(line)
        finally:
            self._lines.release()
        return len(text)

    def flush(self) -> None:
        rest, self._rest = self._rest, ""
        self._say(rest)

    def _say(self, line: str) -> None:
        if line:
            self._lines.object("INFO", line, {"stream": self._name})


def _opened_anew(descriptor: int) -> int:
    """A descriptor of the same pipe or terminal on which no write waits; the same one for anything else.

    Opened once more, since O_NONBLOCK would hold for everybody who shares the open file. Raises OSError.
    """
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return descriptor
    return os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)


class Dropping(io.RawIOBase):
    """Takes everything that is written to it and hands on what the descriptor has room for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with suppress(OSError, ValueError):
            if select.select([], [self._descriptor], [], 0)[1]:
                return os.write(self._descriptor, data[:PIECE])
        return len(data)


class Unwaiting:
    """A text stream on the same file as another, without its buffer. Only whole lines are written to it."""

    def __init__(self, descriptor: int) -> None:
        self.pause = self.due = 0.0
        self.lines: deque[bytes] = deque()
        # a thread may come here twice: what the collector ends in the middle of it may warn
        self.sending = threading.RLock()
        self.descriptor = descriptor

    @classmethod
    def open(cls, stream: TextIO) -> Unwaiting:
        descriptor = stream.fileno()
        with suppress(OSError):
            descriptor = _opened_anew(descriptor)
        opened = cls(descriptor)
        os.register_at_fork(after_in_child=opened.forget)
        return opened

    def write(self, text: str) -> int:
        self.lines.append(text.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """The end of a record: write it, unless lines were written just now."""
        now = time.monotonic()
        if now >= self.due:
            self.due = now + self.pause
            self.send()

    def send(self) -> None:
        with self.sending, suppress(OSError, ValueError):
            for piece in pieces(self._taken()):
                if select.select([], [self.descriptor], [], 0)[1]:
                    os.write(self.descriptor, piece)

    def _taken(self) -> list[bytes]:
        lines = []
        with suppress(IndexError):
            while True:
                lines.append(self.lines.popleft())
        return lines

    def forget(self) -> None:
        """What the parent holds back is the parent's to write."""
        self.lines.clear()
        self.sending = threading.RLock()


def pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines together, as many as a pipe takes at once."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > PIECE:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece
