"""What a signal does. In a loop that polls, it is data: the handler records, the loop acts. In a command that works
without a loop it is the exception Stopped. Nothing else in the package installs a handler; child
processes only let go of those of their parents.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from types import FrameType

ALL_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
SAME_SECONDS = 1.0


class Repeats:
    """Tells a SIGTERM that comes within a second of another from a second wish.

    It is the same one on two ways: from whoever stops the container to all its processes, and once more from a shell
    or an init in front of ours that hands on what it gets. Ctrl-C twice is a person who does not want to wait.
    """

    def __init__(self) -> None:
        self._since = -inf

    def known(self, number: int) -> bool:
        """Whether this signal came already; to be asked once for each."""
        now = time.monotonic()
        if number != signal.SIGTERM:
            return False
        if now - self._since < SAME_SECONDS:
            return True
        self._since = now
        return False

    def forget(self) -> None:
        self._since = -inf


_stops = Repeats()


class Stopped(SystemExit):
    """By a signal, in contrast to a sys.exit() in somebody's code; the status is that of a shell, 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


def stop_at(*numbers: int) -> None:
    """From now on these signals raise Stopped in the main thread.

    Process 1 of a container has no default action: without a handler it would not hear a signal at all.
    """
    _stops.forget()
    for number in numbers:
        signal.signal(number, _stop)


def stop_no_more() -> None:
    """From now on a SIGTERM changes nothing: all is done, and the exit status shall tell how.

    While the interpreter ends it takes its handlers away, and the system's own would kill the process.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def repeated(number: int) -> bool:
    """Whether the signal that has just come is one that came before; for handlers that stand in for `stop_at`'s."""
    return _stops.known(number)


def _stop(number: int, _: FrameType | None) -> None:
    """Nothing is logged here: the signal may have come while a line was being written."""
    if not repeated(number):
        raise Stopped(number)


class Interrupted(BaseException):
    """Asked to stop while loading. Not an Exception, so that what is being loaded does not swallow it."""


class Signals:
    """Records signals and makes `descriptor` readable; whoever polls it acts."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.interrupt = self.fatal = False
        self.repeats = Repeats()
        self.descriptor, self.writer = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self.writer, False)

    def record(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what the interpreter passes
        if number == signal.SIGCHLD or self.repeats.known(number):
            return
        if self.fatal:
            os._exit(128 + number)
        self.received.append(number)
        if self.interrupt:
            raise Interrupted

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Around a long step that polls nothing: raises Interrupted there, or at its end if the step caught that."""
        self.interrupt = True
        try:
            if self.received:
                raise Interrupted
            yield
        except Exception:
            # what runs in the step may have made an error of its own of the Interrupted that came in the midst of it
            if not self.received:
                raise
        finally:
            self.interrupt = False
        if self.received:
            raise Interrupted

    def end_at_the_next(self) -> None:
        """From now on a signal is not recorded: the process ends at once, with the status of a shell."""
        self.fatal = True

    def drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.descriptor, 4096)


@contextmanager
def recorded(*numbers: int) -> Iterator[Signals]:
    signals = Signals()
    before = {number: signal.signal(number, signals.record) for number in numbers}
    wakeup = signal.set_wakeup_fd(signals.writer, warn_on_full_buffer=False)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(signals.descriptor)
        os.close(signals.writer)
