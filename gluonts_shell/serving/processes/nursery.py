"""A process in which no thread runs and nothing was predicted, kept to fork predictor children from.

A worker of the server has threads and can no longer fork safely, and a process that ran a multi-threaded forward pass
of torch leaves its children deadlocked. So each worker starts a nursery before its first thread; the nursery forks,
kills and reaps on the worker's behalf, and ends with it. It does not know what its children do.
"""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import stat
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gluonts_shell.serving.processes.child import Channel, fork

NUMBER = struct.Struct("!q")
FORK = 0


@dataclass(frozen=True)
class Child:
    pid: int
    channel: Channel


class Nursery:
    """The worker's handle. `birth` and `end` may be called from any thread; both raise EOFError if it is gone."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._lock = threading.Lock()

    @classmethod
    def start(cls, live: Callable[[Channel], None]) -> Nursery:
        """Fork the nursery; each of its children will run `live` with its end of a channel."""
        ours, theirs = socket.socketpair()
        pid = fork(lambda: _tend(theirs, live))
        theirs.close()
        return cls(pid, ours)

    def birth(self) -> Child:
        """A fresh child. Raises OSError where the system has no room for one."""
        ours, theirs = Channel.pair()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
        pid = self._ask(FORK, rights)
        theirs.close()
        if pid < 0:
            ours.close()
            raise OSError(-pid, os.strerror(-pid))
        return Child(pid, ours)

    def end(self, child: Child) -> int:
        """Kill it with what it started, if it still lives, and return its wait status."""
        child.channel.close()
        return self._ask(child.pid)

    def close(self) -> None:
        """End the nursery with all its children, and wait for that."""
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _ask(self, number: int, *rights: tuple[int, int, array.array[int]]) -> int:
        with self._lock:
            try:
                self._control.sendmsg([NUMBER.pack(number)], rights)
                answer = self._control.recv(NUMBER.size, socket.MSG_WAITALL)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise EOFError("the nursery is gone") from error
        if len(answer) < NUMBER.size:
            raise EOFError("the nursery is gone")
        return int(NUMBER.unpack(answer)[0])


def _tend(control: socket.socket, live: Callable[[Channel], None]) -> None:
    """The nursery's life: fork and kill as asked, until the worker is gone."""
    _leave_sockets(control.fileno())
    children: set[int] = set()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
        if len(request) < NUMBER.size:
            break
        (number,) = NUMBER.unpack(request)
        if number == FORK:
            answer = _bear(control, descriptors[0], live)
            children.add(answer)
        else:
            answer = _end(number)
            children.discard(number)
        with contextlib.suppress(OSError):  # the worker may go at any time; the next read tells
            control.sendall(NUMBER.pack(answer))
    for pid in children:
        if pid > 0:
            _end(pid)


def _bear(control: socket.socket, descriptor: int, live: Callable[[Channel], None]) -> int:
    end = socket.socket(fileno=descriptor)

    def run() -> None:
        os.setpgid(0, 0)
        control.close()
        live(Channel(end))

    try:
        pid = fork(run)
    except OSError as error:
        return -(error.errno or 1)
    finally:
        end.close()
    with contextlib.suppress(OSError):  # both sides set the group, so that neither has to wait for the other
        os.setpgid(pid, pid)
    return pid


def _end(pid: int) -> int:
    """A predictor may have started processes too (R, Prophet): they are in its group and go with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _leave_sockets(keep: int) -> None:
    """Let go of the server's listener and connections, or they would stay open when the server closes them.

    The numbers stay taken, by the null device: the objects that own them may still close them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for path in Path("/dev/fd").iterdir():
        descriptor = int(path.name)
        with contextlib.suppress(OSError):
            if descriptor > 2 and descriptor != keep and stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.dup2(null, descriptor, inheritable=False)
    os.close(null)
