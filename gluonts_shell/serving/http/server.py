"""Accepts connections and gives each a thread: `http.server` with the threading mixin, a cap and deadlines.

It knows the listening socket and refuses to know routes, JSON and processes. One thread, the one in `serve`, accepts
and cuts off whoever passed a deadline, so that no recv needs a time-out of its own and a deadline is of the whole head
or body, not of each packet. At the cap of connections the one that would be cut off first makes room for the newcomer,
so that a flood of idle or half-sent requests never keeps `/ping` out.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import HTTPServer
from math import inf
from pathlib import Path
from socketserver import BaseRequestHandler, BaseServer, ThreadingMixIn
from typing import Any

from gluonts_shell.errors import Overloaded
from gluonts_shell.serving.http.connection import LINGER_BYTES, Connection, Host, message
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.listener import Listener
from gluonts_shell.serving.http.shares import Share, Shares

log = logging.getLogger(__name__)

TICK = 0.25  # seconds between two looks at the deadlines
DRAIN_TICK = 0.02
# that a connection is left to a worker that has fewer of them
YIELD_SECONDS, YIELD_TICK = 0.02, 0.001
SPARE_DESCRIPTORS = 16  # for the log, the model's files and the children of the application
CROWDED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# in which a connection that was cut gives back its thread and its descriptor
CROWDED_SECONDS = 0.05
THREAD_ATTEMPTS = 5

Source = Callable[[], bool]
"""Called when its descriptor can be read; False ends the serving."""


class Server(ThreadingMixIn, HTTPServer):
    """Serves a socket that is bound, listening and non-blocking, so that processes may share it.

    sleeps: whether it looks at nothing while it has no connection, `tick` included, until something comes.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: Listener,
        app: App,
        limits: Limits | None = None,
        share: Share | None = None,
        *,
        sleeps: bool = False,
    ) -> None:
        # finish_request below makes the connections, so the class of handlers is never used
        BaseServer.__init__(self, listener.getsockname(), BaseRequestHandler)
        self.socket = listener  # type: ignore[assignment]  # the base class calls a few of a socket's methods
        self.own = _file_of(listener.fileno())
        self.sleeps = sleeps
        self.host = Host(app, limits or Limits())
        self.share = share or Shares(1).of(0)
        self.capacity = min(self.host.limits.connections, _descriptors_left())
        self.connections: dict[socket.socket, Connection] = {}
        self.lock = threading.Lock()
        self.warned = -inf

    def serve(self, sources: Mapping[int, Source], tick: Callable[[], bool] = lambda: True) -> None:
        """Accept and answer until a source or `tick`, called four times a second, returns False.

        sources: descriptor -> what to do when it can be read.
        """
        poller = select.poll()
        for descriptor in (self.socket.fileno(), *sources):
            poller.register(descriptor, select.POLLIN)
        looked, quiet = -inf, False
        self.share.set(len(self.connections))
        while True:
            for descriptor, _ in poller.poll(None if quiet else TICK * 1000):
                if not sources.get(descriptor, self._newcomer)():
                    return
            now, quiet = time.monotonic(), False
            if now - looked >= TICK:
                looked = now
                # known before the tick, which sees to what the last connection left; only this thread adds any
                quiet = self.sleeps and not self.connections
                self._expire(now)
                if not tick():
                    return

    def drain(self, seconds: float, *, welcome: bool = True) -> int:
        """Answer whoever is connected already, then close; returns how many were cut off at the deadline.

        Idle clients have `parting_seconds` to send what may be on its way; it is answered with `Connection: close`.
        welcome: whether those that wait in the queue of the listener are answered too.
        """
        self.host.draining = True
        self.share.leave()
        while welcome and self.welcome():
            pass
        if self.listens():  # else the number may be another file's by now
            self.socket.close()
        began = time.monotonic()
        while self.connections and (now := time.monotonic()) < began + seconds:
            self._expire(now, idle_too=now > began + self.host.limits.parting_seconds)
            time.sleep(DRAIN_TICK)
        return len(self.connections)

    def listens(self) -> bool:
        """Whether the listener is open: what this process runs may have closed a descriptor that is not its own."""
        return _file_of(self.socket.fileno()) == self.own

    def answer_for_all(self, error: BaseException) -> None:
        """Tell those whose requests are still being computed that no answer will come."""
        with self.lock:
            left = list(self.connections.values())
        for connection in left:
            connection.answer_instead(self.host.refuse(error))

    def welcome(self) -> bool:
        """Accept one connection if there is one; another process may have been quicker."""
        try:
            request, address = self.socket.accept()
        except OSError as error:
            if error.errno in CROWDED:
                self._crowded(error)
            return False
        self.adopt(request, address)
        return True

    def adopt(self, request: socket.socket, address: Any) -> None:
        """Serve a connection that was accepted, by this process or by another."""
        if len(self.connections) >= self.capacity:
            self._evict()
        for _ in range(THREAD_ATTEMPTS):
            try:
                self.process_request(request, address)
            except RuntimeError as error:  # no thread can be started
                self._forget(request)
                self._crowded(error)
            else:
                return
        self._turn_away(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            self.connections[request] = Connection(request, self.host)
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

    def _newcomer(self) -> bool:
        self._give_way()
        self.welcome()
        return True

    def _give_way(self) -> None:
        """While another worker has clearly fewer connections, and until it has shown that it is not quicker."""
        ends = time.monotonic() + YIELD_SECONDS
        while (
            len(self.connections) > 1.25 * self.share.fewest_elsewhere() and time.monotonic() < ends
        ):
            time.sleep(YIELD_TICK)

    def _count(self) -> None:
        if not self.host.draining:
            self.share.set(len(self.connections))

    def _expire(self, now: float, idle_too: bool = False) -> None:
        with self.lock:
            for connection in self.connections.values():
                if connection.deadline < now or (idle_too and connection.idle):
                    connection.expire()

    def _evict(self) -> None:
        with self.lock:
            if not self.connections:
                return
            request = min(self.connections, key=lambda request: self.connections[request].deadline)
            if self.connections[request].deadline < inf:
                self.connections.pop(request).cut(socket.SHUT_RDWR)

    def _forget(self, request: socket.socket) -> None:
        """It has no thread yet, so that nothing but this must be undone."""
        with self.lock:
            self.connections.pop(request, None)
            self._count()

    def _turn_away(self, request: socket.socket) -> None:
        """All threads compute: none can be had by cutting a silent connection."""
        busy = Overloaded("no thread can be started for this connection; try again later")
        with suppress(OSError):
            request.setblocking(False)
            # closing while something is unread would send a reset over the answer
            request.recv(LINGER_BYTES)
        with suppress(OSError):
            request.send(message(self.host.refuse(busy), None, keep=False))
            request.shutdown(socket.SHUT_WR)
        request.close()

    def _crowded(self, error: Exception) -> None:
        """Out of descriptors, memory or threads: make room and wait a little, for the listener stays readable."""
        now = time.monotonic()
        if now - self.warned > 60:
            self.warned = now
            log.warning("cannot take more than %d connections: %s", len(self.connections), error)
        self._evict()
        time.sleep(CROWDED_SECONDS)


def _file_of(descriptor: int) -> tuple[int, int] | None:
    """Which file it is a number of; None where it is of none."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
