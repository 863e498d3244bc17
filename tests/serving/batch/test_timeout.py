"""Predictions with a time limit, with real child processes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.errors import Cancelled, ModelError
from gluonts_shell.messages import Call, Configuration, Prediction, always
from gluonts_shell.serving.batch.timeout import Timed
from gluonts_shell.serving.processes.child import Channel
from gluonts_shell.serving.processes.machine import resident_bytes

LABEL = "my.Fallback"
LONG = 60.0


def predict(calls: Sequence[Call], wanted: Callable[[], bool] = always) -> list[list[Prediction]]:
    """An entry is what to do: a number is the forecast, a callable is called first."""
    return [
        [Prediction(mean=[float(e() if callable(e) else e)]) for e in call.entries]
        for call in calls
    ]


def fallback(calls: Sequence[Call], wanted: Callable[[], bool] = always) -> list[list[Prediction]]:
    return [[Prediction(mean=[-1.0]) for _ in call.entries] for call in calls]


def hang() -> float:
    time.sleep(LONG)
    return 0.0


def fail() -> float:
    raise ZeroDivisionError("secret")


def leave() -> float:
    os._exit(3)


def kill_myself() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def pid() -> float:
    return float(os.getpid())


def size() -> float:
    return float(resident_bytes())


hoard: list[bytes] = []


def grow() -> float:
    hoard.append(os.urandom(1 << 20) * 200)
    return float(os.getpid())


def draw() -> float:
    return random.random()


@pytest.fixture
def timed() -> Iterator[Callable[..., Timed]]:
    made: list[Timed] = []

    def make(seconds: float = LONG, joins: bool = False, thorough: bool = True) -> Timed:
        made.append(
            Timed.start(
                predict,
                seconds,
                fallback,
                LABEL,
                joins=joins,
                thorough=thorough,
                begin=lambda: random.seed(os.urandom(8)),
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def run(timed: Timed, *entries: Any) -> list[Any]:
    """Forecasts as numbers, a fallback as its label, an error as its sentence."""
    (outcomes,) = timed.predict([Call(Configuration(), list(entries))])
    return [
        str(o.error) if o.error else o.fallback or o.prediction.mean[0]  # type: ignore[union-attr]
        for o in outcomes
    ]


def children(of: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == of:
            found.append(int(stat.parent.name))
    return found


def test_the_child_is_kept_across_requests(timed: Callable[..., Timed]) -> None:
    ours = timed()
    (first,), (second,) = run(ours, pid), run(ours, pid)
    assert first == second != os.getpid()


def test_finished_lines_keep_their_forecast_and_the_rest_say_who_stood_in(
    timed: Callable[..., Timed],
) -> None:
    ours = timed(seconds=0.7)
    (before,) = run(ours, pid)
    assert run(ours, 1, 2, hang, 4) == [1.0, 2.0, LABEL, LABEL]
    (after,) = run(ours, pid)
    assert after != before, "a fresh child"


def test_the_child_that_was_late_is_gone_at_once(timed: Callable[..., Timed]) -> None:
    ours = timed(seconds=0.5)
    (child,) = run(ours, pid)
    run(ours, hang)
    assert not Path(f"/proc/{int(child)}").exists(), "killed and reaped"


def test_several_requests_joined_share_the_limit_and_get_their_own(
    timed: Callable[..., Timed],
) -> None:
    configuration = Configuration()
    outcomes = timed(seconds=0.5).predict(
        [Call(configuration, [1, 2]), Call(configuration, [hang, 4])]
    )
    assert [[o.fallback for o in call] for call in outcomes] == [[None, None], [LABEL, LABEL]]


def test_a_predictor_that_batches_gets_its_series_together(timed: Callable[..., Timed]) -> None:
    assert run(timed(seconds=0.5, joins=True), 1, hang, 3) == [LABEL] * 3


@pytest.mark.parametrize("joins", [False, True])
def test_an_exception_is_an_error_at_once_and_no_time_out(
    timed: Callable[..., Timed], joins: bool
) -> None:
    started = time.monotonic()
    first, error, last = run(timed(joins=joins), 1, fail, 3)
    assert (first, last) == (1.0, 3.0)
    assert (
        error.startswith("the model failed on this series: ZeroDivisionError")
        and "secret" not in error
    )
    assert time.monotonic() - started < LONG / 2


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize(
    ("death", "how"), [(leave, "ended with exit status 3"), (kill_myself, "was killed by signal 9")]
)
def test_a_death_is_an_error_at_once(
    timed: Callable[..., Timed], death: Any, how: str, joins: bool
) -> None:
    ours = timed(joins=joins)
    started = time.monotonic()
    first, error, last = run(ours, 1, death, 3)
    assert (first, last) == (1.0, 3.0)
    assert error.startswith(f"the predictor's process {how}")
    assert time.monotonic() - started < LONG / 2
    assert run(ours, 5) == [5.0], "the next request has a new child"


def test_without_suppression_the_first_error_ends_the_request(timed: Callable[..., Timed]) -> None:
    ours = timed(thorough=False)
    (outcomes,) = ours.predict([Call(Configuration(), [1, fail, hang, hang])])
    assert outcomes[0].prediction and all(isinstance(o.error, ModelError) for o in outcomes[1:])
    assert run(ours, 5) == [5.0]


def test_each_child_draws_numbers_of_its_own(timed: Callable[..., Timed]) -> None:
    ours = timed(seconds=0.5)
    (first,) = run(ours, draw)
    run(ours, hang)
    assert run(ours, draw) != [first]


def test_large_messages_pass(timed: Callable[..., Timed]) -> None:
    large = [float(n) for n in range(500_000)]
    ours = Timed.start(
        lambda calls, wanted: [[Prediction(mean=e) for e in call.entries] for call in calls],
        LONG,
        fallback,
        LABEL,
        joins=False,
        thorough=True,
        begin=lambda: None,
    )
    try:
        (outcomes,) = ours.predict([Call(Configuration(), [large, large])])
        assert [o.prediction.mean for o in outcomes] == [large, large]  # type: ignore[union-attr]
    finally:
        ours.close()


def test_a_stopped_child_is_late_even_for_a_large_message(timed: Callable[..., Timed]) -> None:
    ours = timed(seconds=0.7)
    (child,) = run(ours, pid)
    os.kill(int(child), signal.SIGSTOP)
    large = [0] * 2_000_000
    assert run(ours, large, 2) == [LABEL, LABEL]


def test_nothing_is_left_when_it_closes() -> None:
    before = set(children(os.getpid()))
    ours = Timed.start(
        predict, LONG, fallback, LABEL, joins=False, thorough=True, begin=lambda: None
    )
    (child,) = run(ours, pid)
    assert len(set(children(os.getpid())) - before) == 1
    ours.close()
    assert set(children(os.getpid())) == before
    assert not Path(f"/proc/{int(child)}").exists()


def test_the_keeper_and_its_child_let_go_of_the_servers_sockets(
    timed: Callable[..., Timed],
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    run(timed(), pid)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_it_stops_and_the_child_is_gone_once_nobody_waits(timed: Callable[..., Timed]) -> None:
    ours = timed()
    (child,) = run(ours, pid)
    asked: list[bool] = []
    with pytest.raises(Cancelled, match="stopped after 1 of 3 series"):
        ours.predict(
            [Call(Configuration(), [1, hang, 3])], lambda: len(asked.append(True) or asked) < 3
        )  # type: ignore[func-returns-value]
    assert not Path(f"/proc/{int(child)}").exists()
    assert run(ours, 5) == [5.0], "the next request has a new child"


def test_a_child_that_has_grown_is_replaced_between_two_requests() -> None:
    with closing(
        Timed.start(predict, LONG, fallback, LABEL, joins=False, thorough=True, begin=lambda: None)
    ) as other:
        (before,) = run(other, size)
    most = before + (100 << 20)
    ours = Timed.start(
        predict,
        LONG,
        fallback,
        LABEL,
        joins=False,
        thorough=True,
        begin=lambda: None,
        most_bytes=most,
    )
    try:
        first, again = run(ours, pid, pid)
        assert first == again
        (grown,) = run(ours, grow)
        assert grown == first
        (fresh,) = run(ours, pid)
        assert fresh != first
    finally:
        ours.close()


WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from gluonts_shell.messages import Call, Configuration, Prediction, always
from gluonts_shell.serving.batch.timeout import Timed
def predict(calls, wanted):
    import subprocess
    print(os.getpid(), subprocess.Popen(["sleep", "60"]).pid, flush=True)
    time.sleep(60)
timed = Timed.start(predict, 60, predict, "x", joins=False, thorough=True, begin=lambda: None)
print(timed.keeper, flush=True)
timed.predict([Call(Configuration(), [1])])
"""


@pytest.mark.parametrize("who", ["worker", "keeper"])
def test_everything_goes_when_the_worker_or_the_keeper_is_killed(who: str) -> None:
    root = str(Path(__file__).parents[3])
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, root], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout
    keeper = int(worker.stdout.readline())
    child, grandchild = map(int, worker.stdout.readline().split())
    if who == "worker":
        worker.kill()
        expected = {keeper, child, grandchild}
    else:
        os.kill(keeper, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        assert worker.wait(30) == 1, "a worker without a keeper ends, so that it is replaced"
        os.kill(grandchild, signal.SIGKILL)
        expected = {keeper, child}
    worker.wait(30)
    worker.stdout.close()
    give_up = time.monotonic() + 30
    while left := [p for p in expected if alive(p)]:
        assert time.monotonic() < give_up, left
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_channel_says_when_the_other_end_is_gone() -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()
    with pytest.raises(EOFError):
        ours.send(b"x" * 10_000_000)


def test_a_channel_keeps_its_deadline() -> None:
    ours, _theirs = Channel.pair()
    with pytest.raises(TimeoutError):
        ours.receive(time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        ours.send(b"x" * 10_000_000, time.monotonic() + 0.05)
