"""A batch transform job, put together for whoever runs it: the server's workers or those of the `transform` command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.messages import Call
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.batch.outcomes import Isolated, Outcome
from gluonts_shell.serving.batch.timeout import Timed
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.processes.machine import has_accelerator
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.service.service import Forecasting


@dataclass(frozen=True)
class Worker:
    """answer: as of Batch. overdue: what a predict that never returns is at."""

    answer: Callable[..., bytes]
    overdue: Callable[[], str | None]


def prepare(service: Forecasting, settings: Settings, threads: int) -> Callable[[], Worker]:
    """Check what the environment says of the job; returns what each worker calls once, before it starts a thread.

    threads: native ones of each worker. Raises ConfigurationError.
    """
    from gluonts_shell.forecasting.service.fallback import fallback
    from gluonts_shell.forecasting.service.service import start_worker

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
            forward=forward,
            suppress_errors=thorough,
            whole=seconds > 0,
        )
        return Worker(lines.answer, batcher.overdue)

    return make
