"""Connections are shared out evenly among the workers, whoever is quickest, and nobody waits for one that is away."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections import Counter

import pytest
from toy import Service, eventually

from gluonts_shell.serving.http.shares import FULL, Shares


def test_the_fewest_of_the_others_are_counted() -> None:
    shares = Shares(3)
    one, two, three = map(shares.of, range(3))
    assert one.fewest_elsewhere() == FULL
    two.set(5)
    three.set(0)
    assert [share.fewest_elsewhere() for share in (one, two, three)] == [0, 0, 5]
    three.leave()
    assert one.fewest_elsewhere() == 5
    assert Shares(1).of(0).fewest_elsewhere() == FULL


def test_a_forked_process_sees_the_counts() -> None:
    shares = Shares(2)
    pid = os.fork()
    if pid == 0:
        shares.of(1).set(7)
        os._exit(0)
    os.waitpid(pid, 0)
    assert shares.of(0).fewest_elsewhere() == 7


def who_serves(port: int, connections: list[http.client.HTTPConnection]) -> Counter[int]:
    found: Counter[int] = Counter()
    for connection in connections:
        connection.request("GET", "/execution-parameters")
        found[json.loads(connection.getresponse().read())["pid"]] += 1
    return found


@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_each_worker_takes_its_share_of_the_connections(pause: float) -> None:
    with Service(workers=2) as service:
        served = []
        for _ in range(5):
            connections = []
            for _ in range(6):
                connections.append(
                    http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
                )
                connections[-1].connect()
                time.sleep(pause)
            served.append(who_serves(service.port, connections))
            for connection in connections:
                connection.close()
            time.sleep(0.1)
    # on a busy machine a worker may be too slow to take what is left to it, but not as a rule
    assert sum(max(counts.values()) <= 4 for counts in served) >= 3


def test_a_worker_that_is_away_keeps_nobody_waiting() -> None:
    with Service(workers=2) as service:
        stopped, _ = service.workers()
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        connections = [
            http.client.HTTPConnection("127.0.0.1", service.port, timeout=20) for _ in range(10)
        ]
        assert sum(who_serves(service.port, connections).values()) == 10
        assert time.monotonic() - began < 10
        os.kill(stopped, signal.SIGKILL)
        eventually(lambda: stopped not in service.workers() and len(service.workers()) == 2)
        for connection in connections:
            connection.close()
        assert service.end() == 0
