"""JOURNEY 2: code channel -> model -> service -> app -> workers on one socket, for an endpoint or a batch job.

The story is told here and nowhere else; what each step does is in the packages that it calls.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gluonts_shell import log as logs
from gluonts_shell.errors import ConfigurationError, ModelError, RequestTimeout, TooLarge
from gluonts_shell.messages import Call
from gluonts_shell.sagemaker.code import channel
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.batch.job import Batch
from gluonts_shell.serving.batch.outcomes import Isolated, Outcome
from gluonts_shell.serving.batch.timeout import Timed
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
    logs.configure(settings.log_level, settings.log_format)
    paths = Paths(Path(settings.data_path))
    code = channel.activate(paths.model / "code", paths.code, settings, os.environ)
    machine = Machine.of(settings)
    native.limit_threads(machine.threads, os.environ)
    description: list[str] = []

    def load() -> Callable[[], App]:
        service = served(settings, paths.model, code)
        description[:] = [service.description]
        handler = start_handler(service, settings, machine)
        return lambda: application(service, handler, settings, machine)

    return supervisor.run(
        address=settings.address,
        port=settings.port,
        workers=machine.workers,
        load=load,
        limits=Limits(body=settings.body_limit, body_seconds=settings.body_seconds),
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


def start_handler(service: Forecasting, settings: Settings, machine: Machine) -> Callable[[], Handler]:
    """Check what the environment says of the answers; returns what each worker calls after the fork."""
    if settings.batch:
        make = batch_job(service, settings, machine.threads)

        def transform() -> Handler:
            lines = make()
            return Transform(lambda body, wanted: lines.answer(body, wanted=wanted))

        return transform
    forward = job.forwarded(settings.forward_fields)

    def endpoint() -> Handler:
        batcher = Batcher(service.predict, joins=service.joins, timeout=settings.timeout)
        return Endpoint(service, batcher, forward)

    return endpoint


def batch_job(service: Forecasting, settings: Settings, threads: int) -> Callable[[], Batch]:
    """Check what the environment says of the job; returns what each worker calls before it starts a thread.

    For the server's workers and those of the `transform` command. threads: native ones of each worker. Raises
    ConfigurationError.
    """
    from gluonts_shell.forecasting.service.fallback import fallback
    from gluonts_shell.forecasting.service.service import start_worker

    configuration = job.configure(service, settings.inference_config)
    forward = job.forwarded(settings.forward_fields)
    instead, label = fallback(settings.fallback_predictor, configuration, service.contract)
    thorough, seconds = settings.suppress_errors, settings.batch_timeout
    if seconds and native.has_accelerator():
        raise ConfigurationError(
            f"GLUONTS_BATCH_TIMEOUT is {seconds:g}, but a process that uses an accelerator cannot be forked, "
            "and so not be killed and replaced; unset it, or use an instance without an accelerator"
        )

    def engine() -> Callable[[Sequence[Call]], list[list[Outcome]]]:
        if not seconds:
            return Isolated(service.predict, thorough).predict

        def begin() -> None:
            start_worker(threads)

        timed = Timed(service.predict, seconds, instead, label, joins=service.joins, thorough=thorough, begin=begin)
        return timed.predict

    def make() -> Batch:
        start_worker(threads)
        # a job's client has a time limit of its own, of up to an hour, so nothing that waits is given up
        batcher = Batcher(engine(), joins=service.joins)
        return Batch(
            service.prepare,
            lambda call, wanted: batcher.submit(call, wanted)[0],
            configuration,
            forward=forward,
            suppress_errors=thorough,
            whole=seconds > 0,
        )

    return make


def application(service: Forecasting, handler: Callable[[], Handler], settings: Settings, machine: Machine) -> App:
    """Called in each worker, after the fork."""
    from gluonts_shell.forecasting.service.service import start_worker

    start_worker(machine.threads)
    if settings.canary:
        rehearse(service, Path(settings.data_path))
    parameters = execution_parameters(
        workers=machine.workers,
        joins=service.joins,
        strategy=settings.batch_strategy,
        max_payload_in_mb=settings.max_payload_in_mb,
        most=settings.max_concurrent_transforms,
    )
    return App(
        handler(),
        parameters,
        limit=settings.body_limit,
        advice=advice(settings),
        local_endpoints=settings.local_endpoints,
    )


def advice(settings: Settings) -> dict[type[BaseException], str]:
    """How the sentences about a limit end: what sets it."""
    size = "MAX_CONTENT_LENGTH sets"
    if settings.batch and settings.max_payload_in_mb:
        size = "the job's MaxPayloadInMB (SAGEMAKER_MAX_PAYLOAD_IN_MB) sets"
    return {
        TooLarge: f"; {size} this limit",
        RequestTimeout: f" ({settings.body_seconds:g} s and 1 s for each MB; SAGEMAKER_SERVER_TIMEOUT sets this limit)",
    }


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
