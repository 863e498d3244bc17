"""An exception -> output/failure and the exit status; the only place that does so.

SageMaker takes the first 1024 characters of output/failure as the job's FailureReason, so the sentence comes first.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from gluonts_shell import atomic
from gluonts_shell.errors import ShellError, UserError
from gluonts_shell.log import one_line

log = logging.getLogger(__name__)

REASON_LENGTH = 1024


def sentence(error: BaseException) -> str:
    """What a person should read first, on one line and within FailureReason's length."""
    text = _text(error)
    # file names and data may hold what is no Unicode, and no log or file takes that
    text = one_line(text.encode(errors="backslashreplace").decode())
    if len(text) > REASON_LENGTH:
        return text[: REASON_LENGTH - 4] + " ..."
    return text


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ShellError):
        return text
    if isinstance(error, OSError) and error.errno:
        text = error.strerror or "system error"
        if error.filename:
            text += f": {error.filename!r}"
    name = type(error).__name__
    if not text:
        return f"{name}, without a message"
    return f"{name}: {text}"


def report(error: BaseException, path: Path) -> int:
    """Log the error, write it to `path`, and return the exit status.

    The user's own mistakes are a sentence in the log; everything else comes with its traceback.
    """
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, UserError):
        log.error("%s", sentence(error))
    else:
        log.error("%s\n%s", sentence(error), trace)
    try:
        _write(path, f"{sentence(error)}\n\n{trace}")
    except OSError as problem:
        log.error("%s cannot be written: %s", path, problem)
    return error.exit_code if isinstance(error, ShellError) else 1


def clear(path: Path) -> None:
    """Remove what an earlier run left: a job that succeeds has no failure file."""
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        log.warning("%s cannot be removed: %s", path, problem)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)  # a tree that is not there is not made for this
    atomic.write(path, text)
