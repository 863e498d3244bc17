"""The shell's own hyperparameters: what they are called, and what they may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.evaluation.formulas import Metrics
from gluonts_shell.forecasting.forecaster.constructors import hints_of
from gluonts_shell.forecasting.forecaster.hyperparameters.values import hyperparameter
from gluonts_shell.messages import DECILES

LEAST = {
    "num_eval_samples": 1,
    "num_prefetch": 1,
    "shuffle_buffer_length": 1,
    "num_workers": 0,
    "seed": 0,
    "checkpoint_every": 0,
}


@dataclass(frozen=True)
class Options:
    """freq is also given to the classes that want it; checkpoint_every is in seconds; None where nothing was said."""

    freq: str | None = None
    test_quantiles: list[str] = field(default_factory=lambda: list(DECILES))
    num_eval_samples: int = 100
    evaluation: Literal["optional", "required"] = "optional"
    report: Literal["auto", "no"] = "auto"
    unknown_hyperparameters: Literal["error", "ignore"] = "error"
    seed: int | None = None
    listify_dataset: bool | None = None
    num_workers: int | None = None
    num_prefetch: int | None = None
    shuffle_buffer_length: int | None = None
    cache_data: bool | None = None
    checkpoint_every: float | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Options:
        """Those that are among the hyperparameters. Raises ConfigurationError."""
        hints = hints_of(cls)
        found = {
            name: hyperparameter(name, given[name], hints[name]) for name in hints if name in given
        }
        options = cls(**found)
        options._check()
        return options

    def _check(self) -> None:
        try:
            Metrics.parse(self.test_quantiles)
        except ConfigurationError as error:
            raise ConfigurationError(f"hyperparameter 'test_quantiles': {error}") from None
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                kind = "a number of seconds," if isinstance(value, float) else "a whole number of"
                expected = f"{kind} at least {least}"
                raise ConfigurationError(f"hyperparameter {name!r} is {value}, expected {expected}")
        if self.seed is not None and self.seed >= 2**32:
            raise ConfigurationError(
                f"hyperparameter 'seed' is {self.seed}, expected a whole number below 2**32"
            )
