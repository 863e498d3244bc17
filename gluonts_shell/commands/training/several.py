"""A job on several hosts, as `train` has it: what befalls one of them ends the job on all, with a sentence.

Trouble elsewhere comes to this process as a signal, because that is what it knows how to stop at: between two
batches, or at once where nothing is lost. Where it does not hear, as within a collective operation that waits for a
dead process, it is ended from outside of the main thread.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gluonts_shell.errors import HostError, UserError
from gluonts_shell.sagemaker import failure
from gluonts_shell.sagemaker.hosts import Ending, Hosts
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.serving.processes.signals import Stopped
from gluonts_shell.settings import Settings

log = logging.getLogger(__name__)

# Seconds in which a process ends by itself when another host has failed, or has been stopped: SageMaker grants 120
# until SIGKILL, and a model is written in them.
GRACE, STOPPING = 10.0, 100.0
# Seconds to wait for the cause of an error: a collective operation fails sooner than the news of a dead host comes.
NEWS = 5.0


@contextmanager
def together(
    job: TrainingJob, settings: Settings, give_up: Callable[[HostError], int]
) -> Iterator[Hosts]:
    """The hosts of the job, once they have met; inside, each learns how the others fare, and at the end how this did.

    give_up: writes down why the job failed, for a process that does not hear signals; returns its exit status.
    Raises HostError where another host is to blame for what came out of it, and Stopped where one was stopped.
    """
    if len(job.hosts) > 1:
        log.info("host %s of %s", job.host, ", ".join(job.hosts))
    hosts = Hosts.meet(
        job.host,
        job.hosts,
        port=settings.master_port + 1,
        wait=settings.hosts_wait,
        silence=max(1.0, settings.hosts_silence),
    )
    hosts.on_trouble = lambda ending: _interrupt(ending, hosts, give_up)
    try:
        yield hosts
    except BaseException as error:
        try:
            blamed = _blamed(error, hosts)
        except Stopped:  # at the last moment; signals are ignored from here on
            blamed = _blamed(error, hosts)
        hosts.leave(*_told(blamed))
        if blamed is error:
            raise
        raise blamed from error
    hosts.leave(0, "is done")


def await_first(hosts: Hosts) -> None:
    """On another host than the first: until that one ends. Raises HostError or Stopped if it did not end well."""
    log.info("waiting for host %s, which scores and writes the model", hosts.hosts[0])
    ending = hosts.wait()
    if ending.status:
        raise _raised(ending)


def _interrupt(ending: Ending, hosts: Hosts, give_up: Callable[[HostError], int]) -> None:
    """In a thread of its own. What the main thread was about to do then, it leaves as at any stop."""
    if hosts.left(0):
        return
    log.warning("%s", ending)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    if hosts.left(STOPPING if ending.stopped else GRACE):
        return
    status = give_up(HostError(str(ending), ending.status))
    with suppress(OSError):
        hosts.leave(status, f"failed: {ending}")
    os._exit(status)


def _blamed(error: BaseException, hosts: Hosts) -> BaseException:
    """The error, or how another host ended, of which it is the consequence."""
    if not hosts.links and hosts.ending is None:
        return error
    # the news itself comes as a signal, which has nothing more to interrupt
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    own = isinstance(error, UserError) and not isinstance(error, HostError)
    ending = hosts.news(0 if own or isinstance(error, Stopped | HostError) else NEWS)
    if own or ending is None or not ending.status:
        return error
    return _raised(ending)


def _raised(ending: Ending) -> BaseException:
    if ending.stopped:
        return Stopped(ending.status - 128)
    return HostError(str(ending), ending.status)


def _told(error: BaseException) -> tuple[int, str]:
    """What the others hear of it."""
    if isinstance(error, Stopped):
        return 128 + error.signal, f"was stopped by {error.signal.name}"
    status = getattr(error, "exit_code", 1)
    return status, f"failed: {failure.sentence(error)}"
