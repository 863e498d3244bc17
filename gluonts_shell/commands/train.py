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
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gluonts_shell import log as logs
from gluonts_shell import staging
from gluonts_shell.commands.training import several
from gluonts_shell.errors import (
    CodeChannelError,
    DataError,
    ForecasterError,
    HostError,
    ModelError,
    UserError,
)
from gluonts_shell.sagemaker import failure
from gluonts_shell.sagemaker.code import archives, channel
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.processes.signals import Stopped, repeated, stop_at, stop_no_more
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.commands.training.rehearsal import Rehearsal
    from gluonts_shell.forecasting.contract import Contract
    from gluonts_shell.forecasting.distributed.ranks import Ranks
    from gluonts_shell.forecasting.evaluation.evaluate import Evaluation
    from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints
    from gluonts_shell.forecasting.plan import Datasets, Plan
    from gluonts_shell.forecasting.report.course import Course
    from gluonts_shell.forecasting.training import Stop, Watch

    # a predictor, its contract, and where it is written aside
    Trained = tuple[Any, Contract, Path]

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)
# that a batch may still take after a stop: SageMaker kills 120 s after its SIGTERM, and a model has to be written
BATCH_SECONDS = 45.0


def run(settings: Settings) -> int:
    """Run the job under settings.data_path; returns the exit status, and on failure output/failure tells why."""
    # SageMaker sends SIGTERM 120 seconds before SIGKILL; a job that was stopped must not look like a success
    stop_at(*STOPPING)
    logs.configure(settings.log_level, settings.log_format)
    logs.catch_prints()
    paths = Paths(Path(settings.data_path))
    try:
        job = TrainingJob.read(paths)
        several.quiet_torch(job, os.environ)
        code, target = _code(job, paths)
        with several.told_early(job, settings):
            _activate(code, target, paths, settings, keep=job.host == job.hosts[0])
        try:
            _train(job, paths, settings)
        except ForecasterError as error:
            raise _with_source_dir(error, job, code) from error
    except Stopped as stopped:
        log.warning("stopped by %s", stopped.signal.name)
        raise
    except SystemExit as error:
        ended = ModelError(f"the forecaster's code ended the process with sys.exit({error.code!r})")
        return failure.report(ended.with_traceback(error.__traceback__), paths.failure)
    except Exception as error:
        return failure.report(error, paths.failure)
    except BaseException as error:
        # KeyboardInterrupt or CancelledError: signals come as Stopped, so that somebody's code has raised it
        ended = ModelError(f"the forecaster's code raised {type(error).__name__}")
        return failure.report(ended.with_traceback(error.__traceback__), paths.failure)
    finally:
        staging.clear(paths.model)
        stop_no_more()
    failure.clear(paths.failure)
    return 0


def _given_up(error: HostError, paths: Paths) -> int:
    """What `run` does in the end, for a process that another host's failure has left in the midst of something."""
    status = failure.report(error, paths.failure)
    staging.clear(paths.model)
    return status


def _code(job: TrainingJob, paths: Paths) -> tuple[Path, Path]:
    """The folder of the code, and where to install it.

    The local mode of the SDK (version 2) mounts an estimator's source_dir where code is installed otherwise.
    """
    code = paths.data / "code"
    if job.source_dir is None or code.exists() or not paths.code.is_dir():
        return code, paths.code
    log.info("the job's source_dir in %s is used as the code channel", paths.code)
    return paths.code, paths.base / "code-installed"


def _with_source_dir(error: ForecasterError, job: TrainingJob, code: Path) -> ForecasterError:
    if job.source_dir is None or code.is_dir():
        return error
    return ForecasterError(
        f"{error}; source_dir (sagemaker_submit_directory, {job.source_dir!r}) is not installed here: "
        "give that folder as a channel named 'code'"
    )


def _activate(code: Path, target: Path, paths: Paths, settings: Settings, *, keep: bool) -> None:
    """The code channel; its copy is published with the model, so that no model ever lies beside another's code.

    keep: whether this host writes the model.
    """
    if not channel.started_again(os.environ):
        staging.clear(paths.model)  # of a run that was killed
    channel.activate(
        code,
        target,
        settings,
        os.environ,
        copy_to=paths.model / staging.NAME / "code" if keep else None,
        replaces=paths.model / "code" if keep else None,
    )


def planned(job: TrainingJob, paths: Paths, settings: Settings) -> Plan:
    """Raises ConfigurationError or ForecasterError for what can be known to be wrong without the data."""
    from gluonts_shell.forecasting.plan import Plan

    return Plan.of(
        job.hyperparameters, job.channels, settings.forecaster, paths.code, job.strangers
    )


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
def _patiently(stop: Stop) -> Iterator[list[int]]:
    """Inside, a signal is a wish that training hears at its next batch; yields the signals that came.

    While no wish is awaited a signal ends the job at once, and so does Ctrl-C when it comes a second time. A batch that
    goes on for too long is ended where it is.
    """
    signals: list[int] = []

    def insist(*_: Any) -> None:
        if stop.insist is not None:
            stop.insist()

    def note(signum: int, _: FrameType | None) -> None:
        if repeated(signum):
            return
        if not stop.awaited or (signals and signum == signal.SIGINT):
            raise Stopped(signum)
        signals.append(signum)
        stop.wished = True
        signal.setitimer(signal.ITIMER_REAL, BATCH_SECONDS)

    before = {signum: signal.signal(signum, note) for signum in STOPPING}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, insist)
    try:
        yield signals
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _train(job: TrainingJob, paths: Paths, settings: Settings) -> None:
    with several.told_early(job, settings), _uncollected():
        from gluonts_shell.commands.training.rehearsal import Rehearsal
        from gluonts_shell.forecasting import training
        from gluonts_shell.forecasting.report.course import Course

        training.set_environment(
            job.env, quiet=settings.training_job_name is not None or not sys.stderr.isatty()
        )
    with Course().listening() as course:
        with several.told_early(job, settings), _uncollected():
            plan = planned(job, paths, settings)
        writes = job.host == job.hosts[0]
        with (
            Rehearsal.start() if settings.canary and writes else nullcontext() as rehearsal,
            several.together(job, settings, lambda error: _given_up(error, paths)) as hosts,
        ):
            several.check_forecaster(plan, hosts)
            if hosts.first or plan.distributes:
                ranks = several.ranks(job, hosts, plan, settings)
                _train_here(job, plan, ranks, course, rehearsal, paths=paths, settings=settings)
            else:
                log.warning("%s is trained by one host, which is %s; there is nothing to do on %s",
                            plan.kind.__name__, hosts.hosts[0], job.host)  # fmt: skip
            if not hosts.first:
                several.await_first(hosts)


def _train_here(
    job: TrainingJob,
    plan: Plan,
    ranks: Ranks,
    course: Course,
    rehearsal: Rehearsal | None,
    *,
    paths: Paths,
    settings: Settings,
) -> None:
    """Other hosts than the first write nothing: all models end in one archive, where one would overwrite another."""
    from gluonts_shell.forecasting.distributed.ranks import seed_everything

    if plan.options.seed is not None:
        seed_everything(plan.options.seed)
    with tempfile.TemporaryDirectory(prefix="model-channel-") as folder:
        previous = _previous_model(job, Path(folder), settings) or (None, None)
        with _uncollected(), course.step("reading the channels"):
            data = plan.read(previous[1], ranks)
            watch = _watch(plan, data, job.host, ranks, paths=paths, settings=settings)
        with course.step("training" if plan.trains else "saving"):
            trained = _learn(plan, data, previous[0], watch, paths=paths, settings=settings)
    if trained is not None:
        _keep(trained, plan, data, watch, course, rehearsal=rehearsal, paths=paths)


def _watch(
    plan: Plan, data: Datasets, host: str, ranks: Ranks, *, paths: Paths, settings: Settings
) -> Watch:
    from gluonts_shell.forecasting.training import Watch

    return Watch(
        host=host,
        progress_bar=settings.training_job_name is None and sys.stderr.isatty(),
        early_stopping_patience=plan.dialect.early_stopping_patience if plan.dialect else None,
        checkpoints=_checkpoints(plan, data, host, ranks, paths),
        ranks=ranks,
    )


def _checkpoints(
    plan: Plan, data: Datasets, host: str, ranks: Ranks, paths: Paths
) -> Checkpoints | None:
    """Where SageMaker made the folder for them on the first host, or the job asks for some."""
    from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints

    if not plan.trains:
        return None
    every, fingerprint = plan.options.checkpoint_every, plan.fingerprint(data)
    wanted = every is not None or paths.checkpoints.is_dir()
    if not several.agreed({**fingerprint, **plan.lengths}, wanted, ranks.gather):
        return None
    return Checkpoints(paths.checkpoints, host, fingerprint, every or 0.0)


def _learn(
    plan: Plan, data: Datasets, previous: Any, watch: Watch, *, paths: Paths, settings: Settings
) -> Trained | None:
    """The predictor, its contract, and where it is written aside; None on other hosts than the first.

    A stop that comes meanwhile hurries the training; its model is published unscored, and Stopped raised. On other
    hosts that is left to the first, if it knows of the stop.
    """
    from gluonts_shell.forecasting import artifact

    trained = None
    with _patiently(watch.stop) as signals:
        predictor = _fitted(plan, data, previous, watch)
        if not watch.ranks.position:
            contract = plan.contract(predictor, data, settings.training_job_name)
            contract = replace(contract, stopped_early=watch.stop.early)
            trained = predictor, contract, artifact.write(predictor, contract, paths.model)
            if signals or watch.stop.early:
                artifact.publish(paths.model)
                log.info("model written to %s", paths.model)
    if signals and (trained or not watch.stop.early):
        raise Stopped(signals[0])
    if watch.stop.early and trained:  # at the wish of another host
        raise Stopped(signal.SIGTERM)
    return trained


def _fitted(plan: Plan, data: Datasets, previous: Any, watch: Watch) -> Any:
    """The predictor: what the estimator trained, or the forecaster itself."""
    from gluonts_shell.forecasting import training

    forecaster = plan.construct(data)
    if not plan.trains:
        return forecaster
    options = plan.options
    return training.fit(
        forecaster, data.train, data.validation, options=options, watch=watch, start_from=previous
    )


def _keep(
    trained: Trained,
    plan: Plan,
    data: Datasets,
    watch: Watch,
    course: Course,
    *,
    rehearsal: Rehearsal | None,
    paths: Paths,
) -> None:
    """Score the model and try what was written of it, at the same time; then publish it with all that is its own.

    Scores that fail do not lose a model, and neither does a stop while they are computed.
    """
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.report import report

    predictor, contract, staged = trained
    report.clear(paths.output_data)
    ended: BaseException | None = None
    try:
        if rehearsal is not None and _write_canary(predictor, contract, data, staged):
            rehearsal.begin(staged)
        if data.test is not None:
            folders = (paths.output_data, staged)
            with course.step("evaluation"):
                found = _evaluate(predictor, plan, data.test, host=watch.host, folders=folders)
            if plan.options.report == "auto":
                _report(found, contract, plan, data, watch, course=course, folders=folders)
    except BaseException as error:
        ended = error
    try:
        if rehearsal is not None and not isinstance(ended, Stopped):
            rehearsal.check(predictor)
    except Stopped as stopped:
        ended = stopped
    artifact.publish(paths.model)
    log.info("model written to %s", paths.model)
    if ended is not None:
        raise ended


def _write_canary(predictor: Any, contract: Contract, data: Datasets, staged: Path) -> bool:
    """Whether there is one: a model that cannot forecast in this process either is what its scores will tell."""
    from gluonts_shell.forecasting.service import canary
    from gluonts_shell.forecasting.service.service import Model

    dataset = data.train if data.test is None else data.test
    window = contract.prediction_length + getattr(predictor, "lead_time", 0)
    series = canary.choose(dataset or (), window)
    if not series:
        return False
    try:
        canary.write(Model.of(predictor, contract.freq, contract.features), series, staged)
    except Exception as error:
        log.warning("the saved model is not tried, because the trained one does not forecast: %s",
                    failure.sentence(error), exc_info=not isinstance(error, UserError))  # fmt: skip
        return False
    return True


def _previous_model(job: TrainingJob, folder: Path, settings: Settings) -> tuple[Any, Any] | None:
    """The predictor and contract in the `model` channel, unpacked aside because the channel may be read-only.

    On the CPU: only its weights are used, and a process that uses an accelerator already cannot be forked.
    """
    if "model" not in job.channels:
        return None
    from gluonts_shell.forecasting import artifact

    channel = job.channels["model"].path
    packed = channel if channel.is_file() else channel / "model.tar.gz"
    try:
        if not packed.is_file():
            return artifact.load(channel, "cpu")
        archives.unpack(packed, folder, archives.Budget(settings.max_unpacked_bytes))
        return artifact.load(folder, "cpu")
    except (CodeChannelError, ModelError) as error:
        raise DataError(f"channel 'model', which is to be trained further: {error}") from error


def _evaluate(
    predictor: Any, plan: Plan, test: Any, *, host: str, folders: tuple[Path, Path]
) -> Evaluation | str:
    """Scores the model. What fails here never loses it, unless the job says that it cannot do without the scores.

    The scores, or why there are none.
    """
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
            details=plan.options.report == "auto",
        )
        if scores.left_out:
            log.warning(
                "channel 'test': %d series are too short to be scored and are left out",
                scores.left_out,
            )
        for warning in scores.warnings:
            log.warning("%s", warning)
        for line in evaluate.log_lines(scores, host):
            log.info("%s", line)
        folders[0].mkdir(parents=True, exist_ok=True)
        evaluate.write(scores, *folders)
    except Exception as error:
        if plan.options.evaluation == "required":
            raise
        log.warning("the model is saved, but its evaluation failed: %s", failure.sentence(error),
                    exc_info=not isinstance(error, UserError))  # fmt: skip
        return failure.sentence(error)
    return scores


def _report(
    scores: Evaluation | str,
    contract: Contract,
    plan: Plan,
    data: Datasets,
    watch: Watch,
    *,
    course: Course,
    folders: tuple[Path, Path],
) -> None:
    """A page to look at. Nothing that fails here fails the job."""
    try:
        from gluonts_shell.forecasting.report import page, report

        channels = {"train": data.train, "validation": data.validation, "test": data.test}
        told = report.Report(
            forecaster=contract.forecaster,
            call=plan.call(data),
            freq=plan.freq,
            prediction_length=contract.prediction_length,
            evaluation=None if isinstance(scores, str) else scores,
            unscored=scores if isinstance(scores, str) else "",
            losses=watch.losses,
            channels={name: read.statistics for name, read in channels.items() if read is not None},
            warnings=course.warnings,
            unnamed=course.unnamed,
            seconds=course.seconds,
            versions=contract.versions,
            job=contract.training_job_name,
            created=contract.created,
        )
        folders[0].mkdir(parents=True, exist_ok=True)
        report.write(page.page(told), *folders)
        log.info("report written to %s", folders[0] / report.NAME)
    except Exception as error:
        log.warning("the report could not be made: %s", failure.sentence(error), exc_info=True)
