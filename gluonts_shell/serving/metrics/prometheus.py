"""The numbers of all workers as a page for Prometheus.

Source: Prometheus, "Exposition formats", text format version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from gluonts_shell.serving.metrics.counters import BOUNDS, Counters, cumulative
from gluonts_shell.serving.metrics.memory import taken

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NAME = "gluonts_shell"


def page(counters: Counters) -> str:
    return "".join(f"{line}\n" for line in _lines(counters))


def _lines(counters: Counters) -> Iterator[str]:
    totals = counters.totals()
    yield from _family("requests_total", "counter", "Invocations and refused requests.")
    for code, count in totals.requests.items():
        yield f'{NAME}_requests_total{{code="{code}"}} {count}'
    yield from _family(
        "joined_requests_total", "counter", "Requests that were predicted together with others."
    )
    yield f"{NAME}_joined_requests_total {totals.joined}"
    yield from _family(
        "request_duration_seconds", "histogram", "From an invocation's body to its answer."
    )
    counts = cumulative(totals.buckets)
    for bound, count in zip((*map("{:g}".format, BOUNDS), "+Inf"), counts, strict=True):
        yield f'{NAME}_request_duration_seconds_bucket{{le="{bound}"}} {count}'
    yield f"{NAME}_request_duration_seconds_sum {totals.seconds:.9f}"
    yield f"{NAME}_request_duration_seconds_count {counts[-1]}"
    yield from _family("waiting_requests", "gauge", "Requests that wait for a prediction.")
    yield f"{NAME}_waiting_requests {totals.waiting}"
    if memory := taken(counters.processes()):
        yield from _family(
            "memory_bytes", "gauge", "Memory of the parent and its workers; shared pages once."
        )
        yield f"{NAME}_memory_bytes {memory}"


def _family(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {NAME}_{name} {meaning}"
    yield f"# TYPE {NAME}_{name} {kind}"
