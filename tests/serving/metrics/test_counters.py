"""Counts that processes share: right to the last one, also of workers that were killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from gluonts_shell.serving.metrics.counters import BOUNDS, Counters, cumulative


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def test_what_is_counted_is_added_up() -> None:
    counters = Counters(3)
    counters.of(0).count(200, 0.0012, 1)
    counters.of(0).count(500, 0.25, 3)
    counters.of(2).count(404, 0.0, 0)
    counters.of(2).count(200, 1000.0, 2)
    counters.of(0).waits(4)
    counters.of(2).waits(3)
    totals = counters.totals()
    assert totals.requests == {"2xx": 2, "4xx": 1, "5xx": 1}
    assert (totals.joined, totals.waiting) == (2, 7)
    assert totals.seconds == pytest.approx(1000.2512)
    assert sum(totals.buckets) == 3, "what was refused before it was read took no time"
    assert totals.buckets[-1] == 1


def test_a_bucket_holds_its_upper_bound() -> None:
    counters = Counters(1)
    for bound in BOUNDS:
        counters.of(0).count(200, bound, 1)
    assert counters.totals().buckets == (*(1 for _ in BOUNDS), 0)
    assert cumulative(counters.totals().buckets)[-2:] == [len(BOUNDS), len(BOUNDS)]


def test_threads_of_several_processes_lose_nothing() -> None:
    counters = Counters(2)

    def work(slot: int) -> None:
        meter = counters.of(slot)

        def count() -> None:
            for _ in range(5000):
                meter.count(200, 0.001, 2)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for pid in [forked(lambda slot=slot: work(slot)) for slot in range(2)]:  # type: ignore[misc]
        os.waitpid(pid, 0)
    totals = counters.totals()
    assert (totals.requests["2xx"], totals.joined, sum(totals.buckets)) == (40_000,) * 3


def test_the_counts_of_a_worker_that_was_killed_stay_and_its_successor_goes_on() -> None:
    counters = Counters(1)

    def endless() -> None:
        meter = counters.of(0)
        meter.begin()
        meter.waits(5)
        while True:
            meter.count(200, 0.001, 1)

    pid = forked(endless)
    while counters.totals().requests["2xx"] < 1000:
        time.sleep(0.001)
    assert counters.processes() == [os.getpid(), pid]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    counters.left(0)
    before = counters.totals()
    assert before.requests["2xx"] >= 1000 and before.waiting == 0
    assert counters.processes() == [os.getpid()]

    def ten() -> None:
        for _ in range(10):
            counters.of(0).count(200, 0.001, 1)

    os.waitpid(forked(ten), 0)
    assert counters.totals().since(before).requests["2xx"] == 10


@pytest.mark.parametrize("seconds", [0.00013, 0.0047, 0.333, 59.0])
def test_quantiles_are_right_within_a_bucket(seconds: float) -> None:
    counters = Counters(1)
    assert counters.totals().quantile(0.5) is None
    for _ in range(1000):
        counters.of(0).count(200, seconds, 1)
    for level in (0.01, 0.5, 0.99):
        assert counters.totals().quantile(level) == pytest.approx(seconds, rel=0.5)
    for _ in range(11):
        counters.of(0).count(200, 99.0, 1)
    assert counters.totals().quantile(0.5) == pytest.approx(seconds, rel=0.5)
    assert counters.totals().quantile(0.995) == pytest.approx(99.0, rel=0.5)
    counters.of(0).count(200, 5000.0, 1)
    assert counters.totals().quantile(1.0) == BOUNDS[-1], "no more than that is known"
