"""JOURNEY 1: job -> code channel -> forecaster -> channels -> fit -> model and metrics.

The story is told here and nowhere else; what each step does is in the packages that it calls.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from gluonts_shell import log as logs
from gluonts_shell.errors import CodeChannelError, DataError, ModelError, UserError
from gluonts_shell.sagemaker import failure
from gluonts_shell.sagemaker.code import archives, channel
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.commands.plan import Datasets, Plan
    from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints
    from gluonts_shell.forecasting.training import Stop, Watch

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> int:
    """Run the job under settings.data_path; returns the exit status, and on failure output/failure tells why."""
    for signum in STOPPING:
        signal.signal(signum, _stop)
    logs.configure(settings.log_level)
    paths = Paths(Path(settings.data_path))
    try:
        job = TrainingJob.read(paths)
        if job.host == job.hosts[0]:
            channel.activate(paths.data / "code", paths.code, settings, os.environ, copy_to=paths.model / "code")
            _train(job, paths, settings)
        else:  # the models of all hosts end in one archive, where a second one would overwrite the first
            log.warning("one host trains, which is %s; there is nothing to do on %s", job.hosts[0], job.host)
    except Stopped as stopped:
        log.warning("stopped by %s", stopped.signal.name)
        raise
    except SystemExit as error:
        ended = ModelError(f"the forecaster's code ended the process with sys.exit({error.code!r})")
        return failure.report(ended.with_traceback(error.__traceback__), paths.failure)
    except Exception as error:
        return failure.report(error, paths.failure)
    failure.clear(paths.failure)
    return 0


class Stopped(SystemExit):
    """By a signal, in contrast to a sys.exit() in somebody's code."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signal = signal.Signals(signum)


def _stop(signum: int, _: FrameType | None) -> NoReturn:
    """SageMaker sends SIGTERM 120 seconds before SIGKILL; a job that was stopped must not look like a success.

    Nothing is logged here: the signal may have come while a line was being written.
    """
    raise Stopped(signum)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What imports and channels make stays: looking through it again and again takes a tenth of a short job."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _patiently(stop: Stop) -> Iterator[None]:
    """Inside, a signal is a wish that training hears at its next batch; what it has learnt is saved, and the job ends.

    While no wish is awaited a signal ends the job at once, and so does Ctrl-C when it comes a second time.
    """
    signals: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if not stop.awaited or (signals and signum == signal.SIGINT):
            _stop(signum, frame)
        signals.append(signum)
        stop.wished = True

    for signum in STOPPING:
        signal.signal(signum, note)
    try:
        yield
    finally:
        for signum in STOPPING:
            signal.signal(signum, _stop)
    if signals:
        raise Stopped(signals[0])


def _train(job: TrainingJob, paths: Paths, settings: Settings) -> None:
    with _uncollected():
        from gluonts_shell.commands.plan import Plan
        from gluonts_shell.forecasting import artifact, training

        training.set_environment(job.env, quiet=settings.training_job_name is not None or not sys.stderr.isatty())
        plan = Plan.of(job, settings)
        if plan.options.seed is not None:
            training.seed_everything(plan.options.seed)
        data = plan.read()
        forecaster = plan.construct(data)
        watch = _watch(plan, data, paths, settings)
    with _patiently(watch.stop):
        predictor = _fitted(forecaster, plan, data, settings, watch) if plan.trains else forecaster
        contract = plan.contract(predictor, data, settings)
        artifact.save(predictor, replace(contract, stopped_early=watch.stop.early), paths.model)
        log.info("model written to %s", paths.model)
    if data.test is not None:
        _evaluate(predictor, plan, data.test, job.host, paths)


def _fitted(estimator: Any, plan: Plan, data: Datasets, settings: Settings, watch: Watch) -> Any:
    from gluonts_shell.forecasting import training

    with tempfile.TemporaryDirectory(prefix="model-channel-") as folder:
        previous = _previous_model(plan.job, Path(folder), settings)
        return training.fit(
            estimator, data.train, data.validation, options=plan.options, watch=watch, start_from=previous
        )


def _watch(plan: Plan, data: Datasets, paths: Paths, settings: Settings) -> Watch:
    from gluonts_shell.forecasting.training import Watch

    return Watch(
        host=plan.job.host,
        progress_bar=settings.training_job_name is None and sys.stderr.isatty(),
        early_stopping_patience=plan.dialect.early_stopping_patience if plan.dialect else None,
        checkpoints=_checkpoints(plan, data, paths),
    )


def _checkpoints(plan: Plan, data: Datasets, paths: Paths) -> Checkpoints | None:
    """Where SageMaker made the folder for them, or the job asks for some."""
    from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints

    every = plan.options.checkpoint_every
    if every is None and not paths.checkpoints.is_dir():
        return None
    return Checkpoints(paths.checkpoints, plan.job.host, plan.fingerprint(data), every or 0.0)


def _previous_model(job: TrainingJob, folder: Path, settings: Settings) -> Any:
    """The predictor in the `model` channel, unpacked aside because the channel may be read-only; None without one."""
    if "model" not in job.channels:
        return None
    from gluonts_shell.forecasting import artifact

    channel = job.channels["model"].path
    packed = channel if channel.is_file() else channel / "model.tar.gz"
    try:
        if not packed.is_file():
            return artifact.load(channel)[0]
        archives.unpack(packed, folder, archives.Budget(settings.max_unpacked_bytes))
        return artifact.load(folder)[0]
    except (CodeChannelError, ModelError) as error:
        raise DataError(f"channel 'model', which is to be trained further: {error}") from error


def _evaluate(predictor: Any, plan: Plan, test: Any, host: str, paths: Paths) -> None:
    """Scores the model. What fails here never loses it, unless the job says that it cannot do without the scores."""
    from gluonts_shell.forecasting.evaluation import evaluate

    log.info("Evaluating model accuracy on testset using %d samples", plan.options.num_eval_samples)
    try:
        scores = evaluate.evaluate(
            predictor,
            test,
            prediction_length=predictor.prediction_length,
            freq=plan.freq,
            quantiles=plan.options.test_quantiles,
            num_samples=plan.options.num_eval_samples,
        )
        if scores.left_out:
            log.warning("channel 'test': %d series are too short to be scored and are left out", scores.left_out)
        for warning in scores.warnings:
            log.warning("%s", warning)
        for line in evaluate.log_lines(scores, host):
            log.info("%s", line)
        paths.output_data.mkdir(parents=True, exist_ok=True)
        evaluate.write(scores, paths.output_data, paths.model)
    except Exception as error:
        if plan.options.evaluation == "required":
            raise
        log.warning("the model is saved, but its evaluation failed: %s", failure.sentence(error),
                    exc_info=not isinstance(error, UserError))  # fmt: skip
