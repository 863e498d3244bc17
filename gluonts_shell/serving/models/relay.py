"""A request -> a model's process -> its answer.

The process serves HTTP as every worker does, over a socket pair of which it was handed one end; so whatever holds for
/invocations of a server with one model holds here, with the same code. The front passes the client's going away on,
and looks four times a second whether the process still breathes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping

from gluonts_shell.errors import Overloaded
from gluonts_shell.serving.endpoint.journal import TARGET_MODEL
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.models.process import Process

LOOK_SECONDS = 0.25
PIECE = 256 * 1024
PATH = "/invocations"
# RFC 9110 section 7.6.1: what a connection alone is concerned with is not passed on; the body is whole here
OF_THE_CONNECTION = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "content-length")
)  # fmt: skip
ADDED_BY_THE_SERVER = frozenset(("connection", "content-length", "date"))


class NotTaken(Exception):
    """The process ended before it had the request."""


class Cut(Exception):
    """The process had the request and closed the connection without an answer."""


class Silent(Exception):
    """The process has given no sign for longer than any may."""


def invoke(process: Process, name: str, request: Request, silent_seconds: float) -> Response:
    """name: the model's. Raises NotTaken, Cut, Silent, and Overloaded where too many requests wait already."""
    ours, theirs = socket.socketpair()
    with ours:
        number = process.hand(theirs)
        if not number:
            theirs.close()
            if process.gone:
                raise NotTaken
            raise Overloaded("too many requests wait for this model; try again later")
        try:
            return response(_Exchange(process, name, request, ours, silent_seconds).answer())
        except Cut:
            if process.took(number):
                raise
            raise NotTaken from None


class _Exchange:
    """Of one request. ours: the front's end of the socket pair."""

    def __init__(
        self,
        process: Process,
        name: str,
        request: Request,
        ours: socket.socket,
        silent_seconds: float,
    ) -> None:
        self.process, self.request, self.ours = process, request, ours
        self.silent_seconds = silent_seconds
        self.unsent = [memoryview(head(name, request)), memoryview(request.body)]
        self.silent, self.beats = 0.0, process.beats
        self.wanted = True

    def answer(self) -> bytes:
        """All that the process says."""
        self.ours.setblocking(False)
        poller = select.poll()
        poller.register(self.ours, select.POLLIN | select.POLLOUT)
        found: list[bytes] = []
        while True:
            events = poller.poll(1000 * LOOK_SECONDS)
            if not events:
                self._look()
            elif events[0][1] & ~select.POLLOUT:
                piece = self._read()
                if not piece:
                    return b"".join(found)
                found.append(piece)
            elif not self._send():
                poller.modify(self.ours, select.POLLIN)

    def _read(self) -> bytes:
        try:
            return self.ours.recv(PIECE)
        except ConnectionError:
            return b""

    def _send(self) -> bool:
        """Some of the request; whether there is more of it."""
        try:
            count = self.ours.send(self.unsent[0][:PIECE])
        except ConnectionError:
            self.unsent.clear()  # the answer may be there all the same, as to a body of the wrong type
            return False
        self.unsent[0] = self.unsent[0][count:]
        while self.unsent and not self.unsent[0]:
            del self.unsent[0]
        return bool(self.unsent)

    def _look(self) -> None:
        if self.wanted and not self.unsent and not self.request.alive():
            self.wanted = False
            self.ours.shutdown(socket.SHUT_WR)  # the process judges by it, as by the client's
        self.process.hear()
        if self.process.beats != self.beats:
            self.silent, self.beats = 0.0, self.process.beats
            return
        # counted, not measured, so that a pause of the whole container ends nobody
        self.silent += LOOK_SECONDS
        if self.silent > self.silent_seconds:
            raise Silent


def head(name: str, request: Request) -> bytes:
    """Of the request as the model's process gets it; the log shall tell which model that is."""
    lines = [f"POST {PATH} HTTP/1.1", f"Content-Length: {len(request.body)}", "Connection: close"]
    if "host" not in request.headers:
        lines.append("Host: localhost")
    if TARGET_MODEL not in request.headers:
        lines.append(f"{TARGET_MODEL}: {name}")
    lines += [f"{name}: {value}" for name, value in _passed_on(request.headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _passed_on(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    return [field for field in fields.items() if field[0] not in OF_THE_CONNECTION]


def response(raw: bytes) -> Response:
    """What a process of ours said. Raises Cut where that is not a whole answer."""
    start, end, body = raw.partition(b"\r\n\r\n")
    line, *rest = start.decode("latin-1").split("\r\n")
    fields = [(name, value) for name, _, value in (field.partition(": ") for field in rest)]
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    if not end or len(body) != length:
        raise Cut
    kept = [field for field in fields if field[0].lower() not in ADDED_BY_THE_SERVER]
    return Response(int(line.split(" ")[1]), body, tuple(kept))
