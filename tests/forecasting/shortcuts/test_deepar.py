"""Sample paths are GluonTS's own to float32, from the same random numbers; an unknown model is left to GluonTS."""

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from gluonts.torch import distributions  # noqa: E402
from gluonts.torch.model.deepar import DeepAREstimator  # noqa: E402
from gluonts.torch.model.deepar.module import DeepARModel  # noqa: E402

from gluonts_shell.forecasting.shortcuts import deepar  # noqa: E402

pytestmark = pytest.mark.torch

ORIGINAL = getattr(DeepARModel.forward, "__wrapped__", DeepARModel.forward)


def predictor(**arguments):
    torch.manual_seed(0)
    estimator = DeepAREstimator(**{"freq": "h", "prediction_length": 6, **arguments})
    return estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )


def series(**fields):
    dice = np.random.default_rng(1)
    lengths = (0, 5, 200, 900)
    targets = [100 * dice.random(length, np.float32) for length in lengths]
    targets[2][50:90] = np.nan
    return [
        {"start": pd.Period("2024-01-01", "h"), "target": target, **fields} for target in targets
    ]


@pytest.fixture
def forecast(monkeypatch):
    def run(predictor, forward, num_samples=20, data=None, mode=torch.inference_mode):
        monkeypatch.setattr(DeepARModel, "forward", forward)
        torch.manual_seed(2)
        with mode():
            found = [one.samples for one in predictor.predict(data or series(), num_samples)]
        return np.stack(found), torch.rand(3).tolist()

    return run


@pytest.fixture
def drawn(monkeypatch):
    """Which models the shortcut drew from."""
    found = []
    paths = deepar.paths

    def spy(model, *arguments):
        found.append(model)
        return paths(model, *arguments)

    monkeypatch.setattr(deepar, "paths", spy)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"prediction_length": 1},
        {"prediction_length": 60, "context_length": 4},
        {"num_layers": 1},
        {"num_layers": 3, "hidden_size": 7},
        {"lags_seq": [5, 1, 30]},
        {"lags_seq": [30]},
        {"lags_seq": [2, 1, 2]},
        {"scaling": False},
        {"nonnegative_pred_samples": True},
        {"distr_output": distributions.NormalOutput()},
        {"distr_output": distributions.NegativeBinomialOutput()},
        {"distr_output": distributions.LaplaceOutput()},
        {"num_parallel_samples": 7},
    ],
    ids=str,
)
def test_paths_are_those_of_gluonts(arguments, forecast, drawn):
    model = predictor(**arguments)
    expected, following = forecast(model, ORIGINAL)
    assert not drawn
    found, as_well = forecast(model, deepar.quicker(ORIGINAL))
    assert drawn
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())
    assert as_well == following, "as many random numbers were drawn"


def test_features_of_the_series_count(forecast, drawn):
    model = predictor(
        num_feat_static_cat=2,
        cardinality=[3, 5],
        num_feat_static_real=2,
        num_feat_dynamic_real=1,
    )
    data = series()
    for number, one in enumerate(data):
        one["feat_static_cat"] = [number % 3, number]
        one["feat_static_real"] = [0.5 * number, -1.0]
        known = np.sin(np.arange(len(one["target"]) + 6), dtype=np.float32)
        one["feat_dynamic_real"] = known[None]
    for mode in (torch.inference_mode, torch.no_grad):
        expected, _ = forecast(model, ORIGINAL, data=data, mode=mode)
        found, _ = forecast(model, deepar.quicker(ORIGINAL), data=data, mode=mode)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())
    assert len(drawn) == 2


class Own(DeepARModel):
    """A class of somebody's own, which may do anything."""


class OwnLSTM(torch.nn.LSTM):
    pass


def hook(*_):
    return None


def as_double(model):
    model.double()


STRANGE = {
    "a subclass": lambda model: setattr(model, "__class__", Own),
    "another network": lambda model: setattr(model.rnn, "__class__", OwnLSTM),
    "a hook on the model": lambda model: model.register_forward_pre_hook(hook),
    "a hook on the network": lambda model: model.rnn.register_forward_hook(hook),
    "a hook on a parameter": lambda model: model.param_proj.proj[0].register_forward_hook(hook),
    "other numbers": as_double,
    "lags of the future": lambda model: setattr(model, "lags_seq", [-1, 2]),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_a_model_that_is_not_as_known_is_left_to_gluonts(change):
    model = predictor().prediction_net.model.eval()
    inputs = model.describe_inputs().zeros()
    with torch.no_grad():
        assert deepar.known(model, inputs["past_target"])
        change(model)
        assert not deepar.known(model, inputs["past_target"])


def test_gradients_dropout_and_other_types_are_left_to_gluonts():
    model = predictor().prediction_net.model.eval()
    past = model.describe_inputs().zeros()["past_target"]
    assert not deepar.known(model, past), "gradients may be wanted"
    with torch.no_grad():
        assert deepar.known(model, past)
        assert not deepar.known(model, past.double())
        assert not deepar.known(model.train(), past), "dropout draws too"


def test_gluonts_says_what_is_wrong_with_parameters_that_are_not_numbers(forecast, drawn):
    model = predictor()
    with torch.no_grad():
        model.prediction_net.model.param_proj.proj[0].bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="Expected parameter df") as expected:
        forecast(model, ORIGINAL)
    with pytest.raises(ValueError, match="Expected parameter df") as found:
        forecast(model, deepar.quicker(ORIGINAL))
    assert drawn
    assert str(found.value) == str(expected.value)


def test_paths_that_are_not_finite_are_drawn_again_by_gluonts(forecast, monkeypatch):
    model = predictor()
    expected, following = forecast(model, ORIGINAL)
    paths = deepar.paths

    def infinite(*arguments):
        return paths(*arguments) / 0

    monkeypatch.setattr(deepar, "paths", infinite)
    found, as_well = forecast(model, deepar.quicker(ORIGINAL))
    assert np.array_equal(found, expected)
    assert as_well == following


def test_a_torch_that_draws_otherwise_is_noticed(monkeypatch):
    state = torch.get_rng_state()
    assert deepar.draws_as_torch()
    assert torch.equal(torch.get_rng_state(), state)
    other = torch.distributions.StudentT.rsample
    monkeypatch.setattr(
        torch.distributions.StudentT,
        "rsample",
        lambda self, shape=(): -other(self, torch.Size(shape)),
    )
    assert not deepar.draws_as_torch()
