"""Forked workers that answer tasks side by side; their answers come back in the order of the tasks.

It knows processes and order; it does not know what a task is. The process that has a pool starts no thread and does
none of the work, so it can fork a new worker for one that died. It never holds more than a few tasks and answers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from gluonts_shell.errors import ModelError
from gluonts_shell.serving.blame import PREDICT_LIMIT, sentence
from gluonts_shell.serving.processes.child import Channel, ending, fork
from gluonts_shell.serving.processes.machine import resident_bytes

log = logging.getLogger(__name__)

Task = TypeVar("Task")

AHEAD = 4
"""Tasks in hand for each worker: enough that a slow one does not leave the others idle."""
TICK = 1.0
READY = "ready"


@dataclass(eq=False)
class _Place(Generic[Task]):
    """A task's place in the order; the answer is there once it is done."""

    task: Task
    done: bool = False
    answer: Any = None


@dataclass(eq=False)
class _Worker:
    """began: of time.monotonic(), its task; inf until it is ready for any."""

    pid: int
    channel: Channel
    place: _Place[Any] | None = None
    ready: bool = False
    began: float = inf

    def fileno(self) -> int:
        return self.channel.fileno()


class ProcessPool:
    """A context manager; on leaving it all workers are killed.

    make: called in each worker after the fork; returns what is called with the message of each task.
    most_bytes: of memory, beyond which a worker is replaced between two tasks. limit: seconds after which a task
    counts as one that never ends, and its worker is killed.
    """

    def __init__(
        self,
        size: int,
        make: Callable[[], Callable[..., Any]],
        most_bytes: float = inf,
        limit: float = inf,
    ) -> None:
        self._most_bytes = most_bytes
        self._limit = limit
        self._size = size
        self._make = make
        self._workers: list[_Worker] = []

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            _kill(worker)
        while self._workers:
            self._reap(self._workers[-1])

    def answers(
        self,
        tasks: Iterable[Task],
        message: Callable[[Task], tuple[Any, ...]],
        tick: Callable[[], None],
    ) -> Iterator[tuple[Task, Any]]:
        """Each task with what the worker returned for it, or with the ShellError that it ended with.

        tasks are taken from the iterator as workers become free; tick is called at least once a second.
        """
        waiting = iter(tasks)
        window: deque[_Place[Task]] = deque()
        while True:
            while len(window) < AHEAD * self._size and (worker := self._free()):
                if (task := next(waiting, None)) is None:
                    break
                worker.place = _Place(task)
                window.append(worker.place)
                self._send(worker, message(task))
            if not window:
                return
            if window[0].done:
                place = window.popleft()
                yield place.task, place.answer
            else:
                self._wait()
            tick()

    def _free(self) -> _Worker | None:
        for worker in self._workers:
            if worker.place is None:
                return worker
        return self._start() if len(self._workers) < self._size else None

    def _start(self) -> _Worker:
        ours, theirs = Channel.pair()

        def run() -> None:
            for channel in (ours, *(worker.channel for worker in self._workers)):
                channel.close()  # or a worker would not see that the parent is gone
            _work(self._make, theirs)

        worker = _Worker(fork(run), ours)
        theirs.close()
        self._workers.append(worker)
        return worker

    def _send(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        if worker.ready:
            worker.began = time.monotonic()
        try:
            worker.channel.send(message)
        except EOFError:
            self._lost(worker)

    def _wait(self) -> None:
        busy = [worker for worker in self._workers if worker.place]
        for worker in select.select(busy, [], [], TICK)[0]:
            try:
                answer = worker.channel.receive()
            except EOFError:
                self._lost(worker)
                continue
            if not worker.ready:
                worker.ready, worker.began = True, time.monotonic()
                continue
            self._done(worker, answer)
            self._replace_if_grown(worker)
        self._end_overdue()

    def _done(self, worker: _Worker, answer: Any) -> None:
        assert worker.place
        worker.place.done, worker.place.answer, worker.place = True, answer, None

    def _end_overdue(self) -> None:
        latest = time.monotonic() - self._limit
        for worker in [each for each in self._workers if each.place and each.began < latest]:
            log.error(
                "worker %d has not ended a task within %g s; killing it", worker.pid, self._limit
            )
            _kill(worker)
            self._reap(worker)
            error = ModelError(
                f"the model has not answered within {self._limit:g} s ({PREDICT_LIMIT})"
            )
            self._done(worker, error)

    def _replace_if_grown(self, worker: _Worker) -> None:
        if self._most_bytes == inf:
            return
        now = resident_bytes(worker.pid)
        if now <= self._most_bytes:
            return
        log.warning(
            "worker %d has %d bytes, and may have %g: another one starts",
            worker.pid,
            now,
            self._most_bytes,
        )
        _kill(worker)
        self._reap(worker)

    def _lost(self, worker: _Worker) -> None:
        how = ending(self._reap(worker))
        self._done(worker, ModelError(f"the process that predicted it {how}"))

    def _reap(self, worker: _Worker) -> int:
        worker.channel.close()
        self._workers.remove(worker)
        return os.waitpid(worker.pid, 0)[1]


def _kill(worker: _Worker) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)


def _work(make: Callable[[], Callable[..., Any]], channel: Channel) -> None:
    """A worker's life, until the parent is gone. One that cannot begin its work answers with the reason."""
    failure, answer = None, None
    try:
        answer = make()
    except BaseException as error:  # no signal comes here: whatever it is, a model raised it
        failure = sentence(error)
    with contextlib.suppress(EOFError):
        channel.send(READY)
        while True:
            message = channel.receive()
            try:
                result = answer(*message) if answer else failure
            except BaseException as error:
                result = sentence(error)
            channel.send(result)
