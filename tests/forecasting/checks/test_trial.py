"""A few batches stand for an epoch; the estimator's own limits do not end or lengthen them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.forecasting.checks import trial
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options

pytestmark = pytest.mark.torch
DATA = [
    {
        "start": pd.Period("2020-01-01", "D"),
        "target": np.arange(60, dtype=np.float32),
        "item_id": "a",
    }
]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [({}, 50), ({"limit_train_batches": 2}, 2), ({"max_steps": 1, "min_epochs": 9}, 50)],
)
def test_size_and_batches_are_those_of_the_whole_training(
    limits: dict[str, int], batches: int
) -> None:
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

    estimator = SimpleFeedForwardEstimator(
        prediction_length=2,
        context_length=4,
        hidden_dimensions=[2],
        batch_size=4,
        num_batches_per_epoch=50,
        trainer_kwargs={"max_epochs": 7, "accelerator": "cpu", **limits},
    )
    assert trial.possible(estimator)
    found = trial.run(estimator, DATA, Options(), "algo-1")
    network = estimator.create_lightning_module()
    expected = sum(parameter.numel() for parameter in network.parameters())
    assert (found.parameters, found.bytes, found.batches, found.epochs) == (
        expected,
        4 * expected,
        batches,
        7,
    )
    assert 0 < found.seconds < 60
    assert found.epoch_seconds == found.seconds * batches
