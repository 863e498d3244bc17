"""What a worker and its parent say to each other, over one socket pair.

Up go heartbeats, and the word that the worker is about to leave. Down come connections that the parent accepted. Each
side sees the end of the stream when the other one is gone. Neither ever waits for the other.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from gluonts_shell.serving.processes.child import End

BEAT = b"."
LEAVING = b"!"
CONNECTION = b"c"


class ParentGone(Exception):
    """The stream has ended."""


class WorkerEnd(End):
    def beat(self) -> None:
        self.say(BEAT)

    def leave(self) -> None:
        """From now on this worker accepts nothing: another one may start."""
        self.say(LEAVING)

    def connection(self) -> socket.socket | None:
        """The next connection that was handed over. Raises ParentGone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, len(CONNECTION), 1)
        # nothing is there after all, or no descriptor is free: the client sees its end
        except OSError:
            return None
        if not data:
            raise ParentGone
        if not descriptors:
            return None
        # or a process that the model starts would keep it open
        os.set_inheritable(descriptors[0], False)
        return socket.socket(fileno=descriptors[0])

    def say(self, word: bytes) -> None:
        with suppress(OSError):  # full while the parent is stopped, broken once it is gone
            self._end.send(word)


class ParentEnd(End):
    def heard(self) -> bytes:
        """What the worker has said since; empty if nothing."""
        try:
            return self._end.recv(4096)
        except OSError:
            return b""

    def hand(self, connection: socket.socket) -> bool:
        """Give the worker a connection, which it may read from its beginning; whether there was room for it."""
        try:
            socket.send_fds(self._end, [CONNECTION], [connection.fileno()])
        except OSError:
            return False
        connection.close()
        return True


def pair() -> tuple[ParentEnd, WorkerEnd]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ParentEnd(ours), WorkerEnd(theirs)
