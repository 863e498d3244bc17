"""Trainings that are cut, gone on with and ended, in this process; with real signals in `test_stop_journey`."""

import errno
import logging
import os
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.errors import ModelError
from gluonts_shell.forecasting.distributed.ranks import Ranks, seed_everything
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options
from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints
from gluonts_shell.forecasting.training import Stop, Watch, fit

pytestmark = pytest.mark.torch


def dataset(count=4):
    draw = np.random.default_rng(3)
    return [
        {
            "start": pd.Period("2020-01-01", "D"),
            "target": draw.normal(size=60).astype(np.float32).cumsum(),
            "item_id": str(number),
            "feat_static_cat": np.array([0]),
        }
        for number in range(count)
    ]


class Job:
    """Lives of one job: each call is a training in an estimator, and a trainer, of its own."""

    def __init__(self, folder, caplog):
        self.folder, self.caplog = folder, caplog
        caplog.set_level(logging.INFO)

    def __call__(
        self,
        epochs,
        *callbacks,
        stop=None,
        lr=0.01,
        patience=None,
        keep=True,
        validation=None,
        **trainer,
    ):
        from gluonts.torch.model.deepar import DeepAREstimator

        seed_everything(5)
        estimator = DeepAREstimator(
            freq="D",
            prediction_length=2,
            context_length=4,
            lags_seq=[1],
            hidden_size=4,
            num_layers=1,
            dropout_rate=0.1,
            batch_size=4,
            num_batches_per_epoch=3,
            lr=lr,
            patience=0,
            trainer_kwargs={
                "max_epochs": epochs,
                "accelerator": "cpu",
                "callbacks": list(callbacks),
                **trainer,
            },
        )
        checkpoints = Checkpoints(self.folder, "algo-1", {"lr": str(lr)}) if keep else None
        watch = Watch("algo-1", False, patience, checkpoints, stop or Stop())
        self.caplog.clear()
        return fit(estimator, dataset(), validation, options=Options(), watch=watch)

    @property
    def losses(self):
        """Of the last life: epoch -> train loss."""
        found = re.findall(r"Epoch\[(\d+)\] train loss ([^,]+)", "\n".join(self.caplog.messages))
        return {int(epoch): float(loss) for epoch, loss in found}

    def said(self, text):
        return [message for message in self.caplog.messages if text in message]


@pytest.fixture
def job(tmp_path, caplog):
    return Job(tmp_path / "checkpoints", caplog)


def at(epoch, batch, do):
    from lightning.pytorch.callbacks import Callback

    class At(Callback):
        def on_train_batch_start(self, trainer, _module, _batch, index):
            if (trainer.current_epoch, index) == (epoch, batch):
                do()

    return At()


def fail():
    raise RuntimeError("the machine is gone")


def weights(predictor):
    return {name: values.numpy() for name, values in predictor.network.state_dict().items()}


def assert_same(one, other):
    for name, values in weights(one).items():
        np.testing.assert_array_equal(weights(other)[name], values)


@pytest.mark.parametrize("validated", [False, True])
def test_a_training_that_was_cut_goes_on_as_if_nothing_had_happened(job, validated):
    """Dropout, the draws of windows and the plateau scheduler (patience 0) would show any state that is lost."""
    validation = dataset(2) if validated else None
    whole = job(6, keep=False, validation=validation)
    expected = job.losses
    with pytest.raises(ModelError, match="the machine is gone"):
        job(6, at(3, 1, fail), validation=validation)
    assert job.losses == {epoch: expected[epoch] for epoch in range(3)}
    resumed = job(6, validation=validation)
    assert job.said("resuming at epoch") == ["resuming at epoch 4 of 6"]
    assert job.losses == {epoch: expected[epoch] for epoch in range(3, 6)}
    assert_same(resumed, whole)


def test_what_layers_know_besides_their_weights_is_gone_on_with_too(tmp_path, caplog):
    """MQF2's normalize by their first batch, and would do so again."""
    from gluonts.torch.model.mqf2 import MQF2MultiHorizonEstimator

    caplog.set_level(logging.INFO)

    def life(epochs, keep=True):
        seed_everything(5)
        sizes = {"prediction_length": 2, "context_length": 4, "hidden_size": 4, "num_layers": 1}
        estimator = MQF2MultiHorizonEstimator(
            freq="D",
            **sizes,
            batch_size=4,
            num_batches_per_epoch=2,
            trainer_kwargs={"max_epochs": epochs, "accelerator": "cpu"},
        )
        checkpoints = Checkpoints(tmp_path / "checkpoints", "algo-1", {}) if keep else None
        watch = Watch("algo-1", False, None, checkpoints)
        fit(estimator, dataset(), None, options=Options(), watch=watch)
        return watch.losses["train"]

    expected = life(3, keep=False)
    life(1)
    assert life(3) == expected
    assert "resuming at epoch 2 of 3" in caplog.messages


def test_a_training_that_was_stopped_twice_is_the_same_too(job):
    whole = job(4, keep=False)
    expected = job.losses
    for epoch in (1, 2):
        stop = Stop()
        job(4, at(epoch, 1, lambda stop=stop: setattr(stop, "wished", True)), stop=stop)
        assert stop.early
    assert job.said("training is stopped: the model has the best weights so far, those of epoch")
    resumed = job(4)
    assert job.losses == {epoch: expected[epoch] for epoch in (2, 3)}
    assert_same(resumed, whole)


def test_more_epochs_go_on_and_no_more_are_nothing_to_do(job):
    whole = job(4, keep=False)
    expected, final = job.losses, job.said("Final loss")
    first = job(2)
    again = job(2)
    assert job.said("nothing is left to train") == [
        "all 2 epochs are in the checkpoint: nothing is left to train"
    ]
    assert job.losses == {}
    assert len(job.said("train final_loss <loss>=")) == 1  # a tuning job looks for it
    assert_same(again, first)
    more = job(4)
    assert job.said("resuming at epoch") == ["resuming at epoch 3 of 4"]
    assert job.losses == {epoch: expected[epoch] for epoch in (2, 3)}
    assert job.said("Final loss") == final
    assert_same(more, whole)


@pytest.mark.parametrize("validated", [False, True])
def test_steps_end_a_training_and_are_gone_on_with(job, validated):
    """Three batches an epoch: the last of eight steps is in the midst of the third."""
    validation = dataset(2) if validated else None
    whole = job(-1, max_steps=8, keep=False, validation=validation)
    expected = job.losses
    assert list(expected) == [0, 1, 2]
    with pytest.raises(ModelError):
        job(-1, at(1, 1, fail), max_steps=8, validation=validation)
    resumed = job(-1, max_steps=8, validation=validation)
    assert job.said("resuming at epoch") == ["resuming at epoch 2"]
    assert job.losses == {epoch: expected[epoch] for epoch in (1, 2)}
    assert_same(resumed, whole)


def test_the_best_weights_are_those_of_the_whole_job(job):
    """The second life learns nothing and drifts away."""
    best = job(3)
    score = min(job.losses.values())

    def spoil():
        from torch import nn

        for parameter in spoilt.module.parameters():
            nn.init.constant_(parameter, 5.0)

    from lightning.pytorch.callbacks import Callback

    class Spoilt(Callback):
        def on_train_start(self, _trainer, module):
            self.module = module

    spoilt = Spoilt()
    later = job(5, spoilt, at(3, 0, spoil))
    assert all(loss > score for loss in job.losses.values())
    assert_same(later, best)


def test_a_torn_checkpoint_falls_back_to_the_one_before(job):
    whole = job(4)
    expected = job.losses
    newest = sorted(job.folder.iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = job(4)
    assert job.said("unreadable and ignored")
    assert job.losses == {3: expected[3]}
    assert_same(resumed, whole)


def lacks(name, content):
    del content[name]


def of_another_version(content):
    content["callbacks"]["Keeper"] = {"best": None}


def of_another_network(content):
    weights = content["state_dict"]
    weights["a.new.layer"] = weights.popitem()[1]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (partial(lacks, "loops"), "it has no loops"),
        (partial(lacks, "state_dict"), "it has no state_dict"),
        (of_another_version, "it is of another version of this program"),
        (of_another_network, 'Unexpected key\\(s\\) in state_dict: "a.new.layer"'),
    ],
)
def test_a_checkpoint_that_other_code_has_written_falls_back_to_the_one_before(job, spoil, reason):
    """A fingerprint knows the job, and neither this program nor the code of the user's class."""
    import torch

    whole = job(3)
    expected = job.losses
    newest = sorted(job.folder.iterdir())[-1]
    content = torch.load(newest, weights_only=True)
    spoil(content)
    torch.save(content, newest)
    resumed = job(3)
    (said,) = job.said("does not fit and is ignored: ")
    assert said.startswith(f"checkpoint {newest.name} ")
    assert re.search(reason, said)
    assert job.losses == {2: expected[2]}
    assert_same(resumed, whole)


def test_no_room_for_what_is_saved_ends_no_training(job, monkeypatch):
    from lightning.fabric.plugins import TorchCheckpointIO

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = job(3, keep=False)
    with monkeypatch.context() as patched:
        patched.setattr(TorchCheckpointIO, "save_checkpoint", full)
        assert_same(job(3), whole)
    assert len(job.said("cannot be written: No space left on device")) == 3
    assert not job.folder.exists()


def test_a_changed_hyperparameter_starts_anew(job):
    job(2)
    job(2, lr=0.02)
    assert job.said("another job") == ["checkpoint of another job ignored: lr was 0.01, is 0.02"]
    assert list(job.losses) == [0, 1]


def test_early_stopping_counts_on_and_stays_stopped(job):
    """A rate that makes everything worse: the loss of the first epoch is the best."""
    arguments = {"lr": 3.0, "patience": 3}
    job(50, keep=False, **arguments)
    expected = list(job.losses)
    assert 4 <= len(expected) < 50
    with pytest.raises(ModelError):
        job(50, at(expected[-1], 1, fail), **arguments)
    job(50, **arguments)
    assert list(job.losses) == expected[-1:]
    job(50, **arguments)
    assert job.losses == {}


def test_a_stop_in_the_first_epoch_gives_a_model_and_no_checkpoint(job):
    stop = Stop()
    predictor = job(4, at(0, 1, lambda: setattr(stop, "wished", True)), stop=stop)
    assert stop.early
    assert job.said("the best weights so far, those of this moment, in epoch 0")
    assert len(list(predictor.predict(dataset()))) == 4
    assert not job.folder.exists()


def test_a_stop_after_the_last_batch_comes_too_late_to_be_early(job):
    from lightning.pytorch.callbacks import Callback

    stop = Stop()

    class Late(Callback):
        def on_train_end(self, *_):
            stop.wished = True

    job(1, Late(), stop=stop)
    assert stop.awaited
    assert not stop.early


def test_seconds_lie_between_checkpoints_and_the_last_is_written_in_any_case(job, tmp_path):
    from gluonts_shell.forecasting.lightning.epochs import Keeper

    written = []

    class Recorded(Checkpoints):
        def write(self, saved, epochs):
            written.append(epochs)
            super().write(saved, epochs)

    checkpoints = Recorded(tmp_path / "checkpoints", "algo-1", {}, every=3600)
    assert Keeper(Stop(), checkpoints, tmp_path, Ranks()).checkpoints is checkpoints
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

    estimator = SimpleFeedForwardEstimator(
        2, num_batches_per_epoch=1, batch_size=2, trainer_kwargs={"max_epochs": 4}
    )
    fit(
        estimator,
        dataset(),
        None,
        options=Options(),
        watch=Watch("algo-1", False, None, checkpoints),
    )
    assert written == [4]


def test_the_model_has_gluonts_own_transformation(job):
    names = {type(step).__name__ for step in job(1).input_transform.transformations}
    assert "AddTimeFeatures" in names
    assert "Calendar" not in names


def test_estimators_without_checkpoints_say_so_at_the_start(tmp_path, caplog):
    from gluonts.model.trivial.mean import MeanEstimator

    checkpoints = Checkpoints(tmp_path, "algo-1", {})
    fit(
        MeanEstimator(prediction_length=2, num_samples=3),
        dataset(),
        None,
        options=Options(),
        watch=Watch("algo-1", False, None, checkpoints),
    )
    sentence = "if the job is stopped in training, what it has learnt is lost"
    assert caplog.messages == [f"MeanEstimator writes no checkpoints: {sentence}"]


def test_time_that_is_up_ends_the_training(job):
    job(1000000, max_time="00:00:00:01")
    assert 1 <= len(job.losses) < 1000000
