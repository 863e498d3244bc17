"""Predictions with a time limit: the predictor works in a child process that can be killed.

What is not ready in time comes from the fallback and says so. A predictor that raises or dies is not late: that is an
error at once. It does not know what a prediction is, nor what the fallback does.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from gluonts_shell.errors import ModelError
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.batch.outcomes import Isolated, Outcome
from gluonts_shell.serving.processes.child import Channel, ending
from gluonts_shell.serving.processes.nursery import Child, Nursery

log = logging.getLogger(__name__)

Predict = Callable[[Sequence[Call]], list[list[Prediction]]]

TOGETHER = 32
"""Series that one predict of a model that batches gets, as GluonTS's torch predictors take them. A time-out loses at
most so many; a predictor that works series by series gets them one at a time and loses only the one it was at."""


class Timed:
    """Like `Isolated`, with a limit. Make it before the process starts a thread or predicts: it forks the nursery.

    seconds: for one call of `predict`; waiting for its turn before that does not count.
    fallback, label: what predicts the rest when the time is up, and its class path.
    begin: run once in each new child, to seed its random numbers anew.
    """

    def __init__(
        self,
        predict: Predict,
        seconds: float,
        fallback: Predict,
        label: str,
        *,
        joins: bool,
        thorough: bool,
        begin: Callable[[], None],
    ) -> None:
        self._seconds = seconds
        self._thorough = thorough
        self._fallback = Isolated(fallback, thorough)
        self._label = label
        self._together = TOGETHER if joins else 1
        worker = Isolated(predict, thorough)
        self._nursery = Nursery.start(lambda channel: _predict_for_ever(worker, begin, channel))
        self._child: Child | None = None

    def predict(self, calls: Sequence[Call]) -> list[list[Outcome]]:
        """One list for each call, one outcome for each entry; one thread at a time. The calls share the time."""
        entries = [entry for call in calls for entry in call.entries]
        stop_at_error = not self._thorough and len(calls) == 1
        outcomes = iter(self._in_time(calls[0].configuration, entries, stop_at_error))
        return [[next(outcomes) for _ in call.entries] for call in calls]

    def close(self) -> None:
        self._nursery.close()

    def _in_time(self, configuration: Configuration, entries: list[Any], stop_at_error: bool) -> list[Outcome]:
        deadline = time.monotonic() + self._seconds
        found: list[Outcome] = []
        together = self._together
        while len(found) < len(entries):
            try:
                channel = self._living_child().channel
                channel.send((configuration, entries[len(found) :], together), deadline)
                while len(found) < len(entries) and not (stop_at_error and found and found[-1].error):
                    found.extend(channel.receive(deadline))
            except TimeoutError:
                self._end_child()
                return found + self._instead(configuration, entries[len(found) :])
            except EOFError:
                how = ending(self._end_child())
                log.error("the predictor's process %s", how)
                if together == 1:
                    error = ModelError(f"the predictor's process {how} while it was at this series")
                    found.append(Outcome(error=error))
                together = 1  # find the culprit among those that were predicted together
            if stop_at_error and found and found[-1].error and len(found) < len(entries):
                if self._child:  # it is still at work on the rest
                    self._end_child()
                return found + [found[-1]] * (len(entries) - len(found))
        return found

    def _instead(self, configuration: Configuration, entries: list[Any]) -> list[Outcome]:
        log.warning("not ready after %g s: %d series by %s", self._seconds, len(entries), self._label)
        (outcomes,) = self._fallback.predict([Call(configuration, entries)])
        for outcome in outcomes:
            outcome.fallback = self._label
        return outcomes

    def _living_child(self) -> Child:
        if self._child is None:
            try:
                self._child = self._nursery.birth()
            except EOFError:
                self._give_up()
        assert self._child is not None
        return self._child

    def _end_child(self) -> int:
        child, self._child = self._child, None
        assert child is not None
        try:
            return self._nursery.end(child)
        except EOFError:
            return self._give_up()

    def _give_up(self) -> int:
        # Only a process without threads may fork the next child, and this one has some: whoever started it
        # starts a whole new one, as after any other death.
        log.critical("the process that starts predictors is gone; this worker ends with it")
        os._exit(1)


def _predict_for_ever(isolated: Isolated, begin: Callable[[], None], channel: Channel) -> None:
    """A child's life: predict what is asked, and hand over each part as soon as it is ready."""
    begin()
    while True:
        try:
            configuration, entries, together = channel.receive()
        except EOFError:
            return
        for start in range(0, len(entries), together):
            channel.send(isolated.predict([Call(configuration, entries[start : start + together])])[0])
