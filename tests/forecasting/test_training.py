import json
import logging
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.env import env
from gluonts.model.estimator import Estimator
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.constant import ConstantPredictor
from gluonts.model.trivial.mean import MeanEstimator, MeanPredictor

from gluonts_shell.errors import ConfigurationError, DataError, ModelError, ShellError
from gluonts_shell.forecasting.data.channel import Channel, Data
from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.distributed.ranks import seed_everything
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options
from gluonts_shell.forecasting.training import (
    KEPT_VALUES,
    Watch,
    Witness,
    _check_learnt,
    fit,
    set_environment,
)

WATCH = Watch(host="algo-1", progress_bar=False)


def dataset(length=60, count=4):
    start = pd.Period("2020-01-01", "D")
    return [
        {
            "start": start,
            "target": np.arange(length, dtype=np.float32) + i,
            "item_id": str(i),
            "feat_static_cat": np.array([0]),
        }
        for i in range(count)
    ]


def train(estimator, data=None, validation=None, watch=WATCH, start_from=None, **options):
    return fit(
        estimator,
        data or dataset(),
        validation,
        options=Options(**options),
        watch=watch,
        start_from=start_from,
    )


class Recording(Estimator):
    """Keeps what it was given."""

    def train(self, training_data, validation_data=None, num_workers=None, cache_data=False):
        self.given = {
            "train": training_data,
            "validation": validation_data,
            "num_workers": num_workers,
            "cache_data": cache_data,
        }
        return MeanPredictor(prediction_length=1)


class Narrow(Estimator):
    def train(self, training_data):
        return MeanPredictor(prediction_length=len(training_data))


class Failing(Estimator):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def train(self, training_data, validation_data=None):
        raise self.error


def test_an_estimator_gets_what_its_train_takes_and_the_rest_is_told(caplog):
    estimator, data, validation = Recording(), dataset(), dataset(count=1)
    train(estimator, data, validation, num_workers=2, cache_data=True, shuffle_buffer_length=10)
    assert estimator.given == {
        "train": data,
        "validation": validation,
        "num_workers": 2,
        "cache_data": True,
    }
    assert caplog.messages == [
        "hyperparameter 'shuffle_buffer_length' is not used: Recording has no use for it"
    ]


@pytest.mark.parametrize(
    ("module", "values", "given", "kept"),
    [
        ("gluonts.toy", KEPT_VALUES, {}, True),
        ("gluonts.toy", KEPT_VALUES + 1, {}, False),
        ("gluonts.toy", 1, {"cache_data": False}, False),
        ("their.own", 1, {}, False),
    ],
)
def test_small_data_is_transformed_once_by_gluonts_own_estimators(
    monkeypatch, module, values, given, kept
):
    monkeypatch.setattr(Recording, "__module__", module)
    data = Data(
        Channel("train", Path("train"), "D"),
        Statistics(series=1, observations=values - 1, missing=1),
        [],
    )
    estimator = Recording()
    train(estimator, data, **given)
    assert estimator.given["cache_data"] is kept


def test_an_estimator_that_takes_no_validation_data_is_trained_without(caplog):
    assert train(Narrow(), validation=dataset()).prediction_length == 4
    assert caplog.messages == ["channel 'validation' is not used: Narrow takes no validation data"]


def test_an_estimator_that_learns_nothing_is_trained_like_any_other():
    assert isinstance(train(MeanEstimator(prediction_length=2, num_samples=3)), ConstantPredictor)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            ValueError("bad\n  value"),
            ModelError,
            "Failing failed in training: ValueError: bad value",
        ),
        (
            AssertionError(),
            ModelError,
            "Failing failed in training: AssertionError: an assertion without a message; the traceback says where",
        ),
        (
            RuntimeError("x" * 5000),
            ModelError,
            "Failing failed in training: RuntimeError: " + "x" * 700,
        ),
        (DataError("train/x.json line 1: wrong"), DataError, "train/x.json line 1: wrong"),
        (
            Exception("Reached maximum number of idle transformation calls. This means ..."),
            DataError,
            "channel 'train': Failing finds no window to train on; series must be longer, or context_length and prediction_length shorter",
        ),
    ],
)
def test_what_fails_in_training_becomes_a_sentence(error, kind, sentence):
    with pytest.raises(ShellError) as caught:
        train(Failing(error))
    assert type(caught.value) is kind
    assert str(caught.value) == sentence


def test_early_stopping_needs_a_trainer():
    with pytest.raises(
        ConfigurationError,
        match=r"^hyperparameter 'early_stopping_patience' is not known to Recording$",
    ):
        train(Recording(), watch=Watch("local", False, early_stopping_patience=3))


def test_seeds_make_draws_repeat():
    draws = []
    for _ in range(2):
        seed_everything(7)
        draws.append((random.random(), np.random.rand()))
    assert draws[0] == draws[1]


@pytest.fixture
def environment():
    before = {"use_tqdm": env.use_tqdm, "max_idle_transforms": env.max_idle_transforms}
    yield env
    env._push(**before)


@pytest.mark.parametrize(
    ("values", "quiet", "found"),
    [
        ({}, True, {"use_tqdm": False}),
        ({}, False, {"use_tqdm": True}),
        ({"use_tqdm": "true"}, True, {"use_tqdm": True}),
        ({"use_tqdm": "False"}, False, {"use_tqdm": False}),
        ({"max_idle_transforms": "7"}, True, {"max_idle_transforms": 7}),
    ],
)
def test_entries_for_gluonts_environment_are_set(environment, values, quiet, found):
    set_environment(values, quiet)
    assert {name: getattr(environment, name) for name in found} == found


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"nope": "1"}, "hyperparameter '$env.nope' sets nothing: gluonts.env has no 'nope'"),
        ({"max_idle_transforms": "many"}, "hyperparameter '$env.max_idle_transforms' is 'many': "),
    ],
)
def test_entries_that_gluonts_does_not_have_are_named(environment, values, sentence):
    with pytest.raises(ConfigurationError) as caught:
        set_environment(values, quiet=True)
    assert str(caught.value).startswith(sentence)


@pytest.mark.torch
class TestLightning:
    @staticmethod
    def estimator(hidden=2, **trainer_kwargs):
        from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

        return SimpleFeedForwardEstimator(
            prediction_length=2,
            context_length=4,
            hidden_dimensions=[hidden],
            batch_size=4,
            num_batches_per_epoch=2,
            trainer_kwargs={"max_epochs": 2, "accelerator": "cpu", **trainer_kwargs},
        )

    def test_the_log_has_a_line_for_each_epoch_and_deepars_metrics(self, caplog):
        caplog.set_level(logging.INFO)
        train(self.estimator(), validation=dataset())
        number = r"-?[0-9]+\.[0-9]+"
        expected = [
            rf"Epoch\[0\] train loss {number}, validation loss {number}, [0-9.]+ seconds",
            rf"#quality_metric: host=algo-1, epoch=0, train loss <loss>={number}",
            rf"#quality_metric: host=algo-1, epoch=0, validation loss <loss>={number}",
            r"#progress_metric: host=algo-1, completed 50\.0 % of epochs",
            rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
            rf"Epoch\[1\] train loss {number}, validation loss {number}, [0-9.]+ seconds",
            rf"#quality_metric: host=algo-1, epoch=1, train loss <loss>={number}",
            rf"#quality_metric: host=algo-1, epoch=1, validation loss <loss>={number}",
            r"#progress_metric: host=algo-1, completed 100\.0 % of epochs",
            rf"#throughput_metric: host=algo-1, train throughput={number} records/second",
            rf"Final loss: {number} \(occurred at epoch [01]\)",
            rf"#quality_metric: host=algo-1, train final_loss <loss>={number}",
            r"the model has the weights of epoch [01], whose val_loss was the lowest",
        ]
        ours = [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("gluonts_shell")
        ]
        assert len(ours) == len(expected)
        assert [
            line
            for line, pattern in zip(ours, expected, strict=True)
            if not re.fullmatch(pattern, line)
        ] == []

    @pytest.mark.parametrize("epoch", [0, 1])
    def test_an_exception_in_any_epoch_fails_the_training(self, epoch):
        """GluonTS would go on with the weights of an earlier epoch as if nothing had happened."""
        from lightning.pytorch.callbacks import Callback

        class Bomb(Callback):
            def on_train_batch_start(self, trainer, *_):
                if trainer.current_epoch == epoch:
                    raise RuntimeError("out of memory, for example")

        with pytest.raises(
            ModelError,
            match=r"^SimpleFeedForwardEstimator failed in training: RuntimeError: out of memory, for example$",
        ):
            train(self.estimator(callbacks=[Bomb()]))

    def test_the_bar_of_an_epoch_knows_its_length(self, capsys):
        train(self.estimator(max_epochs=1), watch=Watch("local", progress_bar=True))
        bar = capsys.readouterr().out
        epochs = [line for line in bar.split("\r") if line.startswith("Epoch 0")]
        assert any(" 2/2 " in line for line in epochs), bar
        assert not any("/?" in line for line in epochs)

    def test_the_losses_of_all_epochs_are_there_afterwards(self):
        watch = Watch("algo-1", progress_bar=False)
        train(self.estimator(max_epochs=3), validation=dataset(), watch=watch)
        assert list(watch.losses) == ["train", "validation"]
        assert [len(losses) for losses in watch.losses.values()] == [3, 3]
        assert all(np.isfinite(losses).all() for losses in watch.losses.values())

    def test_nothing_is_written_to_the_current_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        train(self.estimator(max_epochs=1))
        assert list(tmp_path.iterdir()) == []

    def test_early_stopping_ends_a_training_that_does_not_improve(self, caplog):
        caplog.set_level(logging.INFO)
        estimator = self.estimator(max_epochs=50)
        estimator.lr = 0.0
        train(estimator, [dataset()[0]], watch=Watch("algo-1", False, early_stopping_patience=1))
        epochs = [message for message in caplog.messages if message.startswith("Epoch[")]
        assert "Using early stopping with patience 1" in caplog.messages
        assert 2 <= len(epochs) < 50

    def test_a_model_is_trained_further_from_where_it_was(self):
        first = train(self.estimator())
        again = self.estimator(max_epochs=1)
        again.lr = 0.0
        second = train(again, start_from=first)
        before, after = first.network.state_dict(), second.network.state_dict()
        assert all(np.allclose(before[name].numpy(), after[name].numpy()) for name in before)

    def test_a_model_of_another_architecture_is_a_sentence(self):
        previous = train(self.estimator(hidden=3, max_epochs=1))
        with pytest.raises(ConfigurationError) as caught:
            train(self.estimator(), start_from=previous)
        assert str(caught.value).startswith(
            "channel 'model': that model has another architecture than SimpleFeedForwardEstimator"
        )
        assert len(str(caught.value)) < 700

    def test_a_model_that_no_trainer_made_is_a_sentence(self):
        with pytest.raises(
            ConfigurationError,
            match=r"^channel 'model' holds a SeasonalNaivePredictor, expected a model that SimpleFeedForwardEstimator trained$",
        ):
            train(
                self.estimator(),
                start_from=SeasonalNaivePredictor(prediction_length=2, season_length=1),
            )

    def test_series_without_a_window_are_a_sentence(self):
        with pytest.raises(
            DataError,
            match=r"^channel 'train': SimpleFeedForwardEstimator finds no window to train on; series must be longer",
        ):
            train(self.estimator(max_epochs=1), dataset(length=1))

    def test_targets_of_several_dimensions_train_what_wants_them(self):
        from gluonts.torch.model.i_transformer import ITransformerEstimator

        estimator = ITransformerEstimator(
            prediction_length=2,
            context_length=4,
            d_model=4,
            nhead=1,
            dim_feedforward=4,
            num_batches_per_epoch=1,
            trainer_kwargs={"max_epochs": 1},
        )
        data = [
            {**entry, "target": np.stack([entry["target"], entry["target"] * 2])}
            for entry in dataset()
        ]
        (forecast,) = train(estimator, data).predict(data[:1], num_samples=3)
        assert forecast.samples.shape == (3, 2, 2)

    def test_a_loss_that_is_never_a_number_fails_the_training(self, tmp_path):
        from gluonts.torch.model.tft import TemporalFusionTransformerEstimator

        row = {
            "start": "2020-01-01",
            "target": [1e20 if step % 6 == 0 else 10 + step % 7 for step in range(120)],
        }
        (tmp_path / "data.json").write_text("\n".join([json.dumps(row)] * 3))
        estimator = TemporalFusionTransformerEstimator(
            freq="D",
            prediction_length=2,
            context_length=8,
            hidden_dim=2,
            variable_dim=2,
            num_heads=1,
            num_batches_per_epoch=3,
            batch_size=2,
            lr=1e30,
            trainer_kwargs={"max_epochs": 3},
        )
        with pytest.raises(ModelError) as caught:
            train(estimator, Channel("train", tmp_path, "D").read())
        assert str(caught.value) == (
            f"train loss was nan in all 3 epochs; the largest value of the data is 1e+20 ({tmp_path.name}/data.json "
            "line 1): fill values? or lower lr"
        )

    def test_an_epoch_without_a_loss_after_good_ones_is_told(self, caplog):
        predictor = train(self.estimator(max_epochs=1))
        _check_learnt(predictor, Witness(losses=[2.0, float("nan"), float("inf")]), dataset())
        assert caplog.messages == [
            "train loss was nan in epoch 1; the best weights of the other epochs are kept. "
            "a lower learning rate (lr) may help"
        ]

    def test_a_network_with_weights_that_are_no_numbers_is_no_success(self, monkeypatch):
        from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

        made = train(self.estimator(max_epochs=1))
        next(made.prediction_net.parameters()).data.fill_(float("nan"))
        monkeypatch.setattr(SimpleFeedForwardEstimator, "train", lambda *_, **__: made)
        with pytest.raises(
            ModelError, match=r"^the trained weights are no finite numbers; a lower learning rate"
        ):
            train(self.estimator())

    def test_one_long_series_among_many_short_ones_is_enough(self):
        from gluonts.torch.model.deep_npts import DeepNPTSEstimator

        estimator = DeepNPTSEstimator(
            freq="D",
            prediction_length=2,
            context_length=8,
            num_hidden_nodes=[2],
            epochs=1,
            num_batches_per_epoch=1,
            batch_size=2,
        )
        train(estimator, [*dataset(length=3, count=150), *dataset(count=1)])


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            ValueError("Expected parameter df (Tensor of shape (32,)) to satisfy GreaterThan, but found invalid values:\ntensor([nan, nan])"),
            ModelError,
            "Failing: the loss became NaN in epoch 0; ",
        ),
        (
            OverflowError("cannot convert float infinity to integer"),
            DataError,
            "channel 'train': Failing computes with values that become infinite; ",
        ),
    ],
)  # fmt: skip
def test_what_fill_values_lead_to_names_the_largest_value_and_its_place(
    tmp_path, error, kind, sentence
):
    (tmp_path / "data.json").write_text('{"start": "2020-01-01", "target": [1, 9.96921e36]}')
    data = Channel("train", tmp_path, "D").read()
    with pytest.raises(kind) as caught:
        train(Failing(error), data)
    place = f"{tmp_path.name}/data.json line 1"
    assert str(caught.value) == (
        f"{sentence}the largest value of the data is 9.96921e+36 ({place}): fill values? or lower lr"
    )
