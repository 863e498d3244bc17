"""Workers that answer side by side, and answers in order; real processes."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from gluonts_shell.errors import ConfigurationError, DataError, ModelError
from gluonts_shell.serving.processes.machine import resident_bytes
from gluonts_shell.serving.processes.pool import AHEAD, ProcessPool


def quiet() -> None:
    """No tick."""


def answers(
    pool: ProcessPool, tasks: Any, tick: Callable[[], None] = quiet
) -> list[tuple[Any, Any]]:
    return list(pool.answers(tasks, lambda task: (task,), tick))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("size", [1, 3])
def test_answers_come_in_the_order_of_the_tasks(size: int) -> None:
    def slow(task: int) -> int:
        time.sleep(random.random() / 200)
        return task * task

    with ProcessPool(size, lambda: slow) as pool:
        assert answers(pool, range(1, 60)) == [(n, n * n) for n in range(1, 60)]


def test_no_task_no_process() -> None:
    with ProcessPool(2, lambda: pytest.fail) as pool:
        assert answers(pool, []) == []


def test_only_a_few_tasks_are_taken_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Any:
        for number in range(1, 100):
            taken.append(number)
            yield number

    with ProcessPool(2, lambda: lambda task: task) as pool:
        for number, _ in pool.answers(tasks(), lambda task: (task,), quiet):
            assert len(taken) <= number + AHEAD * 2


def test_large_tasks_and_answers_pass() -> None:
    with ProcessPool(2, lambda: lambda body: body * 3) as pool:
        bodies = [bytes([n]) * 3_000_000 for n in range(1, 5)]
        assert [answer == body * 3 for body, answer in answers(pool, bodies)] == [True] * 4


def test_a_task_that_never_ends_costs_itself_and_its_worker() -> None:
    def work(task: int) -> int:
        if task == 2:
            time.sleep(60)
        if task == 4:  # holding the interpreter
            ctypes.PyDLL(None).usleep(60_000_000)
        return task

    began = time.monotonic()
    with ProcessPool(1, lambda: work, limit=0.3) as pool:
        found = dict(answers(pool, range(1, 6)))
    assert time.monotonic() - began < 30
    assert [found[task] for task in (1, 3, 5)] == [1, 3, 5]
    sentence = "the model has not answered within 0.3 s (GLUONTS_SHELL_MAX_PREDICT_SECONDS sets this limit)"
    for task in (2, 4):
        assert isinstance(found[task], ModelError) and str(found[task]) == sentence


def test_what_a_worker_takes_to_begin_does_not_count_for_its_first_task() -> None:
    def make() -> Callable[[int], int]:
        time.sleep(1.5)
        return lambda task: task

    with ProcessPool(1, make, limit=1.0) as pool:
        assert answers(pool, range(1, 3)) == [(1, 1), (2, 2)]


def test_an_error_is_the_answer_of_its_task_only() -> None:
    def work(task: int) -> int:
        if task == 2:
            raise DataError("line 2 is bad")
        if task == 3:
            raise ZeroDivisionError("secret")
        if task == 4:
            raise SystemExit(5)
        if task == 6:
            raise KeyboardInterrupt
        return task

    with ProcessPool(2, lambda: work) as pool:
        found = [answer for _, answer in answers(pool, range(1, 8))]
    assert found[0] == 1 and found[4] == 5 and found[6] == 7
    assert isinstance(found[5], ModelError)
    assert isinstance(found[1], DataError) and str(found[1]) == "line 2 is bad"
    assert isinstance(found[2], ModelError) and "secret" not in str(found[2])
    assert isinstance(found[3], ModelError)


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os._exit(3), "ended with exit status 3"),
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "was killed by signal 9, perhaps it was out of memory",
        ),
    ],
)
def test_a_worker_that_dies_costs_its_task_and_is_replaced(
    end: Callable[[], None], how: str
) -> None:
    def work(task: int) -> int:
        if task == 3:
            end()
        return task

    with ProcessPool(2, lambda: work) as pool:
        found = [answer for _, answer in answers(pool, range(1, 9))]
    assert str(found.pop(2)) == f"the process that predicted it {how}"
    assert found == [1, 2, 4, 5, 6, 7, 8]


def test_a_worker_that_has_grown_is_replaced_between_two_tasks() -> None:
    hoard: list[bytes] = []

    def work(task: int) -> tuple[int, int]:
        if task == 3:
            hoard.append(os.urandom(1 << 20) * 200)
        return os.getpid(), resident_bytes()

    with ProcessPool(1, lambda: work) as pool:
        before = answers(pool, [1])[0][1][1]
    with ProcessPool(1, lambda: work, before + (100 << 20)) as pool:
        pids = [answer[0] for _, answer in answers(pool, range(1, 6))]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4]


def test_a_worker_that_cannot_begin_says_why() -> None:
    def make() -> Any:
        raise ConfigurationError("the model cannot be loaded")

    with ProcessPool(2, make) as pool:
        assert [str(answer) for _, answer in answers(pool, [1, 2])] == [
            "the model cannot be loaded"
        ] * 2


def test_no_worker_is_left_even_when_it_is_busy() -> None:
    def work(task: int) -> int:
        if task > 1:
            time.sleep(600)
        return os.getpid()

    with ProcessPool(1, lambda: work) as pool:
        (_, pid), *_ = [next(pool.answers([1, 2], lambda task: (task,), quiet))]
    assert gone(pid)


def test_the_tick_comes_while_a_task_takes_long() -> None:
    ticks: list[float] = []
    with ProcessPool(1, lambda: lambda task: time.sleep(2.5)) as pool:
        answers(pool, [1], lambda: ticks.append(time.monotonic()))
    assert len(ticks) >= 3


def test_workers_ignore_what_a_terminal_sends_to_everybody() -> None:
    def work(task: int) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return task

    with ProcessPool(1, lambda: work) as pool:
        assert answers(pool, [1]) == [(1, 1)]
