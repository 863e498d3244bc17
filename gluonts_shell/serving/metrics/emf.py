"""The numbers of each minute as a line from which CloudWatch makes metrics.

Source: AWS, "Specification: Embedded metric format". The line must be one JSON object and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from gluonts_shell import log as logs
from gluonts_shell.serving.metrics.counters import Counters, Totals
from gluonts_shell.serving.metrics.memory import taken

NAMESPACE = "gluonts_shell"
DIMENSION = "Model"
MINUTE = 60.0  # seconds


class Minutes:
    """The parent's: it tells what the workers counted since it told last. model: whose numbers they are."""

    def __init__(self, counters: Counters, model: str) -> None:
        self._counters, self._model = counters, model
        self._told = counters.totals()
        self._due = time.monotonic() + MINUTE

    def tick(self) -> None:
        """To be called every second or so."""
        if time.monotonic() >= self._due:
            self._due += MINUTE
            self.tell()

    def tell(self) -> None:
        """Also at the end, for what has not been told yet."""
        totals = self._counters.totals()
        values = dict(_values(totals.since(self._told), taken(self._counters.processes())))
        self._told = totals
        logs.put("metrics", members(values, self._model, time.time()))


def _values(minute: Totals, memory: int) -> Iterator[tuple[tuple[str, str], float]]:
    """(name, unit) of a metric, and its value; those that are not known are left out."""
    for name, count in minute.requests.items():
        yield (f"Requests{name}", "Count"), count
    yield ("Joined", "Count"), minute.joined
    yield ("Waiting", "Count"), minute.waiting
    for level, name in ((0.5, "LatencyP50"), (0.99, "LatencyP99")):
        if (seconds := minute.quantile(level)) is not None:
            yield (name, "Milliseconds"), round(1000 * seconds, 3)
    if memory:
        yield ("Memory", "Bytes"), memory


def members(values: dict[tuple[str, str], float], model: str, now: float) -> dict[str, object]:
    """Of the object. now: seconds since the epoch."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[DIMENSION]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in values],
    }
    return {
        "_aws": {"Timestamp": int(1000 * now), "CloudWatchMetrics": [directive]},
        DIMENSION: model,
        **{name: value for (name, _), value in values.items()},
    }
