"""What became of each series: a prediction or an error, so that one bad series costs only itself.

It knows how to find the series at which a model fails; it does not know lines, bodies or processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gluonts_shell.errors import Cancelled, ShellError
from gluonts_shell.messages import Call, Configuration, Prediction, always
from gluonts_shell.serving.blame import sentence

Predict = Callable[[Sequence[Call], Callable[[], bool]], list[list[Prediction]]]


@dataclass(slots=True)
class Outcome:
    """Either prediction or error is set.

    fallback: class path of the predictor that stood in; seconds: the time that predicting this series took, its
    share where several were predicted together.
    """

    prediction: Prediction | None = None
    error: ShellError | None = None
    fallback: str | None = None
    seconds: float = 0.0


class Isolated:
    """A service's `predict` that never raises: the series that fail have an error, the others their prediction.

    thorough: go on after the first series that fails, for whoever wants all the others; if not, what follows the
    first failure has the same error and is not predicted.
    """

    def __init__(self, predict: Predict, thorough: bool) -> None:
        self._predict = predict
        self._thorough = thorough

    def predict(
        self, calls: Sequence[Call], wanted: Callable[[], bool] = always
    ) -> list[list[Outcome]]:
        """One list for each call, one outcome for each entry. A failure in one call leaves the others alone.

        Raises Cancelled, and nothing else, once nobody waits any more.
        """
        started = time.perf_counter()
        try:
            predictions = self._predict(calls, wanted)
        except Cancelled:
            raise
        except BaseException as error:  # no signal comes here: whatever it is, the model raised it
            if len(calls) > 1:
                return [self.predict([call], wanted)[0] for call in calls]
            return [self._search(calls[0], error, wanted)]
        share = (time.perf_counter() - started) / max(1, sum(map(len, predictions)))
        return [[Outcome(prediction, seconds=share) for prediction in call] for call in predictions]

    def _search(
        self, call: Call, error: BaseException, wanted: Callable[[], bool]
    ) -> list[Outcome]:
        """Halve what failed until the culprits stand alone."""
        configuration, entries = call.configuration, call.entries
        if len(entries) <= 1:
            return [Outcome(error=sentence(error)) for _ in entries]
        middle = len(entries) // 2
        found = self._again(configuration, entries[:middle], wanted)
        if not self._thorough and (
            first := next((outcome for outcome in found if outcome.error), None)
        ):
            return found + [first] * (len(entries) - middle)
        return found + self._again(configuration, entries[middle:], wanted)

    def _again(
        self, configuration: Configuration, entries: list[Any], wanted: Callable[[], bool]
    ) -> list[Outcome]:
        return self.predict([Call(configuration, entries)], wanted)[0]
