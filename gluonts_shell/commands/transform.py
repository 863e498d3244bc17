"""Batch transform without a server: files of JSON Lines -> `<input>.out`, the same bytes as the server's answers.

The story is told here: files -> model -> workers -> outputs. What becomes of a line is `serving.transform`'s business.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    from gluonts_shell.commands.batch import Worker

log = logging.getLogger(__name__)

ADVICE = "give model.tar.gz or its folder with --model, or name a Predictor with GLUONTS_FORECASTER"

ALONE, TOGETHER = 64, 32
"""Lines that a worker gets at a time, at most; TOGETHER for a model that batches, which takes so many at once."""


class Task(NamedTuple):
    """A piece of a file. The last one of each is empty, and its answer tells that the file is complete."""

    file: inputs.File
    chunk: inputs.Chunk
    last: bool = False


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Returns 0 if every file has its output now, 1 if some have not. Raises ShellError if nothing can be done."""
    logs.configure(settings.log_level)
    stop_at(signal.SIGTERM)
    if options.workers is not None and options.workers < 1:
        raise DataError(f"--workers is {options.workers}, expected 1 or more")
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
        return _transform(todo, model, code, replace(settings, batch=True, workers=options.workers or settings.workers))


def model_time(options: argparse.Namespace, settings: Settings) -> float:
    """When the model was made, in seconds since the epoch; before all outputs where there is none."""
    if options.model_time is not None:
        return float(options.model_time)
    return newest(options.model or Paths(Path(settings.data_path)).model)


def newest(model: Path) -> float:
    """Of an archive, or of the files at the top of its folder, among which are the predictor and its contract."""
    files = [model] if model.is_file() else list(model.iterdir()) if model.is_dir() else []
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


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
        code = channel.activate(model / "code", workspace / "code", settings, os.environ, command=command)
        yield model, code
    finally:
        for folder in (workspace, code and code.parent):  # the second is the first start's workspace
            if folder:
                shutil.rmtree(folder, ignore_errors=True)


def _unpacked(model: Path, target: Path, settings: Settings) -> Path:
    if model.is_dir():
        return model
    if not model.is_file():
        raise DataError(f"--model {str(model)!r} does not exist, expected model.tar.gz or its folder")
    try:
        archives.unpack(model, target, archives.Budget(settings.max_unpacked_bytes))
    except CodeChannelError as error:
        raise DataError(f"--model {str(model)!r}: {error}") from error
    return target


def _transform(todo: list[inputs.File], model: Path, code: Path | None, settings: Settings) -> int:
    machine = Machine.of(settings.workers)
    machine.limit_threads(os.environ)
    from gluonts_shell.commands import batch

    def load() -> tuple[Callable[[], Worker], bool]:
        service = serve.served(settings, model, code, ADVICE)
        return batch.prepare(service, settings, machine.threads), service.joins

    together = True
    if machine.forks:
        make, together = load()
        gc.collect()
        gc.freeze()  # so that no collection in a worker writes to the pages that it shares
    else:

        def make() -> Worker:
            return load()[0]()

    # a time limit is for a request, and with single records that would be a line
    alone = 1 if settings.batch_timeout and settings.batch_strategy == "SINGLE_RECORD" else ALONE

    def chunks(file: inputs.File) -> Iterator[inputs.Chunk]:
        if together:
            return inputs.chunks(file.source, TOGETHER)
        return inputs.chunks(file.source, alone, inputs.fair(file, machine.workers))

    with ProcessPool(machine.workers, lambda: make().answer, settings.max_worker_bytes or inf) as pool:
        failed = _forecast(todo, pool, chunks)
    if failed:
        log.error("%d of %d files failed: %s", len(failed), len(todo), ", ".join(failed))
    return 1 if failed else 0


def _forecast(
    todo: list[inputs.File], pool: ProcessPool, chunks: Callable[[inputs.File], Iterator[inputs.Chunk]]
) -> list[str]:
    """Write the output of every file; returns the names of those that failed, which have none."""
    failed: list[str] = []
    progress = Progress(sum(file.size for file in todo))

    def fail(file: inputs.File, reason: object) -> None:
        if file.name not in failed:
            failed.append(file.name)
            log.error("%s: %s", file.source, reason)

    def tasks() -> Iterator[Task]:
        for file in todo:
            try:
                for chunk in chunks(file):
                    if file.name in failed:
                        break
                    yield Task(file, chunk)
            except inputs.READ_ERRORS as error:
                fail(file, f"it cannot be read: {error}")
            yield Task(file, inputs.Chunk(b"", 0, 0), last=True)

    before, output = 0, None
    try:
        for task, answer in pool.answers(tasks(), lambda task: (task.chunk.body, task.chunk.first_line), progress.tick):
            if isinstance(answer, ShellError):
                fail(task.file, answer)
            elif task.file.name not in failed:
                try:
                    output = output or inputs.Output(task.file.target)
                    output.write(answer)
                    if task.last:
                        output.finish()
                        output = None
                except OSError as error:
                    fail(task.file, f"its output cannot be written: {error}")
                progress.add(answer.count(b"\n") + 1 if answer else 0, before + task.chunk.consumed)
            if task.last:
                before += task.file.size
                progress.add(0, before)
                if output:
                    output.discard()
                    output = None
    finally:
        if output:
            output.discard()
        progress.end()
    return failed
