"""Answers health checks in the parent while no worker takes connections, and keeps all other connections for a worker.

A model may hold the interpreter for minutes (native code that does not let go of its lock), and a server may have but
one worker: a connection would wait in the listener's queue, `/ping` among them, and SageMaker gives `/ping` 2 seconds.
The parent computes nothing, so it can always answer. What it accepts it only peeks at; whatever is no health check is
handed to the first worker that is back, which reads it from the first byte, as if it had accepted it itself.

Nothing here waits: it is called from the parent's loop, again and again, and each call does what can be done now.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from gluonts_shell.errors import Overloaded, ShellError
from gluonts_shell.serving.http.connection import message
from gluonts_shell.serving.http.exchange import Response
from gluonts_shell.serving.http.wire import Head, parse_head

PATH = "/ping"
METHODS = ("GET", "HEAD")
HEAD_BYTES = 8192  # a health check has a few hundred
HEAD_END = b"\r\n\r\n"
NO_WORKER = Overloaded("no worker is ready; try again later")
FULL = Overloaded("no worker takes requests at the moment, and too many wait; try again later")


class Standby:
    """Connections that no worker has taken yet.

    most: how many may be held; beyond that the one that has waited longest is told to come back.
    """

    def __init__(self, listener: socket.socket, most: int) -> None:
        self._listener = listener
        self._most = most
        self._unread: list[socket.socket] = []
        self._waiting: deque[socket.socket] = deque()

    @property
    def undecided(self) -> bool:
        """Whether somebody may be about to send a health check: then look again soon."""
        return bool(self._unread)

    def accept(self) -> bool:
        """Take what is in the listener's queue; False if the system has no room for any more."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return True
            except OSError:
                return False
            connection.setblocking(False)
            self._unread.append(connection)
            self._make_room()

    def answer(self, healthy: bool) -> None:
        """Answer the health checks among what is held: 200 if `healthy`, else 503."""
        connections, self._unread = self._unread, []
        for connection in connections:
            self._look(connection, healthy)

    def hand_over(self, give: Callable[[socket.socket], bool]) -> None:
        """Give everything to whoever takes it, first come first served; `give` returns whether it was taken."""
        self._waiting.extend(self._unread)
        self._unread.clear()
        while self._waiting and give(self._waiting[0]):
            self._waiting.popleft()

    def refuse(self) -> None:
        """Tell everybody who is held that no worker will come."""
        self.hand_over(lambda connection: _turn_away(connection, NO_WORKER))

    def forget(self) -> None:
        """In a child that was forked: let go of the copies, or they would stay open when they are closed here."""
        for connection in (*self._unread, *self._waiting):
            connection.close()

    def _look(self, connection: socket.socket, healthy: bool) -> None:
        try:
            data = connection.recv(HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            self._unread.append(connection)
            return
        except OSError:
            data = b""
        if not data:  # it has gone
            connection.close()
        elif _may_become_a_check(data):
            self._unread.append(connection)
        elif (head := check_of(data)) is None:
            self._waiting.append(connection)
        elif healthy:
            _say(connection, Response(200), head)
        else:
            _say(connection, _refusal(NO_WORKER), head)

    def _make_room(self) -> None:
        if len(self._unread) + len(self._waiting) <= self._most:
            return
        oldest = self._waiting.popleft() if self._waiting else self._unread.pop(0)
        _turn_away(oldest, FULL)


def check_of(data: bytes) -> Head | None:
    """The head of a health check that is all of `data`; None for everything else, which a worker shall judge."""
    if not data.endswith(HEAD_END):
        return None
    try:
        head = parse_head(data)
    except (ShellError, ValueError):
        return None
    wanted = head.path == PATH and head.method in METHODS and head.length == 0
    return head if wanted else None


def _may_become_a_check(data: bytes) -> bool:
    """Whether the rest of a head may be on its way that asks for our path."""
    if HEAD_END in data or len(data) >= HEAD_BYTES:
        return False
    for method in METHODS:
        start = f"{method} {PATH}".encode("ascii")
        if data.startswith(start) or start.startswith(data):
            return True
    return False


def _refusal(error: Overloaded) -> Response:
    body = f'{{"error": "{error}"}}'.encode("ascii")
    fields = (("Content-Type", "application/json"), ("Retry-After", str(error.retry_after)))
    return Response(error.status, body, fields)


def _turn_away(connection: socket.socket, error: Overloaded) -> bool:
    _say(connection, _refusal(error), None)
    return True


def _say(connection: socket.socket, response: Response, head: Head | None) -> None:
    """The last word on a connection. What was peeked at is read now, or closing would send a reset over our answer."""
    with suppress(OSError):
        connection.recv(HEAD_BYTES)
    with suppress(OSError):
        connection.send(message(response, head, keep=False))
        connection.shutdown(socket.SHUT_WR)
    connection.close()
