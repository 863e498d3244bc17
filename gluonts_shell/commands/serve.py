"""JOURNEY 2: code channel -> model -> service -> app -> workers on one socket, for an endpoint or a batch job.

The story is told here and nowhere else; what each step does is in the packages that it calls.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts_shell import log as logs
from gluonts_shell.errors import ConfigurationError, ModelError, RequestTimeout, TooLarge
from gluonts_shell.messages import Call
from gluonts_shell.sagemaker import modeldir
from gluonts_shell.sagemaker.code import channel
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.endpoint.app import App, Handler, execution_parameters
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint, Transform
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.serving.metrics.counters import Meter
from gluonts_shell.serving.processes import supervisor
from gluonts_shell.serving.processes.machine import Machine, has_accelerator
from gluonts_shell.serving.processes.signals import Stopped, stop_at, stop_no_more
from gluonts_shell.serving.processes.worker import Terms
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.service.allowed import Rule
    from gluonts_shell.forecasting.service.service import Forecasting
    from gluonts_shell.serving.batch.outcomes import Outcome

log = logging.getLogger(__name__)

SILENT_MARGIN = 10.0
"""Seconds, beyond what a predict may take, that a worker has to tell of it itself before it counts as silent."""
READY_MARGIN = 60.0
"""Seconds, beyond what a predict may take, that a worker has to begin: it tries the model, which may hang."""
LOADING = 3600.0
"""The same of one that loads the model itself. AWS, ProductionVariant: the most that
ContainerStartupHealthCheckTimeoutInSeconds may be."""
ADVICE = "put a trained model there, or name a Predictor with GLUONTS_FORECASTER or --forecaster"


def run(settings: Settings, model: Path | None = None) -> int:
    """Serve what lies under settings.data_path until a signal; returns the exit status.

    model: the folder of a model that lies elsewhere.

    Raises ShellError with a sentence if there is nothing to serve or it cannot be loaded.
    """
    stop_at(signal.SIGTERM)  # the code channel may take a while
    logs.configure(settings.log_level, settings.log_format)
    logs.catch_prints()
    try:
        return _serve(settings, given_folder(model))
    except Stopped:
        return 0
    finally:
        stop_no_more()


def _serve(settings: Settings, model: Path | None) -> int:
    paths = Paths(Path(settings.data_path), model)
    code = channel.activate(paths.model / "code", paths.code, settings, os.environ)
    machine = Machine.of(settings.workers)
    machine.limit_threads(os.environ)
    return supervisor.run(
        address=settings.address,
        port=settings.port,
        workers=machine.workers,
        load=lambda: load(settings, paths.model, code, machine),
        limits=Limits(body=settings.body_limit, body_seconds=settings.body_seconds),
        terms=terms(settings, loads=not machine.forks),
        announce=lambda port, what: announce(port, what, machine),
        preload=machine.forks,
        metrics_of=model_name(settings, paths.model)
        if settings.metrics in ("emf", "both")
        else None,
    )


def given_folder(model: Path | None) -> Path | None:
    """What --model names. Raises ConfigurationError where it is no folder."""
    if model is None or model.is_dir():
        return model
    found = "a file" if model.exists() else "not there"
    raise ConfigurationError(
        f"--model {str(model)!r} is {found}, expected the folder that a model.tar.gz unpacks to"
    )


def model_name(settings: Settings, model: Path) -> str:
    """Whose metrics they are, where several models have some: of the job that trained it, else of its forecaster.

    Read without GluonTS, which the parent may not have. What is wrong with the file is said when the model is loaded.
    """
    try:
        contract = json.loads((model / "gluonts_shell.json").read_text(encoding="utf-8"))
        return str(contract["training_job_name"] or contract["forecaster"])
    except (OSError, ValueError, KeyError, TypeError):
        return settings.forecaster or "none"


def terms(settings: Settings, *, loads: bool = False) -> Terms:
    """loads: whether a worker loads the model itself."""
    limit = settings.predict_limit or inf
    return Terms(
        silent_seconds=limit + SILENT_MARGIN,
        resident_bytes=settings.max_worker_bytes or inf,
        ready_seconds=limit + (LOADING if loads else READY_MARGIN),
    )


@dataclass(frozen=True)
class Worker:
    """Of a batch job. answer: as of Batch. batcher: before which its requests wait."""

    answer: Callable[..., bytes]
    batcher: Batcher[Outcome]


@dataclass(frozen=True)
class Loaded:
    """A model that is there, and what each worker makes of it. batch: the worker of a batch transform job.

    folder: that it was loaded from.
    """

    service: Forecasting
    folder: Path
    batch: Callable[[], Worker] | None
    settings: Settings
    machine: Machine

    @property
    def description(self) -> str:
        return self.service.description

    def start(self, meter: Meter) -> App:
        """Called in each worker, after the fork."""
        handler, batcher = self._batch() if self.batch else self._endpoint()
        settings = self.settings
        if settings.canary:
            rehearse(self.service, self.folder)
        parameters = execution_parameters(
            workers=self.machine.workers,
            joins=self.service.joins,
            strategy=settings.batch_strategy,
            max_payload_in_mb=settings.max_payload_in_mb,
            most=settings.max_concurrent_transforms,
        )
        if settings.metrics:
            meter.begin()
        return App(
            handler,
            parameters,
            limit=settings.body_limit,
            advice=advice(settings),
            local_endpoints=settings.local_endpoints,
            overdue=batcher.overdue,
            waiting=batcher.waiting,
            meter=meter if settings.metrics else None,
            page=settings.metrics in ("prometheus", "both"),
        )

    def _endpoint(self) -> tuple[Handler, Batcher[Any]]:
        from gluonts_shell.forecasting.service.service import start_worker

        start_worker(self.machine.threads)
        service, settings = self.service, self.settings
        batcher = Batcher(
            service.predict,
            joins=service.joins,
            timeout=settings.timeout,
            limit=settings.predict_limit,
        )
        return Endpoint(
            service, batcher, job.forwarded(settings.forward_fields), settings.default_accept
        ), batcher

    def _batch(self) -> tuple[Handler, Batcher[Any]]:
        assert self.batch is not None
        worker = self.batch()
        return Transform(lambda body, wanted: worker.answer(body, wanted=wanted)), worker.batcher


def load(settings: Settings, model: Path, code: Path | None, machine: Machine) -> Loaded:
    service = served(settings, model, code)
    if not settings.batch:
        return Loaded(service, model, None, settings, machine)
    batch = batch_job(service, settings, machine.threads)
    return Loaded(service, model, batch, settings, machine)


def served(settings: Settings, model: Path, code: Path | None, advice: str = ADVICE) -> Forecasting:
    """The model that is there, else the forecaster that the operator named; requests may name others.

    Raises ConfigurationError where there is neither; it ends with the `advice`.
    """
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.forecaster.known import default_forecaster
    from gluonts_shell.forecasting.service.service import Forecasting
    from gluonts_shell.forecasting.shortcuts import patches

    rule = nameable(settings, code)
    if artifact.present(model):
        predictor, contract = artifact.load(model)
        patches.take()  # before workers are forked, so that they share what this reads
        for difference in artifact.differences(contract):
            log.warning("%s", difference)
        return Forecasting((predictor, contract), rule)
    # by the job; whether it does is checked with the rest of it
    named = settings.batch and settings.inference_config
    if settings.force_static or not (settings.forecaster or settings.allowed_forecasters or named):
        raise ConfigurationError(
            f"there is nothing to serve: {str(model)!r} holds no model{modeldir.instead(model)}"
            + (
                ", and GLUONTS_FORCE_STATIC forbids any other forecaster"
                if settings.force_static
                else ""
            )
            + f"; {advice}"
        )
    return Forecasting(
        None, rule, default_forecaster(settings.forecaster) if settings.forecaster else None
    )


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


def batch_job(service: Forecasting, settings: Settings, threads: int) -> Callable[[], Worker]:
    """Check what the environment says of the job; returns what each worker calls before it starts a thread.

    For the server's workers and those of the `transform` command. threads: native ones of each worker. Raises
    ConfigurationError.
    """
    from gluonts_shell.forecasting.service.fallback import fallback
    from gluonts_shell.forecasting.service.service import start_worker
    from gluonts_shell.serving.batch.outcomes import Isolated
    from gluonts_shell.serving.batch.timeout import Timed

    configuration = job.configure(service, settings.inference_config)
    forward = job.forwarded(settings.forward_fields)
    instead, label = fallback(settings.fallback_predictor, configuration, service.contract)
    thorough, seconds = settings.suppress_errors, settings.batch_timeout
    if seconds and has_accelerator():
        raise ConfigurationError(
            f"GLUONTS_BATCH_TIMEOUT is {seconds:g}, but a process that uses an accelerator cannot be forked, "
            "and so not be killed and replaced; unset it, or use an instance without an accelerator"
        )

    def engine() -> Callable[[Sequence[Call], Callable[[], bool]], list[list[Outcome]]]:
        if not seconds:
            return Isolated(service.predict, thorough).predict

        def begin() -> None:
            start_worker(threads)

        timed = Timed.start(
            service.predict,
            seconds,
            instead,
            label,
            joins=service.joins,
            thorough=thorough,
            begin=begin,
            most_bytes=settings.max_worker_bytes or inf,
        )
        return timed.predict

    def make() -> Worker:
        start_worker(threads)
        # a job's client has a time limit of its own, of up to an hour, so nothing that waits is given up
        batcher = Batcher(engine(), joins=service.joins, limit=settings.predict_limit)
        lines = job.Batch(
            service.prepare,
            lambda call, wanted: batcher.submit(call, wanted)[0],
            configuration,
            chronos=job.chronos(service, settings.inference_config),
            forward=forward,
            suppress_errors=thorough,
            whole=seconds > 0,
        )
        return Worker(lines.answer, batcher)

    return make


def advice(settings: Settings) -> dict[type[BaseException], str]:
    """How the sentences about a limit end: what sets it."""
    size = "MAX_CONTENT_LENGTH sets"
    if settings.batch and settings.max_payload_in_mb:
        size = "the job's MaxPayloadInMB (SAGEMAKER_MAX_PAYLOAD_IN_MB) sets"
    return {
        TooLarge: f"; {size} this limit",
        RequestTimeout: f" ({settings.body_seconds:g} s and 1 s for each MB; SAGEMAKER_SERVER_TIMEOUT sets this limit)",
    }


def rehearse(service: Forecasting, folder: Path) -> None:
    """Let the model in a folder forecast what it forecast when it was trained, before a worker's first work.

    Raises ModelError.
    """
    from gluonts_shell.forecasting.service import canary

    model = service.trained
    if model is None:
        return
    try:
        canary.replay(model, model.freq, folder, canary.ELSEWHERE)
    except ModelError as error:
        told = "the model does not forecast here what it did when it was trained"
        advice = "GLUONTS_SHELL_CANARY=false serves it all the same"
        raise ModelError(f"{told}: {error}; {advice}") from error


def announce(port: int, what: str, machine: Machine) -> None:
    log.info(
        "serving %s on port %d: workers %d, threads %d each",
        what,
        port,
        machine.workers,
        machine.threads,
    )
