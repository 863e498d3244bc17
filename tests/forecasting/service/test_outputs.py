"""Predictions have the values of GluonTS's own forecast.mean and forecast.quantile, and only what was asked for."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.service.configuration import parse
from gluonts_shell.forecasting.service.outputs import prediction

START = pd.Period("2020-01-01", "h")
EVERYTHING = parse({"output_types": ["mean", "quantiles", "samples"]})


def samples(array):
    return SampleForecast(np.asarray(array), start_date=START)


def quantiles(keys, rows):
    return QuantileForecast(np.asarray(rows, dtype=np.float32), start_date=START, forecast_keys=keys)


@given(
    st.integers(1, 120),
    st.integers(1, 5),
    st.lists(st.floats(0.001, 0.999), max_size=5),
    st.booleans(),
)
def test_of_samples(count, length, levels, missing):
    drawn = np.random.default_rng(count).normal(size=(count, length)).astype(np.float32)
    if missing:
        drawn[0, 0] = np.nan
    forecast = samples(drawn)
    found = prediction(forecast, parse({"output_types": ["mean", "quantiles", "samples"], "quantiles": levels}))
    np.testing.assert_array_equal(found.mean, forecast.mean)
    assert list(found.quantiles) == [repr(level) for level in dict.fromkeys(levels)]
    for level in levels:
        np.testing.assert_array_equal(found.quantiles[repr(level)], forecast.quantile(level))
    np.testing.assert_array_equal(found.samples, drawn)


def test_only_what_was_asked_for():
    forecast = samples([[1.0, 2.0], [3.0, 5.0]])
    only = prediction(forecast, parse({"output_types": ["mean"]}))
    assert (only.mean, only.quantiles, only.samples) == ([2.0, 3.5], None, None)
    only = prediction(forecast, parse({"output_types": ["quantiles"], "quantiles": ["0.50"]}))
    assert (only.mean, only.quantiles, only.samples) == (None, {"0.50": [1.0, 2.0]}, None)
    only = prediction(forecast, parse({"output_types": ["samples"]}))
    assert (only.mean, only.quantiles, only.samples) == (None, None, [[1.0, 2.0], [3.0, 5.0]])


def test_whole_numbers_become_floats():
    found = prediction(samples(np.array([[1, 2]])), EVERYTHING)
    assert all(type(value) is float for row in (found.mean, *found.quantiles.values(), *found.samples) for value in row)


@pytest.mark.parametrize("keys", [["0.1", "0.5", "0.9"], ["mean", "0.1", "0.5", "0.9"]])
@pytest.mark.parametrize("level", ["0.1", "0.5", "0.9", "0.3", "0.01", "0.99"])
def test_of_quantiles(keys, level):
    forecast = quantiles(keys, [[1.0 + row, 2.0 * row] for row in range(len(keys))])
    found = prediction(forecast, parse({"output_types": ["mean", "quantiles"], "quantiles": [level]}))
    np.testing.assert_allclose(found.quantiles[level], forecast.quantile(level), rtol=1e-6)
    np.testing.assert_array_equal(found.mean, forecast.mean)


def test_a_stored_quantile_is_found_under_any_spelling():
    forecast = quantiles(["0.10", "0.5", "p90"], [[1.0], [2.0], [3.0]])
    found = prediction(forecast, parse({"output_types": ["quantiles"], "quantiles": ["0.1", "0.50", 0.9]}))
    assert found.quantiles == {"0.1": [1.0], "0.50": [2.0], "0.9": [3.0]}


def test_a_quantile_that_cannot_be_interpolated_is_refused():
    configuration = parse({"output_types": ["quantiles"], "quantiles": ["0.9"]})
    with pytest.raises(RequestError, match=r"asks for 0\.9, but this model's forecasts have only 0\.5$"):
        prediction(quantiles(["0.5"], [[1.0]]), configuration)
    with pytest.raises(RequestError, match=r"asks for 0\.9, but this model's forecasts have only a mean$"):
        prediction(quantiles(["mean"], [[1.0]]), configuration)


def test_samples_of_a_forecast_without_samples_name_its_type():
    with pytest.raises(RequestError) as caught:
        prediction(quantiles(["0.1", "0.9"], [[1.0], [2.0]]), EVERYTHING)
    assert str(caught.value) == (
        "configuration.output_types asks for 'samples', but this model's forecasts are of type QuantileForecast, "
        "which has none; ask for 'mean' or 'quantiles'"
    )


def test_several_dimensions_have_no_place_in_the_answer():
    configuration = parse({"output_types": ["mean"]})
    assert prediction(samples(np.ones((4, 3, 1))), configuration).mean == [1.0] * 3
    with pytest.raises(RequestError, match=r"forecasts \(SampleForecast\) have several dimensions"):
        prediction(samples(np.ones((4, 3, 2))), configuration)
    with pytest.raises(RequestError, match=r"forecasts \(QuantileForecast\) have several dimensions"):
        prediction(quantiles(["0.5"], np.ones((1, 3, 2))), configuration)


@pytest.mark.torch
def test_of_distributions():
    torch = pytest.importorskip("torch")
    from gluonts.torch.distributions import StudentTOutput
    from gluonts.torch.model.forecast import DistributionForecast

    normal = DistributionForecast(torch.distributions.Normal(torch.tensor([1.0, 2.0]), torch.ones(2)), START)
    configuration = parse({"quantiles": ["0.5", "0.9"]})
    found = prediction(normal, configuration)
    assert found.mean == [1.0, 2.0]
    np.testing.assert_allclose(found.quantiles["0.9"], normal.quantile(0.9))
    with pytest.raises(RequestError, match=r"of type DistributionForecast, which has none"):
        prediction(normal, EVERYTHING)

    class NoInverse(torch.distributions.Normal):
        def icdf(self, value):
            raise NotImplementedError

    torch.manual_seed(0)
    drawn = DistributionForecast(NoInverse(torch.tensor([1.0, 2.0]), torch.full((2,), 0.01)), START)
    np.testing.assert_allclose(prediction(drawn, configuration).quantiles["0.5"], [1.0, 2.0], atol=0.02)

    student = StudentTOutput().distribution(tuple(torch.tensor([5.0, 6.0]) for _ in range(3)))
    np.testing.assert_allclose(
        prediction(DistributionForecast(student, START), configuration).mean, student.mean.numpy(), rtol=1e-6
    )
