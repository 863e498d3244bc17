"""One predict at a time, and waiting calls that share a configuration join the next one (first in, first out).

Whoever finds nobody at work leads: it predicts for itself and for the waiting calls that fit, hands out the results,
and hands the lead to the longest waiting. So a lone request waits for nothing and pays two lock operations, and no
thread starves, as it would if waiting threads raced for one lock. Databases know the scheme as group commit.

Clients that send their next request once they have an answer would fall apart into two crowds that take turns: the one
who waited would be predicted alone while all others come back. So whoever leads waits for those that the last predict
saw, at most a tenth of the time that it took.

It does not know what a prediction is, nor HTTP.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from gluonts_shell.errors import Overloaded
from gluonts_shell.messages import Call

Result = TypeVar("Result")

MAX_WAITING = 256  # calls; twice what a batch transform job keeps in flight at most
MOMENT, MOMENT_MOST = 0.1, 0.02  # of the last predict's time, and seconds, that its clients have to come back
MAX_JOINED = 64  # instances; GluonTS's torch predictors run 32 at a time, and longer joins only make everyone wait


def always() -> bool:
    return True


@dataclass(slots=True, eq=False)
class _Turn:
    """One call's place. `gate` is locked while its thread sleeps, and None for a call that never slept."""

    call: Call
    alive: Callable[[], bool]
    deadline: float
    gate: Any = None
    leads: bool = False
    joined: int = 1
    results: list[Any] | None = None
    error: BaseException | None = None


class Batcher(Generic[Result]):
    """predict: calls of equal configuration -> a list of results for each; one thread at a time is in it.

    joins: whether calls gain by being predicted together. timeout: seconds after its arrival at which a call that is
    still waiting is given up; 0 waits for ever.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Call]], list[list[Result]]],
        *,
        joins: bool,
        timeout: float = 0.0,
        max_waiting: int = MAX_WAITING,
        max_joined: int = MAX_JOINED,
    ) -> None:
        self._predict = predict
        self._joins = joins
        self._timeout = timeout or inf
        self._max_waiting = max_waiting
        self._max_joined = max_joined
        self._mutex = threading.Lock()
        self._queue: deque[_Turn] = deque()
        self._busy = False
        self._crowd = 1  # calls that the last predict served or left waiting
        self._expected = -inf  # of time.monotonic(): until when they may come back
        self._arrival = threading.Condition(self._mutex)

    def submit(
        self, call: Call, alive: Callable[[], bool] = always, arrived: float | None = None
    ) -> tuple[list[Result], int]:
        """The call's results, and how many calls were predicted together.

        alive: whether somebody still waits for the answer; arrived: of time.monotonic().
        Raises Overloaded if too many calls wait or this one waited too long, and whatever `predict` raises for it, a
        model's SystemExit included.
        """
        turn = _Turn(call, alive, (time.monotonic() if arrived is None else arrived) + self._timeout)
        with self._mutex:
            if self._busy:
                if len(self._queue) >= self._max_waiting:
                    raise Overloaded(f"{len(self._queue)} requests are waiting already; try again later")
                turn.gate = threading.Lock()
                turn.gate.acquire()
                self._queue.append(turn)
                self._arrival.notify()
            else:
                self._busy = turn.leads = True
        if turn.gate is not None:
            self._sleep(turn)
        if turn.leads:
            self._lead(turn)
        if turn.error is not None:
            raise turn.error
        assert turn.results is not None, "a turn ends with results or with an error"
        return turn.results, turn.joined

    def _sleep(self, turn: _Turn) -> None:
        """Until the results are there or the lead is ours; a deadline that passes in the queue ends it too."""
        patience = (
            -1 if turn.deadline == inf else max(0.0, min(turn.deadline - time.monotonic(), threading.TIMEOUT_MAX))
        )
        if turn.gate.acquire(timeout=patience):
            return
        with self._mutex:
            if turn in self._queue:
                self._queue.remove(turn)
                turn.error = self._late()
                return
        turn.gate.acquire()  # it is being predicted, or about to lead

    def _lead(self, turn: _Turn) -> None:
        batch = [turn]
        try:
            if self._joins:
                with self._mutex:
                    self._gather(turn)
                    batch += self._joining(turn.call)
            began = time.monotonic()
            self._run(batch)
            ended = time.monotonic()
            self._expected = ended + min(MOMENT * (ended - began), MOMENT_MOST)
        finally:
            with self._mutex:
                self._crowd = len(batch) + len(self._queue)
                self._hand_over()
            for other in batch[1:]:
                other.gate.release()

    def _gather(self, turn: _Turn) -> None:
        """Wait for those that are expected back, or until no more can join; the mutex is held, and let go meanwhile."""
        while (left := self._expected - time.monotonic()) > 0:
            together = len(turn.call.entries) + sum(len(other.call.entries) for other in self._queue)
            if 1 + len(self._queue) >= self._crowd or together >= self._max_joined:
                return
            self._arrival.wait(left)

    def _joining(self, call: Call) -> list[_Turn]:
        """Take out of the queue what can be predicted with this call."""
        room = self._max_joined - len(call.entries)
        taken, left = [], deque[_Turn]()
        for turn in self._queue:
            fits = turn.call.configuration == call.configuration and len(turn.call.entries) <= room
            if fits and self._wanted(turn):
                room -= len(turn.call.entries)
                taken.append(turn)
            else:
                left.append(turn)
        self._queue = left
        return taken

    def _run(self, batch: list[_Turn]) -> None:
        """Predict for all; where that fails, for each alone, so that a call hurts only itself."""
        try:
            found = self._predict([turn.call for turn in batch])
        except MemoryError as error:
            self._divide(batch, (len(batch) + 1) // 2, error)
        except (Exception, SystemExit) as error:
            self._divide(batch, 1, error)
        else:
            for turn, results in zip(batch, found, strict=True):
                turn.results, turn.joined = results, len(batch)

    def _divide(self, batch: list[_Turn], size: int, error: BaseException) -> None:
        if len(batch) == 1:
            batch[0].error = error
            return
        for start in range(0, len(batch), size):
            self._run(batch[start : start + size])

    def _hand_over(self) -> None:
        """Wake the next leader; the mutex is held. Calls that nobody waits for any more are not predicted."""
        while self._queue:
            turn = self._queue.popleft()
            turn.leads = self._wanted(turn)
            turn.gate.release()
            if turn.leads:
                return
        self._busy = False

    def _wanted(self, turn: _Turn) -> bool:
        if time.monotonic() > turn.deadline:
            turn.error = self._late()
        elif not turn.alive():
            # a client that has gone cannot read this; one that ended its sending side may, and waits for an answer
            turn.error = Overloaded(
                "the client ended its side of the connection before its turn came, and the request was not predicted; "
                "keep the connection open until the answer is there"
            )
        return turn.error is None

    def _late(self) -> Overloaded:
        return Overloaded(
            f"the request waited for more than {self._timeout:g} s, and was not predicted; try again later "
            "(SAGEMAKER_SERVER_TIMEOUT sets this limit)"
        )
