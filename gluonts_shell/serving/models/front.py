"""The process that has the port: it starts the others, serves, drains, and computes nothing.

    bind       a port that is taken is known before anything is imported
    fork       the fork server, while this process has one thread; it imports, and this process does not
    listen     only once that is done
    serve      threads that pass requests on; no model holds up another, nor /ping
    drain      SIGTERM or SIGINT: what is in flight is answered; then all processes end; status 0. A second signal ends
               everything at once, 128 + its number, but a SIGTERM within a second of another is the same one

The fork server ends with this process and every model's process does, however this one ends. Where the fork server
ends, models cannot be loaded again, and the front drains and ends with status 1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from gluonts_shell import log as logs
from gluonts_shell.errors import Overloaded
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.listener import bind, listen
from gluonts_shell.serving.http.server import Server
from gluonts_shell.serving.metrics.counters import Counters
from gluonts_shell.serving.metrics.emf import Minutes
from gluonts_shell.serving.models.app import Models
from gluonts_shell.serving.models.forkserver import ForkServer, Order
from gluonts_shell.serving.models.registry import Registry
from gluonts_shell.serving.models.room import Room
from gluonts_shell.serving.processes.link import WorkerEnd
from gluonts_shell.serving.processes.signals import (
    ALL_SIGNALS,
    Interrupted,
    Signals,
    recorded,
)
from gluonts_shell.serving.processes.worker import Terms

log = logging.getLogger(__name__)


def run(
    *,
    address: str,
    port: int,
    prepare: Callable[[], None],
    become: Callable[[Order, WorkerEnd], NoReturn],
    check: Callable[[Path], None],
    app: Callable[[Registry], App] = Models,
    limits: Limits,
    terms: Terms,
    announce: Callable[[int], None],
    counters: Counters,
    minutes: Minutes | None = None,
    room: Room | None = None,
) -> int:
    """Serve until a signal; returns the exit status.

    prepare, become: as of ForkServer. check: as of Registry. announce: is called with the port once /ping is answered.
    counters: with a slot for the front and for each model. minutes: tells once a minute what they counted.
    Raises ConfigurationError if the port cannot be bound, and ModelError if what models need cannot be imported.
    """
    logs.never_wait()
    logs.drop_prints()
    with (
        bind(address, port) as listener,
        TemporaryDirectory(prefix="gluonts-shell-models-", ignore_cleanup_errors=True) as places,
    ):
        forkserver = ForkServer.start(prepare, become)
        with recorded(*ALL_SIGNALS) as signals:
            try:
                with signals.interrupting():
                    forkserver.wait_until_ready()
                listen(listener)
                registry = Registry(
                    forkserver,
                    check,
                    room=room or Room(),
                    terms=terms,
                    places=Path(places),
                    counters=counters,
                )
                server = Server(listener, app(registry), limits)
                announce(listener.getsockname()[1])
                return Front(server, registry, forkserver, terms, minutes).serve(signals)
            except Interrupted:
                return 0
            finally:
                forkserver.close()


class Front:
    def __init__(
        self,
        server: Server,
        registry: Registry,
        forkserver: ForkServer,
        terms: Terms,
        minutes: Minutes | None,
    ) -> None:
        self.server, self.registry, self.forkserver = server, registry, forkserver
        self.terms, self.minutes = terms, minutes
        self.forks = True

    def serve(self, signals: Signals) -> int:
        def signalled() -> bool:
            signals.drain()
            self._reap()
            return self.forks and not signals.received

        self.server.serve({signals.descriptor: signalled}, self._tick)
        signals.end_at_the_next()
        if not self.forks:
            log.error("giving up: the process that starts models has ended")
        else:
            log.info("stopping: the requests that are in flight are answered")
        if cut := self.server.drain(self.terms.drain_seconds):
            log.warning("%d connections were cut off after %g s", cut, self.terms.drain_seconds)
            self.server.answer_for_all(Overloaded("the server ends; try again later"))
        if self.minutes is not None:
            self.minutes.tell()
        logs.flush()
        return 0 if self.forks else 1

    def _tick(self) -> bool:
        if self.minutes is not None:
            self.minutes.tick()
        self.registry.close_idle()
        logs.flush()
        return True

    def _reap(self) -> None:
        """Every child that ended; process 1 of a container inherits those that models have left."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.forks = self.forks and pid != self.forkserver.pid
