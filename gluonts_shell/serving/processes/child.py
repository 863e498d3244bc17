"""Two of our own processes that talk over a socket pair: pickled messages, a length before each, and deadlines.

It knows forking and framing, not what is said. Nothing from a network ever comes through here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LENGTH = struct.Struct("!Q")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class End:
    """One end of a socket pair, which this process alone holds."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()


class Channel(End):
    """What one end sends, the other receives. A deadline is a value of time.monotonic(); None waits for ever."""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def send(self, message: Any, deadline: float | None = None) -> None:
        """Raises TimeoutError at the deadline and EOFError where the other process is gone."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._wait_until(deadline)
        try:
            self._end.sendall(LENGTH.pack(len(data)) + data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError("the other process is gone") from error

    def receive(self, deadline: float | None = None) -> Any:
        """Raises TimeoutError at the deadline and EOFError where the other process is gone."""
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        return pickle.loads(self._read(length, deadline))  # noqa: S301 - a process that we forked wrote it

    def _read(self, length: int, deadline: float | None) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            self._wait_until(deadline)
            try:
                count = self._end.recv_into(rest)
            except ConnectionResetError:
                count = 0
            if not count:
                raise EOFError("the other process is gone")
            rest = rest[count:]
        return data

    def _wait_until(self, deadline: float | None) -> None:
        # 0 would make the socket non-blocking; a deadline that has passed still takes what is there already
        self._end.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.0001))


def fork(run: Callable[[], None]) -> int:
    """Run it in a child and return the child's pid. The child ends without the parent's exit handlers.

    The child ignores SIGINT and SIGTERM, which a terminal and a container send to all processes at once: its parent
    decides when it ends. Only a process without threads may fork.
    """
    _flush()
    # a signal in between would run the parent's handler in the child
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        run()
        status = 0
    except BaseException:
        log.exception("a child process failed")
    finally:
        _flush()
        os._exit(status)


def leave_sockets(*keep: int) -> None:
    """In a child: let go of the parent's sockets but some, or they would stay open when the parent closes them.

    The numbers stay taken, by the null device: the objects that own them may still close them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _descriptors():
        with contextlib.suppress(OSError):
            if descriptor not in keep and stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _descriptors() -> list[int]:
    """Beyond the standard ones."""
    found = [int(path.name) for path in Path("/dev/fd").iterdir()]
    return [descriptor for descriptor in found if descriptor > 2]


def _flush() -> None:
    """What is still buffered would be written twice, or never."""
    for stream in (sys.stdout, sys.stderr):
        # no stream, a broken one, a closed one
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


def ending(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = ", perhaps it was out of memory" if number == signal.SIGKILL else ""
        return f"was killed by signal {number}{hint}"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"
