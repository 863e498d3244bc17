"""What the owner chose: the operator's forecaster, and that of a batch job. What they brought is in test_allowed.py."""

import json

import pytest
from gluonts.ext.prophet import ProphetPredictor
from gluonts.model.trivial.constant import ConstantValuePredictor

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.known import default_forecaster, of_the_job
from gluonts_shell.forecasting.service.allowed import Rule


def test_the_operators_forecaster_is_a_predictor():
    assert default_forecaster("ConstantValuePredictor") is ConstantValuePredictor
    with pytest.raises(
        ConfigurationError, match=r"is an Estimator, which needs training, and there is no model"
    ):
        default_forecaster("MeanEstimator")


def test_a_batch_job_may_name_what_its_clients_may_not():
    name, kind = of_the_job(json.dumps({"forecaster_name": "ProphetPredictor", "freq": "D"}))
    assert kind is ProphetPredictor
    assert Rule(chosen={name: kind}).find("ProphetPredictor") is ProphetPredictor


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "{}", '{"forecaster_name": 3}', '{"forecaster_name": "MeanEstimator"}'],
)
def test_a_configuration_that_names_no_predictor_has_none(text):
    assert of_the_job(text) is None


def test_a_name_that_leads_nowhere_is_said_at_start():
    with pytest.raises(
        ConfigurationError,
        match=r"^INFERENCE_CONFIG .*: there is no forecaster 'no.such.Forecaster'",
    ):
        of_the_job('{"forecaster_name": "no.such.Forecaster"}')
