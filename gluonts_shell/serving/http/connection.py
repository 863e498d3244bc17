"""One connection: a request, its answer, the next request.

It knows the order in which things are checked and what closes a connection, and refuses to know how connections come
in and what the application does. Each step first sets the deadline by which the client must have done its part.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from gluonts_shell.errors import RequestTimeout, TooLarge
from gluonts_shell.serving.http.framing import Reader
from gluonts_shell.serving.http.wire import CHUNKED, Head, answer_head, parse_head

if TYPE_CHECKING:
    from gluonts_shell.serving.http.server import Server

HALF_CLOSED_GRACE = 1.0
LINGER_BYTES = 8 * 1024 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bytes, connections of one worker, and seconds.

    head: for a whole head, and for a new connection's silence before it. body: for a whole body; every megabyte that
    it may have adds a second. idle: between requests; longer than the 60 s of load balancers, so that they close
    first. answer: for the client to take an answer. linger: to wait for the client's end after our last byte.
    """

    body: int = 6 * MEBIBYTE
    connections: int = 512
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    answer_seconds: float = 60.0
    linger_seconds: float = 2.0
    parting_seconds: float = 0.5


@dataclass(slots=True)
class Request:
    """headers: lower-case names; the values of a repeated field joined by ", ". arrived: of time.monotonic().

    alive: whether an answer is still wanted. False once the client broke the connection, and for one that only ended
    its sending side (it may have gone, or wait for the answer) after a second; so refuse it rather than say nothing.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    alive: Callable[[], bool]
    arrived: float


@dataclass(slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class App(Protocol):
    """What the server needs of an application. Called by many threads at a time."""

    def __call__(self, request: Request) -> Response: ...

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Before a byte of the body is read: raises what `refuse` turns into the answer."""
        ...

    def refuse(self, error: Exception, path: str, headers: Mapping[str, str]) -> Response:
        """The answer to an exception, of this module, of `check` or one that escaped from a call.

        path and headers are empty where the head could not be read.
        """
        ...


class Connection(BaseHTTPRequestHandler):
    """One connection and its thread. `deadline` is when it is cut off: never while the application works."""

    server: Server
    request: socket.socket

    def __init__(self, request: socket.socket, client_address: Any, server: Server) -> None:
        # the base class would serve the connection here; the accepting thread must know it before
        self.request, self.client_address, self.server = request, client_address, server
        self.reader = Reader(request.recv)
        self.raw = b""
        self.parsed: Head | None = None
        self.deadline = time.monotonic() + server.limits.head_seconds
        self.idle = True
        self.expired = False
        self.broken = False
        self.arrived = 0.0

    def run(self) -> None:
        self.request.setblocking(True)  # where accepted sockets inherit the listener's mode
        with suppress(OSError):
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        while self.exchange():
            pass
        self._linger()

    def exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        server = self.server
        head: Head | None = None
        try:
            head = self._head()
            if head.path != "*":
                server.app.check(head.method, head.path, head.headers)
            body = self._body(head)
        except EOFError:
            if not self.expired or self.idle:
                return False
            late = RequestTimeout("the request did not arrive in time")
            return self._answer(server.refuse(late, head), head, keep=False)
        except OSError:
            raise
        except Exception as error:
            # where the head was understood and no body follows, the next request's place is known
            bodiless = head is not None and head.length == 0 and head.keep_alive and not server.draining
            return self._answer(server.refuse(error, head), head, keep=bodiless)
        if head.path == "*":  # RFC 9110 section 9.3.7: a question about the server, not about a resource
            return self._answer(Response(200, b"", (("Allow", "GET, HEAD, POST"),)), head, head.keep_alive)
        request = Request(head.method, head.path, head.headers, body, self.alive, self.arrived)
        try:
            response = server.app(request)
        except (Exception, SystemExit) as error:
            response = server.refuse(error, head)
        return self._answer(response, head, head.keep_alive and not server.draining)

    def _head(self) -> Head:
        raw = self.reader.head(self._slow_head)
        self.idle = False
        self.deadline = inf
        self.arrived = time.monotonic()
        if raw != self.raw or self.parsed is None:  # a client's next head is most often the same again
            self.parsed = parse_head(raw)
            self.raw = raw
        return self.parsed

    def _slow_head(self) -> None:
        self.idle = False
        self.deadline = min(self.deadline, time.monotonic() + self.server.limits.head_seconds)

    def _body(self, head: Head) -> bytes:
        if head.length == 0:
            return b""
        limits, reader = self.server.limits, self.reader
        if head.length > limits.body:
            raise TooLarge(f"the body has {head.length} bytes, expected at most {limits.body}")
        if head.expects and not reader.waiting:
            self.request.sendall(CONTINUE)
        most = limits.body if head.length == CHUNKED else head.length
        self.deadline = self.arrived + limits.body_seconds + most / MEBIBYTE
        body = reader.chunked(limits.body) if head.length == CHUNKED else reader.exactly(head.length)
        self.deadline = inf
        return body

    def _answer(self, response: Response, head: Head | None, keep: bool) -> bool:
        limits = self.server.limits
        now = time.monotonic()
        self.deadline = now + limits.answer_seconds
        body = response.body
        connection = "close" if not keep else "" if head and head.minor == 1 else "keep-alive"
        start = answer_head(response.status, response.headers, connection)
        length = b"" if response.status in (204, 304) else b"Content-Length: %d\r\n" % len(body)
        if response.status in (204, 304) or (head and head.method == "HEAD"):
            body = b""
        self.request.sendall(b"%s%s%s\r\n%s" % (start, date_field(int(time.time())), length, body))
        self.deadline = now + limits.idle_seconds
        self.idle = True
        return keep

    def _linger(self) -> None:
        """Close in two steps: a reset for what was sent but not read could erase our answer (RFC 9112 section 9.6)."""
        self.idle = False
        self.deadline = time.monotonic() + self.server.limits.linger_seconds
        left = LINGER_BYTES
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_WR)
            while left > 0 and (piece := self.request.recv(65536)):
                left -= len(piece)

    def alive(self) -> bool:
        try:
            if self.request.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return True
        except BlockingIOError:
            return True
        except OSError:
            self.broken = True  # the system tells it only once
        return not self.broken and time.monotonic() - self.arrived < HALF_CLOSED_GRACE

    def cut(self, how: int) -> None:
        with suppress(OSError):
            self.request.shutdown(how)

    def expire(self) -> None:
        """First end the reading, so that a late request can be told; what is still there at the next look is cut.

        With a reset then, or the system would keep an answer that nobody takes.
        """
        late, self.expired = self.expired, True  # before the reading ends, which wakes its thread
        if late:
            with suppress(OSError):
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut(socket.SHUT_RDWR if late else socket.SHUT_RD)


@lru_cache(maxsize=2)
def date_field(now: int) -> bytes:
    """RFC 9110 section 6.6.1: an origin server with a clock sends Date."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode("latin-1")
