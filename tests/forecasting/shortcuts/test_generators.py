"""Forecasts of a batch made at once have the values of GluonTS's own, to the last bit; what is not known is left."""

import logging

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from gluonts.model import forecast_generator  # noqa: E402
from gluonts.model.forecast_generator import DistributionForecastGenerator  # noqa: E402
from gluonts.torch import distributions  # noqa: E402
from gluonts.torch.model.forecast import DistributionForecast  # noqa: E402
from gluonts.torch.model.patch_tst import PatchTSTEstimator  # noqa: E402
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator  # noqa: E402
from gluonts.torch.model.tide import TiDEEstimator  # noqa: E402

from gluonts_shell.forecasting.shortcuts import generators  # noqa: E402

pytestmark = pytest.mark.torch

ORIGINAL = getattr(
    DistributionForecastGenerator.__call__, "__wrapped__", DistributionForecastGenerator.__call__
)
LEVELS = (0.1, 0.5, "0.9", "p99", 0.025)


def predictor(kind=SimpleFeedForwardEstimator, **arguments):
    torch.manual_seed(0)
    estimator = kind(prediction_length=6, context_length=12, batch_size=4, **arguments)
    return estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )


def series():
    dice = np.random.default_rng(1)
    return [
        {
            "start": pd.Period("2024-01-01", "h"),
            "target": 50 * dice.random(5 + n, np.float32),
            "item_id": f"{n}",
        }
        for n in range(10)
    ]


@pytest.fixture
def forecast(monkeypatch):
    def run(predictor, call):
        monkeypatch.setattr(DistributionForecastGenerator, "__call__", call)
        return list(predictor.predict(series(), num_samples=20))

    return run


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (SimpleFeedForwardEstimator, {}),
        (PatchTSTEstimator, {"patch_len": 4}),
        (TiDEEstimator, {"freq": "h"}),
        (SimpleFeedForwardEstimator, {"distr_output": distributions.NormalOutput()}),
        (SimpleFeedForwardEstimator, {"distr_output": distributions.LaplaceOutput()}),
        (SimpleFeedForwardEstimator, {"distr_output": distributions.NegativeBinomialOutput()}),
    ],
    ids=str,
)
def test_values_are_those_of_gluonts(kind, arguments, forecast):
    model = predictor(kind, **arguments)
    expected, found = forecast(model, ORIGINAL), forecast(model, generators.joined(ORIGINAL))
    assert len(found) == len(expected) == 10
    for one, other in zip(found, expected, strict=True):
        assert type(one) is generators.DistributionForecast
        assert isinstance(one, DistributionForecast)
        assert (one.item_id, one.start_date, one.info) == (
            other.item_id,
            other.start_date,
            other.info,
        )
        assert (one.shape, one.prediction_length) == (other.shape, other.prediction_length)
        assert np.array_equal(one.mean, other.mean)
        assert one.mean_ts.equals(other.mean_ts)
        for level in LEVELS:
            assert np.array_equal(one.quantile(level), other.quantile(level)), level
        torch.manual_seed(1)
        drawn = other.to_sample_forecast(5).samples
        torch.manual_seed(1)
        assert np.array_equal(one.to_sample_forecast(5).samples, drawn)
        assert type(one.distribution) is type(other.distribution)


def test_a_quantile_is_computed_once_for_a_batch(forecast, monkeypatch):
    found = forecast(predictor(), generators.joined(ORIGINAL))
    asked = []
    icdf = distributions.StudentTOutput.distr_cls.icdf
    monkeypatch.setattr(
        distributions.StudentTOutput.distr_cls,
        "icdf",
        lambda self, value: asked.append(value) or icdf(self, value),
    )
    for one in found:
        one.quantile(0.1)
        one.quantile(0.9)
    assert len(asked) == 2 * 3, "two levels of three batches"


@pytest.mark.parametrize(
    "output",
    [distributions.GammaOutput(), distributions.PiecewiseLinearOutput(num_pieces=3)],
    ids=type,
)
def test_another_distribution_is_made_by_gluonts(output, forecast):
    found = forecast(predictor(distr_output=output), generators.joined(ORIGINAL))
    assert {type(one) for one in found} == {DistributionForecast}


def test_a_subclass_of_the_generator_or_of_the_output_is_left_alone(forecast):
    class OwnGenerator(DistributionForecastGenerator):
        pass

    class OwnOutput(distributions.StudentTOutput):
        pass

    model = predictor()
    model.forecast_generator = OwnGenerator(distributions.StudentTOutput())
    assert {type(one) for one in forecast(model, generators.joined(ORIGINAL))} == {
        DistributionForecast
    }
    model = predictor(distr_output=OwnOutput())
    assert {type(one) for one in forecast(model, generators.joined(ORIGINAL))} == {
        DistributionForecast
    }


def test_parameters_that_are_none_are_told_as_gluonts_tells_them(forecast):
    model = predictor()
    with torch.no_grad():
        for parameter in model.prediction_net.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ValueError, match="Expected parameter") as expected:
        forecast(model, ORIGINAL)
    with pytest.raises(ValueError, match="Expected parameter") as found:
        forecast(model, generators.joined(ORIGINAL))
    assert str(found.value) == str(expected.value)


def test_what_cannot_be_followed_is_still_told_once(forecast, caplog, monkeypatch):
    monkeypatch.setattr(forecast_generator, "LOG_CACHE", set())
    model = predictor()
    model.output_transform = lambda batch, outputs: outputs
    with caplog.at_level(logging.INFO):
        forecast(model, generators.joined(ORIGINAL))
    assert [record.message for record in caplog.records] == [
        forecast_generator.OUTPUT_TRANSFORM_NOT_SUPPORTED_MSG,
        forecast_generator.NOT_SAMPLE_BASED_MSG,
    ]


def test_only_networks_of_torch_are_called_without_a_look_for_mxnet():
    asked = []
    predictions = generators.without_mxnet(lambda net, inputs: asked.append(net) or "theirs")
    assert predictions("another network", {}) == "theirs"
    assert asked == ["another network"]
    assert predictions(torch.nn.Identity(), {"input": 3}) == 3
    assert len(asked) == 1
