"""The life of a worker process, from the fork to its exit.

It knows how one process serves and why it leaves, and refuses to know the other workers.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import NoReturn

from gluonts_shell import log as logs
from gluonts_shell.errors import ModelError, Overloaded, ShellError
from gluonts_shell.serving.blame import PREDICT_LIMIT
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.listener import Listener
from gluonts_shell.serving.http.server import Server
from gluonts_shell.serving.http.shares import Share
from gluonts_shell.serving.processes.link import ParentGone, WorkerEnd
from gluonts_shell.serving.processes.machine import resident_bytes
from gluonts_shell.serving.processes.signals import ALL_SIGNALS, Interrupted, Signals, recorded

log = logging.getLogger(__name__)

# seconds that /ping waits, instead of 5 ms, for each thread that computes; every thread that waits for the interpreter
# wakes so often, which at 0.5 ms took a sixth of the requests of 16 connections
SWITCH_INTERVAL = 0.002
STUCK_SECONDS = 1.0  # for the answers of a worker whose predict hangs: all but one are ready
HOPELESS = 3  # the exit status that says: another try would fail too


@dataclass(frozen=True)
class Terms:
    """What ends a worker.

    drain_seconds: for what is in flight when the end has come. silent_seconds: without a heartbeat, after which the
    parent kills it; inf for never. resident_bytes: of memory, beyond which it makes room for another; inf for never.
    sleeps: whether it gives no heartbeat either while it has no connection. ready_seconds: in which it must have begun
    to serve, or the parent kills it; inf for never.
    """

    drain_seconds: float = 25.0
    silent_seconds: float = 120.0
    resident_bytes: float = inf
    sleeps: bool = False
    ready_seconds: float = inf


class Stuck(Exception):
    """A computation has run for longer than any may. In the worker's own loop only."""


class Worker:
    """One process that serves. Its loop runs `tick` four times a second, unless it sleeps."""

    def __init__(self, server: Server, link: WorkerEnd, terms: Terms) -> None:
        self.server, self.link, self.terms = server, link, terms
        self.most = terms.resident_bytes
        if (now := resident_bytes()) >= self.most:
            log.warning(
                "a worker has %d bytes before its first request, and may have %g: it is not replaced",
                now,
                self.most,
            )
            self.most = inf

    def serve(self, signals: Signals) -> None:
        """Until SIGTERM, until the parent is gone, or until it is better replaced."""
        sources = {signals.descriptor: lambda: False, self.link.fileno(): self._adopt}
        try:
            self.server.serve(sources, self._tick)
        except Stuck:
            self.server.drain(STUCK_SECONDS, welcome=False)
            self.server.answer_for_all(
                ModelError(
                    "the model took longer than any prediction may, and was ended "
                    f"({PREDICT_LIMIT})"
                )
            )
            return
        cut = self.server.drain(self.terms.drain_seconds)
        if cut:
            log.warning("%d connections were cut off after %g s", cut, self.terms.drain_seconds)
            self.server.answer_for_all(Overloaded("the server ends; try again later"))

    def _adopt(self) -> bool:
        """Serve a connection that the parent accepted."""
        try:
            connection = self.link.connection()
        except ParentGone:
            return False
        if connection is not None:
            self.server.adopt(connection, "a connection of the parent's")
        return True

    def _tick(self) -> bool:
        logs.flush()
        overdue = self.server.host.app.overdue()
        if overdue is not None:
            log.error("%s; this worker ends, and another one starts", overdue)
            self.link.leave()
            raise Stuck
        if self._has_grown() or self._is_deaf():
            self.link.leave()
            return False
        self.link.beat()
        return True

    def _is_deaf(self) -> bool:
        """A worker that beats and takes no connection would be lost for ever."""
        if self.server.listens():
            return False
        log.error(
            "the model's code closed the socket that this worker listens on: it ends, and another one starts"
        )
        return True

    def _has_grown(self) -> bool:
        if self.most == inf:
            return False
        now = resident_bytes()
        if now <= self.most:
            return False
        log.warning(
            "this worker has %d bytes, and may have %g: it ends, and another one starts",
            now,
            self.most,
        )
        return True


def work(
    *,
    listener: Listener,
    make: Callable[[], App],
    limits: Limits,
    terms: Terms,
    link: WorkerEnd,
    share: Share,
) -> NoReturn:
    """Serve until SIGTERM, or until the parent is gone; then answer what is in flight and exit."""
    status = 1
    try:
        # a terminal sends it to everyone; the parent will tell us
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with recorded(signal.SIGTERM) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
            sys.setswitchinterval(SWITCH_INTERVAL)
            logs.gather()
            with signals.interrupting():
                server = Server(listener, make(), limits, share, sleeps=terms.sleeps)
            Worker(server, link, terms).serve(signals)
        status = 0
    except Interrupted:
        status = 0
    except ShellError as error:
        log.error("%s", error)
        status = HOPELESS
    except BaseException:
        log.exception("worker %d failed", os.getpid())
    finally:
        flush()
        os._exit(status)  # not the parent's clean-up a second time


def flush() -> None:
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
        logs.flush()
