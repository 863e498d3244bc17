"""Every forecaster that users name, through a whole training job in a process of its own, on real data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import gluonts_shell

MONTHLY = Path(gluonts_shell.__file__).parent / "data" / "monthly"
SMALL = {
    "freq": "M",
    "prediction_length": "12",
    "epochs": "1",
    "num_batches_per_epoch": "2",
    "batch_size": "4",
    "num_eval_samples": "10",
}
# forecaster, what it needs besides; the estimators as small as they can be
PREDICTORS = {
    "SeasonalNaivePredictor": {"season_length": "12"},
    "MeanPredictor": {},
    "ConstantValuePredictor": {"value": "100.0"},
    "NPTSPredictor": {},
}
ESTIMATORS = {
    "DeepAREstimator": {"hidden_size": "4", "num_layers": "1", "context_length": "12", "lags_seq": "[1, 12]"},
    "SimpleFeedForwardEstimator": {"hidden_dimensions": "[4]", "context_length": "24"},
    "PatchTSTEstimator": {
        "patch_len": "4",
        "d_model": "4",
        "nhead": "1",
        "dim_feedforward": "4",
        "num_encoder_layers": "1",
    },
    "TemporalFusionTransformerEstimator": {
        "hidden_dim": "4",
        "variable_dim": "4",
        "num_heads": "1",
        "context_length": "12",
    },
    "WaveNetEstimator": {"num_residual_channels": "2", "num_skip_channels": "2", "num_parallel_samples": "10"},
    "TiDEEstimator": {
        "encoder_hidden_dim": "4",
        "decoder_hidden_dim": "4",
        "temporal_hidden_dim": "4",
        "num_layers_encoder": "1",
        "num_layers_decoder": "1",
    },
    "DLinearEstimator": {"context_length": "24", "hidden_dimension": "4"},
    "LagTSTEstimator": {
        "d_model": "4",
        "nhead": "1",
        "dim_feedforward": "4",
        "num_encoder_layers": "1",
        "lags_seq": "[1, 12]",
    },
    "DeepNPTSEstimator": {"context_length": "12", "num_hidden_nodes": "[4]"},
}


def strict(path):
    """JSON as JavaScript has it: a bare NaN is an error."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{path.name} has a bare {name}"))


def check_artifact(tree, name, trained):
    """The model loads, its contract tells how it was made, it forecasts, and the scores are there."""
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.data.channel import Channel

    predictor, contract = artifact.load(tree.paths.model)
    assert (contract.freq, contract.prediction_length) == ("M", 12)
    assert contract.forecaster.rpartition(".")[2] == name
    assert contract.arguments["prediction_length"] == 12
    assert not trained or {"torch", "lightning"} <= set(contract.versions)
    entry = next(iter(Channel("test", MONTHLY / "test", contract.freq).read()))
    (forecast,) = predictor.predict([entry])
    assert forecast.mean.shape == (12,)
    assert forecast.start_date == entry["start"] + len(entry["target"])
    scores = strict(tree.paths.output_data / "agg_metrics.json")
    assert scores["MASE"] > 0
    assert scores["wQuantileLoss[0.5]"] > 0


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_predictor_is_built_and_scored(opt_ml, job, name):
    tree = opt_ml({"forecaster_name": name, "freq": "M", "prediction_length": "12", **PREDICTORS[name]})
    done = job(tree)
    assert (done.returncode, done.stderr, tree.reason) == (0, "", None)
    check_artifact(tree, name, trained=False)
    assert len(re.findall(r"#test_score \(local, \w+(\[[0-9.]+\])?\): ", done.stdout)) == 44


@pytest.mark.torch
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_trained_for_one_epoch_and_scored(opt_ml, job, name):
    tree = opt_ml({"forecaster_name": name, **SMALL, **ESTIMATORS[name]})
    done = job(tree, TRAINING_JOB_NAME="job-1")
    assert (done.returncode, tree.reason) == (0, None), done.stdout + done.stderr
    assert done.stderr == ""
    assert [word for word in ("\r", "it/s", "Warning") if word in done.stdout] == []
    # DeepNPTS trains in a loop of its own, which prints; all others in Lightning's, which our callback watches
    pattern = r"^Loss for epoch (\d+):" if name == "DeepNPTSEstimator" else r"INFO\] Epoch\[(\d+)\] train loss"
    assert re.findall(pattern, done.stdout, re.MULTILINE) == ["0"]
    check_artifact(tree, name, trained=True)
