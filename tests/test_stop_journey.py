"""Training jobs that are stopped, killed and started again, as spot instances are: real processes, a small model."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
import time

import pytest

pytestmark = pytest.mark.torch

JOB = {
    "freq": "M",
    "prediction_length": "12",
    "hidden_dimensions": "[4]",
    "forecaster_name": "telling.Telling",
    "num_batches_per_epoch": "5",
    "batch_size": "4",
    "epochs": "12",
    "seed": "7",
}
TELLING = """
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
    from lightning.pytorch.callbacks import Callback

    class Teller(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            print(f"batch {index} of epoch {trainer.current_epoch}", flush=True)

    class Telling(SimpleFeedForwardEstimator):
        def train(self, training_data, validation_data=None, cache_data=False, ckpt_path=None):
            self.trainer_kwargs["callbacks"].append(Teller())
            return super().train(training_data, validation_data, cache_data=cache_data, ckpt_path=ckpt_path)
"""


@pytest.fixture(autouse=True)
def _telling(tmp_path, start):
    (tmp_path / "site" / "telling.py").write_text(textwrap.dedent(TELLING))


def losses(text):
    return dict(
        re.findall(r"#quality_metric: host=local, epoch=(\d+), train loss <loss>=(\S+)", text)
    )


def until(process, text):
    """What the job said up to a line with the text."""
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return "".join(said)
    raise AssertionError(
        f"the job ended before it said {text!r}: {''.join(said)}{process.stderr.read()}"
    )


def forecasts(tree):
    """Of the model as a server would have it."""
    from gluonts.dataset.common import ListDataset

    from gluonts_shell.forecasting import artifact

    predictor, contract = artifact.load(tree.paths.model)
    series = ListDataset([{"start": "2020-01", "target": [1.0] * 60}], freq="M")
    (forecast,) = predictor.predict(series)
    assert forecast.mean.shape == (12,)
    return contract


def test_a_job_that_was_killed_goes_on_as_if_nothing_had_happened(opt_ml, start, job):
    tree = opt_ml(JOB)
    whole = job(tree)
    assert whole.returncode == 0, whole.stdout[-2000:] + whole.stderr
    expected = losses(whole.stdout)
    assert len(expected) == 12
    assert not tree.paths.checkpoints.exists()

    tree.paths.checkpoints.mkdir()  # as SageMaker does for a job with CheckpointConfig
    process = start(tree)
    first = until(process, "batch 2 of epoch 3")
    process.kill()
    process.communicate()
    assert len(list(tree.paths.checkpoints.glob("*.ckpt"))) == 2
    second = job(tree).stdout
    assert re.search(r"resuming at epoch \d+ of 12", second)
    assert "epoch=0," not in second
    found = {**losses(first), **losses(second)}
    assert list(found) == list(expected)
    assert [float(loss) for loss in found.values()] == pytest.approx(
        [float(loss) for loss in expected.values()]
    )
    final = re.compile(r"Final loss: .*")
    assert final.search(second)[0] == final.search(whole.stdout)[0]
    assert forecasts(tree).stopped_early is False
    assert len(list(tree.paths.checkpoints.iterdir())) == 2


def test_a_job_that_is_stopped_leaves_the_best_model_so_far_and_goes_on_later(opt_ml, start, job):
    tree = opt_ml({**JOB, "checkpoint_every": "3600", "epochs": "1000000"})
    process = start(tree)
    until(process, "batch 1 of epoch 3")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, out[-2000:] + err
    assert "Traceback" not in out + err
    with pytest.raises(ProcessLookupError):  # nothing of it is left behind
        os.killpg(process.pid, 0)
    assert re.search(
        r"training is stopped: the model has the best weights so far, those of epoch \d+", out
    )
    assert "stopped by SIGTERM" in out
    contract = json.loads((tree.paths.model / "gluonts_shell.json").read_text())
    assert contract["stopped_early"] is True
    forecasts(tree)

    (checkpoint,) = tree.paths.checkpoints.iterdir()  # the epoch in progress was not over
    epoch = int(re.search(r"epoch-(\d+)", checkpoint.name)[1])
    tree.configure("hyperparameters", {**JOB, "checkpoint_every": "3600", "epochs": str(epoch + 1)})
    done = job(tree)
    assert done.returncode == 0
    assert f"resuming at epoch {epoch + 1} of {epoch + 1}" in done.stdout
    assert list(losses(done.stdout)) == [str(epoch)]
    assert forecasts(tree).stopped_early is False


def test_a_job_that_is_stopped_in_its_first_epoch_leaves_a_model(opt_ml, start):
    tree = opt_ml({**JOB, "num_batches_per_epoch": "1000000"})
    process = start(tree)
    until(process, "batch 3 of epoch 0")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, out[-2000:] + err
    assert "Epoch[0]" not in out
    assert forecasts(tree).stopped_early is True
    assert not tree.paths.failure.exists()


HANGING = """
    import time
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
    from gluonts_shell.commands import train
    from lightning.pytorch.callbacks import Callback

    train.BATCH_SECONDS = 0.5

    class Hanging(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.current_epoch == 1:
                print("a long batch", flush=True)
                time.sleep(600)

    class Long(SimpleFeedForwardEstimator):
        def train(self, training_data, validation_data=None, cache_data=False, ckpt_path=None):
            self.trainer_kwargs["callbacks"].append(Hanging())
            return super().train(training_data, validation_data, cache_data=cache_data, ckpt_path=ckpt_path)
"""


def test_a_job_that_is_stopped_in_a_batch_that_does_not_end_leaves_a_model(opt_ml, start, tmp_path):
    (tmp_path / "site" / "hanging.py").write_text(textwrap.dedent(HANGING))
    tree = opt_ml({**JOB, "forecaster_name": "hanging.Long"})
    process = start(tree)
    until(process, "a long batch")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, out[-2000:] + err
    assert "the model has the best weights so far, those of epoch 0" in out
    assert forecasts(tree).stopped_early is True
    assert not tree.paths.failure.exists()


EVALUATING = """
    import time
    from gluonts.model.trivial.mean import MeanPredictor

    class Slow(MeanPredictor):
        def predict(self, dataset, num_samples=100):
            print("evaluating", flush=True)
            time.sleep(600)
            yield
"""


def test_a_job_that_is_stopped_in_its_evaluation_keeps_its_model(opt_ml, start, tmp_path):
    (tmp_path / "site" / "slow.py").write_text(textwrap.dedent(EVALUATING))
    tree = opt_ml({"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"})
    process = start(tree)
    until(process, "evaluating")
    for _ in range(30):  # as one does who hands on what the whole group got already
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, out + err
    assert (
        json.loads((tree.paths.model / "gluonts_shell.json").read_text())["stopped_early"] is False
    )
