"""A few batches of a training with Lightning, to know what an epoch will cost and whether the first step works."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gluonts.model.estimator import Estimator

from gluonts_shell.forecasting import training
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options

# The first batch pays for what is made once; the mean of the others is what an epoch consists of.
BATCHES = 4
# what would end or lengthen the trial in another way
LENGTHS = (
    "min_epochs",
    "min_steps",
    "max_steps",
    "max_time",
    "limit_train_batches",
    "overfit_batches",
)


@dataclass(frozen=True)
class Trial:
    """batches, epochs: of the whole training; seconds: of one batch on this machine. bytes: of the parameters."""

    parameters: int
    bytes: int
    seconds: float
    batches: int
    epochs: int

    @property
    def epoch_seconds(self) -> float:
        return self.seconds * self.batches


def possible(estimator: Estimator) -> bool:
    return isinstance(getattr(estimator, "trainer_kwargs", None), dict)


def run(
    estimator: Estimator, train: Any, options: Options, host: str, start_from: Any = None
) -> Trial:
    """Train the estimator for some batches; it is not to be used afterwards. Raises what `training.fit` raises."""
    from lightning.pytorch.callbacks import Callback

    ends: list[float] = []

    class Clock(Callback):  # type: ignore[misc]
        def on_train_batch_end(self, *_: Any) -> None:
            ends.append(time.perf_counter())

    given = estimator.trainer_kwargs
    batches = _batches(estimator, given.get("limit_train_batches"))
    estimator.num_batches_per_epoch = max(batches, BATCHES)
    kept = {name: value for name, value in given.items() if name not in LENGTHS}
    estimator.trainer_kwargs = {
        **kept,
        "max_epochs": 1,
        "limit_train_batches": BATCHES,
        "callbacks": [Clock()],
    }
    begin = time.perf_counter()
    watch = training.Watch(host=host, progress_bar=False)
    predictor = training.fit(
        estimator, train, None, options=options, watch=watch, start_from=start_from
    )
    parameters = list(getattr(predictor, "prediction_net").parameters())  # noqa: B009 - not of the base class
    return Trial(
        parameters=sum(parameter.numel() for parameter in parameters),
        bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        seconds=_seconds([begin, *ends]),
        batches=batches,
        epochs=int(given.get("max_epochs") or 0),
    )


def _seconds(moments: list[float]) -> float:
    """Of a batch: without the first, where there are more."""
    if len(moments) > 2:
        moments = moments[1:]
    return (moments[-1] - moments[0]) / max(len(moments) - 1, 1)


def _batches(estimator: Estimator, limit: Any) -> int:
    batches = int(getattr(estimator, "num_batches_per_epoch", 0))
    return min(batches, limit) if type(limit) is int else batches
