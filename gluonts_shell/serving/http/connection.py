"""One connection: a request, its answer, the next request.

It knows the order in which things are checked and what closes a connection, and refuses to know how connections come
in and what the application does. Each step first sets the deadline by which the client must have done its part.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from contextlib import suppress
from math import inf

from gluonts_shell.errors import RequestError, RequestTimeout, TooLarge
from gluonts_shell.serving.http.exchange import App, Request, Response
from gluonts_shell.serving.http.framing import Reader
from gluonts_shell.serving.http.limits import MEBIBYTE, Limits
from gluonts_shell.serving.http.wire import CHUNKED, Head, answer_head, date_field, parse_head

log = logging.getLogger(__name__)

HALF_CLOSED_GRACE = 1.0
LINGER_BYTES = 8 * 1024 * 1024
STAND_IN_SECONDS = 1.0  # that an answer in the stead of a thread that hangs may take
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# RFC 9110 section 9.3.7: `OPTIONS *` is a question about the server, not about a resource
ABOUT_THE_SERVER = (("Allow", "GET, HEAD, POST"),)
FORCED = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends a reset


class Host:
    """What all connections of a server share: the application, the limits, and whether the end has come."""

    def __init__(self, app: App, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.draining = False

    def refuse(self, error: BaseException, head: Head | None = None) -> Response:
        path, headers = (head.path, head.headers) if head else ("", {})
        try:
            return self.app.refuse(error, path, headers)
        except Exception:
            log.exception("the application could not refuse %r", error)
            return Response(
                500, b'{"error": "internal error"}', (("Content-Type", "application/json"),)
            )


class Connection:
    """One connection and its thread. `deadline` is when it is cut off: never while the application works."""

    def __init__(self, request: socket.socket, host: Host) -> None:
        self.request, self.host = request, host
        self.reader = Reader(request.recv)
        self.raw = b""
        self.parsed: Head | None = None
        self.deadline = time.monotonic() + host.limits.head_seconds
        self.idle = True
        self.expired = False
        self.broken = False
        self.computing = False
        self.arrived = 0.0
        # held by whoever answers: the connection's own thread, or the server where that thread hangs
        self.speaking = threading.Lock()

    def run(self) -> None:
        self.request.setblocking(True)  # where accepted sockets inherit the listener's mode
        with suppress(OSError):
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        while self.exchange():
            pass
        self._linger()

    def exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        head: Head | None = None
        try:
            head = self._head()
            if head.path != "*":
                self.host.app.check(head.method, head.path, head.headers)
            body = self._body(head)
        except EOFError:
            return self._cut_short(head)
        except OSError:
            self._gone(head)
            raise
        except Exception as error:
            return self._refuse(error, head)
        keep = head.keep_alive
        if head.path == "*":
            return self._answer(Response(200, b"", ABOUT_THE_SERVER), head, keep)
        response = self._computed(head, body)
        return self._answer(response, head, keep and not self.host.draining)

    def _computed(self, head: Head, body: bytes) -> Response:
        request = Request(
            head.method, head.path, head.headers, body, self.alive, self.arrived, head.query
        )
        self.computing = True
        try:
            return self.host.app(request)
        # a model may raise KeyboardInterrupt or CancelledError; no signal comes here
        except BaseException as error:
            return self.host.refuse(error, head)
        finally:
            self.computing = False

    def _cut_short(self, head: Head | None) -> bool:
        """The client's side ended in the middle of a request; by our deadline, it is told."""
        if not self.expired or self.idle:
            self._gone(head)
            return False
        late = RequestTimeout("the request did not arrive in time")
        return self._answer(self.host.refuse(late, head), head, keep=False)

    def _gone(self, head: Head | None) -> None:
        """Nobody is there to be answered, but whoever asked for something is told of in the log."""
        if head is not None:
            self.host.refuse(RequestError("the connection ended before the body did"), head)

    def _refuse(self, error: Exception, head: Head | None) -> bool:
        # where the head was understood and no body follows, the next request's place is known
        bodiless = head is not None and head.length == 0 and head.keep_alive
        return self._answer(
            self.host.refuse(error, head), head, keep=bodiless and not self.host.draining
        )

    def _head(self) -> Head:
        raw = self.reader.head(self._slow_head)
        self.idle = False
        self.deadline = inf
        self.arrived = time.monotonic()
        # a client's next head is most often the same again
        if raw != self.raw or self.parsed is None:
            self.parsed = parse_head(raw)
            self.raw = raw
        return self.parsed

    def _slow_head(self) -> None:
        self.idle = False
        self.deadline = min(self.deadline, time.monotonic() + self.host.limits.head_seconds)

    def _body(self, head: Head) -> bytes:
        if head.length == 0:
            return b""
        limits, reader = self.host.limits, self.reader
        if head.length > limits.body:
            raise TooLarge(f"the body has {head.length} bytes, expected at most {limits.body}")
        if head.expects and not reader.waiting:
            self.request.sendall(CONTINUE)
        chunked = head.length == CHUNKED
        most = limits.body if chunked else head.length
        self.deadline = self.arrived + limits.body_seconds + most / MEBIBYTE
        body = reader.chunked(limits.body) if chunked else reader.exactly(head.length)
        self.deadline = inf
        return body

    def _answer(self, response: Response, head: Head | None, keep: bool) -> bool:
        if not self.speaking.acquire(blocking=False):
            return False  # it took so long that the server has answered already
        limits = self.host.limits
        now = time.monotonic()
        self.deadline = now + limits.answer_seconds
        self.request.sendall(message(response, head, keep))
        self.deadline = now + limits.idle_seconds
        self.idle = True
        self.speaking.release()
        return keep

    def answer_instead(self, response: Response) -> None:
        """Answer, from another thread, for one that is still computing; it can say nothing more afterwards."""
        if not self.computing or not self.speaking.acquire(blocking=False):
            return
        with suppress(OSError):
            self.request.settimeout(STAND_IN_SECONDS)
            self.request.sendall(message(response, self.parsed, keep=False))
        self.cut(socket.SHUT_RDWR)

    def _linger(self) -> None:
        """Close in two steps: a reset for what was sent but not read could erase our answer (RFC 9112 section 9.6)."""
        self.idle = False
        self.deadline = time.monotonic() + self.host.limits.linger_seconds
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
        if not late:
            self.cut(socket.SHUT_RD)
            return
        with suppress(OSError):
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FORCED)
        self.cut(socket.SHUT_RDWR)


def message(response: Response, head: Head | None, keep: bool) -> bytes:
    """The answer's bytes to the request with that head, None for one that could not be read."""
    start = answer_head(response.status, response.headers, _connection(head, keep))
    date = date_field(int(time.time()))
    if response.status in (204, 304):
        return b"%s%s\r\n" % (start, date)
    body = response.body
    length = b"Content-Length: %d\r\n" % len(body)
    if head and head.method == "HEAD":
        body = b""
    return b"%s%s%s\r\n%s" % (start, date, length, body)


def _connection(head: Head | None, keep: bool) -> str:
    """The field that tells what becomes of the connection; HTTP/1.1 keeps it without a word."""
    if not keep:
        return "close"
    return "" if head and head.minor == 1 else "keep-alive"
