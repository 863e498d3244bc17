"""The service: a trained model, predictors that requests name, or both; joined calls get what each gets alone."""

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar

import gluonts
import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.npts import NPTSPredictor
from gluonts.model.predictor import Predictor, RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.mean import MeanPredictor

from gluonts_shell.errors import Cancelled, ConfigurationError, ModelError, RequestError
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.evaluation.evaluate import DECILES, evaluate
from gluonts_shell.forecasting.forecaster.catalog import class_path
from gluonts_shell.forecasting.forecaster.known import default_forecaster
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting, forward_only, start_worker
from gluonts_shell.messages import Service

CONSTANT = {
    "forecaster_name": "gluonts.model.trivial.constant.ConstantValuePredictor",
    "freq": "D",
    "prediction_length": 2,
    "value": 3.0,
}
START = "2020-01-01 00:00:00"


def contract(freq="h", length=3, features=None):
    return Contract(freq, length, "some.Forecaster", features=features or Features((), 0, 0, 0))


def service(predictor=None, freq="h", features=None, **options):
    predictor = predictor or SeasonalNaivePredictor(prediction_length=3, season_length=3)
    return Forecasting(
        (predictor, contract(freq, 3, features)), options.pop("rule", Rule()), **options
    )


def ask(service, *instances, **configuration):
    found = service.configure(configuration)
    (predictions,) = service.predict([service.prepare(list(instances), found)])
    return predictions


def refused(service, *instances, **configuration):
    with pytest.raises(RequestError) as caught:
        ask(service, *instances, **configuration)
    return str(caught.value)


def test_a_trained_model_needs_no_configuration():
    found: Service = service()
    assert found.joins is False
    (prediction,) = ask(found, {"start": START, "target": [9, 1, 2, 3]})
    assert prediction.mean == [1, 2, 3]
    assert prediction.quantiles == {f"0.{n}": [1, 2, 3] for n in range(1, 10)}
    assert prediction.samples is None


def test_predictions_come_in_the_order_of_the_instances():
    predictions = ask(
        service(), *({"start": START, "target": [n] * 3} for n in range(5)), output_types=["mean"]
    )
    assert [prediction.mean[0] for prediction in predictions] == list(range(5))
    assert ask(service()) == []


@pytest.mark.parametrize("freq", ["H", "h", "1h", "1H", "60min"])
def test_a_frequency_that_means_the_same_is_no_contradiction(freq):
    assert ask(service(), {"start": START, "target": [1]}, freq=freq)[0].mean == [1, 1, 1]


@pytest.mark.parametrize("freq", ["D", "2h", "30min"])
def test_a_frequency_that_contradicts_the_model_is_refused(freq):
    assert (
        refused(service(), freq=freq)
        == f"configuration.freq is {freq!r}, but the model was trained with 'h'"
    )


def test_where_the_model_does_not_tell_its_frequency_the_request_must():
    found = service(freq=None)
    assert (
        refused(found)
        == "configuration.freq is missing, and the model does not tell it; expected 'h', 'D' or the like"
    )
    assert ask(found, {"start": START, "target": [1]}, freq="D")[0].mean == [1, 1, 1]


def test_keys_for_training_are_ignored_by_a_trained_model():
    assert ask(
        service(), {"start": START, "target": [1]}, epochs="400", time_freq="h", cardinality="auto"
    )


def test_a_horizon_that_contradicts_the_model_is_refused():
    ours = service()
    assert ours.configure({"prediction_length": 3}) == ours.configure({})
    with pytest.raises(
        RequestError,
        match=r"^configuration.prediction_length is 12, but the model was trained with 3$",
    ):
        ours.configure({"prediction_length": 12})


def test_a_predictor_named_in_the_request_beside_a_model_and_without_one():
    for found in (service(), Forecasting(None, Rule())):
        (prediction,) = ask(found, {"start": "2020-01-01", "target": []}, **CONSTANT)
        assert prediction.mean == [3, 3]
        assert ask(found, {"start": "2020-01-01", "target": [1]}, **{**CONSTANT, "value": 4})[
            0
        ].mean == [4, 4]


def test_without_a_model_a_request_must_name_a_predictor():
    found = Forecasting(None, Rule())
    assert (
        refused(found)
        == "configuration.forecaster_name is missing: this server has no trained model"
    )
    without_freq = {name: value for name, value in CONSTANT.items() if name != "freq"}
    assert (
        refused(found, **without_freq)
        == "configuration.freq is missing: a forecaster named in the request needs it"
    )


def test_a_configuration_of_any_depth_is_refused_with_a_sentence():
    for depth in (10, 500, 5000):
        value = []
        for _ in range(depth):
            value = [value]
        assert "levels of lists and objects" in refused(
            Forecasting(None, Rule()), **{**CONSTANT, "value": value}
        )
        while value:
            value = value.pop()


def test_the_operators_forecaster_needs_no_name_in_the_request():
    default = default_forecaster("ConstantValuePredictor")
    assert class_path(default) == CONSTANT["forecaster_name"]
    found = Forecasting(None, Rule(prefixes=()), default)
    given = {name: value for name, value in CONSTANT.items() if name != "forecaster_name"}
    assert ask(found, {"start": "2020-01-01", "target": []}, **given)[0].mean == [3, 3]
    assert (
        refused(found)
        == "configuration.freq is missing: a forecaster named in the request needs it"
    )
    with pytest.raises(
        ConfigurationError,
        match=r"^forecaster 'MeanEstimator' is an Estimator, which needs training, and",
    ):
        default_forecaster("MeanEstimator")


def test_the_same_predictor_is_built_once(monkeypatch):
    from gluonts_shell.forecasting.service import service as prediction

    built = []
    monkeypatch.setattr(
        prediction,
        "build",
        lambda *given, real=prediction.build: built.append(given) or real(*given),
    )
    found = Forecasting(None, Rule())
    for quantiles in (["0.1"], ["0.2"], ["0.1"]):
        ask(found, {"start": START, "target": [1]}, quantiles=quantiles, **CONSTANT)
    ask(found, {"start": START, "target": [1]}, **{**CONSTANT, "prediction_length": 3})
    assert len(built) == 2
    # no client fills the memory with them: the one used longest ago is let go
    for length in range(1, 12):
        ask(found, {"start": START, "target": [1]}, **{**CONSTANT, "prediction_length": length})
    ask(found, {"start": START, "target": [1]}, **CONSTANT)
    assert len(built) == 12


@pytest.mark.parametrize("target", [[], [None], [None] * 5])
def test_series_without_values_are_answered(target):
    for predictor, expected in (
        (SeasonalNaivePredictor(prediction_length=3, season_length=3), [0.0] * 3),
        (MeanPredictor(prediction_length=3), [np.nan] * 3),
    ):
        (prediction,) = ask(
            service(predictor), {"start": START, "target": target}, output_types=["mean"]
        )
        np.testing.assert_array_equal(prediction.mean, expected)


class Remembering(Predictor):
    """Forecasts nothing but what it is told to; keeps what it was asked."""

    def __init__(self, count=None):
        super().__init__(prediction_length=3)
        self.count = count
        self.asked = []

    def predict(self, dataset, num_samples=100):
        self.asked.append((len(dataset), num_samples))
        for entry in dataset[: self.count]:
            value = entry["target"][-1]
            yield SampleForecast(
                np.full((num_samples, 3), value), start_date=entry["start"] + len(entry["target"])
            )


def test_joined_calls_are_one_predict_and_get_their_own_predictions():
    predictor = Remembering()
    found = service(predictor)
    configuration = found.configure({"num_samples": 4, "output_types": ["samples"]})
    calls = [
        found.prepare([{"start": START, "target": [n]} for n in numbers], configuration)
        for numbers in ([1, 2], [], [3], [4, 5, 6])
    ]
    assert [call.lengths for call in calls] == [[1, 1], [], [1], [1, 1, 1]]
    answers = found.predict(calls)
    assert [[prediction.samples[0][0] for prediction in answer] for answer in answers] == [
        [1, 2],
        [],
        [3],
        [4, 5, 6],
    ]
    assert np.shape(answers[0][0].samples) == (4, 3)
    assert predictor.asked == [(6, 4)]


def test_a_model_that_forecasts_too_few_series_is_the_models_fault():
    with pytest.raises(ModelError, match=r"^the model gave 1 forecasts for 2 instances$"):
        ask(service(Remembering(1)), *[{"start": START, "target": [1]}] * 2)


class Answering(Predictor):
    """Answers with the forecasts that `make` gives for the data set."""

    def __init__(self, make):
        super().__init__(prediction_length=3)
        self.make = make

    def predict(self, dataset):
        return iter(self.make(dataset))


def named(entry, item_id):
    start = entry["start"] + len(entry["target"])
    return SampleForecast(np.ones((1, 3)), start_date=start, item_id=item_id)


TWO = [{"start": START, "target": [1], "item_id": name} for name in "ab"]


def test_answers_out_of_order_are_the_models_fault():
    predictor = Answering(
        lambda dataset: [named(entry, entry["item_id"]) for entry in dataset[::-1]]
    )
    with pytest.raises(ModelError) as caught:
        ask(service(predictor), *TWO)
    assert (
        str(caught.value)
        == "the model answered out of order: forecast 0 is for item_id 'b', expected 'a'"
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 7), (4, 2), (4, 4), (4, 2, 2)])
@pytest.mark.parametrize("wanted", ["mean", "quantiles", "samples"])
def test_another_number_of_steps_is_the_models_fault(shape, wanted):
    predictor = Answering(
        lambda dataset: [SampleForecast(np.ones(shape), start_date=dataset[0]["start"])]
    )
    sentence = f"^the model forecast {shape[1]} steps, expected 3, its prediction_length$"
    with pytest.raises(ModelError, match=sentence):
        ask(service(predictor), TWO[0], output_types=[wanted])


@pytest.mark.parametrize(
    ("target", "shape", "found", "expected"),
    [
        ([1.0], (4, 3, 2), "2 dimensions", 1),
        ([[1.0], [2.0]], (4, 3), "1 dimension", 2),
        ([[1.0], [2.0]], (4, 3, 3), "3 dimensions", 2),
    ],
)
@pytest.mark.parametrize("wanted", ["mean", "quantiles", "samples"])
def test_other_dimensions_than_the_targets_are_the_models_fault(
    target, shape, found, expected, wanted
):
    predictor = Answering(
        lambda dataset: [SampleForecast(np.ones(shape), start_date=dataset[0]["start"])]
    )
    sentence = f"^the model forecast {found}, expected {expected}, as the target has$"
    dimensions = 1 if isinstance(target[0], float) else len(target)
    with pytest.raises(ModelError, match=sentence):
        ask(
            service(predictor, features=Features(dimensions=dimensions)),
            {"start": START, "target": target},
            output_types=[wanted],
        )


def test_more_answers_than_series_are_the_models_fault():
    predictor = Answering(lambda dataset: (named(dataset[0], None) for _ in range(10**9)))
    with pytest.raises(ModelError, match=r"^the model gave more forecasts than the 2 instances$"):
        ask(service(predictor), *TWO)


def test_forecasts_without_an_item_id_are_paired_by_position():
    predictor = Answering(lambda dataset: [named(entry, None) for entry in dataset])
    assert len(ask(service(predictor), *TWO)) == 2


STATE = ContextVar("STATE", default="lost")


class Uneven:
    """A forecast of a class of the user's own, whose rows need not be as long as its mean."""

    mean = np.ones(3)

    def quantile(self, level):
        return np.ones(2 if level > 0.5 else 3)


def test_each_row_has_as_many_steps_as_the_model_forecasts():
    predictor = Answering(lambda dataset: [Uneven()])
    instance = {"start": START, "target": [1]}
    assert ask(service(predictor), instance, quantiles=["0.5"])[0].quantiles == {"0.5": [1, 1, 1]}
    with pytest.raises(ModelError, match=r"^the model forecast 2 steps, expected 3, "):
        ask(service(predictor), instance, quantiles=["0.5", "0.9"])


def test_a_process_that_the_model_forked_does_not_come_back_from_its_predict():
    ours, forked = os.getpid(), []

    def fork(dataset):
        forked.append(os.fork())
        if not forked[0]:
            raise FileNotFoundError("what it should have become")
        return [SampleForecast(np.ones((1, 3)), start_date=dataset[0]["start"])]

    try:
        (prediction,) = ask(service(Answering(fork)), {"start": START, "target": [1]})
    finally:
        if os.getpid() != ours:
            os._exit(0)  # it came back
    assert prediction.mean == [1, 1, 1]
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 1


class Contextual(Predictor):
    """As R through rpy2: what its import set in a context is read in predict."""

    def predict(self, dataset):
        for entry in dataset:
            yield named(entry, STATE.get())


def test_a_model_predicts_in_the_context_in_which_it_was_loaded():
    def load():
        STATE.set("a")
        return service(Contextual(prediction_length=3))

    found = Context().run(load)
    assert STATE.get() == "lost"
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: ask(found, TWO[0]), range(4)))
    assert [len(answer) for answer in answers] == [1] * 4
    with pytest.raises(ModelError, match="for item_id 'lost', expected 'a'"):
        ask(service(Contextual(prediction_length=3)), TWO[0])


class Needy(RepresentablePredictor):
    """As Prophet and AutoARIMA: it raises where a target has no value."""

    def predict_item(self, item):
        if not np.isfinite(item["target"]).any():
            raise ValueError("Dataframe has less than 2\nnon-NaN rows.")
        if item["target"][0] < 0:
            raise ValueError("negative")
        return named(item, None)


@pytest.mark.parametrize("target", [[], [None, None]])
def test_a_cold_start_that_a_model_cannot_forecast_is_the_clients_to_mend(target):
    found = service(Needy(prediction_length=3))
    assert refused(found, {"start": START, "target": [1]}, {"start": START, "target": target}) == (
        "instance 1: the model cannot forecast it: its target has no value, and Needy needs some: "
        "ValueError: Dataframe has less than 2 non-NaN rows."
    )


def test_other_errors_of_a_model_are_not_blamed_on_a_cold_start_beside_them():
    with pytest.raises(ValueError, match="negative"):
        ask(
            service(Needy(prediction_length=3)),
            {"start": START, "target": [-1]},
            {"start": START, "target": []},
        )


class MeanOnly(RepresentablePredictor):
    """As GluonTS's wrappers of statsforecast without quantile_levels."""

    def __init__(self, prediction_length, quantile_levels=None):
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item):
        start = item["start"] + len(item["target"])
        return QuantileForecast(np.ones((1, 3)), start_date=start, forecast_keys=["mean"])


def test_the_sentence_about_a_quantile_names_the_hyperparameter_that_gives_it():
    found = service(MeanOnly(3))
    (prediction,) = ask(found, {"start": START, "target": [1]})
    assert (prediction.mean, prediction.quantiles) == ([1.0] * 3, None)
    assert refused(found, {"start": START, "target": [1]}, quantiles=["0.1"]) == (
        "configuration.quantiles asks for 0.1, but this model's forecasts have only a mean; "
        "hyperparameter 'quantile_levels' makes it forecast quantiles"
    )


class Intervals:
    """As statsforecast's models that have none of their own."""

    def forecast(self, y, h, level=None):
        if level:
            raise Exception("You must pass `prediction_intervals` to compute them.")


def test_a_hyperparameter_that_would_not_help_is_not_advised():
    predictor = MeanOnly(3)
    predictor.model = Intervals()
    assert refused(service(predictor), {"start": START, "target": [1]}, quantiles=["0.1"]) == (
        "configuration.quantiles asks for 0.1, but this model's forecasts have only a mean"
    )


def test_the_number_of_samples_reaches_predictors_that_draw():
    found = service(NPTSPredictor(prediction_length=3))
    target = [float(n) for n in range(50)]
    (prediction,) = ask(
        found, {"start": START, "target": target}, num_samples=7, output_types=["samples"]
    )
    assert np.shape(prediction.samples) == (7, 3)


def test_what_a_request_may_ask_for_has_an_end():
    found = service()
    everything = {"output_types": ["samples"], "num_samples": 10_000}
    sentence = refused(found, *[{"start": START, "target": []}] * 400, **everything)
    assert sentence == (
        "the request asks for 12000000 values in the answer (400 instances x 3 steps x 10000), "
        "expected at most 10000000; send fewer instances a request, or ask for less"
    )


def test_what_a_forecaster_named_in_the_request_may_draw_has_an_end():
    given = {
        **CONSTANT,
        "prediction_length": 10_000,
        "num_samples": 10_000,
        "output_types": ["mean"],
    }
    assert refused(service(), {"start": START, "target": [1]}, **given).startswith(
        "the request asks for 100000000 values to be drawn for a series (1 instances x 10000 steps x 10000), "
    )


def test_a_series_that_the_model_refuses_is_the_clients_to_mend():
    good = {"start": START, "target": [1.0, 2.0, 3.0]}
    sentence = refused(
        service(NPTSPredictor(prediction_length=3)), good, {"start": START, "target": [None] * 3}
    )
    assert sentence.startswith(
        "instance 1: the model cannot forecast it: The last 1100 positions of the target"
    )


def test_the_start_of_a_series_is_where_its_period_begins():
    entry = service().prepare([{"start": START, "target": [1]}], service().configure({})).entries[0]
    assert entry["start"] == pd.Period(START, "h")


def test_configurations_of_clients_do_not_pile_up():
    found = service()
    for number in range(1, 1000):
        found.configure({"num_samples": number})
    assert len(found._configurations) <= 256
    assert found.configure({"num_samples": 3}) is found.configure({"num_samples": 3})
    assert found.configure({"num_samples": 1, "x": "y" * 5000}).num_samples == 1


def test_the_description_is_for_the_log():
    described = service().description
    assert described.startswith(
        "some.Forecaster (freq h, prediction_length 3), with gluonts_shell "
    )
    assert f", gluonts {gluonts.__version__}, " in described
    assert service(freq=None).description.startswith(
        "some.Forecaster (freq unknown (requests must tell it), "
    )
    assert Forecasting(None, Rule()).description.startswith(
        "requests for the forecasters that they name, with "
    )


def test_workers_draw_different_numbers():
    drawn = set()
    for _ in range(3):
        random.seed(1)
        np.random.seed(1)
        start_worker(1)
        drawn.add((random.random(), np.random.rand()))
    assert len(drawn) == 3


class Several(RepresentablePredictor):
    """Forecasts the last value of each dimension, and one more in each path."""

    def predict_item(self, item):
        assert item["target"].ndim == 2
        last = item["target"][:, -1]
        paths = np.stack([np.tile(last + path, (self.prediction_length, 1)) for path in range(4)])
        return SampleForecast(paths, start_date=item["start"] + item["target"].shape[1])


def test_targets_of_several_dimensions_are_answered_in_their_orientation():
    found = service(Several(prediction_length=3), features=Features((), 0, 0, 0, dimensions=2))
    wanted = {"output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.5"]}
    (prediction,) = ask(found, {"start": START, "target": [[1, 2], [10, None]]}, **wanted)
    np.testing.assert_array_equal(prediction.mean, [[3.5] * 3, [np.nan] * 3])
    np.testing.assert_array_equal(prediction.quantiles["0.5"], [[4] * 3, [np.nan] * 3])
    assert np.shape(prediction.samples) == (4, 2, 3)
    assert prediction.samples[1][0] == [3, 3, 3]
    sentence = refused(
        found,
        *[{"start": START, "target": [[1], [2]]}] * 200,
        num_samples=10_000,
        **{"output_types": ["samples"]},
    )
    assert sentence.startswith(
        "the request asks for 12000000 values in the answer (200 instances x 6 steps x 10000)"
    )
    assert refused(found, {"start": START, "target": [1, 2]}) == (
        "instance 0: target is one list of numbers, expected a list of 2 lists of numbers: the model forecasts 2 "
        "dimensions"
    )


def test_a_model_of_one_dimension_takes_a_list_of_one_row():
    found = service()
    one, other = ask(
        found, {"start": START, "target": [1, 2, 3]}, {"start": START, "target": [[1, 2, 3]]}
    )
    assert one.mean == other.mean == [1, 2, 3]
    assert refused(found, {"start": START, "target": [[1, 2], [3, 4]]}) == (
        "instance 0: target is a list of 2 lists, expected one list of numbers: the model forecasts one dimension"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small DeepAR with two categories and one dynamic feature, trained for a moment."""
    pytest.importorskip("torch")
    from gluonts.torch.model.deepar import DeepAREstimator

    entries = [
        {
            "start": pd.Period(START, "h"),
            "target": np.sin(np.arange(60.0) + n).astype(np.float32) + 5,
            "feat_static_cat": np.array([n % 2, n % 3]),
            "feat_dynamic_real": np.arange(60.0, dtype=np.float32)[None] / 60,
        }
        for n in range(6)
    ]
    estimator = DeepAREstimator(
        freq="h",
        prediction_length=3,
        context_length=6,
        num_layers=1,
        hidden_size=8,
        lags_seq=[1, 2],
        num_feat_static_cat=2,
        cardinality=[2, 3],
        num_feat_dynamic_real=1,
        num_batches_per_epoch=2,
        batch_size=4,
        trainer_kwargs={
            "max_epochs": 1,
            "enable_progress_bar": False,
            "logger": False,
            "default_root_dir": str(tmp_path_factory.mktemp("lightning")),
        },
    )
    return estimator.train(entries)


@pytest.mark.torch
def test_gradients_are_left_out_for_the_networks_that_take_none(trained):
    import torch
    from gluonts.torch.model import mqf2

    class Takes:
        prediction_net = torch.nn.Linear(1, 1)

    class TakesToo:
        prediction_net = type("Net", (), {"__module__": mqf2.__name__ + ".lightning_module"})()

    modes = {}
    for name, predictor in {
        "own": trained,
        "foreign": Takes,
        "mqf2": TakesToo,
        "none": object(),
    }.items():
        with forward_only(predictor)():
            modes[name] = torch.is_inference_mode_enabled()
    assert modes == {"own": True, "foreign": False, "mqf2": False, "none": False}


@pytest.mark.torch
def test_deepar_with_categories_and_dynamic_features(trained):
    found = service(trained, features=Features((2, 3), 0, 1, 0))
    assert found.joins is True
    instance = {
        "start": START,
        "target": [5.0, None, 5.5, 6.0],
        "cat": [1, 2],
        "dynamic_feat": [[0.5] * 7],
    }
    cold = {"start": START, "target": [], "cat": [0, 0], "dynamic_feat": [[0.5] * 3]}
    configuration = {
        "num_samples": 20,
        "output_types": ["mean", "quantiles", "samples"],
        "quantiles": ["0.1", "0.9"],
    }
    predictions = ask(found, instance, cold, {**instance, "target": [None] * 4}, **configuration)
    for prediction in predictions:
        drawn = np.array(prediction.samples)
        assert drawn.shape == (20, 3)
        assert np.isfinite(drawn).all()
        np.testing.assert_allclose(prediction.mean, drawn.mean(axis=0), rtol=1e-5)
        np.testing.assert_array_equal(prediction.quantiles["0.9"], np.sort(drawn, axis=0)[17])
    assert refused(found, {**instance, "cat": [1, 3]}) == (
        "instance 0: cat[1] is 3, expected a whole number from 0 to 2"
    )
    assert refused(found, {**instance, "item_id": 4, "dynamic_feat": [[0.5] * 4]}) == (
        "instance 0 (item_id 4): dynamic_feat[0] has 4 values, expected 7 = len(target) 4 + prediction_length 3"
    )


@pytest.mark.torch
def test_deepar_stops_after_the_batch_that_it_is_at_once_nobody_waits(trained):
    found = service(trained, features=Features((2, 3), 0, 1, 0))
    instance = {"start": START, "target": [5.0] * 4, "cat": [1, 2], "dynamic_feat": [[0.5] * 7]}
    call = found.prepare([instance] * 100, found.configure({"num_samples": 2}))
    passes, asked = [], []
    hook = trained.prediction_net.register_forward_hook(lambda *_: passes.append(1))

    def wanted():
        asked.append(1)
        return len(asked) <= 40

    try:
        with pytest.raises(Cancelled, match="stopped after 40 of 100 series"):
            found.predict([call], wanted)
        assert len(passes) == -(-41 // trained.batch_size), "none after the batch that it was at"
        found.predict([call])
        assert len(passes) == -(-41 // trained.batch_size) + -(-100 // trained.batch_size)
    finally:
        hook.remove()


@pytest.mark.torch
def test_deepar_without_a_contract_still_says_which_feature_it_misses(trained):
    found = service(trained, features=Features())
    instance = {"start": START, "target": [5.0], "cat": [1, 2], "dynamic_feat": [[0.5] * 4]}
    assert len(ask(found, instance)) == 1
    del instance["dynamic_feat"]
    assert (
        refused(found, instance)
        == "a series: it has no dynamic_feat (or feat_dynamic_real): the model needs it"
    )
    del instance["cat"]
    assert (
        refused(found, instance)
        == "a series: it has no cat (or feat_static_cat): the model needs it"
    )


@pytest.mark.torch
def test_joined_deepar_calls_with_and_without_item_ids(trained):
    found = service(trained, features=Features((2, 3), 0, 1, 0))
    configuration = found.configure({"num_samples": 5, "output_types": ["samples"]})
    instance = {"start": START, "target": [5.0], "cat": [1, 2], "dynamic_feat": [[0.5] * 4]}
    calls = [
        found.prepare([{**instance, **more}], configuration)
        for more in ({}, {"item_id": 3}, {"item_id": "x"})
    ]
    answers = found.predict(calls * 20)
    assert [np.shape(answer[0].samples) for answer in answers] == [(5, 3)] * 60
    assert json.dumps(answers[0][0].samples) != json.dumps(answers[1][0].samples)


@pytest.mark.torch
def test_a_network_of_several_dimensions_is_scored_and_answers(tmp_path):
    from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions
    from gluonts.torch.model.i_transformer import ITransformerEstimator

    entries = [
        {
            "item_id": str(n),
            "start": pd.Period(START, "h"),
            "target": np.stack([np.sin(np.arange(40.0) + n) + 5, np.cos(np.arange(40.0))]).astype(
                np.float32
            ),
        }
        for n in range(3)
    ]
    predictor = ITransformerEstimator(
        prediction_length=3,
        context_length=6,
        d_model=8,
        nhead=2,
        dim_feedforward=8,
        num_encoder_layers=1,
        num_batches_per_epoch=2,
        batch_size=4,
        trainer_kwargs={
            "max_epochs": 1,
            "enable_progress_bar": False,
            "logger": False,
            "default_root_dir": str(tmp_path),
        },
    ).train(entries)
    found = service(predictor, features=Features((), 0, 0, 0, dimensions=2))
    wanted = {"num_samples": 7, "output_types": ["mean", "quantiles", "samples"]}
    instance = {"start": START, "target": entries[0]["target"].tolist()}
    answers = ask(found, instance, {**instance, "target": [[1.0], [2.0]]}, **wanted)
    for answer in answers:
        assert np.shape(answer.mean) == np.shape(answer.quantiles["0.9"]) == (2, 3)
        assert np.shape(answer.samples)[1:] == (2, 3)

    forecasts, series = map(list, make_evaluation_predictions(entries, predictor))
    for frame in series:
        frame.columns = range(2)
    expected, _ = MultivariateEvaluator(quantiles=DECILES, num_workers=0)(series, forecasts)
    scored = evaluate(Answering(lambda dataset: [f for f, _ in zip(forecasts, dataset, strict=True)]),
                      entries, prediction_length=3, freq="h").aggregate  # fmt: skip
    assert {name: scored[name] for name in expected} == pytest.approx(
        expected, rel=1e-6, nan_ok=True
    )
