"""`serve` as a process: what it serves, what it refuses to start with, and DeepAR's clients word for word.

The requests are those that the notebooks and classes in use send; the letters are those of their list in the project.
"""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from toy import eventually

from gluonts_shell.commands.serve import given_folder, model_name, terms
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.artifact import save
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service import canary
from gluonts_shell.forecasting.service.service import Model
from gluonts_shell.settings import Settings

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}
CONSTANT = "gluonts.model.trivial.constant.ConstantValuePredictor"
START = "2020-01-01 00:00:00"


class Server:
    """A `serve` process on a free port of 127.0.0.1; what it prints goes to a file."""

    def __init__(self, tree: Path, *arguments: str, **environ: str):
        self.log = tree / "serve.log"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not re.match("SAGEMAKER|GLUONTS|MODEL_|OMP_", name)
        }
        environ = {
            **clean,
            "PYTHONPATH": str(ROOT),
            "SAGEMAKER_DATA_PATH": str(tree),
            "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": "0",
            "MODEL_SERVER_WORKERS": "2",
            **environ,
        }
        with self.log.open("wb") as log:
            command = [sys.executable, "-W", "ignore", "-m", "gluonts_shell", "serve", *arguments]
            self.process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=subprocess.STDOUT, cwd=tree
            )

    def __enter__(self):
        end = time.monotonic() + 90
        while (found := re.search(r" on port (\d+): ", self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.status = self.process.wait(60)

    def ask(self, method, path, body=b"", headers=JSON):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def invoke(self, request, headers=JSON):
        """Status and answer, which must be strict JSON; a str or bytes is sent as it is."""
        body = request if isinstance(request, (bytes, str)) else json.dumps(request)
        status, _, answer = self.ask("POST", "/invocations", body, headers)
        return status, json.loads(
            answer, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
        )


def naive(
    tree: Path, freq: str | None = "h", length: int = 3, features: Features | None = None
) -> Path:
    predictor = SeasonalNaivePredictor(prediction_length=length, season_length=length)
    save(
        predictor,
        Contract(freq, length, "seasonal.Naive", features=features or Features((), 0, 0, 0)),
        tree / "model",
    )
    return tree


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(
        naive(tmp_path_factory.mktemp("naive")), GLUONTS_SHELL_LOCAL_ENDPOINTS="true"
    ) as server:
        yield server
    assert server.status == 0


def test_routes_of_the_contract(server):
    assert server.ask("GET", "/ping")[::2] == (200, b"")
    status, headers, body = server.ask("GET", "/execution-parameters")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "MaxConcurrentTransforms": 2,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 6,
    }
    assert server.ask("HEAD", "/execution-parameters")[::2] == (200, b"")
    assert server.ask("GET", "/nope")[0] == 404
    status, headers, _ = server.ask("POST", "/ping")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    body = b'{"instances":[{"start":"2020-01-01","target":[7]}]}'
    status, headers, _ = server.ask(
        "POST",
        "/endpoints/here/invocations",
        body,
        {**JSON, "X-Amzn-SageMaker-Custom-Attributes": "trace=1"},
    )
    assert (status, headers["X-Amzn-SageMaker-Custom-Attributes"]) == (200, "trace=1")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"instances":[]}', {"Content-Type": "text/csv"}, 415),
        (b'{"instances":[]}', {"Content-Type": "application/octet-stream"}, 415),
        (b'{"instances":[]}', {"Accept": "text/csv"}, 406),
        (b'{"instances":[]}', {}, 200),
        (b'{"instances":[]}', {"Content-Type": "application/json; charset=utf-8"}, 200),
        (b" " * (6 * 1024 * 1024 + 1), JSON, 413),
    ],
)
def test_statuses_of_bodies(server, body, headers, status):
    found, answered, answer = server.ask("POST", "/invocations", body, headers)
    assert found == status
    assert answered["Content-Type"] == "application/json"
    assert status == 200 or json.loads(answer)["error"]


def test_a_body_that_is_too_large_is_told_what_sets_the_limit(server):
    status, answer = server.invoke(b" " * (6 * 1024 * 1024 + 1))
    assert (status, answer["error"]) == (
        413,
        "the body has 6291457 bytes, expected at most 6291456; MAX_CONTENT_LENGTH sets this limit",
    )


def test_refusals_have_a_line_with_id_and_sentence_and_none_of_the_data(server):
    trace = {
        "X-Amzn-SageMaker-Inference-Id": "inf-7",
        "X-Amzn-SageMaker-Custom-Attributes": "trace=7",
    }
    bad = json.dumps(
        {"instances": [{"start": START, "target": ["Mrs Smith"], "item_id": "Mr Smith"}]}
    )
    status, headers, answer = server.ask("POST", "/invocations", bad, {**JSON, **trace})
    assert status == 400 and b"target[0] is 'Mrs Smith'" in answer
    status, headers, _ = server.ask(
        "POST", "/invocations", "1,2", {"Content-Type": "text/csv", **trace}
    )
    assert (status, headers["X-Amzn-SageMaker-Custom-Attributes"]) == (415, "trace=7")
    # a worker's lines may be held back for a moment
    eventually(lambda: "status 415, 0 instances" in server.log.read_text())
    log = server.log.read_text()
    assert re.search(
        r"invocation: status 400, 1 instances, \d+\.\d ms, id inf-7: instance 0\.\.\.: target\[0\] is \.\.\., expected",
        log,
    )
    assert (
        "invocation: status 415, 0 instances, 0.0 ms, id inf-7: Content-Type 'text/csv' is not supported: send"
        in log
    )
    assert "Smith" not in log


def test_slips_and_contradictions_are_refused(server):
    instance = {"start": START, "target": [1.0]}
    for request, sentence in (
        ({"configuration": {"prediction_length": 12}}, "but the model was trained with 3"),
        ({"configuration": {"num_samplse": 12}}, "did you mean 'num_samples'?"),
        ({"quantile": ["0.5"]}, "put 'quantiles' into 'configuration'"),
    ):
        status, answer = server.invoke({"instances": [instance], **request})
        assert status == 400 and sentence in answer["error"]
    status, _ = server.invoke(
        {"instances": [instance], "configuration": {"prediction_length": 3, "epochs": 9}}
    )
    assert status == 200


def test_gzip_is_taken_and_other_codings_are_not(server):
    body = gzip.compress(json.dumps({"instances": [{"start": START, "target": [1.0]}]}).encode())
    assert server.invoke(body, {**JSON, "Content-Encoding": "gzip"})[0] == 200
    status, headers, _ = server.ask(
        "POST", "/invocations", body, {**JSON, "Content-Encoding": "br"}
    )
    assert (status, headers["Accept-Encoding"]) == (415, "gzip, identity")
    status, answer = server.invoke(body)
    assert status == 400 and answer["error"].startswith(
        "the body is gzip, expected JSON: send it with 'Content-Enc"
    )


def test_an_error_of_a_local_endpoint_is_a_model_error(server):
    status, headers, answer = server.ask("POST", "/endpoints/here/invocations", b"{}", JSON)
    assert (status, headers["x-amzn-errortype"]) == (424, "ModelError")
    assert "the request has no field 'instances'" in json.loads(answer)["OriginalMessage"]


def test_the_log_can_be_objects_and_answers_can_have_fields(tmp_path):
    settings = {"GLUONTS_SHELL_LOG_FORMAT": "json", "GLUONTS_FORWARD_FIELDS": "item_id,start"}
    with Server(naive(tmp_path), **settings) as server:
        instance = {"start": START, "target": [1.0], "item_id": "Mr Smith"}
        status, answer = server.invoke(
            {"instances": [instance]}, {**JSON, "X-Amzn-SageMaker-Inference-Id": "inf-7"}
        )
        assert (status, answer["predictions"][0]["item_id"]) == (200, "Mr Smith")
        assert answer["predictions"][0]["start"] == START
        assert server.invoke(b"{")[0] == 400
    lines = objects(server.log)
    good, bad = (line for line in lines if "status" in line)
    assert (good["status"], good["instances"], good["joined"], good["id"]) == (200, 1, 1, "inf-7")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", good["time"]) and good["ms"] >= 0
    assert (bad["status"], bad["level"]) == (400, "WARNING") and bad["error"].startswith(
        "the body is not JSON"
    )


def objects(log: Path):
    """A log's lines, each of which must be an object that says when and what."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    return lines


TELLING = """
from gluonts.core.component import validated
from gluonts.model.trivial.mean import MeanPredictor

class Telling(MeanPredictor):
    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item):
        print("a word\\nand another")
        raise ValueError("in two\\nlines")
"""


def test_in_a_log_of_objects_what_a_model_prints_and_raises_is_objects(tmp_path):
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "telling.py").write_text(TELLING)
    settings = {
        "GLUONTS_SHELL_LOG_FORMAT": "json",
        "GLUONTS_FORECASTER": "telling.Telling",
        "GLUONTS_SHELL_OFFLINE": "true",
    }
    with Server(tmp_path, **settings) as server:
        request = {
            "instances": [{"start": START, "target": [1.0]}],
            "configuration": {"prediction_length": 2, "freq": "D"},
        }
        assert server.invoke(request)[0] == 500
    lines = objects(server.log)
    assert [line["message"] for line in lines if line.get("stream") == "stdout"] == [
        "a word",
        "and another",
    ]
    (failed,) = (line for line in lines if "traceback" in line)
    assert failed["traceback"].endswith("ValueError: in two\nlines")


def test_the_contract_makes_freq_and_configuration_needless(server):
    status, answer = server.invoke(
        {"instances": [{"start": START, "target": [9, 1, None, "NaN"], "item_id": "\ud800"}]}
    )
    (prediction,) = answer["predictions"]
    assert status == 200
    assert prediction["mean"] == [1.0, 1.0, 1.0]
    assert list(prediction["quantiles"]) == [
        "0.1",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
        "0.6",
        "0.7",
        "0.8",
        "0.9",
    ]
    status, answer = server.invoke({"instances": [], "configuration": {"freq": "D"}})
    assert (status, answer) == (
        400,
        {"error": "configuration.freq is 'D', but the model was trained with 'h'"},
    )


def test_json_lines_are_answered_in_kind(server):
    lines = b'{"start":"2020-01-01","target":[1,2,3]}\r\n\n{"start":"2020-01-01","target":[4]}\n'
    status, headers, answer = server.ask(
        "POST", "/invocations", lines, {"Content-Type": "application/jsonlines"}
    )
    assert (status, headers["Content-Type"]) == (200, "application/jsonlines")
    assert [json.loads(line)["mean"] for line in answer.split(b"\n")] == [[1, 2, 3], [4, 4, 4]]
    status, answer = server.invoke(b"{}\n[", {"Content-Type": "application/jsonlines"})
    assert (status, answer) == (400, {"error": "line 2 is not JSON: Expecting value at column 2"})


def test_one_bad_instance_is_named(server):
    good = {"start": START, "target": [1.0]}
    bad = {"start": START + "Z", "target": [1.0], "item_id": "SKU-7"}
    status, answer = server.invoke({"instances": [good, bad]})
    assert (status, answer["error"]) == (
        400,
        "instance 1 (item_id 'SKU-7'): start is '2020-01-01 00:00:00Z', which has a time zone; "
        "expected 'YYYY-MM-DD HH:MM:SS' without one",
    )


def test_the_documents_predictor_beside_a_model(server):
    configuration = {"forecaster_name": CONSTANT, "prediction_length": 7, "freq": "D", "value": 1.5}
    request = {"instances": [{"start": "2020-01-01", "target": []}], "configuration": configuration}
    status, answer = server.invoke(request)
    assert (status, answer["predictions"][0]["mean"]) == (200, [1.5] * 7)
    configuration["valeu"] = 1
    status, answer = server.invoke(request)
    assert (status, answer["error"]) == (
        400,
        "configuration.valeu is not a parameter of ConstantValuePredictor; did you mean 'value'?",
    )
    status, answer = server.invoke(
        {"instances": [], "configuration": {"forecaster_name": "os.system", "freq": "D"}}
    )
    assert (status, answer["error"]) == (
        400,
        "configuration.forecaster_name is 'os.system', which is not allowed: only GluonTS's trivial, seasonal, NPTS and "
        "statsforecast predictors, and those of the code channel (GLUONTS_ALLOWED_FORECASTERS allows others)",
    )


def test_the_log_has_a_line_for_each_invocation_and_no_data(server):
    server.invoke(
        {"instances": [{"start": START, "target": [123456789.0] * 5, "item_id": "Mr Smith"}]}
    )
    server.ask("GET", "/ping")
    # a worker's lines may be held back for a moment
    eventually(lambda: "1 instances of 5 to 5 values" in server.log.read_text())
    log = server.log.read_text()
    assert re.search(
        r"serving seasonal\.Naive \(freq h, prediction_length 3\), with gluonts_shell .*, gluonts .* on port \d+: workers 2, threads \d+ each",
        log,
    )
    assert re.search(
        r"invocation: status 200, 1 instances of 5 to 5 values, \d+\.\d ms, 1 joined", log
    )
    assert "Smith" not in log
    assert "123456789" not in log
    # only what was refused there has a line
    assert not [line for line in log.splitlines() if "/ping" in line and "status 40" not in line]


# A: the notebooks' DeepARPredictor: one instance, quantiles as text, samples on request; it never reads the mean
def test_client_a(server):
    request = {
        "instances": [{"start": "2014-01-01 02:00:00", "target": [1.0, "NaN", 3.0, 4.0]}],
        "configuration": {
            "num_samples": 100,
            "output_types": ["quantiles", "samples"],
            "quantiles": ["0.1", "0.5", "0.9"],
        },
    }
    status, answer = server.invoke(request)
    assert status == 200
    prediction = answer["predictions"][0]
    assert set(prediction) == {"quantiles", "samples"}
    assert len(next(iter(prediction["quantiles"].values()))) == 3
    assert list(pd.DataFrame(prediction["quantiles"]).columns) == ["0.1", "0.5", "0.9"]
    assert all(len(path) == 3 for path in prediction["samples"])


# B: the older class: several instances, a bare cat, bare NaN, a date as start and no history at all
def test_client_b(server):
    body = (
        '{"instances": [{"start": "2010-01-01 00:00:00", "target": [1.0, NaN, 2.0], "cat": 3}, '
        '{"start": "2010-01-01", "target": []}], "configuration": {"num_samples": 1000, '
        '"output_types": ["quantiles"], "quantiles": ["0.1", "0.75", "0.95"]}}'
    )
    status, answer = server.invoke(body)
    assert status == 200
    assert [list(prediction) for prediction in answer["predictions"]] == [["quantiles"]] * 2
    assert [len(prediction["quantiles"]["0.95"]) for prediction in answer["predictions"]] == [3, 3]


# C: the training set as it is, and no num_samples
def test_client_c(server):
    series = [{"start": START, "target": [float(n + t) for t in range(5)]} for n in range(20)]
    configuration = {"output_types": ["quantiles"], "quantiles": ["0.1", "0.5", "0.9"]}
    status, answer = server.invoke({"instances": series, "configuration": configuration})
    assert status == 200
    assert [prediction["quantiles"]["0.5"][0] for prediction in answer["predictions"]] == [
        n + 2 for n in range(20)
    ]


def test_without_orjson_the_answers_are_the_same(server, tmp_path):
    (tmp_path / "orjson.py").write_text("raise ImportError('not here')\n")
    request = {
        "instances": [
            {"start": START, "target": [0.1, 1e-9, 123456.789]},
            {"start": START, "target": [1, 2, 1e30]},
        ],
        "configuration": {"output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.50"]},
    }
    with Server(naive(tmp_path), PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as other:
        (status, with_orjson), (_, without) = server.invoke(request), other.invoke(request)
    assert status == 200
    for one, two in zip(with_orjson["predictions"], without["predictions"], strict=True):
        assert list(one) == list(two) == ["mean", "quantiles", "samples"]
        np.testing.assert_array_equal(np.float32(one["mean"]), np.float32(two["mean"]))
        np.testing.assert_array_equal(
            np.float32(one["quantiles"]["0.50"]), np.float32(two["quantiles"]["0.50"])
        )
        np.testing.assert_array_equal(np.float32(one["samples"]), np.float32(two["samples"]))


def test_a_model_without_a_contract_takes_its_frequency_from_the_request(tmp_path):
    (naive(tmp_path) / "model" / "gluonts_shell.json").unlink()
    with Server(tmp_path, "--force-static") as server:
        request = {
            "instances": [{"start": START, "target": [1, 2, 3]}],
            "configuration": {"output_types": ["mean"]},
        }
        assert server.invoke(request) == (
            400,
            {
                "error": "configuration.freq is missing, and the model does not tell it; expected 'h', 'D' or the like"
            },
        )
        request["configuration"]["freq"] = "D"
        assert server.invoke(request) == (200, {"predictions": [{"mean": [1, 2, 3]}]})
        request["configuration"]["forecaster_name"] = CONSTANT
        assert server.invoke(request) == (
            400,
            {
                "error": f"configuration.forecaster_name is '{CONSTANT}', "
                "but this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)"
            },
        )


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the tree", "named by --model"])
def test_a_model_that_forecasts_something_else_than_it_did_never_becomes_ready(tmp_path, elsewhere):
    tree = naive(tmp_path)
    start = pd.Period(START, "h")
    trained = SeasonalNaivePredictor(prediction_length=3, season_length=2)
    entry = {"item_id": "a", "start": start, "target": np.arange(9, dtype=np.float32)}
    canary.write(Model.of(trained, "h", Features()), [entry], tree / "model")
    named = ("--model", str(tree / "model")) if elsewhere else ()
    empty = tmp_path / "empty"
    empty.mkdir()
    server = Server(empty if elsewhere else tree, *named)
    assert server.process.wait(90) == 1
    assert (
        "the model does not forecast here what it did when it was trained: item_id 'a': its mean was 7 at step 1 "
        "and is 6; GLUONTS_SHELL_CANARY=false serves it all the same"
    ) in server.log.read_text()
    with Server(tree, GLUONTS_SHELL_CANARY="false") as server:
        assert server.ask("GET", "/ping")[0] == 200
    # the canary is that of the model which is served
    (tmp_path / "other").mkdir()
    good = naive(tmp_path / "other")
    with Server(tree, "--model", str(good / "model")) as server:
        assert server.ask("GET", "/ping")[0] == 200


def test_a_predictor_of_the_operator_without_a_model(tmp_path):
    with Server(tmp_path, "--forecaster", CONSTANT) as server:
        given = {"freq": "D", "prediction_length": 2, "value": 4, "output_types": ["mean"]}
        request = {"instances": [{"start": START, "target": [1]}], "configuration": given}
        assert server.invoke(request) == (200, {"predictions": [{"mean": [4, 4]}]})
        given.update(forecaster_name="gluonts.model.trivial.mean.MeanPredictor")
        del given["value"]
        assert server.invoke(request) == (200, {"predictions": [{"mean": [1, 1]}]})
    assert server.status == 0


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {},
            "there is nothing to serve: {model} holds no model: it is empty; put a trained model there, or name a Predictor",
        ),
        (
            {"GLUONTS_FORECASTER": CONSTANT, "GLUONTS_FORCE_STATIC": "true"},
            "there is nothing to serve: {model} holds no model: it is empty, and GLUONTS_FORCE_STATIC forbids any other forecaster",
        ),
        (
            {"GLUONTS_FORECASTER": "gluonts.model.trivial.mean.MeanEstimator"},
            "forecaster 'gluonts.model.trivial.mean.MeanEstimator' is an Estimator, which needs training",
        ),
        (
            {"GLUONTS_FORECASTER": "no.such.Forecaster"},
            "there is no forecaster 'no.such.Forecaster'",
        ),
        ({"broken": "x"}, "the model in {model} cannot be loaded: "),
        (
            {"MODEL_SERVER_WORKERS": "two"},
            "environment variable MODEL_SERVER_WORKERS is 'two', expected a whole number",
        ),
    ],
)
def test_what_it_does_not_start_with(tmp_path, environ, sentence):
    model = tmp_path / "model"
    model.mkdir()
    if environ.pop("broken", None):
        (model / "gluonts-config.json").write_text(
            '{"type": "gluonts.model.seasonal_naive.SeasonalNaivePredictor"}'
        )
    server = Server(tmp_path, **environ)
    assert server.process.wait(60) == 1
    log = server.log.read_text()
    assert sentence.format(model=repr(str(model))) in log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory):
    """One worker with the model of batch_toy.py; a request may take 3 s, a predict 4."""
    tree = tmp_path_factory.mktemp("misbehaving")
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "batch_toy.py"), str(tree / "model")],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    settings = {
        "SAGEMAKER_SERVER_TIMEOUT": "3",
        "GLUONTS_SHELL_MAX_PREDICT_SECONDS": "4",
        "MODEL_SERVER_WORKERS": "1",
    }
    with Server(tree, PYTHONPATH=path, **settings) as server:
        yield server
    assert server.status == 0


def toys(*items):
    """A request of series of 7 values, each of which does what its item_id says."""
    series = [{"start": START, "target": [41.5] * 7, "item_id": item} for item in items]
    return {
        "instances": series,
        "configuration": {"output_types": ["quantiles"], "quantiles": ["0.1"]},
    }


@pytest.mark.parametrize("what", ["interrupt", "cancel", "close", "raise"])
def test_whatever_a_model_raises_is_a_500_for_its_request_alone(misbehaving, what):
    status, answer = misbehaving.invoke(toys("", what))
    assert status == 500
    assert answer["error"].startswith("the model failed with ")
    assert misbehaving.invoke(toys(""))[0] == 200


def test_ping_is_answered_while_the_only_worker_holds_the_interpreter(misbehaving):
    with ThreadPoolExecutor() as pool:
        held = pool.submit(misbehaving.invoke, toys("hold"))
        time.sleep(0.3)
        slowest = 0.0
        for _ in range(5):
            began = time.monotonic()
            assert misbehaving.ask("GET", "/ping")[0] == 200
            slowest = max(slowest, time.monotonic() - began)
        assert not held.done()
        assert slowest < 2.0
        # a connection that the parent accepts, and hands over
        waiting = pool.submit(misbehaving.invoke, toys(""))
        assert waiting.result()[0] == 200


def test_predicting_ends_once_the_client_has_gone(misbehaving):
    client = socket.create_connection(("127.0.0.1", misbehaving.port))
    body = json.dumps(toys(*["slow"] * 200)).encode()  # 20 seconds
    client.sendall(
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    time.sleep(0.5)
    client.close()
    assert misbehaving.invoke(toys(""))[0] == 200
    # the thread of the one that has gone says so while the next is already answered
    line = "status 503, 200 instances of 7 to 7 values"
    eventually(lambda: line in misbehaving.log.read_text())
    assert "has not ended within" not in misbehaving.log.read_text()


def test_predicting_ends_once_the_time_of_the_request_is_over(misbehaving):
    status, answer = misbehaving.invoke(toys(*["slow"] * 100))
    assert status == 503
    assert re.fullmatch(
        r"the request took more than 3 s: it was stopped after \d+ of 100 series; ask for less at a time \(SAGEMAKER_SERVER_TIMEOUT sets this limit\)",
        answer["error"],
    )


def test_a_predict_that_never_returns_costs_its_own_request_and_a_worker(misbehaving):
    with ThreadPoolExecutor() as pool:
        culprit = pool.submit(misbehaving.invoke, toys("loop"))
        time.sleep(2.0)
        behind = pool.submit(misbehaving.invoke, toys(""))
        status, answer = culprit.result()
        assert (status, answer["error"]) == (
            500,
            "the model took longer than any prediction may, and was ended (GLUONTS_SHELL_MAX_PREDICT_SECONDS sets this limit)",
        )
        status, answer = behind.result()
        assert (status, answer["error"]) == (
            503,
            "the model hangs, and this worker ends; try again later",
        )
        assert misbehaving.ask("GET", "/ping")[0] == 200
        assert misbehaving.invoke(toys(""))[0] == 200
    log = misbehaving.log.read_text()
    assert "a predict of 1 series of 7 to 7 values with Configuration(num_samples=100, " in log
    assert "in predict_item" in log, "where it hangs"
    assert "this worker ends, and another one starts" in log
    assert "41.5" not in log


def test_how_long_a_predict_and_a_silent_worker_are_waited_for():
    assert Settings().predict_limit == 120
    assert Settings(timeout=0).predict_limit == 3600
    assert Settings(batch=True).predict_limit == 3600
    assert Settings(batch=True, max_predict_seconds=7).predict_limit == 7
    assert terms(Settings(batch=True)).silent_seconds == 3610
    assert terms(Settings(max_predict_seconds=0)).silent_seconds == float("inf")
    assert terms(Settings(max_worker_bytes=5)).resident_bytes == 5
    assert terms(Settings()).ready_seconds == 180
    assert terms(Settings(), loads=True).ready_seconds == 3720
    assert terms(Settings(max_predict_seconds=0)).ready_seconds == float("inf")


@pytest.fixture(scope="module")
def deepar(tmp_path_factory):
    """A small DeepAR with two categories and three dynamic features, as the Clarify notebook has it."""
    pytest.importorskip("torch")
    from gluonts.torch.model.deepar import DeepAREstimator

    tree = tmp_path_factory.mktemp("deepar")
    series = [
        {
            "start": pd.Period(START, "h"),
            "target": np.sin(np.arange(60.0) + n).astype(np.float32) + 5,
            "feat_static_cat": np.array([n % 3, n % 2]),
            "feat_dynamic_real": np.random.default_rng(n).random((3, 60), dtype=np.float32),
        }
        for n in range(6)
    ]
    estimator = DeepAREstimator(
        freq="h",
        prediction_length=14,
        context_length=14,
        num_layers=1,
        hidden_size=8,
        lags_seq=[1, 2],
        num_feat_static_cat=2,
        cardinality=[3, 2],
        num_feat_dynamic_real=3,
        num_batches_per_epoch=2,
        batch_size=4,
        trainer_kwargs={
            "max_epochs": 1,
            "enable_progress_bar": False,
            "logger": False,
            "default_root_dir": str(tree),
        },
    )
    save(
        estimator.train(series),
        Contract("h", 14, "Deep.AR", features=Features((3, 2), 0, 3, 0)),
        tree / "model",
    )
    with Server(tree) as server:
        yield server
    assert server.status == 0


# D: the Clarify notebook: no configuration, two categories, three dynamic features; it reads predictions[*].mean
@pytest.mark.torch
def test_client_d(deepar):
    target = [33.1595, 30.1788, 28.5022, 27.5708, 27.7571]
    instance = {
        "target": target,
        "start": "2014-05-30 01:00:00",
        "dynamic_feat": [[0.5] * 19] * 3,
        "cat": [0, 1],
    }
    status, answer = deepar.invoke(
        {"instances": [instance]}, {**JSON, "Accept": "application/json"}
    )
    assert status == 200
    assert [len(prediction["mean"]) for prediction in answer["predictions"]] == [14]
    assert np.isfinite(answer["predictions"][0]["mean"]).all()


# E: the request in AWS's documentation
@pytest.mark.torch
def test_client_e(deepar):
    request = {
        "instances": [
            {
                "start": "2009-11-01 00:00:00",
                "target": [4.0, 10.0, "NaN", 100.0, 113.0],
                "cat": [0, 1],
                "dynamic_feat": [[1.0, 1.1, 2.1, 0.5, 3.1, 4.1, 1.2, 5.0] + [0.1] * 11] * 3,
            },
            {
                "start": "2012-01-30",
                "target": [1.0],
                "cat": [2, 1],
                "dynamic_feat": [[2.0] * 15] * 3,
            },
        ],
        "configuration": {
            "num_samples": 50,
            "output_types": ["mean", "quantiles", "samples"],
            "quantiles": ["0.5", "0.9"],
        },
    }
    status, answer = deepar.invoke(request)
    assert status == 200
    assert len(answer["predictions"]) == 2
    for prediction in answer["predictions"]:
        assert set(prediction) == {"mean", "quantiles", "samples"}
        assert list(prediction["quantiles"]) == ["0.5", "0.9"]
        assert np.shape(prediction["samples"]) == (50, 14)
        ordered = np.sort(np.float32(prediction["samples"]), axis=0)
        np.testing.assert_allclose(prediction["quantiles"]["0.9"], ordered[44], rtol=1e-6)


@pytest.mark.torch
def test_a_trained_model_wants_its_features(deepar):
    instance = {
        "start": START,
        "target": [1.0] * 100,
        "cat": [0, 1],
        "dynamic_feat": [[1.0] * 114] * 3,
        "item_id": "SKU-7",
    }
    for change, sentence in (
        (
            {"cat": None},
            "cat (or feat_static_cat) is missing, expected 2 categories: the model was trained with it",
        ),
        ({"cat": [0, 2]}, "cat[1] is 2, expected a whole number from 0 to 1"),
        ({"cat": 0}, "cat has 1 category, expected 2"),
        (
            {"dynamic_feat": [[1.0] * 114, [1.0] * 100, [1.0] * 114]},
            "dynamic_feat[1] has 100 values, expected 114 = len(target) 100 + prediction_length 14",
        ),
        (
            {"target": [[1.0], [2.0]]},
            "target is a list of 2 lists, expected one list of numbers: the model forecasts one dimension",
        ),
    ):
        status, answer = deepar.invoke({"instances": [{**instance, **change}]})
        assert (status, answer["error"]) == (400, f"instance 0 (item_id 'SKU-7'): {sentence}")


@pytest.mark.torch
def test_workers_draw_different_samples_and_joined_requests_too(deepar):
    instance = {"start": START, "target": [5.0], "cat": [0, 1], "dynamic_feat": [[1.0] * 15] * 3}
    request = {
        "instances": [instance],
        "configuration": {"output_types": ["samples"], "num_samples": 3},
    }
    assert len({json.dumps(deepar.invoke(request)[1]) for _ in range(12)}) == 12
    _, _, body = deepar.ask("GET", "/execution-parameters")
    assert json.loads(body)["MaxConcurrentTransforms"] == 16


def test_transform_speaks_of_its_own_options(tmp_path):
    from gluonts_shell.commands import serve, transform
    from gluonts_shell.errors import ConfigurationError
    from gluonts_shell.settings import Settings

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "type.txt").touch()
    with pytest.raises(ConfigurationError) as raised:
        serve.served(Settings(), tmp_path, None, transform.ADVICE)
    expected = "its folder 'model' does: pack the files themselves, tar -C model -czf model.tar.gz .; give model.tar.gz or "
    assert expected + "its folder with --model, or name a Predictor with GLUONTS_FORECASTER" in str(
        raised.value
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_model_is_imported_is_a_stop(tmp_path, number):
    (tmp_path / "model").mkdir()
    (tmp_path / "slow_model.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    (tmp_path / "model" / "gluonts-config.json").write_text('{"type": "slow_model.Forecaster"}')
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environ = {
        **os.environ,
        "PYTHONPATH": path,
        "SAGEMAKER_DATA_PATH": str(tmp_path),
        "SAGEMAKER_BIND_TO_PORT": "0",
    }
    command = [sys.executable, "-m", "gluonts_shell", "serve"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "cannot be loaded" in done.stdout + done.stderr) == (0, False)


def test_sigterm_twice_while_the_server_ends_is_one(tmp_path):
    with Server(naive(tmp_path)) as server:
        end = time.monotonic() + 0.8
        while server.process.poll() is None and time.monotonic() < end:
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
    assert server.status == 0


def test_model_and_port_can_be_options_and_must_be_right(tmp_path):
    model = naive(tmp_path / "elsewhere") / "model"
    with Server(
        tmp_path, "--model", str(model), "--port", "0", SAGEMAKER_BIND_TO_PORT="1"
    ) as server:
        assert server.port > 1
        assert server.invoke({"instances": [{"start": START, "target": [1]}]})[0] == 200
    with pytest.raises(
        ConfigurationError,
        match=r"is not there, expected the folder that a model\.tar\.gz unpacks to",
    ):
        given_folder(tmp_path / "none")
    command = [sys.executable, "-m", "gluonts_shell", "serve", "--port", "http"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    expected = (
        "gluonts-shell: --port is 'http', expected a whole number of at least 0 and at most 65535\n"
    )
    assert (done.returncode, done.stderr) == (1, expected)


def numbers(server):
    """What /metrics tells: {(name, label): value}."""
    parser = pytest.importorskip("prometheus_client.parser")
    status, headers, body = server.ask("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name.removeprefix("gluonts_shell_"), *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def workers_of(server):
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_metrics_are_right_across_workers_and_after_one_was_killed(tmp_path):
    with Server(naive(tmp_path), GLUONTS_SHELL_METRICS="both") as server:
        good = {"instances": [{"start": START, "target": [1.0]}]}

        def three(_):
            found, refused = server.invoke(good)[0], server.invoke(b"{")[0]
            return found, server.ask("GET", "/no")[0], refused, server.ask("GET", "/ping")[0]

        def total():
            found = numbers(server)
            duration = "request_duration_seconds_count"
            classes = [found["requests_total", code] for code in ("2xx", "4xx", "5xx")]
            assert found[duration,] == found["request_duration_seconds_bucket", "+Inf"]
            return classes, found[duration,]

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(three, range(40))) == {(200, 404, 400, 200)}
        assert total() == ([40, 80, 0], 80)
        killed, other = workers_of(server)
        os.kill(killed, signal.SIGKILL)
        end = time.monotonic() + 30
        while len(set(workers_of(server)) - {killed}) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert other in workers_of(server)
        assert total() == ([40, 80, 0], 80)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(three, range(40)))
        assert total() == ([80, 160, 0], 160)
        found = numbers(server)
        assert found["waiting_requests",] == found["joined_requests_total",] == 0
        assert found["memory_bytes",] > 10_000_000
        assert server.ask("HEAD", "/metrics")[::2] == (200, b"")
        status, headers, _ = server.ask("POST", "/metrics", b"{}")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert server.status == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if "_aws" in line]
    assert [line["Requests2xx"] for line in lines] == [80]
    assert (lines[0]["Requests4xx"], lines[0]["Model"]) == (161, "seasonal.Naive")
    assert 0 < lines[0]["LatencyP50"] <= lines[0]["LatencyP99"]


def test_there_are_no_metrics_unless_somebody_asked(server):
    status, _, answer = server.ask("GET", "/metrics")
    assert (status, json.loads(answer)["error"]) == (
        404,
        "there is no '/metrics'; there are /ping, /execution-parameters, /invocations",
    )
    assert "_aws" not in server.log.read_text()


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        (Contract("h", 3, "a.Forecaster", training_job_name="job-7"), "job-7"),
        (Contract("h", 3, "a.Forecaster"), "a.Forecaster"),
        (None, "named.By.Operator"),
    ],
)
def test_metrics_are_filed_under_the_model(tmp_path, contract, name):
    if contract:
        save(SeasonalNaivePredictor(prediction_length=3, season_length=3), contract, tmp_path)
    assert model_name(Settings(forecaster="named.By.Operator"), tmp_path) == name
