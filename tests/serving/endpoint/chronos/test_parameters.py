"""What `parameters` may hold, in the words of Chronos's clients."""

from __future__ import annotations

import pytest

from gluonts_shell.errors import AskedError, RequestError
from gluonts_shell.messages import Configuration
from gluonts_shell.serving.endpoint.chronos.parameters import Asked, asked

DEFAULT = (("0.1", 0.1), ("0.5", 0.5), ("0.9", 0.9))


class Configure:
    """Keeps what it is asked."""

    def __call__(self, configuration):
        self.asked = dict(configuration)
        if "quantiles" in configuration:
            levels = tuple((str(level), float(level)) for level in configuration["quantiles"])
            return Configuration(quantiles=levels, quantiles_given=True)
        return Configuration()


def ask(parameters, horizon=24):
    return asked(parameters, Configure(), horizon)


@pytest.mark.parametrize("nothing", [{}, {"quantile_levels": None, "prediction_length": None}])
def test_by_default_it_is_three_levels_that_nobody_asked_for(nothing):
    assert ask(nothing) == Asked(Configuration(quantiles=DEFAULT), None)
    assert not ask(nothing).configuration.quantiles_given


def test_levels_and_frequency_are_the_services_to_check():
    configure = Configure()
    found = asked({"quantile_levels": [0.05, 0.95], "freq": "1h"}, configure, 24)
    assert configure.asked == {
        "output_types": ["mean", "quantiles"],
        "quantiles": [0.05, 0.95],
        "freq": "1h",
    }
    assert found.configuration.quantiles == (("0.05", 0.05), ("0.95", 0.95))
    assert found.configuration.quantiles_given


def test_how_chronos_computes_changes_nothing():
    assert ask({"batch_size": 2, "predict_batches_jointly": True}) == ask({})


@pytest.mark.parametrize(("length", "steps"), [(1, 1), (24, 24), (10.0, 10), (None, None)])
def test_a_shorter_forecast_is_a_cut(length, steps):
    assert ask({"prediction_length": length}).steps == steps


@pytest.mark.parametrize(
    "length", [0, -1, 25, 1.5, True, "24", [24], {}, float("inf"), float("nan"), 10**400]
)
def test_a_longer_one_is_none(length):
    with pytest.raises(RequestError) as caught:
        ask({"prediction_length": length})
    found = {list: "a list", dict: "an object"}.get(type(length), f"{length!r:.100}")
    assert str(caught.value) == (
        f"parameters.prediction_length is {found}, expected a whole number from 1 to 24: "
        "the model forecasts 24 steps"
    )


def test_where_no_model_was_trained_the_request_says_how_long():
    configure = Configure()
    assert asked({"prediction_length": 7}, configure, None).steps is None
    assert configure.asked["prediction_length"] == 7


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("prediction_lenght", "; did you mean 'prediction_length'?"),
        ("quantiles", "; did you mean 'quantile_levels'?"),
        ("cross_learning", "; there are prediction_length, quantile_levels, freq, batch_size, "),
    ],
)
def test_other_parameters_are_refused(name, end):
    with pytest.raises(RequestError) as caught:
        ask({name: 1})
    assert str(caught.value).startswith(f"parameters.{name} is not known{end}")


@pytest.mark.parametrize(
    ("key", "inside", "sentence"),
    [
        ("quantiles", "[1]", "parameters.quantile_levels[1] is wrong"),
        ("freq", "", "parameters.freq is wrong"),
        ("window", "", "parameters.window is wrong"),
    ],
)
def test_what_the_service_says_is_said_of_the_parameter(key, inside, sentence):
    def configure(_):
        raise AskedError(key, "is wrong", inside)

    with pytest.raises(RequestError) as caught:
        asked({}, configure, 24)
    assert str(caught.value) == sentence
