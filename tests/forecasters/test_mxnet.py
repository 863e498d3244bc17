"""GluonTS's estimators of the time with mxnet, where mxnet is: 1.9.1 beside numpy 1.23.5, on Python 3.10 or 3.11."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mxnet", reason="mxnet is no more; it installs beside numpy 1.23.5 only")


def test_flat_arguments_reach_its_trainer_and_the_model_is_scored(opt_ml, job):
    tree = opt_ml(
        {
            "forecaster_name": "gluonts.mx.model.simple_feedforward.SimpleFeedForwardEstimator",
            "freq": "M",
            "prediction_length": "12",
            "context_length": "24",
            "epochs": "2",
            "learning_rate": "0.005",
            "num_batches_per_epoch": "5",
        }
    )
    ended = job(tree)
    assert (ended.returncode, tree.reason) == (0, None), ended.stdout
    assert "Epoch[0] Learning rate is 0.005" in ended.stdout
    assert "Epoch[1]" in ended.stdout
    assert "Epoch[2]" not in ended.stdout
    contract = json.loads((tree.paths.model / "gluonts_shell.json").read_text())
    assert "epochs=2" in contract["arguments"]["trainer"]
    scores = json.loads((tree.paths.output_data / "agg_metrics.json").read_text())
    assert 0 < scores["mean_wQuantileLoss"] < 1


def test_a_misspelt_argument_of_the_trainer_is_told(opt_ml, job):
    tree = opt_ml(
        {
            "forecaster_name": "gluonts.mx.model.simple_feedforward.SimpleFeedForwardEstimator",
            "freq": "M",
            "prediction_length": "12",
            "learning_rates": "0.005",
        }
    )
    assert job(tree).returncode == 1
    assert "'learning_rates'" in tree.reason
    assert "did you mean 'learning_rate'" in tree.reason
