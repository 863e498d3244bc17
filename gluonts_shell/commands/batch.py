"""A batch transform job, put together for whoever runs it: the server's workers or those of the `transform` command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.messages import Call
from gluonts_shell.serving import native, transform
from gluonts_shell.serving.batching import Batcher
from gluonts_shell.serving.outcomes import Isolated, Outcome
from gluonts_shell.serving.timeout import Timed
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.prediction import Forecasting


def prepare(service: Forecasting, settings: Settings, threads: int) -> Callable[[], transform.Batch]:
    """Check what the environment says of the job; returns what each worker calls before it starts a thread.

    threads: native ones of each worker. Raises ConfigurationError.
    """
    from gluonts_shell.forecasting.fallback import fallback
    from gluonts_shell.forecasting.prediction import start_worker

    configuration = transform.configure(service, settings.inference_config)
    forward = transform.forwarded(settings.forward_fields)
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

    def make() -> transform.Batch:
        start_worker(threads)
        # a job's client has a time limit of its own, of up to an hour, so nothing that waits is given up
        batcher = Batcher(engine(), joins=service.joins)
        return transform.Batch(
            service.prepare,
            lambda call, wanted: batcher.submit(call, wanted)[0],
            configuration,
            forward=forward,
            suppress_errors=thorough,
            whole=seconds > 0,
        )

    return make
