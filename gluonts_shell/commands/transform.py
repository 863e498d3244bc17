"""Batch transform without a server: files of JSON Lines -> `<input>.out`, the same bytes as the server's answers.

The story is told here: files -> model -> workers -> outputs. What becomes of a line is `serving.batch`'s business.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gluonts_shell import atomic
from gluonts_shell import log as logs
from gluonts_shell.commands import serve
from gluonts_shell.errors import CodeChannelError, DataError, ShellError
from gluonts_shell.sagemaker.code import archives, channel
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.serving.batch import inputs, shards
from gluonts_shell.serving.batch.progress import Progress
from gluonts_shell.serving.processes.machine import Machine
from gluonts_shell.serving.processes.pool import ProcessPool
from gluonts_shell.serving.processes.signals import stop_at
from gluonts_shell.settings import Settings

if TYPE_CHECKING:
    from gluonts_shell.forecasting.service.service import Forecasting

log = logging.getLogger(__name__)

ADVICE = "give model.tar.gz or its folder with --model, or name a Predictor with GLUONTS_FORECASTER"

ALONE, TOGETHER = 64, 32
"""Lines that a worker gets at a time, at most; TOGETHER for a model that batches, which takes so many at once."""


class Task(NamedTuple):
    """A piece of a file. One without lines has a piece that is empty, so that its output is made."""

    file: inputs.File
    chunk: inputs.Chunk


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Returns 0 if every file has its output now, 1 if some have not. Raises ShellError if nothing can be done."""
    logs.configure(settings.log_level, settings.log_format)
    logs.catch_prints()
    stop_at(signal.SIGTERM)
    enough = options.workers is None or options.workers >= 1
    DataError.expect(enough, f"--workers is {options.workers}", "1 or more")
    found = inputs.find(options.input, options.output)
    if options.shard:
        found = inputs.shard(found, shards.shard_of(options.shard, os.environ))
    made = model_time(options, settings)
    todo = [file for file in found if options.overwrite or outdated(file, made)]
    if len(todo) < len(found):
        log.info("%d of %d files are finished already", len(found) - len(todo), len(found))
    if not todo:
        return 0
    with _model(options.model, settings) as (model, code):
        return _transform(
            todo,
            model,
            code,
            replace(settings, batch=True, workers=options.workers or settings.workers),
        )


def model_time(options: argparse.Namespace, settings: Settings) -> float:
    """When the model was made, in seconds since the epoch; before all outputs where there is none."""
    if options.model_time is not None:
        return float(options.model_time)
    return newest(options.model or Paths(Path(settings.data_path)).model)


def newest(model: Path) -> float:
    """Of an archive, or of the files at the top of its folder, among which are the predictor and its contract."""
    there = filter(Path.is_file, (model, *model.glob("*")))
    return max((file.stat().st_mtime for file in there), default=0.0)


def outdated(file: inputs.File, made: float) -> bool:
    """Whether there is no output, or one of a model before this one."""
    return not file.target.exists() or file.target.stat().st_mtime < made


@contextmanager
def _model(given: Path | None, settings: Settings) -> Iterator[tuple[Path, Path | None]]:
    """The model's folder, and where its code was installed, if it brings some: then the process starts once more."""
    paths = Paths(Path(settings.data_path))
    if given is None:
        yield paths.model, channel.activate(paths.model / "code", paths.code, settings, os.environ)
        return
    workspace, code = Path(tempfile.mkdtemp(prefix="gluonts-shell-transform-")), None
    try:
        model = _unpacked(given, workspace / "model", settings)
        # of two the last counts: nothing is unpacked again, and what was unpacked just now is as old as it was
        command = [*sys.orig_argv[1:], "--model", str(model), "--model-time", repr(newest(given))]
        code = channel.activate(
            model / "code", workspace / "code", settings, os.environ, command=command
        )
        yield model, code
    finally:
        channel.discard(workspace, code)


def _unpacked(model: Path, target: Path, settings: Settings) -> Path:
    if model.is_dir():
        return model
    missing = f"--model {str(model)!r} does not exist"
    DataError.expect(model.is_file(), missing, "model.tar.gz or its folder")
    try:
        archives.unpack(model, target, archives.Budget(settings.max_unpacked_bytes))
    except CodeChannelError as error:
        raise DataError(f"--model {str(model)!r}: {error}") from error
    return target


def _transform(todo: list[inputs.File], model: Path, code: Path | None, settings: Settings) -> int:
    machine = Machine.of(settings.workers)
    machine.limit_threads(os.environ)

    def load() -> tuple[Forecasting, Callable[[], serve.Worker]]:
        service = serve.served(settings, model, code, ADVICE)
        return service, serve.batch_job(service, settings, machine.threads)

    together, loaded = True, None
    if machine.forks:
        loaded = load()
        together = loaded[0].joins
        gc.collect()
        gc.freeze()  # so that no collection in a worker writes to the pages that it shares

    def start() -> Callable[..., bytes]:
        service, make = loaded or load()
        worker = make()
        if settings.canary:
            serve.rehearse(service, model)
        return worker.answer

    # a time limit is for a request, and with single records that would be a line
    alone = 1 if settings.batch_timeout and settings.batch_strategy == "SINGLE_RECORD" else ALONE

    def chunks(file: inputs.File) -> Iterator[inputs.Chunk]:
        if together:
            return inputs.chunks(file.source, TOGETHER)
        return inputs.chunks(file.source, alone, inputs.fair(file, machine.workers))

    forecasts = Forecasts(todo, chunks)
    most_bytes, limit = settings.max_worker_bytes or inf, settings.predict_limit or inf
    with ProcessPool(machine.workers, start, most_bytes, limit) as pool:
        forecasts.write(pool)
    failed = sorted(forecasts.failed)
    if failed:
        log.error("%d of %d files failed: %s", len(failed), len(todo), ", ".join(failed))
    return 1 if failed else 0


class Forecasts:
    """The output of every file, whole or not there; failed: names of files -> why they have none."""

    def __init__(
        self, todo: Sequence[inputs.File], chunks: Callable[[inputs.File], Iterator[inputs.Chunk]]
    ) -> None:
        self._todo = todo
        self._chunks = chunks
        self._progress = Progress(sum(file.size for file in todo))
        self._before = 0  # bytes of the files that are done
        self.failed: dict[str, str] = {}

    def write(self, pool: ProcessPool) -> None:
        answers = pool.answers(self._tasks(), _message, self._progress.tick)
        try:
            for file, of_file in groupby(answers, key=lambda pair: pair[0].file):
                self._write_one(file, of_file)
        finally:
            self._progress.end()

    def _tasks(self) -> Iterator[Task]:
        """The pieces of all files, one file after the other, as workers become free."""
        for file in self._todo:
            try:
                yield from self._tasks_of(file)
            except inputs.READ_ERRORS as error:
                self._fail(file, f"it cannot be read: {error}")

    def _tasks_of(self, file: inputs.File) -> Iterator[Task]:
        empty = True
        for chunk in self._chunks(file):
            if file.name in self.failed:
                return
            empty = False
            yield Task(file, chunk)
        if empty:
            yield Task(file, inputs.Chunk(b"", 1, file.size))

    def _write_one(self, file: inputs.File, answers: Iterator[tuple[Task, Any]]) -> None:
        try:
            file.target.parent.mkdir(parents=True, exist_ok=True)
            with atomic.whole(file.target) as output:
                for task, answer in answers:
                    self._write_answer(task, answer, output)
                # the next file's first answer is here, so all of this one was read, or is known not to be readable
                if file.name in self.failed:
                    raise DataError(self.failed[file.name])
        except ShellError as error:
            self._fail(file, str(error))
        except OSError as error:
            self._fail(file, f"its output cannot be written: {error}")
        self._before += file.size
        self._progress.add(0, self._before)

    def _write_answer(self, task: Task, answer: Any, output: IO[bytes]) -> None:
        """Some lines without the last one's end, which AssembleWith adds on SageMaker."""
        if isinstance(answer, ShellError):
            raise answer
        if answer:
            output.write(answer + b"\n")
        lines = answer.count(b"\n") + 1 if answer else 0
        self._progress.add(lines, self._before + task.chunk.consumed)

    def _fail(self, file: inputs.File, reason: str) -> None:
        if file.name not in self.failed:
            self.failed[file.name] = reason
            log.error("%s: %s", file.source, reason)


def _message(task: Task) -> tuple[bytes, int]:
    return task.chunk.body, task.chunk.first_line
