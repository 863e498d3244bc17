"""Training jobs as SageMaker runs them: `python -m gluonts_shell train` in a process of its own, on real data."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import gluonts_shell

ROOT = Path(gluonts_shell.__file__).parent.parent
MONTHLY = ROOT / "gluonts_shell" / "data" / "monthly"
NAIVE = {"forecaster_name": "SeasonalNaivePredictor", "freq": "M", "prediction_length": "12", "season_length": "12"}
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


@pytest.fixture
def start(tmp_path):
    """Starts a job in an empty current directory, with an environment of its own; what is left over is ended."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "site").mkdir()
    children = []

    def child(tree, *arguments, limit=None, **environment):
        base = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GLUONTS_", "SAGEMAKER_", "TRAINING_", "PYTHONUNBUFFERED"))
        }
        path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
        process = subprocess.Popen(
            [sys.executable, "-m", "gluonts_shell", "train", "--data-path", str(tree.paths.base), *arguments],
            cwd=tmp_path / "cwd",
            env={**base, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
            start_new_session=True,
        )
        children.append(process)
        return process

    yield child
    for process in children:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert os.listdir(tmp_path / "cwd") == []


@pytest.fixture
def job(start):
    def run(tree, *arguments, **options):
        process = start(tree, *arguments, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def site(tmp_path):
    """Where a user's module lies, as the code channel would put it."""
    return lambda name, text: (tmp_path / "site" / f"{name}.py").write_text(textwrap.dedent(text))


def strict(path):
    """JSON as JavaScript has it: a bare NaN is an error."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{path.name} has a bare {name}"))


def check_artifact(tree, name, trained):
    """The model loads, its contract tells how it was made, it forecasts, and the scores are there."""
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.channels import Channel

    predictor, contract = artifact.load(tree.paths.model)
    assert (contract.freq, contract.prediction_length) == ("M", 12)
    assert contract.forecaster.rpartition(".")[2] == name
    assert contract.arguments["prediction_length"] == 12
    assert ("torch" in contract.versions) is (trained or "torch" in contract.versions)
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


def test_scores_go_to_the_log_and_the_log_to_stdout(opt_ml, job):
    done = job(opt_ml(NAIVE))
    assert done.stderr == ""
    assert re.search(
        r"^\[[0-9/]+ [0-9:]+ INFO\] #test_score \(local, MASE\): [0-9]+\.[0-9]+$", done.stdout, re.MULTILINE
    )


SLOW = """
    import time
    from gluonts.model.estimator import Estimator

    class Slow(Estimator):
        def __init__(self, prediction_length: int):
            super().__init__()

        def train(self, training_data, validation_data=None):
            print("training", flush=True)
            time.sleep(600)
"""


def wait_for(process, text):
    """Reads the child's output up to a line with the text; returns what was read."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"the job ended before it said {text!r}: {''.join(lines)}{process.stderr.read()}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_stopped_does_not_look_like_a_success(opt_ml, start, site, number, status):
    site("slow", SLOW)
    tree = opt_ml({"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"})
    process = start(tree)
    wait_for(process, "training")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"stopped by {number.name}" in out
    assert "Traceback" not in out + err
    assert not (tree.paths.model / "gluonts_shell.json").exists()


@pytest.mark.torch
def test_a_training_with_lightning_that_is_stopped_does_not_look_like_a_success(opt_ml, start):
    """Lightning has a handler of its own for SIGTERM, with which a stopped job would end with status 0."""
    hyperparameters = {
        "forecaster_name": "SimpleFeedForwardEstimator",
        **SMALL,
        **ESTIMATORS["SimpleFeedForwardEstimator"],
        "epochs": "1000000",
    }
    tree = opt_ml(hyperparameters)
    process = start(tree, TRAINING_JOB_NAME="job-1")
    wait_for(process, "Epoch[3]")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out[-2000:] + err
    assert "Traceback" not in out + err
    with pytest.raises(ProcessLookupError):  # nothing of it is left behind
        os.killpg(process.pid, 0)
    assert not (tree.paths.model / "gluonts_shell.json").exists()


def test_a_mistake_of_the_user_shows_no_traceback(opt_ml, job):
    tree = opt_ml({**NAIVE, "seson_length": "3"})
    done = job(tree)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    text = tree.paths.failure.read_text()
    assert text.startswith(
        "hyperparameter 'seson_length' is not known to SeasonalNaivePredictor; did you mean 'season_length'?\n\nTraceback"
    )


def test_a_disk_that_is_full_is_a_sentence(opt_ml, job, site):
    """A limit of the file size, as a full disk needs a disk: the first write that is too long fails."""
    site("large", """
        from gluonts.core.component import validated
        from gluonts.model.trivial.mean import MeanPredictor

        class Large(MeanPredictor):
            def serialize(self, path):
                super().serialize(path)
                (path / "weights").write_bytes(bytes(1_000_000))
    """)  # fmt: skip
    tree = opt_ml({"forecaster_name": "large.Large", "freq": "M", "prediction_length": "12"})
    done = job(tree, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert done.returncode == 1
    assert tree.reason == f"the model cannot be written to {str(tree.paths.model)!r}: File too large"
    assert os.listdir(tree.paths.model) == []


def test_the_image_may_name_the_forecaster(opt_ml, job):
    given = {name: value for name, value in NAIVE.items() if name != "forecaster_name"}
    tree = opt_ml(given)
    assert job(tree, GLUONTS_FORECASTER="gluonts.model.seasonal_naive.SeasonalNaivePredictor").returncode == 0
    done = job(tree, "--forecaster", "SeasonalNaivePredictor", GLUONTS_FORECASTER="MeanPredictor")
    assert done.returncode == 0
    assert (
        "GLUONTS_FORECASTER is 'MeanPredictor', but --forecaster is 'SeasonalNaivePredictor', which wins" in done.stderr
    )


def test_print_and_log_lines_come_in_their_order(opt_ml, start, site):
    """A container's stdout is a pipe: what code prints must not lie in a buffer until the process ends, or is killed."""
    site("slow", SLOW.replace(", flush=True", ""))
    process = start(opt_ml({"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"}))
    assert "Final configuration" in wait_for(process, "training")
