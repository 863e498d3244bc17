"""The shell's own hyperparameters: what they are called, what they may be, and what they mean.

python -m gluonts_shell.forecasting.forecaster.hyperparameters.options      the table of docs/training.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.evaluation.formulas import Metrics
from gluonts_shell.forecasting.forecaster.constructors import hints_of
from gluonts_shell.forecasting.forecaster.hyperparameters.values import typed
from gluonts_shell.messages import DECILES

LEAST = {
    "num_eval_samples": 1,
    "num_prefetch": 1,
    "shuffle_buffer_length": 1,
    "num_workers": 0,
    "seed": 0,
}


def option(default: Any, meaning: str, shown: str = "") -> Any:
    """A field of Options; `shown` is the default in words."""
    return field(default=default, metadata={"meaning": meaning, "shown": shown or str(default)})


@dataclass(frozen=True)
class Options:
    """freq is also given to the classes that want it; checkpoint_every is in seconds; None where nothing was said."""

    freq: str | None = option(
        None,
        "a pandas frequency such as `h`, `D`, `W-SUN`; the channel `metadata` may hold it instead",
        "none; it must be given",
    )
    test_quantiles: list[str] = field(
        default_factory=lambda: list(DECILES),
        metadata={
            "meaning": "the levels for the scores on the channel `test`",
            "shown": "0.1 to 0.9",
        },
    )
    num_eval_samples: int = option(100, "samples of each forecast that is scored")
    evaluation: Literal["optional", "required"] = option(
        "optional",
        "`required` fails the job if the scores cannot be computed; else the model is kept and the log tells",
    )
    report: Literal["auto", "no"] = option(
        "auto", "`no` writes no `report.html` about the scores, the forecasts and the data"
    )
    unknown_hyperparameters: Literal["error", "ignore"] = option(
        "error", "`ignore` turns the error about names that nobody takes into a warning"
    )
    seed: int | None = option(None, "seeds python, numpy and torch", "none; every run differs")
    listify_dataset: bool | None = option(
        None,
        "`yes` holds the data in memory, `no` reads them anew in each pass",
        "by size, yes up to 2 GiB",
    )
    num_workers: int | None = option(
        None, "processes that make batches, for the estimators that take them", "the estimator's"
    )
    num_prefetch: int | None = option(
        None, "batches that each of them makes in advance", "the estimator's"
    )
    shuffle_buffer_length: int | None = option(
        None, "windows among which the next one is drawn", "the estimator's"
    )
    cache_data: bool | None = option(
        None,
        "keeps transformed series between epochs, for the estimators that do",
        "the estimator's",
    )
    checkpoint_every: float | None = option(
        None,
        "seconds between two checkpoints at least, 0 for one after each epoch",
        "0 where SageMaker wants checkpoints",
    )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Those that are among the hyperparameters. Raises ConfigurationError."""
        options = cls(**typed(given, hints_of(cls)))
        options._check()
        return options

    def _check(self) -> None:
        try:
            Metrics.parse(self.test_quantiles)
        except ConfigurationError as error:
            raise ConfigurationError(f"hyperparameter 'test_quantiles': {error}") from None
        self._check_bound("checkpoint_every", 0, math.inf, "a number of seconds, at least 0")
        for name, least in LEAST.items():
            self._check_bound(name, least, math.inf, f"a whole number of at least {least}")
        self._check_bound("seed", 0, 2**32 - 1, "a whole number below 2**32")

    def _check_bound(self, name: str, least: int, most: float, expected: str) -> None:
        value = getattr(self, name)
        if value is not None:
            found = f"hyperparameter {name!r} is {value}"
            ConfigurationError.expect(least <= value <= most, found, expected)


def table() -> str:
    """What docs/training.md tells of them, in Markdown."""
    rows = ["| hyperparameter | default | meaning |", "| --- | --- | --- |"]
    for one in fields(Options):
        rows.append(f"| `{one.name}` | {one.metadata['shown']} | {one.metadata['meaning']} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201
