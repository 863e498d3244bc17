"""Which share of the files a process of an array job takes: from --shard, or from what its scheduler says of it.

Sources: "AWS Batch job environment variables" in AWS's guide; "Job Array Support" of Slurm, and its sbatch manual for
the step; "Indexed Job for Parallel Processing" of Kubernetes, which tells an index and not how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gluonts_shell.errors import DataError

AUTO = "auto"
VARIABLES = "AWS_BATCH_JOB_ARRAY_INDEX, SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX"


def shard_of(text: str, environ: Mapping[str, str]) -> str:
    """`I/N` of what --shard says: itself, or for `auto` and `auto/N` what the scheduler's variables say.

    Raises DataError where they do not tell.
    """
    wish, slash, count = text.partition("/")
    if wish != AUTO:
        return text
    counts = not slash or re.fullmatch("0*[1-9][0-9]*", count)
    DataError.expect(counts, f"--shard is {text!r}", "auto, auto/N, or I/N such as 2/8")
    index, total = _position(environ)
    if slash:
        total = int(count)
    if total is None:
        raise DataError(
            "--shard is 'auto', but Kubernetes does not tell a pod how many there are: give auto/N, "
            "where N is the Job's spec.completions"
        )
    found = f"--shard is {text!r}, but the index of this process is {index}"
    DataError.expect(index < total, found, f"less than {total}")
    return f"{index + 1}/{total}"


def _position(environ: Mapping[str, str]) -> tuple[int, int | None]:
    """This process's index from 0, and how many there are, if the scheduler tells."""
    if "AWS_BATCH_JOB_ARRAY_INDEX" in environ:
        return _whole(environ, "AWS_BATCH_JOB_ARRAY_INDEX"), _whole(
            environ, "AWS_BATCH_JOB_ARRAY_SIZE"
        )
    if "SLURM_ARRAY_TASK_ID" in environ:
        return _of_slurm(environ)
    if "JOB_COMPLETION_INDEX" in environ:
        return _whole(environ, "JOB_COMPLETION_INDEX"), None
    raise DataError(
        f"--shard is 'auto', but this is no array job: none of {VARIABLES} is set; give I/N such as 2/8"
    )


def _of_slurm(environ: Mapping[str, str]) -> tuple[int, int]:
    """An array may begin at any number and go in steps; a list with gaps of different size has no order to tell."""
    task, first = _whole(environ, "SLURM_ARRAY_TASK_ID"), _whole(environ, "SLURM_ARRAY_TASK_MIN")
    count = _whole(environ, "SLURM_ARRAY_TASK_COUNT")
    step = max(_whole(environ, "SLURM_ARRAY_TASK_STEP", "1"), 1)
    index, rest = divmod(task - first, step)
    last = _whole(environ, "SLURM_ARRAY_TASK_MAX", str(first + (count - 1) * step))
    if rest or last != first + (count - 1) * step:
        raise DataError(
            "--shard is 'auto', but the numbers of this Slurm array have gaps; expected --array=0-7 or so"
        )
    return index, count


def _whole(environ: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = environ.get(name, default)
    found = f"--shard is 'auto', but {name} is {text!r}"
    DataError.expect(str(text).isdecimal(), found, "a whole number")
    return int(str(text))
