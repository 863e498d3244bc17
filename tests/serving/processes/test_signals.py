"""Signals are recorded; while something loads they interrupt it, whatever it makes of that."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from gluonts_shell.serving.processes import signals as module
from gluonts_shell.serving.processes.signals import Interrupted, Stopped, recorded, stop_at


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def stop_and_swallow() -> None:
    try:
        stop()
    except Interrupted:
        pass


def stop_and_translate() -> None:
    try:
        stop()
    except Interrupted as interrupted:
        raise RuntimeError("the model cannot be read") from interrupted


@pytest.mark.parametrize("step", [stop, stop_and_swallow, stop_and_translate])
def test_a_signal_ends_the_step(step: Callable[[], None]) -> None:
    with recorded(signal.SIGTERM) as signals:
        with pytest.raises(Interrupted):
            with signals.interrupting():
                step()
        assert signals.received == [signal.SIGTERM]


def test_an_error_of_the_step_stays_what_it_is() -> None:
    with recorded(signal.SIGTERM) as signals:
        with pytest.raises(ValueError, match="its own"):
            with signals.interrupting():
                raise ValueError("its own")


def test_outside_of_the_step_nothing_is_raised() -> None:
    with recorded(signal.SIGTERM) as signals:
        stop()
        assert signals.received == [signal.SIGTERM]
        with pytest.raises(Interrupted):
            with signals.interrupting():
                raise AssertionError("it had been asked to stop before")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield now
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_sigterm_within_a_second_of_the_first_is_the_same_one(clock: list[float]) -> None:
    with recorded(signal.SIGTERM, signal.SIGINT) as signals:
        stop()
        clock[0] += 0.9
        stop()
        assert signals.received == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == [signal.SIGTERM, signal.SIGINT]
        clock[0] += 0.2
        stop()
        assert signals.received == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]


def test_it_does_not_interrupt_what_tidies_up_after_the_first(clock: list[float]) -> None:
    stop_at(signal.SIGTERM, signal.SIGINT)
    with pytest.raises(Stopped):
        stop()
    clock[0] += 0.9
    stop()
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGINT)
    clock[0] += 0.2
    with pytest.raises(Stopped):
        stop()
