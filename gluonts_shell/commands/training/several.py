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
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gluonts_shell.errors import ConfigurationError, HostError, UserError
from gluonts_shell.sagemaker import failure, network
from gluonts_shell.sagemaker.hosts import Ending, Hosts, tell_early
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.serving.processes.child import ending as ending_of
from gluonts_shell.serving.processes.child import fork, leave_sockets
from gluonts_shell.serving.processes.signals import Stopped
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.distributed.ranks import Ranks
    from gluonts_shell.forecasting.plan import Plan

log = logging.getLogger(__name__)

# Seconds in which a process ends by itself when another host has been stopped: SageMaker grants 120 until SIGKILL, and
# a model is written in them. Where another has failed, it is this part of the silence that means death.
STOPPING, GRACE = 100.0, 1 / 3
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
    try:
        hosts = Hosts.meet(
            job.host,
            job.hosts,
            port=settings.master_port + 1,
            wait=settings.hosts_wait,
            silence=max(1.0, settings.hosts_silence),
        )
    except HostError as error:
        if error.exit_code < 128:
            raise
        raise Stopped(error.exit_code - 128) from error
    hosts.listen(lambda ending: _interrupt(ending, hosts, give_up))
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


@contextmanager
def told_early(job: TrainingJob, settings: Settings) -> Iterator[None]:
    """Inside, before the hosts meet, this one prepares its part; if it fails or is stopped, the others hear of it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if len(job.hosts) > 1:
            status, what = _told(error)
            ending = Ending(job.host, status, what)
            log.warning("%s; the other hosts are told when they come", ending)
            tell_early(job.host, job.hosts, ending, settings.master_port + 1)
        raise


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
    if hosts.left(STOPPING if ending.stopped else hosts.silence * GRACE):
        return
    status = give_up(HostError(str(ending), ending.status))
    with suppress(OSError):
        hosts.leave(status, f"failed: {ending}")
    os._exit(status)


def _blamed(error: BaseException, hosts: Hosts) -> BaseException:
    """The error, or how another host ended, of which it is the consequence."""
    if not hosts.shared:
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


def ranks(job: TrainingJob, hosts: Hosts, plan: Plan, settings: Settings) -> Ranks:
    """Of the first process on this host; all hosts ask at the same time, if several can train.

    Raises ConfigurationError for what several processes cannot do together.
    """
    from gluonts_shell.forecasting.distributed.ranks import Ranks

    seed = plan.options.seed
    if not plan.distributes:
        return Ranks(seed=seed)
    # machines of one job may be of different kinds
    devices = min(hosts.gather(plan.devices))
    together = Ranks(hosts.position, len(hosts.hosts), devices, seed=seed)
    if together.count == 1:
        return together
    plan.check_together()
    log.info("training in %d processes, %d on each host", together.count, devices)
    if len(hosts.hosts) > 1:
        together.sharded = frozenset(name for name, one in job.channels.items() if one.sharded)
        together.gather = hosts.gather
        _tell_of_test(job, hosts)
    together.environment = _environment(job, hosts, settings)
    together.on_devices = lambda count, run: _on_devices(count, run, hosts)
    return together


def quiet_torch(job: TrainingJob, environ: MutableMapping[str, str]) -> None:
    """What its C++ code says of a connection that ended says nothing that is not said here; before it is imported."""
    if len(job.hosts) > 1:
        environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def check_forecaster(plan: Plan, hosts: Hosts) -> None:
    """Raises ConfigurationError where the first host has another one: one of the two would wait for the other to train,
    and that for the first to be done.
    """
    name = f"{plan.kind.__module__}.{plan.kind.__qualname__}"
    first = hosts.gather(name)[0]
    if first != name:
        raise ConfigurationError(
            f"the forecaster of this host is {name}, that of the first host of the job {first}: "
            "expected the same hyperparameters and code on all hosts"
        )


def agreed(
    fingerprint: Mapping[str, str], wanted: bool, gather: Callable[[Any], list[Any]]
) -> bool:
    """Whether the first host wants checkpoints. Raises ConfigurationError if this one would train another model, or
    longer.
    """
    from gluonts_shell.forecasting.lightning.checkpoints import differences

    first, wants = gather([dict(fingerprint), wanted])[0]
    if first != fingerprint:
        raise ConfigurationError(
            "this host would train another model than the first host of the job: "
            f"there and here, {differences(first, fingerprint)}"
        )
    return bool(wants)


def _tell_of_test(job: TrainingJob, hosts: Hosts) -> None:
    if hosts.first and "test" in job.channels and job.channels["test"].sharded:
        log.warning(
            "channel 'test' is ShardedByS3Key: the first host scores its own share, and no other"
        )


def _environment(job: TrainingJob, hosts: Hosts, settings: Settings) -> dict[str, str]:
    """What torch is to know: where the processes meet, and by which network they talk."""
    port = settings.master_port if len(hosts.hosts) > 1 else network.free_port()
    first = hosts.master or "127.0.0.1"
    found = {"MASTER_ADDR": first, "MASTER_PORT": str(port), "NODE_RANK": str(hosts.position)}
    interface = network.interface(job.interface, hosts.address or first)
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if interface and variable not in os.environ:
            found[variable] = interface
    return found


def _on_devices(count: int, run: Callable[[int], Any], hosts: Hosts) -> Any:
    """Run it in a process for each device, of which this one is the first; one that dies ends the job."""
    hosts.shared = hosts.shared or count > 1
    watchers = [_watched(local, run, hosts) for local in range(1, count)]
    for watcher in watchers:
        watcher.start()
    found = run(0)
    for watcher in watchers:
        watcher.join(hosts.silence)
    return found


def _watched(local: int, run: Callable[[int], Any], hosts: Hosts) -> threading.Thread:
    """A thread that will wait for the process, which is there already: threads are better started after forks."""

    def alone() -> None:
        leave_sockets()
        logging.disable(logging.WARNING)  # the first process says all of it
        run(local)

    process = fork(alone)

    def wait() -> None:
        _, status = os.waitpid(process, 0)
        if status:
            what = f"lost the process of its device {local}, which {ending_of(status)}"
            hosts.trouble(Ending(hosts.host, 1, what))

    return threading.Thread(target=wait, daemon=True)
