"""A line of metrics a minute, by what the specification of the embedded metric format demands."""

from __future__ import annotations

import io
import json
import logging
import time
from typing import Any

import pytest

from gluonts_shell import log
from gluonts_shell.serving.metrics import emf
from gluonts_shell.serving.metrics.counters import Counters


@pytest.fixture(params=[log.Stamped(log.FORMAT), log.Objects()], ids=["text", "json"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    lines = log.Lines(stream)
    lines.setFormatter(request.param)
    monkeypatch.setattr(log, "_lines", lambda: lines)
    monkeypatch.setattr(logging.root, "level", logging.ERROR)
    return stream


def checked(line: str) -> dict[str, Any]:
    """The values of the metrics that the line declares."""
    document = json.loads(line)
    assert abs(document["_aws"]["Timestamp"] / 1000 - time.time()) < 3600
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 256
    for names in directive["Dimensions"]:
        assert len(names) <= 30
        assert all(isinstance(document[name], str) and document[name] for name in names)
    assert 0 < len(directive["Metrics"]) <= 100
    assert {metric["Unit"] for metric in directive["Metrics"]} <= {"Count", "Milliseconds", "Bytes"}
    values = {metric["Name"]: document[metric["Name"]] for metric in directive["Metrics"]}
    assert all(type(value) in (int, float) for value in values.values())
    return values


def test_a_minute_has_one_line_with_what_came_in_it(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(emf.time, "monotonic", lambda: now)
    counters = Counters(2)
    minutes = emf.Minutes(counters, "job-7")
    for slot in (0, 1):
        for _ in range(50):
            counters.of(slot).count(200, 0.004, 2)
    counters.of(1).count(404, 0.0, 0)
    counters.of(1).waits(3)
    for _ in range(60):
        now += 1.0
        minutes.tick()
    counters.of(0).count(500, 2.5, 1)
    for _ in range(59):
        now += 1.0
        minutes.tick()
    assert written.getvalue().count("\n") == 1
    now += 1.0
    minutes.tick()
    counters.of(1).waits(0)
    minutes.tell()
    first, second, last = written.getvalue().splitlines()
    assert json.loads(first)["Model"] == "job-7"
    values = checked(first)
    assert values.pop("LatencyP50") == pytest.approx(4, rel=0.5)
    assert values.pop("LatencyP99") == pytest.approx(4, rel=0.5)
    assert values.pop("Memory") > 1_000_000
    assert values == {
        "Requests2xx": 100,
        "Requests4xx": 1,
        "Requests5xx": 0,
        "Joined": 100,
        "Waiting": 3,
    }
    values = checked(second)
    assert (values["Requests2xx"], values["Requests5xx"], values["Joined"]) == (0, 1, 0)
    assert values["LatencyP99"] == pytest.approx(2500, rel=0.5)
    values = checked(last)
    assert set(values) == {
        "Requests2xx",
        "Requests4xx",
        "Requests5xx",
        "Joined",
        "Waiting",
        "Memory",
    }, "of what took no time no latency is told"
    assert sum(values[name] for name in values if name != "Memory") == 0
