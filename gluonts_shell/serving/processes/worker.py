"""The life of a worker process, from the fork to its exit.

It knows how one process serves and ends, and refuses to know the other workers.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from gluonts_shell import log as logs
from gluonts_shell.errors import ShellError
from gluonts_shell.serving.http.server import App, Limits, Server
from gluonts_shell.serving.http.shares import Share
from gluonts_shell.serving.processes.signals import ALL_SIGNALS, Interrupted, recorded

log = logging.getLogger(__name__)

# seconds that /ping waits, instead of 5 ms, for each thread that computes; every thread that waits for the interpreter
# wakes so often, which at 0.5 ms took a sixth of the requests of 16 connections
SWITCH_INTERVAL = 0.002
HOPELESS = 3  # the exit status that says: another try would fail too


def work(
    *,
    listener: socket.socket,
    make: Callable[[], App],
    limits: Limits,
    drain_seconds: float,
    lifeline: int,
    beat: int,
    share: Share,
) -> NoReturn:
    """Serve until SIGTERM, or until the parent is gone; then answer what is in flight and exit.

    lifeline: can be read, with nothing in it, once the parent is gone. beat: a byte is written into it when the
    application is ready and at every tick.
    """
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everyone; the parent will tell us
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with recorded(signal.SIGTERM) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)
            sys.setswitchinterval(SWITCH_INTERVAL)
            logs.gather()
            with signals.interrupting():
                server = Server(listener, make(), limits, share)

            def tick() -> None:
                logs.flush()
                with suppress(OSError):  # full while the parent is stopped, broken once it is gone
                    os.write(beat, b".")

            server.serve(signals.descriptor, lifeline, tick=tick)
            cut = server.drain(drain_seconds)
            if cut:
                log.warning("%d connections were cut off after %g s", cut, drain_seconds)
        status = 0
    except Interrupted:
        status = 0
    except ShellError as error:
        log.error("%s", error)
        status = HOPELESS
    except BaseException:
        log.exception("worker %d failed", os.getpid())
    finally:
        flush()
        os._exit(status)  # not the parent's clean-up a second time


def flush() -> None:
    with suppress(Exception):
        logs.flush()
        sys.stdout.flush()
        sys.stderr.flush()
