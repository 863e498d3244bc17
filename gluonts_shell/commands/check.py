"""JOURNEY 1 up to the point of training: what would fail, all of it, and what the job is like. Writes no model.

The steps are those of `train`, in the same order and with the same sentences; where one raises,
what can still be looked at is looked at.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts_shell import log as logs
from gluonts_shell.commands import train
from gluonts_shell.errors import ConfigurationError, DataError, ShellError, UserError
from gluonts_shell.sagemaker import failure
from gluonts_shell.sagemaker.code import channel as code_channel
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.processes.signals import Stopped, stop_at
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.checks.summary import Summary
    from gluonts_shell.forecasting.checks.trial import Trial
    from gluonts_shell.forecasting.contract import Contract
    from gluonts_shell.forecasting.data.channel import Channel
    from gluonts_shell.forecasting.plan import Datasets, Plan

READ = ("train", "validation", "test")
MOST_PROBLEMS = 20


@dataclass
class Found:
    """problems: sentences, each of which fails the job. constructor: the call that makes the forecaster.

    channels: of those that could be read. more: whether there may be problems beyond those listed.
    """

    problems: list[str] = field(default_factory=list)
    more: bool = False
    warnings: list[str] = field(default_factory=list)
    constructor: str | None = None
    channels: dict[str, Summary] = field(default_factory=dict)
    trial: Trial | None = None


def run(settings: Settings, as_json: bool = False) -> int:
    """Print what is found; returns 1 if the job would fail, else 0."""
    stop_at(signal.SIGTERM, signal.SIGINT)
    found = Found()
    with code_installed(settings, found) as ready, warnings_gathered(settings, found):
        if ready:
            examine(settings, found, progress())
    print(json.dumps(document(found), indent=2) if as_json else "\n".join(lines(found)))  # noqa: T201
    return 1 if found.problems else 0


@contextmanager
def code_installed(settings: Settings, found: Found) -> Iterator[bool]:
    """Whether the code channel could be installed, aside: the process starts once more with it, as in `train`."""
    workspace, code = Path(tempfile.mkdtemp(prefix="gluonts-shell-check-")), None
    source = Paths(Path(settings.data_path)).data / "code"
    try:
        try:
            with warnings_gathered(settings, found):
                code = code_channel.activate(source, workspace / "code", settings, os.environ)
        except ShellError as error:
            found.problems.append(str(error))
        yield not found.problems
    finally:
        code_channel.discard(workspace, code)


@contextmanager
def warnings_gathered(settings: Settings, found: Found) -> Iterator[None]:
    """The log goes nowhere, but for warnings, which become part of the answer; what is printed is no part of it."""
    logs.configure(settings.log_level, settings.log_format)

    class Gathered(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.name.startswith("gluonts_shell") and text not in found.warnings:
                found.warnings.append(text)

    root = logging.getLogger()
    before, root.handlers[:] = list(root.handlers), [Gathered(logging.WARNING)]
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        root.handlers[:] = before


def progress() -> Callable[[str], None]:
    """Says on a terminal what is being done; one line that the next replaces."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda step: print(f"\r\x1b[K{step}", end="", file=sys.stderr, flush=True)  # noqa: T201


def examine(settings: Settings, found: Found, say: Callable[[str], None]) -> None:
    """Fill `found`. What a job raises becomes a problem, whoever raised it."""
    try:
        job = TrainingJob.read(Paths(Path(settings.data_path)))
        say("looking at the hyperparameters")
        plan = _plan(job, settings, found, say)
        if plan is not None:
            _plan_out(job, plan, settings, found, say)
    except Stopped:
        raise
    except SystemExit as error:
        found.problems.append(
            f"the forecaster's code ended the process with sys.exit({error.code!r})"
        )
    except Exception as error:
        found.problems.append(failure.sentence(error))
    finally:
        say("")


def _plan_out(
    job: TrainingJob, plan: Plan, settings: Settings, found: Found, say: Callable[[str], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="model-channel-") as folder:
        previous, contract = train._previous_model(job, Path(folder), settings) or (None, None)
        data = _data(plan, contract, found, say)
        if data is not None:
            _forecaster(plan, data, previous, host=job.host, found=found, say=say)


def _plan(
    job: TrainingJob, settings: Settings, found: Found, say: Callable[[str], None]
) -> Plan | None:
    """None where the hyperparameters have a problem; the data are looked at all the same."""
    from gluonts_shell.forecasting import training
    from gluonts_shell.forecasting.distributed.ranks import seed_everything

    try:
        training.set_environment(job.env, quiet=True)
        plan = train.planned(job, Paths(Path(settings.data_path)), settings)
    except UserError as error:
        found.problems.append(str(error))
        _add_faults(_unplanned(job), found, say)
        return None
    if plan.options.seed is not None:
        seed_everything(plan.options.seed)
    return plan


def _unplanned(job: TrainingJob) -> list[Channel]:
    """The channels, read as what they are by themselves; none where nobody knows their frequency."""
    from gluonts_shell.forecasting.data.channel import Channel
    from gluonts_shell.forecasting.data.frequency import period_alias

    given = job.hyperparameters.get("freq") or job.hyperparameters.get("time_freq")
    try:
        freq = period_alias(str(given))
    except ConfigurationError:
        return []
    sources = [job.channels[name] for name in READ if name in job.channels]
    return [Channel(source.name, source.path, freq, source.content_type) for source in sources]


def _data(
    plan: Plan, previous: Contract | None, found: Found, say: Callable[[str], None]
) -> Datasets | None:
    """The channels; None where one of them has a problem, and then all of its problems are in `found`."""
    from gluonts_shell.forecasting.checks import summary

    say("reading the channels")
    try:
        data = plan.read(previous)
    except DataError as error:
        found.problems.append(str(error))
        _add_faults([plan.channel(name) for name in READ if name in plan.channels], found, say)
        return None
    say("summing up")
    for name in READ:
        one = getattr(data, name)
        if one is not None:
            statistics = one.statistics
            found.channels[name] = summary.summarize(
                one, statistics.labels, statistics.too_short, one.channel.shortest
            )
    return data


def _add_faults(channels: Iterable[Channel], found: Found, say: Callable[[str], None]) -> None:
    """Every series that is wrong, in every channel; what `train` would say stays the first of them."""
    for channel in channels:
        say(f"looking for every problem of channel {channel.name!r}")
        for fault in islice(channel.faults(), MOST_PROBLEMS + 1):
            if fault not in found.problems:
                found.problems.append(fault)
    found.more = len(found.problems) > MOST_PROBLEMS
    del found.problems[MOST_PROBLEMS:]


def _forecaster(
    plan: Plan,
    data: Datasets,
    previous: Any,
    *,
    host: str,
    found: Found,
    say: Callable[[str], None],
) -> None:
    from gluonts_shell.forecasting.checks import trial

    found.constructor = plan.call(data)
    forecaster = plan.construct(data)
    if plan.trains and trial.possible(forecaster):
        say("training a few batches")
        found.trial = trial.run(forecaster, data.train, plan.options, host, previous)


def document(found: Found) -> dict[str, Any]:
    """For machines."""
    trial = (
        asdict(found.trial) | {"epoch_seconds": found.trial.epoch_seconds} if found.trial else None
    )
    return {"fails": bool(found.problems), **asdict(found), "trial": trial}


def lines(found: Found) -> Iterator[str]:
    """For a person."""
    for name, summary in found.channels.items():
        yield f"channel {name}:"
        yield from (f"  {line}" for line in summary.lines())
    if found.constructor:
        yield from ("forecaster:", f"  {found.constructor}")
    if found.trial:
        yield from (
            "training, measured on this machine with a few batches:",
            *_trial_lines(found.trial),
        )
    for warning in found.warnings:
        yield f"warning: {warning}"
    for problem in found.problems:
        yield f"problem: {problem}"
    if found.more:
        yield f"these are the first {MOST_PROBLEMS} problems; there are more"
    yield "the job would fail" if found.problems else "no problem was found"


def _trial_lines(trial: Trial) -> Iterator[str]:
    yield f"  {trial.parameters:,} parameters, {trial.bytes / 1e6:,.3g} MB"
    yield f"  {trial.seconds:.2g} s a batch, about {trial.epoch_seconds:.2g} s an epoch of {trial.batches} batches"
    if trial.epochs > 0:
        yield f"  about {trial.epoch_seconds * trial.epochs:.2g} s for {trial.epochs} epochs"
