"""Predictions have the values of GluonTS's own forecast.mean and forecast.quantile, and only what was asked for."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import Forecast, QuantileForecast, SampleForecast
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import ModelError, RequestError
from gluonts_shell.forecasting.service.configuration import parse
from gluonts_shell.forecasting.service.outputs import prediction

START = pd.Period("2020-01-01", "h")
EVERYTHING = parse({"output_types": ["mean", "quantiles", "samples"]})


def samples(array):
    return SampleForecast(np.asarray(array), start_date=START)


def quantiles(keys, rows):
    return QuantileForecast(
        np.asarray(rows, dtype=np.float32), start_date=START, forecast_keys=keys
    )


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
    found = prediction(
        forecast, parse({"output_types": ["mean", "quantiles", "samples"], "quantiles": levels})
    )
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
    assert all(
        type(value) is float
        for row in (found.mean, *found.quantiles.values(), *found.samples)
        for value in row
    )


@pytest.mark.parametrize("keys", [["0.1", "0.5", "0.9"], ["mean", "0.1", "0.5", "0.9"]])
@pytest.mark.parametrize("level", ["0.1", "0.5", "0.9", "0.3", "0.01", "0.99"])
def test_of_quantiles(keys, level):
    forecast = quantiles(keys, [[1.0 + row, 2.0 * row] for row in range(len(keys))])
    found = prediction(
        forecast, parse({"output_types": ["mean", "quantiles"], "quantiles": [level]})
    )
    np.testing.assert_allclose(found.quantiles[level], forecast.quantile(level), rtol=1e-6)
    np.testing.assert_array_equal(found.mean, forecast.mean)


def test_a_stored_quantile_is_found_under_any_spelling():
    forecast = quantiles(["0.10", "0.5", "p90"], [[1.0], [2.0], [3.0]])
    found = prediction(
        forecast, parse({"output_types": ["quantiles"], "quantiles": ["0.1", "0.50", 0.9]})
    )
    assert found.quantiles == {"0.1": [1.0], "0.50": [2.0], "0.9": [3.0]}


def test_a_quantile_that_cannot_be_interpolated_is_refused():
    configuration = parse({"output_types": ["quantiles"], "quantiles": ["0.9"]})
    with pytest.raises(
        RequestError, match=r"asks for 0\.9, but this model's forecasts have only 0\.5$"
    ):
        prediction(quantiles(["0.5"], [[1.0]]), configuration)
    with pytest.raises(
        RequestError, match=r"asks for 0\.9, but this model's forecasts have only a mean$"
    ):
        prediction(quantiles(["mean"], [[1.0]]), configuration)


def mean_only(length=2):
    return quantiles(["mean"], [[1.0] * length])


def test_a_default_is_never_blamed_on_the_client():
    found = prediction(mean_only(), parse({}))
    assert (found.mean, found.quantiles, found.samples) == ([1.0, 1.0], None, None)
    found = prediction(quantiles(["mean", "0.5"], [[1.0], [2.0]]), parse({}))
    assert (found.mean, found.quantiles) == ([1.0], {"0.5": [2.0]})


def test_of_the_output_types_asked_for_those_are_answered_that_are_there():
    stored = quantiles(["0.1", "0.5", "0.9"], [[1.0], [2.0], [3.0]])
    found = prediction(
        stored, parse({"output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.9"]})
    )
    assert (found.mean, found.quantiles, found.samples) == ([2.0], {"0.9": [3.0]}, None)
    found = prediction(mean_only(), EVERYTHING)
    assert (found.mean, found.quantiles, found.samples) == ([1.0, 1.0], None, None)


@pytest.mark.parametrize(
    ("made", "wanted", "sentence"),
    [
        (
            quantiles(["0.1", "0.9"], [[1.0], [2.0]]),
            ["samples"],
            "configuration.output_types asks for 'samples', but this model's forecasts are of type QuantileForecast, "
            "which has none; ask for 'mean' or 'quantiles'",
        ),
        (
            quantiles(["mean"], [[1.0]]),
            ["quantiles", "samples"],
            "configuration.output_types asks for 'quantiles' and 'samples', but this model's forecasts are of type "
            "QuantileForecast, which has none; ask for 'mean'; hint",
        ),
        (
            quantiles(["0.9"], [[1.0]]),
            ["mean"],
            "configuration.output_types asks for 'mean', but this model's forecasts are of type "
            "QuantileForecast, which has none; ask for nothing",
        ),
    ],
)
def test_where_nothing_that_was_asked_for_is_there_it_is_the_clients_error(made, wanted, sentence):
    with pytest.raises(RequestError) as caught:
        prediction(made, parse({"output_types": wanted}), lambda: "; hint")
    assert str(caught.value) == sentence


def test_a_quantile_that_the_client_named_must_be_there():
    with pytest.raises(RequestError) as caught:
        prediction(mean_only(), parse({"quantiles": ["0.1", "0.5"]}), lambda: "; hint")
    assert str(caught.value) == (
        "configuration.quantiles asks for 0.1, but this model's forecasts have only a mean; hint"
    )


class OnlyQuantiles(Forecast):
    """As rotbaum's: neither a mean nor samples."""

    start_date, item_id, prediction_length = START, None, 2

    def quantile(self, q):
        return np.array([q, 10 * q])


class OnlyMean(Forecast):
    start_date, item_id, prediction_length, mean = START, None, 2, np.array([1.0, 2.0])


class Bare:
    """A forecast class that does not even derive from GluonTS's."""

    start_date, item_id, prediction_length = START, None, 2

    def quantile(self, q):
        return np.array([q, 10 * q])


@pytest.mark.parametrize("kind", [OnlyQuantiles, Bare])
def test_a_mean_that_is_not_there_is_the_median(kind):
    found = prediction(kind(), parse({"quantiles": ["0.9"]}))
    assert (found.mean, found.quantiles) == ([0.5, 5.0], {"0.9": [0.9, 9.0]})


def test_a_forecast_class_with_nothing_but_a_mean():
    assert prediction(OnlyMean(), EVERYTHING).quantiles is None
    assert prediction(OnlyMean(), EVERYTHING).mean == [1.0, 2.0]
    with pytest.raises(
        RequestError,
        match=r"^configuration.quantiles asks for 0.1, but this model's forecasts have no ",
    ):
        prediction(OnlyMean(), parse({"quantiles": ["0.1"]}))


def test_several_dimensions_are_oriented_as_targets_are():
    assert (
        prediction(samples(np.ones((4, 3, 1))), parse({"output_types": ["mean"]})).mean == [1.0] * 3
    )
    drawn = np.arange(24.0).reshape(4, 3, 2)  # samples, steps, dimensions
    found = prediction(samples(drawn), EVERYTHING)
    assert np.shape(found.samples) == (4, 2, 3)
    np.testing.assert_array_equal(found.samples, drawn.transpose(0, 2, 1))
    np.testing.assert_array_equal(found.mean, drawn.mean(axis=0).T)
    np.testing.assert_array_equal(found.quantiles["0.9"], np.sort(drawn, axis=0)[3].T)
    np.testing.assert_array_equal(
        prediction(samples(drawn[:1]), EVERYTHING).quantiles["0.1"], drawn[0].T
    )
    stored = np.arange(12.0).reshape(2, 3, 2)
    found = prediction(quantiles(["0.5", "0.9"], stored), parse({"quantiles": ["0.5"]}))
    np.testing.assert_array_equal(found.mean, stored[0].T)
    np.testing.assert_array_equal(found.quantiles["0.5"], stored[0].T)


def test_arrays_that_no_answer_has_a_place_for_are_the_models_fault():
    forecast = quantiles(["0.5"], np.ones((1, 3, 2, 2)))
    with pytest.raises(
        ModelError, match=r"\(QuantileForecast\) are arrays of shape \(3, 2, 2\), expected"
    ):
        prediction(forecast, parse({"output_types": ["mean"]}))


@pytest.mark.torch
def test_of_distributions():
    torch = pytest.importorskip("torch")
    from gluonts.torch.distributions import StudentTOutput
    from gluonts.torch.model.forecast import DistributionForecast

    normal = DistributionForecast(
        torch.distributions.Normal(torch.tensor([1.0, 2.0]), torch.ones(2)), START
    )
    configuration = parse({"quantiles": ["0.5", "0.9"]})
    found = prediction(normal, configuration)
    assert found.mean == [1.0, 2.0]
    np.testing.assert_allclose(found.quantiles["0.9"], normal.quantile(0.9))

    class NoInverse(torch.distributions.Normal):
        def icdf(self, value):
            raise NotImplementedError

    class NoMean(torch.distributions.Normal):
        @property
        def mean(self):
            raise NotImplementedError

    torch.manual_seed(0)
    few = parse(
        {
            "output_types": ["mean", "quantiles", "samples"],
            "num_samples": 50,
            "quantiles": ["0.5", "0.9"],
        }
    )
    found = prediction(normal, few)
    assert np.shape(found.samples) == (50, 2)
    assert found.mean == [1.0, 2.0]
    without = DistributionForecast(NoMean(torch.tensor([1.0, 2.0]), torch.ones(2)), START)
    found = prediction(without, few)
    np.testing.assert_allclose(found.mean, np.mean(found.samples, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found.quantiles["0.9"], np.sort(found.samples, axis=0)[44])
    drawn = DistributionForecast(NoInverse(torch.tensor([1.0, 2.0]), torch.full((2,), 0.01)), START)
    np.testing.assert_allclose(
        prediction(drawn, configuration).quantiles["0.5"], [1.0, 2.0], atol=0.02
    )

    student = StudentTOutput().distribution(tuple(torch.tensor([5.0, 6.0]) for _ in range(3)))
    np.testing.assert_allclose(
        prediction(DistributionForecast(student, START), configuration).mean,
        student.mean.numpy(),
        rtol=1e-6,
    )
