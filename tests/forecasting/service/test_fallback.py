"""The predictor that stands in for the model: how it is found, built and asked."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.contract import Contract
from gluonts_shell.forecasting.service.fallback import fallback
from gluonts_shell.messages import Call, Configuration

CONTRACT = Contract("h", 5, "x", arguments={"season_length": 3, "context_length": 1})
MEAN = "gluonts.model.trivial.mean.MeanPredictor"
SEASONAL = "gluonts.model.seasonal_naive.SeasonalNaivePredictor"


def forecast(
    name: str,
    target: list[float],
    configuration: Configuration,
    contract: Contract | None = CONTRACT,
) -> list:
    predict, _ = fallback(name, configuration, contract)
    entry = {"start": pd.Period("2024-01-01", "h"), "target": np.array(target, dtype=np.float32)}
    ((prediction,),) = predict([Call(configuration, [entry])])
    return [prediction.mean, prediction.samples]


def test_the_horizon_and_the_samples_are_the_jobs() -> None:
    configuration = Configuration(freq="h", num_samples=7, output_types=("mean", "samples"))
    mean, samples = forecast(MEAN, [3.0] * 20, configuration)
    assert mean == [3.0] * 5 and len(samples) == 7


def test_what_the_constructor_needs_comes_from_the_model() -> None:
    assert forecast(SEASONAL, [1, 2, 3, 4, 5, 6], Configuration(freq="h"))[0] == [4, 5, 6, 4, 5]


def test_what_it_has_a_default_for_does_not() -> None:
    configuration = Configuration(freq="h", num_samples=2, output_types=("mean",))
    mean, _ = forecast(MEAN, [0.0, 1000.0], configuration)
    assert mean != [1000.0] * 5, "the model's context_length of 1 is not the fallback's"


def test_a_forecaster_named_in_the_configuration_gives_its_horizon() -> None:
    named = Configuration(
        freq="h",
        forecaster="gluonts.model.trivial.constant.ConstantValuePredictor",
        parameters='{"prediction_length": 4, "value": 1}',
        output_types=("mean",),
    )
    assert len(forecast(MEAN, [1.0], named, None)[0]) == 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_series_without_history_is_forecast_too() -> None:
    assert all(
        map(math.isnan, forecast(MEAN, [], Configuration(freq="h", output_types=("mean",)))[0])
    )
    assert len(forecast(SEASONAL, [], Configuration(freq="h", output_types=("mean",)))[0]) == 5


@pytest.mark.parametrize(("short", "label"), [("MeanPredictor", MEAN), (SEASONAL, SEASONAL)])
def test_the_label_is_the_class_path(short: str, label: str) -> None:
    assert fallback(short, Configuration(freq="h"), CONTRACT)[1] == label


@pytest.mark.parametrize(
    ("name", "contract", "sentence"),
    [
        (
            "my.Predictor",
            CONTRACT,
            "GLUONTS_BATCH_FALLBACK_PREDICTOR: there is no forecaster 'my.Predictor'",
        ),
        (
            "MeanEstimator",
            CONTRACT,
            "is 'MeanEstimator', expected a Predictor, which needs no training",
        ),
        (
            SEASONAL,
            Contract("h", 5, "x"),
            "it needs 'season_length', which the model was not made with",
        ),
        (
            SEASONAL,
            Contract("h", 5, "x", {"season_length": "x"}),
            "its season_length would be 'x', expected",
        ),
    ],
)
def test_a_broken_fallback_is_a_sentence(name: str, contract: Contract, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        fallback(name, Configuration(freq="h"), contract)
    assert sentence in str(caught.value)


def test_a_series_without_history_keeps_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features reach to the end of the horizon, and a model that looks at them found them too short."""
    seen = []
    original = SeasonalNaivePredictor.predict_item

    def predict_item(self: SeasonalNaivePredictor, item: dict) -> object:
        seen.append(item)
        return original(self, item)

    monkeypatch.setattr(SeasonalNaivePredictor, "predict_item", predict_item)
    predict, _ = fallback(SEASONAL, Configuration(freq="D", output_types=("mean",)), CONTRACT)
    entry = {
        "start": pd.Period("2024-01-02", "D"),
        "target": np.zeros(0, dtype=np.float32),
        "feat_dynamic_real": np.array([[1.0, 2.0, 3.0]]),
        "past_feat_dynamic_real": np.zeros((1, 0)),
    }
    predict([Call(Configuration(freq="D", output_types=("mean",)), [entry])])
    assert seen[0]["start"] == pd.Period("2024-01-01", "D")
    assert seen[0]["feat_dynamic_real"].tolist() == [[1.0, 1.0, 2.0, 3.0]], (
        "as long as the target and the horizon"
    )
    assert seen[0]["past_feat_dynamic_real"].shape == (1, 1)


@pytest.mark.parametrize("length", [6, 0])
def test_of_several_dimensions_each_is_forecast_alone(length: int) -> None:
    wanted = ("mean", "quantiles", "samples")
    configuration = Configuration(freq="D", output_types=wanted, quantiles=(("0.5", 0.5),))
    predict, _ = fallback(SEASONAL, configuration, CONTRACT)
    target = np.arange(2.0 * length, dtype=np.float32).reshape(2, length)
    entry = {"start": pd.Period("2024-01-02", "D"), "target": target}
    ((found,),) = predict([Call(configuration, [entry])])
    rows = [[3, 4, 5, 3, 4], [9, 10, 11, 9, 10]] if length else [[0.0] * 5] * 2
    assert found.mean == rows
    assert found.quantiles == {"0.5": rows}
    assert found.samples == [rows]
