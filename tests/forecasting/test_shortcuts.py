"""What the shortcuts give is what GluonTS gives, to the last bit; a GluonTS that is not as expected stays as it is."""

import pickle
import subprocess
import sys
from inspect import signature

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from gluonts_shell.forecasting import shortcuts


def test_a_forecast_keeps_its_values_and_still_refuses_other_types():
    checked = SampleForecast(np.ones((1, 2)), pd.Period("2024-01-01", "D"))
    shortcuts.take()
    assert repr(checked) == repr(SampleForecast(np.ones((1, 2)), pd.Period("2024-01-01", "D")))
    shortcuts.take()
    assert not hasattr(SampleForecast.__init__, "Model"), "the pydantic model is out of the way"
    samples = np.arange(6.0).reshape(2, 3)
    forecast = SampleForecast(samples, pd.Period("2024-01-01", "D"), item_id="a", info={"b": 1})
    assert forecast.samples is samples
    assert (forecast.item_id, forecast.info, forecast.start_date) == (
        "a",
        {"b": 1},
        pd.Period("2024-01-01", "D"),
    )
    assert forecast.quantile(0.9).tolist() == [3, 4, 5]
    again = pickle.loads(pickle.dumps(forecast))
    assert (again.item_id, again.info, again.samples.tolist()) == (
        "a",
        {"b": 1},
        [[0, 1, 2], [3, 4, 5]],
    )
    with pytest.raises(AssertionError, match="samples should be a numpy array"):
        SampleForecast([[1.0]], pd.Period("2024-01-01", "D"))
    with pytest.raises(AssertionError, match="start_date should be a pandas Period"):
        SampleForecast(samples, "2024-01-01")


def test_what_has_other_parameters_is_left_alone():
    script = """
from gluonts.core.component import validated
from gluonts.model.forecast import SampleForecast
from gluonts_shell.forecasting import shortcuts

@validated()
def __init__(self, samples, start_date, more: int = 0):
    pass

SampleForecast.__init__ = __init__
shortcuts.take()
assert SampleForecast.__init__ is __init__
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("lags", "length", "steps"),
    [
        ([0, 1, 6, 23], 23, 1),
        ([0, 1, 6, 23], 30, 1),
        ([1, 2, 7], 7, 1),
        ([3, 1, 2], 9, 1),
        ([0], 4, 1),
        ([0, 0, 2], 4, 1),
        ([2, 0], 4, 1),
        ([0, 1, 6], 12, 5),
    ],
)
@pytest.mark.parametrize("dim", [1, -1])
def test_lagged_values_are_those_of_gluonts(lags, length, steps, dim):
    torch = pytest.importorskip("torch")
    from gluonts.torch.util import lagged_sequence_values

    original = getattr(lagged_sequence_values, "__wrapped__", lagged_sequence_values)
    prior, sequence = torch.randn(4, length), torch.randn(4, steps)
    found = shortcuts.lagged(original)(lags, prior, sequence, dim)
    expected = original(lags, prior, sequence, dim)
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


@pytest.mark.torch
def test_lagged_values_of_other_shapes_and_gradients_are_those_of_gluonts():
    torch = pytest.importorskip("torch")
    from gluonts.torch.util import lagged_sequence_values

    original = getattr(lagged_sequence_values, "__wrapped__", lagged_sequence_values)
    quicker = shortcuts.lagged(original)
    assert list(signature(quicker).parameters) == shortcuts.PARAMETERS["lagged_sequence_values"]
    prior, sequence = torch.randn(3, 8, 2), torch.randn(3, 1, 2)
    assert torch.equal(quicker([0, 2], prior, sequence, 1), original([0, 2], prior, sequence, 1))
    with pytest.raises(AssertionError, match="lags cannot go further than prior sequence length"):
        quicker([0, 9], torch.randn(3, 8), torch.randn(3, 1), 1)
    found = []
    for function in (original, quicker):
        torch.manual_seed(1)
        prior = torch.randn(3, 8, requires_grad=True)
        function([0, 1, 5], prior, torch.randn(3, 1), -1).square().sum().backward()
        found.append(prior.grad)
    assert torch.equal(*found)


@pytest.mark.torch
def test_deepar_forecasts_the_same_with_and_without_them():
    pytest.importorskip("torch")
    script = """
import numpy as np, pandas as pd, torch
from gluonts.torch.model.deepar import DeepAREstimator
from gluonts.torch.model.deepar import module
from gluonts_shell.forecasting import shortcuts

torch.manual_seed(0)
estimator = DeepAREstimator(freq="h", prediction_length=6)
predictor = estimator.create_predictor(estimator.create_transformation(), estimator.create_lightning_module())
rng = np.random.default_rng(1)
series = [{"start": pd.Period("2024-01-01", "h"), "target": rng.random(n, np.float32)} for n in (5, 200, 900)]

def forecast():
    torch.manual_seed(2)
    return [one.samples for one in predictor.predict(series, num_samples=20)]

expected = forecast()
before = module.lagged_sequence_values
shortcuts.take()
assert module.lagged_sequence_values is not before
assert all(np.array_equal(a, b) for a, b in zip(expected, forecast(), strict=True))
quicker = module.lagged_sequence_values
shortcuts.take()
assert module.lagged_sequence_values is quicker
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
