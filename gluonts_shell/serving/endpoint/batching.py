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

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from gluonts_shell.errors import Cancelled, ModelError, Overloaded, ShellError
from gluonts_shell.messages import Call, always
from gluonts_shell.serving.blame import PREDICT_LIMIT

Result = TypeVar("Result")

MAX_WAITING = 256  # calls; twice what a batch transform job keeps in flight at most
# of the last predict's time, and seconds, that its clients have to come back
MOMENT, MOMENT_MOST = 0.1, 0.02
ASK_SECONDS = 0.05  # between two looks, from within a predict, at whether somebody still waits
TIMEOUT_SETS = "SAGEMAKER_SERVER_TIMEOUT sets this limit"
FRAMES = 12  # of the stack that the log shows of a predict that hangs
MAX_JOINED = 64  # instances; GluonTS's torch predictors run 32 at a time, and longer joins only make everyone wait


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


@dataclass(slots=True)
class _Predict:
    """The one that is at work: its calls, when it began (of time.monotonic()), and its thread."""

    batch: list[_Turn]
    began: float
    thread: int

    def error(self, turn: _Turn, limit: float) -> ShellError:
        """What to tell a call if this never returns: the culprits are those that are in it."""
        if turn in self.batch:
            return ModelError(f"the model has not answered within {limit:g} s ({PREDICT_LIMIT})")
        return Overloaded("the model hangs, and this worker ends; try again later")


class Batcher(Generic[Result]):
    """predict: calls of equal configuration -> a list of results for each; one thread at a time is in it. Its second
    argument tells whether somebody still waits; once nobody does, it raises Cancelled.

    joins: whether calls gain by being predicted together. timeout: seconds after its arrival at which a call is given
    up, whether it still waits or is being predicted; 0 waits for ever. limit: seconds after which a single predict
    counts as one that never returns; 0 for none.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Call], Callable[[], bool]], list[list[Result]]],
        *,
        joins: bool,
        timeout: float = 0.0,
        limit: float = 0.0,
        max_waiting: int = MAX_WAITING,
        max_joined: int = MAX_JOINED,
    ) -> None:
        self._predict = predict
        self._joins = joins
        self._timeout = timeout or inf
        self._limit = limit or inf
        self._at_work: _Predict | None = None
        self._led: list[_Turn] = []  # the leader's call and those that joined it
        self._stuck = False
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
        turn = _Turn(
            call, alive, (time.monotonic() if arrived is None else arrived) + self._timeout
        )
        with self._mutex:
            if self._stuck:
                raise Overloaded("the model hangs, and this worker ends; try again later")
            if self._busy:
                if len(self._queue) >= self._max_waiting:
                    raise Overloaded(
                        f"{len(self._queue)} requests are waiting already; try again later"
                    )
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

    def waiting(self) -> int:
        """How many calls wait for the one that is being predicted."""
        return len(self._queue)

    def _sleep(self, turn: _Turn) -> None:
        """Until the results are there or the lead is ours; a deadline that passes in the queue ends it too."""
        patience = (
            -1
            if turn.deadline == inf
            else max(0.0, min(turn.deadline - time.monotonic(), threading.TIMEOUT_MAX))
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
            self._led = batch
            began = time.monotonic()
            self._run(batch)
            ended = time.monotonic()
            self._expected = ended + min(MOMENT * (ended - began), MOMENT_MOST)
        finally:
            with self._mutex:
                self._at_work = None
                if not self._stuck:  # else all of them were told already
                    self._crowd = len(batch) + len(self._queue)
                    self._hand_over()
                    for other in batch[1:]:
                        other.gate.release()

    def _gather(self, turn: _Turn) -> None:
        """Wait for those that are expected back, or until no more can join; the mutex is held, and let go meanwhile."""
        while (left := self._expected - time.monotonic()) > 0:
            together = len(turn.call.entries) + sum(
                len(other.call.entries) for other in self._queue
            )
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
        self._at_work = _Predict(batch, time.monotonic(), threading.get_ident())
        try:
            found = self._predict([turn.call for turn in batch], self._asker(batch))
            for turn, results in zip(batch, found, strict=True):
                turn.results, turn.joined = results, len(batch)
        except Cancelled as error:
            for turn in batch:
                turn.error = self._given_up(turn, error)
        except MemoryError as error:
            self._divide(batch, (len(batch) + 1) // 2, error)
        # a model may raise KeyboardInterrupt or CancelledError; no signal comes here
        except BaseException as error:
            self._divide(batch, 1, error)

    def _asker(self, batch: list[_Turn]) -> Callable[[], bool]:
        """Whether somebody still waits for one of these calls, looked up now and then: it is asked for each series."""
        due = time.monotonic() + ASK_SECONDS

        def wanted() -> bool:
            nonlocal due
            now = time.monotonic()
            if now < due:
                return True
            due = now + ASK_SECONDS
            return any(now <= turn.deadline and turn.alive() for turn in batch)

        return wanted

    def _given_up(self, turn: _Turn, error: Cancelled) -> ShellError:
        if time.monotonic() > turn.deadline:
            return Cancelled(
                f"the request took more than {self._timeout:g} s: {error}; ask for less at a time "
                f"({TIMEOUT_SETS})"
            )
        # a client that has gone cannot read this; one that ended its sending side may, and waits for an answer
        return Cancelled(
            f"the client ended its side of the connection: {error}; keep it open until the answer is there"
        )

    def overdue(self) -> str | None:
        """What the current predict is at, if it is older than the limit: then this process is better replaced.

        Whoever was joined with it gets ModelError, whoever waits behind it Overloaded, and so does whoever comes later;
        only the call whose thread is in the predict cannot be told. The text has no value of a series.
        """
        with self._mutex:
            work = self._at_work
            if work is None or time.monotonic() - work.began < self._limit:
                return None
            self._stuck = True
            for turn in (*self._led[1:], *self._queue):
                if turn.results is None:
                    turn.error = turn.error or work.error(turn, self._limit)
                turn.gate.release()
            self._queue.clear()
        return _described(work, self._limit)

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
            f"({TIMEOUT_SETS})"
        )


def _described(work: _Predict, limit: float) -> str:
    """For the log: of the series only how many and how long, and where in its code the model is."""
    lengths = [length for turn in work.batch for length in turn.call.lengths]
    entries = sum(len(turn.call.entries) for turn in work.batch)
    series = f"{entries} series"
    if lengths:
        series += f" of {min(lengths)} to {max(lengths)} values"
    frame = sys._current_frames().get(work.thread)
    stack = "".join(traceback.format_stack(frame)[-FRAMES:]).rstrip()
    asked = f"{work.batch[0].call.configuration!r:.1000}"
    return f"a predict of {series} with {asked} has not ended within {limit:g} s:\n{stack}\n"
