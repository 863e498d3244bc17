"""JOURNEY 2: code channel -> model -> service -> app -> workers on one socket, for an endpoint or a batch job.

The story is told here and nowhere else; what each step does is in the packages that it calls.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gluonts_shell import log as logs
from gluonts_shell.errors import ConfigurationError, ModelError
from gluonts_shell.sagemaker.code import channel
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.endpoint.app import App, Handler, execution_parameters
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint, Transform
from gluonts_shell.serving.http.connection import Limits
from gluonts_shell.serving.processes import machine as processors
from gluonts_shell.serving.processes import native, supervisor
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.service.allowed import Rule
    from gluonts_shell.forecasting.service.service import Forecasting
    from gluonts_shell.serving.batch.job import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """workers: processes; threads: native ones of each; forks: whether a loaded model may be shared by forking."""

    workers: int
    threads: int
    forks: bool

    @classmethod
    def of(cls, settings: Settings) -> Machine:
        cpus = processors.available()
        forks = sys.platform == "linux" and not native.has_accelerator()
        workers = (settings.workers or cpus) if forks else 1
        return cls(workers, max(1, cpus // workers), forks)


def run(settings: Settings) -> int:
    """Serve what lies under settings.data_path until a signal; returns the exit status.

    Raises ShellError with a sentence if there is nothing to serve or it cannot be loaded.
    """
    # process 1 has no default action, and the code channel may take a while
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logs.configure(settings.log_level)
    paths = Paths(Path(settings.data_path))
    code = channel.activate(paths.model / "code", paths.code, settings, os.environ)
    machine = Machine.of(settings)
    native.limit_threads(machine.threads, os.environ)
    description: list[str] = []

    def load() -> Callable[[], App]:
        service = served(settings, paths.model, code)
        description[:] = [service.description]
        lines = None
        if settings.batch:
            from gluonts_shell.commands import batch

            lines = batch.prepare(service, settings, machine.threads)
        return lambda: application(service, lines, settings, machine)

    return supervisor.run(
        address=settings.address,
        port=settings.port,
        workers=machine.workers,
        load=load,
        limits=Limits(body=settings.body_limit),
        announce=lambda port: announce(port, machine, description),
        preload=machine.forks,
    )


def served(settings: Settings, model: Path, code: Path | None) -> Forecasting:
    """The model that is there, else the forecaster that the operator named; requests may name others."""
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.forecaster.known import default_forecaster
    from gluonts_shell.forecasting.service.service import Forecasting

    rule = nameable(settings, code)
    if artifact.present(model):
        predictor, contract = artifact.load(model)
        for difference in artifact.differences(contract):
            log.warning("%s", difference)
        return Forecasting((predictor, contract), rule)
    named = settings.batch and settings.inference_config  # by the job; whether it does is checked with the rest of it
    if settings.force_static or not (settings.forecaster or settings.allowed_forecasters or named):
        raise ConfigurationError(
            f"there is nothing to serve: {str(model)!r} holds no model"
            + (", and GLUONTS_FORCE_STATIC forbids any other forecaster" if settings.force_static else "")
            + "; put a trained model there, or name a Predictor with GLUONTS_FORECASTER or --forecaster"
        )
    return Forecasting(None, rule, default_forecaster(settings.forecaster) if settings.forecaster else None)


def nameable(settings: Settings, code: Path | None) -> Rule:
    """What requests may name; a batch job's configuration is the operator's own, so what it names is allowed too."""
    from gluonts_shell.forecasting.forecaster import known
    from gluonts_shell.forecasting.service.allowed import Rule

    refused = "this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)"
    operators = settings.batch and not settings.force_static
    named = known.of_the_job(settings.inference_config) if operators else None
    return Rule(
        settings.allowed_forecasters,
        known.Installed(code, settings.allowed_forecasters or ()),
        dict([named]) if named else {},
        refused if settings.force_static else None,
    )


def application(service: Forecasting, batch: Callable[[], Batch] | None, settings: Settings, machine: Machine) -> App:
    """Called in each worker, after the fork."""
    from gluonts_shell.forecasting.service.service import start_worker

    start_worker(machine.threads)
    handler: Handler
    if batch is not None:
        lines = batch()
        handler = Transform(lambda body, wanted: lines.answer(body, wanted=wanted))
    else:
        handler = Endpoint(service, Batcher(service.predict, joins=service.joins, timeout=settings.timeout))
    if settings.canary:
        rehearse(service, Path(settings.data_path))
    parameters = execution_parameters(
        workers=machine.workers,
        joins=service.joins,
        strategy=settings.batch_strategy,
        max_payload_in_mb=settings.max_payload_in_mb,
        most=settings.max_concurrent_transforms,
    )
    return App(handler, parameters, local_endpoints=settings.local_endpoints)


def rehearse(service: Forecasting, data_path: Path) -> None:
    """Let the model forecast what it forecast when it was trained, before /ping says 200. Raises ModelError."""
    from gluonts_shell.forecasting.service import canary

    model = service.trained
    if model is None:
        return
    try:
        canary.replay(model, model.freq, Paths(data_path).model, canary.ELSEWHERE)
    except ModelError as error:
        told = "the model does not forecast here what it did when it was trained"
        advice = "GLUONTS_SHELL_CANARY=false serves it all the same"
        raise ModelError(f"{told}: {error}; {advice}") from error


def announce(port: int, machine: Machine, description: list[str]) -> None:
    what = description[0] if description else "what each worker loads"
    log.info("serving %s on port %d: workers %d, threads %d each", what, port, machine.workers, machine.threads)
