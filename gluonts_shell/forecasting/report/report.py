"""What a report tells, as values, and its place on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.evaluation.evaluate import Evaluation
from gluonts_shell.written import Written

NAME = "report.html"


@dataclass(frozen=True)
class Report:
    """call: the constructor's, as Python has it. evaluation: None where there are no scores, and `unscored` says why.

    losses: `train` and `validation`, of each epoch. channels: name -> what its series are like. warnings: of the job;
    unnamed: how many more there were. seconds: of the steps of the job, in their order. created: UTC, ISO 8601.
    """

    forecaster: str
    call: str
    freq: str
    prediction_length: int
    evaluation: Evaluation | None
    unscored: str = ""
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    channels: Mapping[str, Statistics] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    unnamed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    job: str | None = None
    created: str | None = None


def write(page: bytes, *folders: Path) -> None:
    """report.html in each of them, whole or not at all. Raises OSError."""
    for folder in folders:
        Written.replace(folder / NAME, page)


def clear(folder: Path) -> None:
    """Remove the report of an earlier job, which tells nothing of this one; what we did not write stays."""
    Written.read(folder).remove(NAME)
