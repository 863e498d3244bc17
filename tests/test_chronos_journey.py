"""Chronos's dialect from training on: covariates by name, an endpoint, a batch job, `transform`, and what DeepAR's
clients get of the same model."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.mean import MeanPredictor
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting
from gluonts_shell.serving.endpoint.app import App
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.chronos.dialect import Dialect
from gluonts_shell.serving.endpoint.invocations import Endpoint
from gluonts_shell.serving.http.exchange import Request

ROOT = Path(__file__).parents[1]
HORIZON = 3
LEVELS = ("0.1", "0.5", "0.9")

# Forecasts the last value + 10 x price + 100 x promo of each step + 1000 x the last rain: it shows which row is which.
PRICED = """
    import numpy as np
    from gluonts.core.component import validated
    from gluonts.dataset.util import forecast_start
    from gluonts.model.estimator import Estimator
    from gluonts.model.forecast import QuantileForecast
    from gluonts.model.predictor import RepresentablePredictor


    class Priced(RepresentablePredictor):
        @validated()
        def __init__(self, prediction_length: int) -> None:
            super().__init__(prediction_length=prediction_length)

        def predict_item(self, item):
            ahead = item["feat_dynamic_real"][:, -self.prediction_length :]
            rain = item["past_feat_dynamic_real"][0]
            mean = item["target"][-1] + 10 * ahead[0] + 100 * ahead[1] + 1000 * rain[-1]
            levels = ["0.1", "0.5", "0.9"]
            rows = np.stack([mean - 0.4, mean, mean + 0.4])
            return QuantileForecast(rows, forecast_start(item), levels, item.get("item_id"))


    class PricedEstimator(Estimator):
        @validated()
        def __init__(self, prediction_length: int) -> None:
            self.prediction_length = prediction_length

        def train(self, training_data, validation_data=None):
            return Priced(self.prediction_length)
"""


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGEMAKER", "GLUONTS", "INFERENCE"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def run(*arguments: str, **variables: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "gluonts_shell", *arguments]
    done = subprocess.run(
        command, env=environment(**variables), text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series(item: str, length: int = 12, **covariates: list[float]) -> dict:
    """As a line of a channel: rain is known of the past only, promo is named before price in what is known ahead."""
    past = {
        "price": [float(step % 3) for step in range(length)],
        "rain": [0.5] * length,
        "promo": [float(step % 2) for step in range(length)],
    }
    return {
        "item_id": item,
        "start": "2024-01-01",
        "target": [float(step) for step in range(length)],
        "past_covariates": past | covariates,
        "future_covariates": {"promo": [], "price": []},
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A trained model whose channels have covariates by name."""
    base = tmp_path_factory.mktemp("chronos") / "ml"
    for folder in ("input/config", "input/data/train", "input/data/test", "input/data/code"):
        (base / folder).mkdir(parents=True)
    hyperparameters = {
        "forecaster_name": "priced.PricedEstimator",
        "freq": "D",
        "prediction_length": str(HORIZON),
    }
    (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    (base / "input/data/code/priced.py").write_text(textwrap.dedent(PRICED))
    for channel in ("train", "test"):
        lines = "\n".join(json.dumps(series(item)) for item in "AB")
        (base / f"input/data/{channel}/data.json").write_text(lines)
    run("train", "--data-path", str(base), GLUONTS_SHELL_OFFLINE="true")
    return base


@contextmanager
def serving(tree: Path, **variables: str):
    """Gives what posts a body: its status and text."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "SAGEMAKER_DATA_PATH": str(tree),
        "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "MODEL_SERVER_WORKERS": "1",
        "GLUONTS_SHELL_OFFLINE": "true",
        **variables,
    }

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    command = [sys.executable, "-W", "ignore", "-m", "gluonts_shell", "serve"]
    process = subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and process.poll() is None:
            try:
                if ask("GET", "/ping")[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield lambda body: ask("POST", "/invocations", body, **{"Content-Type": "application/json"})
    finally:
        process.terminate()
        process.wait(60)


FUTURE = {"price": [1.0, 2.0, 3.0], "promo": [0.0, 1.0, 0.0]}
MEAN = [11 + 500 + 10 * price + 100 * promo for price, promo in zip(*FUTURE.values(), strict=True)]


def asked(item: str = "A", **changes) -> dict:
    return {**series(item), "future_covariates": FUTURE, **changes}


def deepars(item: str = "A") -> dict:
    """The same instance without names."""
    line = series(item)
    past = line["past_covariates"]
    return {
        "item_id": item,
        "start": line["start"],
        "target": line["target"],
        "dynamic_feat": [past[name] + FUTURE[name] for name in ("price", "promo")],
        "past_feat_dynamic_real": [past["rain"]],
    }


def test_a_model_trained_with_names_answers_an_endpoints_clients_in_both_dialects(tree):
    features = Contract.parse((tree / "model/gluonts_shell.json").read_text()).features
    assert features.future_covariates == ("price", "promo")
    assert features.past_covariates == ("rain",)
    with serving(tree) as post:
        body = {
            "inputs": [asked(), asked("B", item_id=None, start=None)],
            "parameters": {"prediction_length": 2, "freq": "1D", "batch_size": 8},
        }
        status, text = post(json.dumps(body).encode())
        assert status == 200, text
        first, second = json.loads(text)["predictions"]
        assert first["mean"] == MEAN[:2] == first["0.5"]
        assert first["0.1"] == pytest.approx([value - 0.4 for value in MEAN[:2]], rel=1e-6)
        assert (first["item_id"], first["start"]) == ("A", "2024-01-13T00:00:00")
        assert second == {name: first[name] for name in ("mean", *LEVELS)}

        instances = {"instances": [deepars()], "configuration": {"quantiles": list(LEVELS)}}
        (found,) = json.loads(post(json.dumps(instances).encode())[1])["predictions"]
        assert found["mean"] == MEAN
        assert [found["quantiles"][level][:2] for level in LEVELS] == [
            first[level] for level in LEVELS
        ]
        for change, sentence in (
            (
                {"past_covariates": {"price": [1.0]}},
                "inputs[1].future_covariates has 'promo', and past_covariates has not; "
                "expected it in both (item_id 'B')",
            ),
            (
                {"future_covariates": {**FUTURE, "price": [1.0, 2.0]}},
                "inputs[1].future_covariates['price'] has 2 values, expected 3, "
                "the model's prediction_length 3 (item_id 'B')",
            ),
        ):
            body = {"inputs": [asked(), asked("B", **change)]}
            status, text = post(json.dumps(body).encode())
            assert (status, json.loads(text)["error"]) == (400, sentence)
        body = {"inputs": [asked()], "parameters": {"freq": "h"}}
        assert json.loads(post(json.dumps(body).encode())[1])["error"] == (
            "parameters.freq is 'h', but the model was trained with 'D'"
        )


def lines() -> bytes:
    """In both dialects, with different parameters, and one that is wrong."""
    found = [
        {"inputs": [asked("A"), asked("B")]},
        {"inputs": [asked("C")], "parameters": {"prediction_length": 1, "quantile_levels": [0.5]}},
        deepars("D"),
        {"inputs": []},
        {"inputs": [asked("E")], "parameters": {"quantile_levels": [2]}},
        {"inputs": [asked("F", target="no")]},
    ]
    return "\n".join(map(json.dumps, found)).encode()


def check_lines(text: str) -> None:
    a, b, c, d, empty, e, f = map(json.loads, text.splitlines())
    assert list(a) == ["mean", *LEVELS, "item_id", "start"]
    assert a["mean"] == b["mean"] == MEAN
    assert (a["item_id"], b["item_id"]) == ("A", "B")
    assert c == {
        "mean": MEAN[:1],
        "0.5": MEAN[:1],
        "item_id": "C",
        "start": "2024-01-13T00:00:00",
    }
    assert list(d) == ["mean"]
    assert d["mean"] == MEAN
    assert empty == {"predictions": []}
    assert e["error"] == (
        "parameters.quantile_levels[0] is 2, expected a level between 0 and 1 such as '0.5'"
    )
    assert f == {"error": "target is 'no', expected a list of numbers", "item_id": "F"}


def test_batch_jobs_and_transform_answer_each_line_in_its_dialect(tree, tmp_path):
    job = {
        "INFERENCE_CONFIG": '{"output_types": ["mean"]}',
        "GLUONTS_BATCH_SUPPRESS_ERRORS": "true",
    }
    with serving(tree, SAGEMAKER_BATCH="true", **job) as post:
        status, text = post(lines())
    assert status == 200
    check_lines(text)
    (tmp_path / "lines.jsonl").write_bytes(lines())
    run(
        "transform",
        "--input",
        str(tmp_path / "lines.jsonl"),
        "--output",
        str(tmp_path / "out"),
        "--data-path",
        str(tree),
        **job,
    )
    assert (tmp_path / "out" / "lines.jsonl.out").read_text() == text + "\n"


TFT = {
    "forecaster_name": "TemporalFusionTransformerEstimator",
    "freq": "D",
    "prediction_length": str(HORIZON),
    "context_length": "4",
    "hidden_dim": "4",
    "variable_dim": "2",
    "num_heads": "1",
    "epochs": "1",
    "num_batches_per_epoch": "1",
    "batch_size": "2",
}
DEEPAR = {
    **{name: TFT[name] for name in list(TFT)[1:4]},
    **{name: TFT[name] for name in list(TFT)[-3:]},
    "forecaster_name": "DeepAREstimator",
    "lags_seq": "[1]",
    "hidden_size": "2",
    "num_layers": "1",
}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("hyperparameters", "derived", "told"),
    [
        (
            TFT,
            {"dynamic_dims": [1, 1], "past_dynamic_dims": [1], "dynamic_cardinalities": [2]},
            None,
        ),
        (
            DEEPAR,
            {"num_feat_dynamic_real": 2},
            "channel 'train': DeepAREstimator cannot use feat_dynamic_cat, past_covariates of the data and ignores "
            "it: it has no parameter for it",
        ),
    ],
    ids=["TFT", "DeepAR"],
)
def test_networks_learn_from_covariates_by_name(hyperparameters, derived, told, tmp_path, caplog):
    import torch

    from gluonts_shell.forecasting import training
    from gluonts_shell.forecasting.plan import Plan
    from gluonts_shell.sagemaker.job import Channel

    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    days = ["week", "week", "end"] * 4
    lines = [series(item, day=days) for item in "AB"]
    for line in lines:
        line["future_covariates"]["day"] = []
    (folder / "data.json").write_text("\n".join(map(json.dumps, lines)))
    plan = Plan.of(hyperparameters, {"train": Channel("train", folder)})
    data = plan.read()
    assert derived.items() <= data.arguments.items()
    assert ([told] if told else []) == [text for text in caplog.messages if "cannot use" in text]
    watch = training.Watch("local", progress_bar=False)
    predictor = training.fit(
        plan.construct(data), data.train, None, options=plan.options, watch=watch
    )
    contract = Contract.parse(plan.contract(predictor, data, None).to_json())

    def forecast(body):
        torch.manual_seed(1)
        status, found = ask(predictor, contract.features, body, "D")
        assert status == 200, found
        return found["predictions"][0]

    future = {**FUTURE, "day": ["week", "week", "end"]}
    one = series("A", day=days) | {"future_covariates": future}
    found = forecast({"inputs": [one]})
    turned = {
        name: dict(reversed(one[name].items())) for name in ("past_covariates", "future_covariates")
    }
    assert forecast({"inputs": [one | turned]}) == found
    codes = [[0, 0, 1] * 5]
    same = forecast(
        {
            "instances": [{**deepars(), "feat_dynamic_cat": codes}],
            "configuration": {"quantiles": list(LEVELS)},
        }
    )
    assert same["quantiles"] == {level: found[level] for level in LEVELS}
    changes = [{"price": [9.0] * HORIZON}]
    if hyperparameters is TFT:
        changes.append({"day": ["end"] * HORIZON})
    for change in changes:
        far = one | {"future_covariates": future | change}
        assert forecast({"inputs": [far]})["mean"] != found["mean"]


class Wide(RepresentablePredictor):
    """Forecasts the last value of each dimension, more or less by the level."""

    def __init__(self, dimensions: int) -> None:
        super().__init__(prediction_length=HORIZON)
        self.dimensions = dimensions

    def predict_item(self, item):
        last = item["target"][..., -1:]
        rows = [(np.zeros(HORIZON)[:, None] + last.T) + level for level in (0.1, 0.5, 0.9)]
        array = np.stack(rows) if self.dimensions > 1 else np.stack(rows)[:, :, 0]
        return QuantileForecast(array, forecast_start(item), list(LEVELS))


def ask(predictor, features, body, freq="h"):
    contract = Contract(freq, HORIZON, "x.Y", features=features)
    return ask_service(Forecasting((predictor, contract), Rule()), body)


def ask_service(service, body):
    app = App(Endpoint(service, Batcher(service.predict, joins=service.joins)), {})
    request = Request(
        "POST", "/invocations", {}, json.dumps(body).encode(), lambda: True, time.monotonic()
    )
    response = app(request)
    return response.status, json.loads(response.body)


VALUES = st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-9, 9), st.none())
TARGETS = st.lists(VALUES, min_size=1, max_size=8).filter(lambda values: values[-1] is not None)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(TARGETS, max_size=4),
    st.integers(1, HORIZON),
    st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9]), unique=True),
)
def test_inputs_get_what_the_same_instances_get(targets, length, levels):
    instances = [{"start": "2024-01-01 00:00:00", "target": target} for target in targets]
    predictor = SeasonalNaivePredictor(prediction_length=HORIZON, season_length=2)
    for model, features in ((predictor, Features((), 0, 0, 0)), (Wide(1), Features())):
        status, found = ask(
            model,
            features,
            {
                "inputs": instances,
                "parameters": {"prediction_length": length, "quantile_levels": levels},
            },
        )
        configuration = {"quantiles": list(map(str, levels)), "output_types": ["mean", "quantiles"]}
        other, expected = ask(
            model, features, {"instances": instances, "configuration": configuration}
        )
        assert status == other == 200
        for one, same in zip(found["predictions"], expected["predictions"], strict=True):
            assert one.pop("start").startswith("2024-01-01T0")
            rows = {"mean": same["mean"], **same["quantiles"]}
            assert one == {name: row[:length] for name, row in rows.items()}


def test_several_dimensions_are_answered_as_the_target_has_them():
    instance = {"start": "2024-01-01", "target": [[1, 2], [3, 4]]}
    features = Features(dimensions=2)
    body = {"inputs": [instance], "parameters": {"prediction_length": 2}}
    status, found = ask(Wide(2), features, body)
    assert status == 200
    (one,) = found["predictions"]
    assert one["0.5"] == [[2.5, 2.5], [4.5, 4.5]]
    body["inputs"].append({"start": "2024-01-01", "target": [[1, 2]]})
    assert ask(Wide(2), features, body)[1]["error"] == (
        "inputs[1].target is a list of 1 list, expected a list of 2 lists of numbers: "
        "the model forecasts 2 dimensions"
    )


def test_levels_that_a_forecast_lacks_are_refused_in_the_words_of_the_dialect():
    class MeanOnly(Wide):
        def predict_item(self, item):
            return QuantileForecast(np.zeros((1, HORIZON)), forecast_start(item), ["mean"])

    inputs = [{"start": "2024-01-01", "target": [1]}]
    status, found = ask(MeanOnly(1), Features(), {"inputs": inputs})
    assert (status, list(found["predictions"][0])) == (200, ["mean", "start"])
    body = {"inputs": inputs, "parameters": {"quantile_levels": [0.9]}}
    assert ask(MeanOnly(1), Features(), body) == (
        400,
        {
            "error": "parameters.quantile_levels asks for 0.9, but this model's forecasts have only a mean"
        },
    )


def test_a_cold_start_begins_where_it_starts():
    body = {"inputs": [{"start": "2024-01-01 05:00:00", "target": []}]}
    predictor = SeasonalNaivePredictor(prediction_length=HORIZON, season_length=2)
    status, found = ask(predictor, Features((), 0, 0, 0), body)
    assert (status, found["predictions"][0]["start"]) == (200, "2024-01-01T05:00:00")


def test_where_no_model_was_trained_the_parameters_are_the_forecasters():
    service = Forecasting(None, Rule(), MeanPredictor)
    inputs = [{"start": "2024-01-01", "target": [1, 3]}]
    body = {"inputs": inputs, "parameters": {"prediction_length": 2, "freq": "D"}}
    status, found = ask_service(service, body)
    assert status == 200
    assert found["predictions"][0]["start"] == "2024-01-03T00:00:00"
    assert len(found["predictions"][0]["mean"]) == 2
    for parameters, sentence in (
        ({"freq": "D"}, "parameters.prediction_length is missing: MeanPredictor needs it"),
        (
            {"prediction_length": 2},
            "parameters.freq is missing: a forecaster named in the request needs it",
        ),
    ):
        status, found = ask_service(service, {"inputs": inputs, "parameters": parameters})
        assert (status, found["error"]) == (400, sentence)


def test_both_dialects_join_one_predict():
    predictor = SeasonalNaivePredictor(prediction_length=HORIZON, season_length=2)
    contract = Contract("h", HORIZON, "x.Y", features=Features((), 0, 0, 0))
    service = Forecasting((predictor, contract), Rule())
    asked = Dialect(service).asked({"quantile_levels": [0.1, 0.9], "prediction_length": 1})
    assert asked.configuration == service.configure({"quantiles": ["0.1", "0.9"]})
