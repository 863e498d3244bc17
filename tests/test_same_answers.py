"""What is fast is not different: the bytes of an answer hold what GluonTS gives when it is used the plain way.

The plain way is a ListDataset, one predict for each series, forecast.mean and forecast.quantile. Values are compared as
float32, which is what models compute in.
"""

import json
import random

import numpy as np
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.model.npts import NPTSPredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.mean import MeanPredictor

from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting
from gluonts_shell.serving.endpoint import codec, records

dice = random.Random(7)
SERIES = {
    "measured": [dice.gauss(50, 20) for _ in range(60)],
    "whole": [dice.randrange(100) for _ in range(60)],
    "gaps": [None if hour % 7 == 3 else dice.gauss(0, 1) for hour in range(60)],
    "tiny and huge": [
        dice.choice([1e-30, -1e-7, 3.0, 1e12, 1e30]) * dice.random() for _ in range(60)
    ],
    "zero": [0.0] * 60,
    "short": [1.5, 2.5],
}
QUANTILES = ["0.1", "0.25", "0.5", "0.90"]
PREDICTORS = {
    "one path": SeasonalNaivePredictor(prediction_length=5, season_length=24),
    "samples": NPTSPredictor(
        prediction_length=5, context_length=30, use_default_time_features=False
    ),
    "normal samples": MeanPredictor(prediction_length=5, context_length=24, num_samples=100),
}


def seed(number=3):
    np.random.seed(number)


def ours(predictor, targets):
    """Each request alone, and the numbers of its answer as float32."""
    service = Forecasting(
        (predictor, Contract("h", 5, "some.Forecaster", features=Features((), 0, 0, 0))), Rule()
    )
    for target in targets:
        instance = {"start": "2021-01-01 00:00:00", "target": target}
        configuration = {
            "num_samples": 100,
            "output_types": ["mean", "quantiles", "samples"],
            "quantiles": QUANTILES,
        }
        payload = records.request(
            json.dumps({"instances": [instance], "configuration": configuration}).encode()
        )
        checked = service.configure(payload.configuration)
        seed()
        ((prediction,),) = service.predict([service.prepare(payload.instances, checked)])
        (found,) = json.loads(codec.encode([prediction]))["predictions"]
        yield (
            [as_float32(found["mean"])] + [as_float32(found["quantiles"][q]) for q in QUANTILES],
            found["samples"],
        )


def plain(predictor, targets):
    for target in targets:
        values = [np.nan if value is None else value for value in target]
        dataset = ListDataset([{"start": "2021-01-01 00:00:00", "target": values}], freq="h")
        seed()
        (forecast,) = predictor.predict(
            dataset, **({"num_samples": 100} if "NPTS" in type(predictor).__name__ else {})
        )
        rows = [forecast.mean] + [forecast.quantile(float(level)) for level in QUANTILES]
        yield [as_float32(row) for row in rows], forecast.samples


def as_float32(values):
    return np.array(values, dtype=float).astype(np.float32)


def same(found, expected, name=""):
    """To the last bit but one: a float64 that was written with nine digits may round to float32 the other way."""
    np.testing.assert_allclose(found, expected, rtol=2**-23, atol=0, err_msg=name)


@pytest.mark.parametrize("encoder", ["json", "orjson"])
@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
def test_answers_are_those_of_gluonts(predictor, encoder, monkeypatch):
    monkeypatch.setattr(
        codec, "orjson", pytest.importorskip("orjson") if encoder == "orjson" else None
    )
    for name, found, expected in zip(
        SERIES, ours(predictor, SERIES.values()), plain(predictor, SERIES.values()), strict=True
    ):
        same(found[0], expected[0], name)
        same(as_float32(found[1]), as_float32(expected[1]), name)


@pytest.mark.torch
def test_answers_are_those_of_a_network_that_draws_the_same_numbers():
    torch = pytest.importorskip("torch")
    from gluonts.torch.model.deepar import DeepAREstimator

    estimator = DeepAREstimator(
        freq="h", prediction_length=5, context_length=6, num_layers=1, hidden_size=8
    )
    torch.manual_seed(1)
    predictor = estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )
    targets = [SERIES[name] * 20 for name in ("measured", "whole", "gaps")]

    def of(way):
        answers = way(predictor, targets)
        for _ in targets:
            torch.manual_seed(2)
            yield next(answers)

    for found, expected in zip(list(of(ours)), list(of(plain)), strict=True):
        same(found[0], expected[0])
        same(as_float32(found[1]), as_float32(expected[1]))


@pytest.mark.torch
@pytest.mark.parametrize("encoder", ["json", "orjson"])
@pytest.mark.parametrize("network", ["deepar", "distribution"])
def test_answers_with_shortcuts_are_those_of_gluonts_without(network, encoder, monkeypatch):
    """Means and quantiles of series that are predicted together; an order of summing is worth some last bits."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(
        codec, "orjson", pytest.importorskip("orjson") if encoder == "orjson" else None
    )
    from gluonts.model.forecast_generator import DistributionForecastGenerator as Generator
    from gluonts.torch.model.deepar import DeepAREstimator
    from gluonts.torch.model.deepar.module import DeepARModel
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

    from gluonts_shell.forecasting.shortcuts import deepar, generators

    torch.manual_seed(1)
    estimator = {
        "deepar": DeepAREstimator(freq="h", prediction_length=5, context_length=6),
        "distribution": SimpleFeedForwardEstimator(prediction_length=5, context_length=6),
    }[network]
    predictor = estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )
    targets = [SERIES[name] for name in ("measured", "whole", "gaps")]
    forward = getattr(DeepARModel.forward, "__wrapped__", DeepARModel.forward)
    call = getattr(Generator.__call__, "__wrapped__", Generator.__call__)
    answers = []
    for taken in (True, False):
        monkeypatch.setattr(DeepARModel, "forward", deepar.quicker(forward) if taken else forward)
        monkeypatch.setattr(Generator, "__call__", generators.joined(call) if taken else call)
        torch.manual_seed(2)
        answers.append(together(predictor, targets))
    for found, expected in zip(*answers, strict=True):
        size = np.abs(expected["mean"]).max()
        for name, row in [("mean", expected["mean"]), *expected["quantiles"].items()]:
            other = found["mean"] if name == "mean" else found["quantiles"][name]
            np.testing.assert_allclose(other, row, rtol=1e-5, atol=1e-5 * size, err_msg=name)


def together(predictor, targets):
    contract = Contract("h", 5, "some.Forecaster", features=Features((), 0, 0, 0))
    service = Forecasting((predictor, contract), Rule())
    instances = [{"start": "2021-01-01 00:00:00", "target": target} for target in targets]
    wanted = {"output_types": ["mean", "quantiles"], "quantiles": QUANTILES}
    body = json.dumps({"instances": instances, "configuration": wanted}).encode()
    payload = records.request(body)
    call = service.prepare(payload.instances, service.configure(payload.configuration))
    (predictions,) = service.predict([call])
    return json.loads(codec.encode(predictions))["predictions"]
