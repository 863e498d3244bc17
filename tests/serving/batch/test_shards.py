"""The share of an array job's process, from the variables that its scheduler sets."""

from __future__ import annotations

import pytest

from gluonts_shell.errors import DataError
from gluonts_shell.serving.batch.shards import shard_of


def slurm(
    task: int, first: int = 0, last: int = 7, step: int = 1, count: int = 8
) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "environ", "share"),
    [
        ("2/8", {"AWS_BATCH_JOB_ARRAY_INDEX": "5", "AWS_BATCH_JOB_ARRAY_SIZE": "9"}, "2/8"),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, "1/10"),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "9", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, "10/10"),
        ("auto", slurm(0), "1/8"),
        ("auto", slurm(4, first=1, last=4, count=4), "4/4"),
        ("auto", slurm(5, first=1, last=7, step=2, count=4), "3/4"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "3"}, "4/4"),
        ("auto/20", {"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, "4/20"),
    ],
)
def test_the_index_counts_from_one(text: str, environ: dict[str, str], share: str) -> None:
    assert shard_of(text, environ) == share


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        (
            "auto",
            {},
            "this is no array job: none of AWS_BATCH_JOB_ARRAY_INDEX, SLURM_ARRAY_TASK_ID or",
        ),
        (
            "auto",
            {"JOB_COMPLETION_INDEX": "3"},
            "give auto/N, where N is the Job's spec.completions",
        ),
        (
            "auto/3",
            {"JOB_COMPLETION_INDEX": "3"},
            "the index of this process is 3, expected less than 3",
        ),
        ("auto/0", {"JOB_COMPLETION_INDEX": "3"}, "expected auto, auto/N, or I/N such as 2/8"),
        ("auto/x", {"JOB_COMPLETION_INDEX": "3"}, "expected auto, auto/N, or I/N such as 2/8"),
        (
            "auto",
            {"AWS_BATCH_JOB_ARRAY_INDEX": "1"},
            "AWS_BATCH_JOB_ARRAY_SIZE is None, expected a whole number",
        ),
        (
            "auto",
            {"AWS_BATCH_JOB_ARRAY_INDEX": "-1"},
            "AWS_BATCH_JOB_ARRAY_INDEX is '-1', expected a whole number",
        ),
        ("auto", slurm(9, first=1, last=9, count=3), "the numbers of this Slurm array have gaps"),
    ],
)
def test_what_the_scheduler_does_not_tell_is_a_sentence(
    text: str, environ: dict[str, str], sentence: str
) -> None:
    with pytest.raises(DataError) as caught:
        shard_of(text, environ)
    assert sentence in str(caught.value)
