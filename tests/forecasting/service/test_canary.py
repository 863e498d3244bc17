"""A canary tells a model that forecasts as it did from one that does not, whatever its forecasts are made of."""

from __future__ import annotations

import json
import random

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.npts import NPTSPredictor
from gluonts.model.predictor import RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.mean import MeanPredictor

from gluonts_shell.errors import ModelError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.service import canary
from gluonts_shell.forecasting.service.service import Model


def entry(length=40, **fields):
    start = pd.Period("2020-01-06", "D")
    target = np.sin(np.arange(length, dtype=np.float32)) + 10
    return {"item_id": "a", "start": start, "target": target, **fields}


def model(predictor):
    return Model.of(predictor, "D", Features())


class Noisy(RepresentablePredictor):
    """Draws from generators of its own, which no seed of ours reaches."""

    def __init__(self, prediction_length=5, level=10.0, samples=100, spread=1.0):
        super().__init__(prediction_length=prediction_length)
        self.level, self.samples, self.spread = level, samples, spread
        self.random = np.random.default_rng()

    def predict_item(self, item):
        drawn = self.random.normal(self.level, self.spread, (self.samples, self.prediction_length))
        return SampleForecast(drawn, start_date=item["start"] + len(item["target"]))


class MeanOnly(RepresentablePredictor):
    def predict_item(self, item):
        start = item["start"] + len(item["target"])
        return QuantileForecast(
            np.array([[np.nan, 2.0, 3.0]]), start_date=start, forecast_keys=["mean"]
        )


def replayed(first, second, folder, relative=canary.SAME, entries=None):
    canary.write(model(first), entries or [entry(), entry(25)], folder)
    return canary.replay(model(second), "D", folder, relative)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SeasonalNaivePredictor(prediction_length=5, season_length=7),
        lambda: MeanPredictor(prediction_length=5),
        lambda: NPTSPredictor(prediction_length=5),
        lambda: MeanOnly(prediction_length=3),
        Noisy,
        lambda: Noisy(prediction_length=1, samples=1),
        lambda: Noisy(prediction_length=1, samples=10),
    ],
)
def test_the_same_model_passes(make, tmp_path):
    for _ in range(5):
        assert replayed(make(), make(), tmp_path) == 2
        assert replayed(make(), make(), tmp_path, canary.ELSEWHERE) == 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            SeasonalNaivePredictor(prediction_length=5, season_length=7),
            SeasonalNaivePredictor(prediction_length=5, season_length=6),
            r"^item_id 'a': its mean was 10.9999 at step 1 and is 10.5291$",
        ),
        (Noisy(), Noisy(level=0.0), r"its mean was \d+\.\d+ at step 1 and is -?0\.\d"),
        (
            MeanPredictor(prediction_length=5),
            MeanPredictor(prediction_length=4),
            r"there is no mean of 5 values",
        ),
    ],
)
def test_another_model_is_told_apart(first, second, expected, tmp_path):
    with pytest.raises(canary.Differs, match=expected):
        replayed(first, second, tmp_path)


def test_a_model_that_forecasts_other_steps_than_it_says_does_not_pass(tmp_path):
    with pytest.raises(ModelError, match="the model forecast 3 steps, expected 5, its predic"):
        replayed(MeanPredictor(prediction_length=5), MeanOnly(prediction_length=5), tmp_path)


def test_a_small_difference_passes_elsewhere_and_not_in_the_same_image():
    rows = {"mean": np.array([1.0, 100.0])}
    other = {"mean": np.array([1.0001, 100.01])}
    assert (
        canary.difference(rows, other, 0.0, canary.SAME)
        == "its mean was 100 at step 2 and is 100.01"
    )
    assert canary.difference(rows, other, 0.0, canary.ELSEWHERE) is None
    assert canary.difference(rows, {"mean": np.array([1.0, np.nan])}, 0.0, 1e-3) is not None


def test_of_what_is_drawn_half_the_steps_may_be_beyond_the_tolerance():
    rows = {"mean": np.zeros(4)}
    assert canary.difference(rows, {"mean": np.array([9.0, 9, 0, 0])}, 1.0, 1e-5) is None
    assert canary.difference(rows, {"mean": np.array([9.0, 9, 9, 0])}, 1.0, 1e-5) is not None


def test_a_model_that_raises_is_a_sentence(tmp_path):
    class Raising(MeanOnly):
        def predict_item(self, item):
            raise AttributeError("no attribute\n'distr_output'")

    with pytest.raises(
        ModelError,
        match=r"^the saved model does not forecast: AttributeError: no attribute 'distr_ou",
    ):
        replayed(MeanOnly(prediction_length=3), Raising(prediction_length=3), tmp_path)


class Echo(RepresentablePredictor):
    """Forecasts the sum of all that the entry brings."""

    def predict_item(self, item):
        arrays = [value for value in item.values() if isinstance(value, np.ndarray)]
        total = sum(float(np.nansum(array)) for array in arrays) + item["capacity"]
        kinds = sorted(str(array.dtype) for array in arrays)
        assert kinds == ["float32", "float32", "float64", "int64"]
        start = item["start"] + len(item["target"])
        return SampleForecast(np.full((1, 2), total), start_date=start)


def test_entries_come_back_as_the_model_got_them(tmp_path):
    features = {
        "feat_static_cat": np.array([3]),
        "feat_dynamic_real": np.ones((2, 6), dtype=np.float32),
        "past_feat_dynamic_real": np.ones((1, 4)),
        "capacity": 7,
    }
    target = np.array([1, np.nan, 3, 4], dtype=np.float32)
    made = entry(4, target=target, **features)
    assert (
        replayed(Echo(prediction_length=2), Echo(prediction_length=2), tmp_path, entries=[made])
        == 1
    )
    (line,) = (tmp_path / canary.NAME).read_text().splitlines()
    read = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert read["entry"]["target"]["values"] == [1, None, 3, 4]
    assert read["tolerance"] == 0


def test_the_series_are_a_few_and_their_last_values():
    features = {
        "feat_dynamic_real": np.arange(3002.0)[None],
        "past_feat_dynamic_real": np.arange(3002.0)[None],
    }
    many = [entry(2), entry(3002, **features), *(entry(12) for _ in range(9))]
    found = canary.choose(iter(many), 2)
    assert len(found) == 3
    (first, second, _) = found
    assert first["start"] == many[1]["start"] + 2000
    np.testing.assert_array_equal(first["target"], many[1]["target"][2000:3000])
    assert first["feat_dynamic_real"][0, [0, -1]].tolist() == [2000, 3001]
    assert first["past_feat_dynamic_real"][0, [0, -1]].tolist() == [2000, 2999]
    assert second["target"].shape == (10,)
    assert canary.choose([entry(2)] * 60 + [entry(40)], 2) == [], (
        "it looks at the first series only"
    )


def test_a_target_of_several_dimensions(tmp_path):
    several = {**entry(), "target": np.arange(3000.0).reshape(2, 1500)}
    (chosen,) = canary.choose([several], 10)
    assert chosen["target"].shape == (2, 1000)

    class Last(RepresentablePredictor):
        def predict_item(self, item):
            last = np.repeat(item["target"][None, :, -1], 3, axis=0)
            return SampleForecast(last[None], start_date=item["start"])

    assert (
        replayed(Last(prediction_length=3), Last(prediction_length=3), tmp_path, entries=[chosen])
        == 1
    )


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(tmp_path):
    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.rand())
    random.seed(1)
    np.random.seed(1)
    assert (
        replayed(MeanPredictor(prediction_length=5), MeanPredictor(prediction_length=5), tmp_path)
        == 2
    )
    assert (random.random(), np.random.rand()) == expected


def test_a_model_without_a_canary_starts_as_ever(tmp_path):
    assert canary.replay(model(MeanOnly(prediction_length=3)), "D", tmp_path, canary.SAME) == 0


@pytest.mark.parametrize("text", ["{", "[1]", '{"entry": 1}', "3"])
def test_a_canary_that_cannot_be_read_is_a_sentence(tmp_path, text):
    (tmp_path / canary.NAME).write_text(text)
    with pytest.raises(
        ModelError,
        match=r"^canary.jsonl in the model folder cannot be read: expected lines that a tr",
    ):
        canary.replay(model(MeanOnly(prediction_length=3)), "D", tmp_path, canary.SAME)
