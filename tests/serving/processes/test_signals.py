"""Signals are recorded; while something loads they interrupt it, whatever it makes of that."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from gluonts_shell.serving.processes.signals import Interrupted, recorded


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
