"""Bind once, load once, fork the workers, keep them alive, end them in good order.

It knows processes and signals and refuses to know HTTP and models: both are handed in. The parent starts no thread and
predicts nothing, because a process that is forked after that may deadlock. As process 1 of a container it reaps
whatever is left to it.

    bind       a port that is taken is known before minutes are spent on the model
    load       in the parent, so that the workers share the pages; a SIGTERM here ends the process at once, status 0
    listen     only now: until the model is there a health check is refused at once instead of kept waiting
    fork       each worker builds its application itself: threads and locks do not survive a fork
    watch      a dead worker is replaced, a worker that hangs is killed; workers that never get ready end it, status 1
    stand in   while no worker takes connections the parent does, and answers health checks itself (standby.py)
    drain      SIGTERM or SIGINT: workers answer what they have; status 0. A second signal kills them, 128 + its number,
               but a SIGTERM within a second of another is the same one
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol

from gluonts_shell.log import drop_prints, never_wait
from gluonts_shell.serving.http.exchange import App
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.http.listener import bind, listen
from gluonts_shell.serving.http.shares import Share, Shares
from gluonts_shell.serving.metrics.counters import Counters, Meter
from gluonts_shell.serving.metrics.emf import Minutes
from gluonts_shell.serving.processes.link import LEAVING, ParentEnd, pair
from gluonts_shell.serving.processes.signals import ALL_SIGNALS, Interrupted, Signals, recorded
from gluonts_shell.serving.processes.standby import Standby
from gluonts_shell.serving.processes.worker import HOPELESS, Terms, flush, work

log = logging.getLogger(__name__)

RESPAWN_SECONDS = 0.1
RESPAWN_SECONDS_MOST = 10.0
START_ATTEMPTS = 5  # workers in a row that die before they are ready
KILL_MARGIN = 1.0  # seconds that a worker has, after it should have ended, before it is killed
LOOK_SECONDS = 0.25  # between two looks at the workers, which beat as often
LOOK_AGAIN_SECONDS = 0.02  # while a client of the standby has not sent its request yet
# without a heartbeat, after which the parent takes the connections: SageMaker gives /ping 2 s
ABSENT_SECONDS = 0.75


class Loaded(Protocol):
    """A model that is there."""

    @property
    def description(self) -> str:
        """For the log: what is served."""
        ...

    def start(self, meter: Meter) -> App:
        """Called in each worker, once, after the fork and before it starts a thread. meter: where it may count."""
        ...


def run(
    *,
    address: str,
    port: int,
    workers: int,
    load: Callable[[], Loaded],
    limits: Limits | None = None,
    terms: Terms | None = None,
    announce: Callable[[int, str], None],
    preload: bool = True,
    metrics_of: str | None = None,
) -> int:
    """Serve until a signal; returns the exit status.

    announce: is called once with the port and a description, when every worker is ready.
    metrics_of: the model's name in a line of metrics a minute; None for no such line.
    preload: False if the loaded model cannot be forked (an accelerator, or not Linux): then one worker loads it itself.

    Raises ConfigurationError if the port cannot be bound, and whatever `load` raises.
    """
    never_wait()
    drop_prints()
    with bind(address, port) as listener, recorded(*ALL_SIGNALS) as signals:
        gc.disable()  # loading makes hardly any garbage, and looking for it takes a sixth of the time
        try:
            with signals.interrupting():
                loaded = load() if preload else None
        except Interrupted:
            return 0
        listen(listener)
        gc.freeze()  # so that no collection in a worker writes to the pages that it shares
        gc.enable()
        description = "what each worker loads" if loaded is None else loaded.description

        def make(meter: Meter) -> App:
            return (loaded or load()).start(meter)

        size = workers if preload else 1
        supervisor = Supervisor(listener, make, limits or Limits(), terms or Terms(), size)
        if metrics_of is not None:
            supervisor.minutes = Minutes(supervisor.counters, metrics_of)
        return supervisor.run(signals, lambda: announce(listener.getsockname()[1], description))


@dataclass
class Child:
    """A worker, as its parent sees it. silent: our own seconds since its last heartbeat; ends: when it is killed.

    killed: by us.
    """

    pid: int
    link: ParentEnd
    share: Share
    ready: bool = False
    leaving: bool = False
    heard: float = -inf
    silent: int = 0
    ends: float = inf
    killed: bool = False

    @property
    def serves(self) -> bool:
        return self.ready and not self.leaving


class Supervisor:
    """The workers: how they are started, watched and ended."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Meter], App],
        limits: Limits,
        terms: Terms,
        size: int,
    ) -> None:
        self.listener, self.make, self.limits, self.terms, self.size = (
            listener,
            make,
            limits,
            terms,
            size,
        )
        self.children: dict[int, Child] = {}
        # one that leaves keeps its place until it has ended, while the next one serves already
        shares = Shares(2 * size)
        self.free = [shares.of(slot) for slot in range(2 * size)]
        self.counters = Counters(2 * size)
        self.minutes: Minutes | None = None
        self.standby = Standby(listener, limits.connections)
        self.standing_in = False
        self.heard = -inf  # when a worker last gave a sign that it takes connections
        self.announced = False
        self.failures = 0
        self.next_start = -inf
        self.stopping = False

    def run(self, signals: Signals, announce: Callable[[], None]) -> int:
        ticked = time.monotonic()
        while not signals.received:
            self._start_missing()
            self._wait(signals)
            self._hear()
            self._reap()
            if self.failures >= START_ATTEMPTS and not self._serving():
                log.error("giving up: workers do not start")
                self._signal(signal.SIGKILL)
                return 1
            if not self.announced and len(self._serving()) == self.size:
                self.announced = True
                announce()
            self._stand_in()
            if time.monotonic() - ticked >= 1.0:
                ticked = time.monotonic()
                self._kill_hanging()
                if self.minutes is not None:
                    self.minutes.tick()
        return self._stop(signals)

    def _serving(self) -> list[Child]:
        return [child for child in self.children.values() if child.serves]

    def _missing(self) -> int:
        """How many workers must be started; never more than there are places."""
        staying = [child for child in self.children.values() if not child.leaving]
        return min(self.size - len(staying), len(self.free))

    def _wait(self, signals: Signals) -> None:
        """Until a signal, a worker's first word, a connection for us, or the next thing to do."""
        pause = LOOK_AGAIN_SECONDS if self.standby.undecided else LOOK_SECONDS
        if self._missing():
            pause = min(pause, max(0.0, self.next_start - time.monotonic()))
        poller = select.poll()
        poller.register(signals.descriptor, select.POLLIN)
        for child in self.children.values():
            if not child.ready:
                poller.register(child.link, select.POLLIN)
        if self.standing_in:
            poller.register(self.listener, select.POLLIN)
        poller.poll(1000 * pause)
        signals.drain()

    def _hear(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            words = child.link.heard()
            if not words:
                continue
            if not child.ready:
                self.failures = 0
            child.ready, child.heard, child.silent = True, now, 0
            if LEAVING in words:
                child.leaving, child.ends = True, now + self.terms.drain_seconds + KILL_MARGIN
            if child.serves:
                self.heard = now

    def _stand_in(self) -> None:
        """Take new connections while no worker does; give them away once one does."""
        if not self.announced:
            return
        serving, now = self._serving(), time.monotonic()
        present = [child for child in serving if now - child.heard < ABSENT_SECONDS]
        if present:
            least = min(present, key=lambda child: child.share.count)
            self.standby.hand_over(least.link.hand)
        self.standing_in = now - self.heard >= ABSENT_SECONDS
        if self.standing_in:
            # where no descriptor is free, the listener's readiness would only wake us for nothing
            self.standing_in = self.standby.accept()
        self.standby.answer(healthy=bool(serving))

    def _start_missing(self) -> None:
        while self._missing() and time.monotonic() >= self.next_start:
            self._start()

    def _start(self) -> None:
        ours, theirs = pair()
        flush()
        # a signal between the fork and the child's own handlers would be told to the parent's
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            pid = -1
            self._failed(f"no process could be forked: {error.strerror}")
        if pid == 0:
            ours.close()
            for child in self.children.values():
                child.link.close()
            self.standby.forget()
            share = self.free[-1]
            work(
                listener=self.listener,
                make=lambda: self.make(self.counters.of(share.slot)),
                limits=self.limits,
                terms=self.terms,
                link=theirs,
                share=share,
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
        theirs.close()
        if pid > 0:
            self.children[pid] = Child(pid, ours, self.free.pop())
        else:
            ours.close()

    def _reap(self) -> None:
        """Every child that ended, those that process 1 inherited too."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue
            child.link.close()
            child.share.leave()
            self.counters.left(child.share.slot)
            self.free.append(child.share)
            self._ended(child, os.waitstatus_to_exitcode(code))

    def _ended(self, child: Child, status: int) -> None:
        if self.stopping:
            return
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        if -status == signal.SIGKILL and not child.killed:
            how += ", perhaps out of memory"
        if child.leaving:
            log.info("worker %d ended (%s)", child.pid, how)
        elif child.ready:
            log.warning("worker %d ended (%s); starting another", child.pid, how)
            self.next_start = time.monotonic() + RESPAWN_SECONDS
        else:
            self._failed(f"worker {child.pid} ended before it was ready ({how})")
            if status == HOPELESS:
                self.failures = START_ATTEMPTS

    def _failed(self, what: str) -> None:
        log.warning("%s", what)
        self.failures += 1
        self.next_start = time.monotonic() + min(
            RESPAWN_SECONDS * 2**self.failures, RESPAWN_SECONDS_MOST
        )

    def _kill_hanging(self) -> None:
        """Silence is counted in our own ticks, so that a pause of the whole container kills nobody."""
        for child in self.children.values():
            child.silent += child.serves or not child.ready
            if not child.ready and child.silent > self.terms.ready_seconds:
                log.error("worker %d is not ready after %d s; killing it", child.pid, child.silent)
            elif child.ready and child.silent > self.terms.silent_seconds:
                log.error("worker %d has been silent for %d s; killing it", child.pid, child.silent)
            elif child.ends < time.monotonic():
                log.error("worker %d has not ended in time; killing it", child.pid)
            else:
                continue
            child.killed = True
            os.kill(child.pid, signal.SIGKILL)

    def _stop(self, signals: Signals) -> int:
        self.stopping = True
        self.listener.close()
        self.standby.refuse()
        log.info("stopping: %d workers finish what they have", len(self.children))
        self._signal(signal.SIGTERM)
        end = time.monotonic() + self.terms.drain_seconds + KILL_MARGIN
        while self.children:
            if len(signals.received) > 1 or time.monotonic() > end:
                log.warning("killing %d workers that have not finished", len(self.children))
                self._signal(signal.SIGKILL)
            select.select([signals.descriptor], [], [], 0.1)
            signals.drain()
            self._reap()
        if self.minutes is not None:
            self.minutes.tell()
        return 128 + signals.received[1] if len(signals.received) > 1 else 0

    def _signal(self, number: int) -> None:
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
