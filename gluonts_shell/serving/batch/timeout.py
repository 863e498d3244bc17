"""Predictions with a time limit: the predictor works in a child process that can be killed.

What is not ready in time comes from the fallback and says so. A predictor that raises or dies is not late: that is an
error at once. It does not know what a prediction is, nor what the fallback does.

There are three processes. A worker of the server has threads, so it must not fork; and a process that ran a
multi-threaded forward pass of torch leaves its children deadlocked. So the worker starts, before its first thread, a
keeper in which nothing is predicted. The keeper forks the predictor, waits for it, kills it and starts the next one;
the worker sends it a job and gets the outcomes that were ready in time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from gluonts_shell.errors import Cancelled, ModelError
from gluonts_shell.messages import Call, Configuration, always
from gluonts_shell.serving.batch.outcomes import Isolated, Outcome, Predict
from gluonts_shell.serving.processes.child import Channel, ending, fork, leave_sockets
from gluonts_shell.serving.processes.machine import resident_bytes

log = logging.getLogger(__name__)

TOGETHER = 32
"""Series that one predict of a model that batches gets, as GluonTS's torch predictors take them. A time-out loses at
most so many; a predictor that works series by series gets them one at a time and loses only the one it was at."""
LOOK_SECONDS = 0.25  # between two looks at whether somebody still waits
STOP = "stop"


@dataclass(frozen=True)
class Job:
    """together: series of one predict. thorough: go on after a series that fails."""

    configuration: Configuration
    entries: list[Any]
    together: int
    seconds: float
    thorough: bool


@dataclass
class Timed:
    """Like `Isolated`, with a limit.

    seconds: for one call of `predict`; waiting for its turn before that does not count.
    fallback, label: what predicts the rest when the time is up, and its class path.
    together: series that the predictor gets at a time. thorough: as of Isolated.
    """

    keeper: int
    channel: Channel
    seconds: float
    fallback: Isolated
    label: str
    together: int
    thorough: bool

    @classmethod
    def start(
        cls,
        predict: Predict,
        seconds: float,
        fallback: Predict,
        label: str,
        *,
        joins: bool,
        thorough: bool,
        begin: Callable[[], None],
        most_bytes: float = inf,
    ) -> Timed:
        """Fork the keeper; call it before the process starts a thread or predicts.

        begin: run once in each new predictor, to seed its random numbers anew. most_bytes: of memory, beyond which a
        predictor is replaced between two jobs.
        """
        ours, theirs = Channel.pair()
        predictor = Isolated(predict, thorough)

        def keep() -> None:
            leave_sockets(theirs.fileno())
            Keeper(
                theirs, lambda channel: _predict_for_ever(predictor, begin, channel), most_bytes
            ).run()

        pid = fork(keep)
        theirs.close()
        together = TOGETHER if joins else 1
        return cls(pid, ours, seconds, Isolated(fallback, thorough), label, together, thorough)

    def predict(
        self, calls: Sequence[Call], wanted: Callable[[], bool] = always
    ) -> list[list[Outcome]]:
        """One list for each call, one outcome for each entry; one thread at a time. The calls share the time.

        Raises Cancelled once nobody waits any more, and OSError where the system has no room for a process.
        """
        configuration = calls[0].configuration
        entries = [entry for call in calls for entry in call.entries]
        thorough = self.thorough or len(calls) > 1
        found = self._ready(
            Job(configuration, entries, self.together, self.seconds, thorough), wanted
        )
        if len(found) < len(entries):
            rest = entries[len(found) :]
            if not thorough and found and found[-1].error:
                found += [found[-1]] * len(rest)
            else:
                found += self._instead(configuration, rest, wanted)
        outcomes = iter(found)
        return [[next(outcomes) for _ in call.entries] for call in calls]

    def close(self) -> None:
        """End the keeper and its predictor, and wait for that."""
        self.channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.keeper, 0)

    def _ready(self, job: Job, wanted: Callable[[], bool]) -> list[Outcome]:
        """The outcomes that were there in time, from the first series on."""
        cancelled = False
        try:
            self.channel.send(job)
            while not _readable(self.channel, LOOK_SECONDS):
                if not cancelled and not wanted():
                    cancelled = True
                    self.channel.send(STOP)
            answer = self.channel.receive()
        except EOFError:
            # Only a process without threads may fork the next keeper, and this one has some: whoever started it
            # starts a whole new one, as after any other death.
            log.critical("the process that starts predictors is gone; this worker ends with it")
            os._exit(1)
        if isinstance(answer, OSError):
            raise answer
        if cancelled:
            raise Cancelled(f"it was stopped after {len(answer)} of {len(job.entries)} series")
        found: list[Outcome] = answer
        return found

    def _instead(
        self, configuration: Configuration, entries: list[Any], wanted: Callable[[], bool]
    ) -> list[Outcome]:
        log.warning("not ready after %g s: %d series by %s", self.seconds, len(entries), self.label)
        (outcomes,) = self.fallback.predict([Call(configuration, entries)], wanted)
        for outcome in outcomes:
            outcome.fallback = self.label
        return outcomes


@dataclass(frozen=True)
class Predictor:
    """The child that predicts, in a process group of its own with whatever it starts."""

    pid: int
    channel: Channel


class Keeper:
    """The process in the middle: it forks predictors, waits for them and kills them, until the worker is gone."""

    def __init__(self, worker: Channel, live: Callable[[Channel], None], most_bytes: float) -> None:
        self._worker = worker
        self._live = live
        self._most_bytes = most_bytes
        self._predictor: Predictor | None = None

    def run(self) -> None:
        try:
            while True:
                job = self._worker.receive()
                if job != STOP:  # one that came just too late
                    self._worker.send(self._outcomes(job))
                    self._end_if_grown()
        except EOFError:
            self._end()

    def _outcomes(self, job: Job) -> list[Outcome] | OSError:
        """What is ready by the job's deadline. An OSError where no process can be had."""
        deadline = time.monotonic() + job.seconds
        found: list[Outcome] = []
        together = job.together
        while len(found) < len(job.entries):
            try:
                self._fill(found, job, together, deadline)
                break
            except TimeoutError:
                self._end()
                break
            except EOFError:
                how = ending(self._end())
                log.error("the predictor's process %s", how)
                if together == 1:
                    error = ModelError(f"the predictor's process {how} while it was at this series")
                    found.append(Outcome(error=error))
                together = 1  # find the culprit among those that were predicted together
            except OSError as error:
                return error
            if _enough(found, job):
                break
        return found

    def _fill(self, found: list[Outcome], job: Job, together: int, deadline: float) -> None:
        """Let the predictor work on the rest. Raises TimeoutError, EOFError if it dies, OSError if there is none."""
        channel = self._running().channel
        channel.send((job.configuration, job.entries[len(found) :], together), deadline)
        while len(found) < len(job.entries):
            self._wait(channel, deadline)
            found.extend(channel.receive(deadline))
            if _enough(found, job) and len(found) < len(job.entries):
                self._end()  # it is still at work on the rest
                return

    def _wait(self, channel: Channel, deadline: float) -> None:
        """Until the predictor has said something. Raises TimeoutError at the deadline, and if the worker has enough.

        A worker that is gone is readable too: the next receive tells.
        """
        seconds = max(deadline - time.monotonic(), 0.0)
        ready = select.select([channel, self._worker], [], [], seconds)[0]
        if channel not in ready:
            raise TimeoutError

    def _running(self) -> Predictor:
        if self._predictor is None:
            self._predictor = self._start()
        return self._predictor

    def _start(self) -> Predictor:
        ours, theirs = Channel.pair()

        def run() -> None:
            os.setpgid(0, 0)
            ours.close()
            self._worker.close()
            self._live(theirs)

        try:
            pid = fork(run)
        finally:
            theirs.close()
        # both sides set the group, so that neither has to wait for the other
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return Predictor(pid, ours)

    def _end_if_grown(self) -> None:
        if self._predictor is None or self._most_bytes == inf:
            return
        now, most = resident_bytes(self._predictor.pid), self._most_bytes
        if now > most:
            log.warning(
                "the predictor's process has %d bytes, and may have %g: another one starts",
                now,
                most,
            )
            self._end()

    def _end(self) -> int:
        """Kill the predictor, if there is one, with what it started (R, Prophet), and return its wait status."""
        if self._predictor is None:
            return 0
        pid = self._predictor.pid
        self._predictor.channel.close()
        self._predictor = None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]


def _enough(found: list[Outcome], job: Job) -> bool:
    return not job.thorough and bool(found) and found[-1].error is not None


def _readable(channel: Channel, seconds: float) -> bool:
    return bool(select.select([channel], [], [], seconds)[0])


def _predict_for_ever(isolated: Isolated, begin: Callable[[], None], channel: Channel) -> None:
    """A predictor's life: predict what is asked, and hand over each part as soon as it is ready."""
    begin()
    while True:
        try:
            configuration, entries, together = channel.receive()
        except EOFError:
            return
        for start in range(0, len(entries), together):
            (outcomes,) = isolated.predict([Call(configuration, entries[start : start + together])])
            channel.send(outcomes)
