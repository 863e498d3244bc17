"""Predictors named in requests: their parameters, and the cache."""

import pytest
from gluonts.model.trivial.constant import ConstantValuePredictor

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.configuration import parse
from gluonts_shell.forecasting.service.named import build

CONSTANT = "gluonts.model.trivial.constant.ConstantValuePredictor"


def made(**configuration):
    return build(Rule().find(configuration["forecaster_name"]), parse(configuration))


def refused(**configuration):
    with pytest.raises(RequestError) as caught:
        made(**configuration)
    return str(caught.value)


def test_a_predictor_gets_its_parameters_typed():
    predictor = made(
        forecaster_name=CONSTANT, freq="D", prediction_length=7.0, value=2, num_samples=3
    )
    assert isinstance(predictor, ConstantValuePredictor)
    assert (predictor.prediction_length, predictor.value, predictor.num_samples) == (7, 2.0, 3)
    predictor = made(
        forecaster_name="SeasonalNaivePredictor", freq="D", prediction_length=7, season_length=7
    )
    assert (predictor.prediction_length, predictor.season_length) == (7, 7)


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"prediction_length": 7, "valu": 1},
         "configuration.valu is not a parameter of ConstantValuePredictor; did you mean 'value'?"),
        ({"prediction_length": 7, "xyz": 1},
         "configuration.xyz is not a parameter of ConstantValuePredictor; "
         "it has 'prediction_length', 'value', 'num_samples'"),
        ({"prediction_length": 7, "quantile": []},
         "configuration.quantile is not a parameter of ConstantValuePredictor; did you mean 'quantiles'?"),
        ({}, "configuration.prediction_length is missing: ConstantValuePredictor needs it"),
        ({"prediction_length": "7"}, "configuration.prediction_length is '7', expected a whole number"),
        ({"prediction_length": 7, "value": "x"}, "configuration.value is 'x', expected a number"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit(configuration, sentence):
    assert refused(forecaster_name=CONSTANT, freq="D", **configuration) == sentence


@pytest.mark.parametrize("length", [0, -3])
def test_a_class_that_refuses_its_parameters_says_why(length):
    sentence = refused(forecaster_name=CONSTANT, freq="D", prediction_length=length)
    assert sentence.startswith("configuration: ConstantValuePredictor refuses its arguments: ")
