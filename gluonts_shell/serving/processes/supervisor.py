"""Bind once, load once, fork the workers, keep them alive, end them in good order.

It knows processes and signals and refuses to know HTTP and models: both are handed in. The parent starts no thread and
predicts nothing, because a process that is forked after that may deadlock. As process 1 of a container it reaps
whatever is left to it.

    bind       a port that is taken is known before minutes are spent on the model
    load       in the parent, so that the workers share the pages; a SIGTERM here ends the process at once, status 0
    listen     only now: until the model is there a health check is refused at once instead of kept waiting
    fork       each worker builds its application itself: threads and locks do not survive a fork
    watch      a dead worker is replaced, a worker that hangs is killed; workers that never get ready end it, status 1
    drain      SIGTERM or SIGINT: workers answer what they have; status 0. A second signal kills them, 128 + its number
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

from gluonts_shell.log import never_wait
from gluonts_shell.serving.http.listener import bind, fill_standard_descriptors, listen
from gluonts_shell.serving.http.server import App, Limits
from gluonts_shell.serving.http.shares import Share, Shares
from gluonts_shell.serving.processes.signals import ALL_SIGNALS, Interrupted, Signals, recorded
from gluonts_shell.serving.processes.worker import HOPELESS, flush, work

log = logging.getLogger(__name__)

RESPAWN_SECONDS = 0.1
RESPAWN_SECONDS_MOST = 10.0
START_ATTEMPTS = 5  # workers in a row that die before they are ready
HANG_SECONDS = 120  # twice what SageMaker waits for an answer
KILL_MARGIN = 1.0  # seconds that a worker has, after it should have ended, before it is killed

Load = Callable[[], Callable[[], App]]


def run(
    *,
    address: str,
    port: int,
    workers: int,
    load: Load,
    limits: Limits | None = None,
    drain_seconds: float = 25.0,
    announce: Callable[[int], None],
    preload: bool = True,
) -> int:
    """Serve until a signal; returns the exit status.

    load: loads the model and returns what each worker calls, after the fork, to build its application.
    announce: is called once with the port, when every worker is ready.
    preload: False if the loaded model cannot be forked (an accelerator, or not Linux): then one worker loads it itself.

    Raises ConfigurationError if the port cannot be bound, and whatever `load` raises.
    """
    fill_standard_descriptors()
    never_wait()
    with bind(address, port) as listener, recorded(*ALL_SIGNALS) as signals:
        gc.disable()  # loading makes hardly any garbage, and looking for it takes a sixth of the time
        try:
            with signals.interrupting():
                factory = load() if preload else None
        except Interrupted:
            return 0
        listen(listener)
        gc.freeze()  # so that no collection in a worker writes to the pages that it shares
        gc.enable()

        def make() -> App:
            return factory() if factory is not None else load()()

        pool = Pool(listener, make, limits or Limits(), drain_seconds, workers if preload else 1)
        return pool.run(signals, announce)


@dataclass
class Worker:
    """A child of ours. It writes into `pipe` when it is ready and then at every tick."""

    pid: int
    pipe: int
    share: Share
    ready: bool = False
    silent: int = 0

    def listen(self) -> bool:
        """Whether it has just said its first word."""
        before = self.ready
        with suppress(BlockingIOError):
            if os.read(self.pipe, 4096):
                self.ready, self.silent = True, 0
        return self.ready and not before


class Pool:
    """The workers: how they are started, watched and ended."""

    def __init__(
        self, listener: socket.socket, make: Callable[[], App], limits: Limits, drain_seconds: float, size: int
    ) -> None:
        self.listener, self.make, self.limits = listener, make, limits
        self.drain_seconds, self.size = drain_seconds, size
        self.workers: dict[int, Worker] = {}
        shares = Shares(size)
        self.free = [shares.of(slot) for slot in range(size)]
        self.failures = 0
        self.next_start = -inf
        self.stopping = False
        # nothing is ever written: workers see its end when the last writer, this process, has gone
        self.lifeline, self.lifeline_writer = os.pipe()

    def run(self, signals: Signals, announce: Callable[[int], None]) -> int:
        announced = False
        ticked = time.monotonic()
        while not signals.received:
            while len(self.workers) < self.size and time.monotonic() >= self.next_start:
                self._start()
            self._wait(signals)
            for worker in self.workers.values():
                if worker.listen():
                    self.failures = 0
            self._reap()
            ready = sum(worker.ready for worker in self.workers.values())
            if self.failures >= START_ATTEMPTS and not ready:
                log.error("giving up: workers do not start")
                self._signal(signal.SIGKILL)
                return 1
            if ready == self.size and not announced:
                announced = True
                announce(self.listener.getsockname()[1])
            if time.monotonic() - ticked >= 1.0:
                ticked = time.monotonic()
                self._kill_hanging()
        return self._stop(signals)

    def _wait(self, signals: Signals) -> None:
        """Until a signal, a worker's first word, or the next thing to do."""
        pause = 1.0
        if len(self.workers) < self.size:
            pause = min(pause, max(0.0, self.next_start - time.monotonic()))
        starting = [worker.pipe for worker in self.workers.values() if not worker.ready]
        select.select([signals.descriptor, *starting], [], [], pause)
        signals.drain()

    def _start(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        flush()
        # a signal between the fork and the child's own handlers would be told to the parent's
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            pid = -1
            self._failed(f"no process could be forked: {error.strerror}")
        if pid == 0:
            os.close(self.lifeline_writer)
            os.close(reader)
            for worker in self.workers.values():
                os.close(worker.pipe)
            work(
                listener=self.listener,
                make=self.make,
                limits=self.limits,
                drain_seconds=self.drain_seconds,
                lifeline=self.lifeline,
                beat=writer,
                share=self.free[-1],
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
        os.close(writer)
        if pid > 0:
            self.workers[pid] = Worker(pid, reader, self.free.pop())
        else:
            os.close(reader)

    def _reap(self) -> None:
        """Every child that ended, those that process 1 inherited too."""
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self.workers.pop(pid, None)
            if worker is not None:
                worker.listen()
                os.close(worker.pipe)
                worker.share.leave()
                self.free.append(worker.share)
                self._mourn(worker, os.waitstatus_to_exitcode(code))

    def _mourn(self, worker: Worker, status: int) -> None:
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {-status}" + (", perhaps out of memory" if -status == signal.SIGKILL else "")
        if self.stopping:
            return
        if worker.ready:
            log.warning("worker %d ended (%s); starting another", worker.pid, how)
            self.next_start = time.monotonic() + RESPAWN_SECONDS
        else:
            self._failed(f"worker {worker.pid} ended before it was ready ({how})")
            if status == HOPELESS:
                self.failures = START_ATTEMPTS

    def _failed(self, what: str) -> None:
        log.warning("%s", what)
        self.failures += 1
        self.next_start = time.monotonic() + min(RESPAWN_SECONDS * 2**self.failures, RESPAWN_SECONDS_MOST)

    def _kill_hanging(self) -> None:
        """Silence is counted in our own ticks, so that a pause of the whole container kills nobody."""
        for worker in self.workers.values():
            worker.silent += worker.ready
            if worker.silent > HANG_SECONDS:
                log.error("worker %d has been silent for %d s; killing it", worker.pid, HANG_SECONDS)
                os.kill(worker.pid, signal.SIGKILL)

    def _stop(self, signals: Signals) -> int:
        self.stopping = True
        self.listener.close()
        log.info("stopping: %d workers finish what they have", len(self.workers))
        self._signal(signal.SIGTERM)
        end = time.monotonic() + self.drain_seconds + KILL_MARGIN
        while self.workers:
            if len(signals.received) > 1 or time.monotonic() > end:
                log.warning("killing %d workers that have not finished", len(self.workers))
                self._signal(signal.SIGKILL)
            select.select([signals.descriptor], [], [], 0.1)
            signals.drain()
            self._reap()
        return 128 + signals.received[1] if len(signals.received) > 1 else 0

    def _signal(self, number: int) -> None:
        for pid in self.workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
