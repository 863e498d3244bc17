"""Accepts connections and gives each a thread: `http.server` with the threading mixin, a cap and deadlines.

It knows the listening socket and refuses to know routes, JSON and processes. One thread, the one in `serve`, accepts
and cuts off whoever passed a deadline, so that no recv needs a time-out of its own and a deadline is of the whole head
or body, not of each packet. At the cap of connections the one that would be cut off first makes room for the newcomer,
so that a flood of idle or half-sent requests never keeps `/ping` out.
"""

from __future__ import annotations

import errno
import logging
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import HTTPServer
from math import inf
from pathlib import Path
from socketserver import BaseServer, ThreadingMixIn
from typing import Any

from gluonts_shell.serving.http.connection import App, Connection, Limits, Request, Response
from gluonts_shell.serving.http.shares import Share, Shares
from gluonts_shell.serving.http.wire import Head

__all__ = ["App", "Limits", "Request", "Response", "Server"]

log = logging.getLogger(__name__)

TICK = 0.25  # seconds between two looks at the deadlines
DRAIN_TICK = 0.02
COURTESY, COURTESY_TICK = 0.02, 0.001  # seconds that a connection is left to a worker that has fewer of them
SPARE_DESCRIPTORS = 16  # for the log, the model's files and the children of the application
CROWDED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server(ThreadingMixIn, HTTPServer):
    """Serves a socket that is bound, listening and non-blocking, so that processes may share it."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, listener: socket.socket, app: App, limits: Limits | None = None, share: Share | None = None
    ) -> None:
        BaseServer.__init__(self, listener.getsockname(), Connection)
        self.socket = listener
        self.app = app
        self.limits = limits or Limits()
        self.share = share or Shares(1).of(0)
        self.draining = False
        self.capacity = min(self.limits.connections, _descriptors_left())
        self.connections: dict[socket.socket, Connection] = {}
        self.lock = threading.Lock()
        self.warned = -inf

    def serve(self, *until: int, tick: Callable[[], None] = lambda: None) -> None:
        """Accept and answer until one of the descriptors `until` can be read. `tick` is called four times a second."""
        poller = select.poll()
        for descriptor in (self.socket.fileno(), *until):
            poller.register(descriptor, select.POLLIN)
        looked = -inf
        self.share.set(len(self.connections))
        while True:
            ready = [descriptor for descriptor, _ in poller.poll(TICK * 1000)]
            if any(descriptor in until for descriptor in ready):
                return
            if ready:
                self._give_way()
                self.welcome()
            now = time.monotonic()
            if now - looked >= TICK:
                looked = now
                tick()
                self._expire(now)

    def drain(self, seconds: float) -> int:
        """Answer whoever is connected or queued already, then close; returns how many were cut off at the deadline.

        Idle clients have `parting_seconds` to send what may be on its way; it is answered with `Connection: close`.
        """
        self.draining = True
        self.share.leave()
        while self.welcome():
            pass
        self.socket.close()
        began = time.monotonic()
        while self.connections and (now := time.monotonic()) < began + seconds:
            self._expire(now, idle_too=now > began + self.limits.parting_seconds)
            time.sleep(DRAIN_TICK)
        return len(self.connections)

    def welcome(self) -> bool:
        """Accept one connection if there is one; another process may have been quicker."""
        try:
            request, address = self.socket.accept()
        except OSError as error:
            if error.errno in CROWDED:
                self._crowded(error)
            return False
        if len(self.connections) >= self.capacity:
            self._evict()
        try:
            self.process_request(request, address)
        except RuntimeError as error:  # no thread can be started
            self.shutdown_request(request)
            self._crowded(error)
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            self.connections[request] = Connection(request, client_address, self)
            self._count()
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        connection = self.connections.get(request)
        if connection is not None:
            connection.run()

    def shutdown_request(self, request: Any) -> None:
        with self.lock:  # a descriptor that was closed may already be another connection's
            self.connections.pop(request, None)
            self._count()
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        if isinstance(sys.exc_info()[1], OSError):  # clients come and go
            log.debug("the connection of %s broke", client_address, exc_info=True)
        else:
            log.exception("the connection of %s failed", client_address)

    def refuse(self, error: BaseException, head: Head | None) -> Response:
        path, headers = (head.path, head.headers) if head else ("", {})
        try:
            ordinary = error if isinstance(error, Exception) else RuntimeError(repr(error))
            return self.app.refuse(ordinary, path, headers)
        except Exception:
            log.exception("the application could not refuse %r", error)
            return Response(500, b'{"error": "internal error"}', (("Content-Type", "application/json"),))

    def _give_way(self) -> None:
        """While another worker has clearly fewer connections, and until it has shown that it is not quicker."""
        ends = time.monotonic() + COURTESY
        while len(self.connections) > 1.25 * self.share.fewest_elsewhere() and time.monotonic() < ends:
            time.sleep(COURTESY_TICK)

    def _count(self) -> None:
        if not self.draining:
            self.share.set(len(self.connections))

    def _expire(self, now: float, idle_too: bool = False) -> None:
        with self.lock:
            for connection in self.connections.values():
                if connection.deadline < now or (idle_too and connection.idle):
                    connection.expire()

    def _evict(self) -> None:
        with self.lock:
            request = min(self.connections, key=lambda request: self.connections[request].deadline)
            if self.connections[request].deadline < inf:
                self.connections.pop(request).cut(socket.SHUT_RDWR)

    def _crowded(self, error: Exception) -> None:
        """Out of descriptors, memory or threads: make room and wait a little, for the listener stays readable."""
        now = time.monotonic()
        if now - self.warned > 60:
            self.warned = now
            log.warning("cannot take more than %d connections: %s", len(self.connections), error)
        if self.connections:
            self._evict()
        time.sleep(0.05)


def _descriptors_left() -> int:
    """How many connections the process may open; at least a few, since accept recovers from having none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    try:
        used = len(list(Path("/dev/fd").iterdir()))
    except OSError:
        used = 32
    return max(4, soft - used - SPARE_DESCRIPTORS)
