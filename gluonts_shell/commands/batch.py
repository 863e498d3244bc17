"""A batch transform job, put together for whoever runs it: the server's workers or those of the `transform` command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.messages import Call
from gluonts_shell.serving.batch import job
from gluonts_shell.serving.batch.outcomes import Isolated, Outcome
from gluonts_shell.serving.batch.timeout import Timed
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.processes import native
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.service.service import Forecasting


def prepare(service: Forecasting, settings: Settings, threads: int) -> Callable[[], job.Batch]:
    """Check what the environment says of the job; returns what each worker calls before it starts a thread.

    threads: native ones of each worker. Raises ConfigurationError.
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

    def make() -> job.Batch:
        start_worker(threads)
        # a job's client has a time limit of its own, of up to an hour, so nothing that waits is given up
        batcher = Batcher(engine(), joins=service.joins)
        return job.Batch(
            service.prepare,
            lambda call, wanted: batcher.submit(call, wanted)[0],
            configuration,
            forward=forward,
            suppress_errors=thorough,
            whole=seconds > 0,
        )

    return make
