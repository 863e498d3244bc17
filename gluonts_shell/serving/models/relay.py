"""A request -> a model's process -> its answer.

The process serves HTTP as every worker does, over a socket pair of which it was handed one end; so whatever holds for
/invocations of a server with one model holds here, with the same code. The front passes the client's going away on,
and looks four times a second whether the process still breathes.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Mapping
from contextlib import suppress

from gluonts_shell.errors import Overloaded
from gluonts_shell.serving.endpoint.journal import TARGET_MODEL
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.models.process import Process

LOOK_SECONDS = 0.25
PIECE = 256 * 1024
PATH = "/invocations"
END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)")
# RFC 9110 section 7.6.1: what a connection alone is concerned with is not passed on; the body is whole here
OF_THE_CONNECTION = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect", "content-length")
)  # fmt: skip
ADDED_BY_THE_SERVER = frozenset(("connection", "content-length", "date"))


class NotTaken(Exception):
    """The process did not have the request, and another may."""


class Cut(Exception):
    """The process had the request and closed the connection without an answer."""


class Silent(Exception):
    """The process has given no sign for longer than any may."""


def invoke(process: Process, name: str, request: Request, silent_seconds: float) -> Response:
    """name: the model's. Raises NotTaken, Cut, Silent, and Overloaded where too many requests wait already."""
    try:
        connection = process.connection()
    except OSError as error:
        raise Overloaded(f"no socket can be had: {error.strerror}; try again later") from error
    if connection is None:
        if process.gone:
            raise NotTaken
        raise Overloaded("too many requests wait for this model; try again later")
    exchange = _Exchange(process, name, request, connection.end, silent_seconds)
    try:
        answer = response(exchange.answer())
    except BaseException as error:
        connection.end.close()
        if isinstance(error, Cut) and exchange.unread:
            raise NotTaken from None
        raise
    if exchange.reusable:
        process.keep(connection)
    else:
        connection.end.close()
    return answer


class _Exchange:
    """Of one request. ours: the front's end of the connection.

    reusable: whether another request may follow. unread: whether the process ended the connection before it had read
    the whole request, so that it has computed nothing.
    """

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
        self.unsent = memoryview(head(name, request) + request.body)
        self.silent, self.beats = 0.0, process.beats
        self.wanted = True
        self.found = bytearray()
        self.length: int | None = None
        self.reusable = self.unread = False

    def answer(self) -> bytes:
        """All that the process says to the request; less than an answer where it closes the connection too early."""
        poller = select.poll()
        poller.register(self.ours, select.POLLIN | (select.POLLOUT if self._send() else 0))
        while True:
            events = poller.poll(1000 * LOOK_SECONDS)
            if not events:
                self._look()
            elif events[0][1] & ~select.POLLOUT:
                if self._read():
                    return bytes(self.found)
            elif not self._send():
                poller.modify(self.ours, select.POLLIN)

    def _read(self) -> bool:
        """Some of the answer; whether that was all of it."""
        try:
            piece = self.ours.recv(PIECE)
        except ConnectionError:  # as unix(7) has it where the other end had something to read
            piece, self.unread = b"", True
        self.found += piece
        if self.length is None:
            self._read_head()
        if self.length is None or len(self.found) < self.length:
            return not piece
        return True

    def _read_head(self) -> None:
        end = self.found.find(END)
        if end < 0:
            return
        start = bytes(self.found[:end]).lower()
        length = LENGTH.search(start)
        self.length = end + len(END) + (int(length[1]) if length else 0)
        closes = b"\r\nconnection: close" in start
        self.reusable = self.wanted and not self.unsent and not closes

    def _send(self) -> bool:
        """Some of the request; whether there is more of it."""
        try:
            count = self.ours.send(self.unsent[:PIECE])
        except BlockingIOError:
            return True
        except ConnectionError:
            # the answer may be there all the same, as to a body of the wrong type
            count, self.unread = len(self.unsent), True
        self.unsent = self.unsent[count:]
        return bool(self.unsent)

    def _look(self) -> None:
        if self.wanted and not self.unsent and not self.request.alive():
            self.wanted = False
            with suppress(OSError):
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
    lines = [f"POST {PATH} HTTP/1.1", f"Content-Length: {len(request.body)}"]
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
    start, end, body = raw.partition(END)
    line, *rest = start.decode("latin-1").split("\r\n")
    fields = [(name, value) for name, _, value in (field.partition(": ") for field in rest)]
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    if not end or len(body) != length:
        raise Cut
    kept = [field for field in fields if field[0].lower() not in ADDED_BY_THE_SERVER]
    return Response(int(line.split(" ")[1]), body, tuple(kept))
