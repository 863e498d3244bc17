"""`serve` with SAGEMAKER_MULTI_MODEL=true as a process: what AWS's contract asks of it, with models of GluonTS.

Of how processes are started, hung and ended, tests/serving/models has the rest.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from toy import children, eventually, state

from gluonts_shell.commands import models
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service import canary
from gluonts_shell.forecasting.service.service import Model
from gluonts_shell.settings import Settings
from tests.commands.test_serve import JSON, START, Server
from tests.local_wheels import wheel

NO_FEATURES = Features((), 0, 0, 0)
INSTANCE = {"start": START, "target": [1.0, 2.0, 3.0, 4.0]}
REQUEST = json.dumps({"instances": [INSTANCE]})
# Forecasts what a module of its own code channel says.
OWN = """
import numpy as np
from gluonts.core.component import validated
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor
{imports}

class Own(RepresentablePredictor):
    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item):
        samples = np.full((1, self.prediction_length), {value})
        return SampleForecast(samples, item["start"] + len(item["target"]), item.get("item_id"))
"""


def naive(folder: Path, length: int = 3) -> Path:
    predictor = SeasonalNaivePredictor(prediction_length=length, season_length=length)
    artifact.save(predictor, Contract("h", length, "seasonal.Naive", features=NO_FEATURES), folder)
    return folder


def own(folder: Path, value: str, imports: str = "", **modules: str) -> Path:
    """A model whose class is in its code channel, as training leaves it, without a training."""
    naive(folder)
    for name in ("gluonts-config.json", "predictor.json"):
        document = json.loads((folder / name).read_text())
        kind = "type" if name == "gluonts-config.json" else "class"
        document[kind] = "forecaster.Own"
        if "kwargs" in document:
            document["kwargs"] = {"prediction_length": 3}
        (folder / name).write_text(json.dumps(document))
    code = folder / "code"
    code.mkdir()
    (code / "forecaster.py").write_text(OWN.format(value=value, imports=imports))
    for name, text in modules.items():
        (code / f"{name}.py").write_text(text)
    return folder


class Many(Server):
    """Without torch, which takes seconds to import, unless it is asked for."""

    def __init__(self, tree: Path, *arguments: str, torch: bool = False, **environ: str) -> None:
        self.tree = tree
        if not torch:
            (tree / "site" / "torch").mkdir(parents=True)
            (tree / "site" / "torch" / "__init__.py").write_text("raise ImportError")
            environ["PYTHONPATH"] = f"{tree / 'site'}:{Path(__file__).parents[2]}"
        super().__init__(
            tree, *arguments, SAGEMAKER_MULTI_MODEL="true", OMP_NUM_THREADS="1", **environ
        )

    def load(self, name: str, folder: Path) -> tuple[int, Any]:
        document = json.dumps({"model_name": name, "url": str(folder)})
        status, _, body = self.ask("POST", "/models", document)
        return status, json.loads(body)

    def forecast(self, name: str, request: str = REQUEST) -> tuple[int, Any]:
        status, _, body = self.ask("POST", f"/models/{name}/invoke", request)
        answer = json.loads(body)
        return status, answer["predictions"][0]["mean"] if status == 200 else answer["error"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    tree = tmp_path_factory.mktemp("many")
    naive(tree / "models" / "three" / "model")
    naive(tree / "models" / "two" / "model", length=2)
    settings = {
        "GLUONTS_FORECASTER": "gluonts.model.trivial.mean.MeanPredictor",
        "GLUONTS_SHELL_METRICS": "prometheus",
    }
    with Many(tree, **settings) as many:
        yield many
    assert many.status == 0


@pytest.fixture
def three(many: Many) -> Iterator[Many]:
    """With a model `three`."""
    assert many.load("three", many.tree / "models/three/model")[0] == 200
    yield many
    many.ask("DELETE", "/models/three")


def test_the_contract_from_empty_to_empty(many: Many) -> None:
    assert many.ask("GET", "/ping")[::2] == (200, b"")
    folder = many.tree / "models/three/model"
    shown = {"modelName": "three", "modelUrl": str(folder)}
    status, headers, body = many.ask("GET", "/models")
    assert (status, headers["Content-Type"], json.loads(body)) == (
        200,
        "application/json",
        {"models": []},
    )
    assert many.ask("DELETE", "/models/three")[0] == 404
    assert many.forecast("three") == (404, "model 'three' is not loaded")
    assert many.load("three", folder) == (200, shown)
    assert many.load("three", folder)[0] == 409
    assert many.load("two", many.tree / "models/two/model")[0] == 200
    assert many.forecast("three") == (200, [2, 3, 4])
    assert many.forecast("two") == (200, [3, 4])
    assert json.loads(many.ask("GET", "/models/three")[2]) == shown
    listed = json.loads(many.ask("GET", "/models?next_page_token=three")[2])
    assert [one["modelName"] for one in listed["models"]] == ["two"]
    for name in ("three", "two"):
        assert many.ask("DELETE", f"/models/{name}")[0] == 200
        assert many.forecast(name)[0] == 404
    assert json.loads(many.ask("GET", "/models")[2]) == {"models": []}


@pytest.mark.parametrize(
    ("method", "path", "status", "part"),
    [
        ("POST", "/invocations", 404, "this server has many models (SAGEMAKER_MULTI_MODEL)"),
        ("GET", "/invocations", 404, "ask /models/NAME/invoke"),
        ("GET", "/execution-parameters", 404, "there are /ping, /models, /models/NAME, "),
        ("GET", "/models/", 404, "there is no '/models/'"),
        ("GET", "/models/NAME/NAME", 404, "there is no"),
        ("POST", "/models/NAME", 405, "GET, HEAD, DELETE"),
        ("GET", "/models/three/invoke", 405, "POST"),
        ("DELETE", "/models", 405, "GET, HEAD, POST"),
        ("POST", "/ping", 405, "GET, HEAD"),
    ],
)
def test_other_routes_and_methods_are_told(
    many: Many, method: str, path: str, status: int, part: str
) -> None:
    found, headers, body = many.ask(method, path)
    assert (found, part in json.loads(body)["error"]) == (status, True)
    assert ("Allow" in headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "the body is not JSON: "),
        ("[" * 100_000, "the body is not JSON: "),
        ("[1]", "the body is a list, expected an object"),
        ("null", "the body is null, expected an object"),
        ('{"model_name": "a", "url": null}', "url is null, expected a text"),
        ("{}", "the body has no 'model_name', expected 'model_name' and 'url'"),
        ('{"model_name": "a"}', "the body has no 'url', expected 'model_name' and 'url'"),
        ('{"model_name": 7, "url": "/x"}', "model_name is 7, expected a text"),
        ('{"model_name": "a/b", "url": "/x"}', "model_name is 'a/b', expected 1 to 256 letters"),
        ('{"model_name": "..", "url": "/x"}', "model_name is '..', expected 1 to 256 letters"),
        ('{"model_name": "a", "url": "x"}', "url is 'x', expected the path of a folder, beginning"),
        ('{"model_name": "a", "url": "/no"}', "url is '/no', and holds no model: there is no such"),
        ('{"model_name": "a", "url": "/proc"}', "url is '/proc', and holds no model: it "),
    ],
)
def test_what_cannot_be_loaded_is_a_400_with_a_sentence(
    many: Many, body: str, sentence: str
) -> None:
    status, _, answer = many.ask("POST", "/models", body)
    error = json.loads(answer)["error"]
    assert (status, error[: len(sentence)]) == (400, sentence)


def test_a_model_is_asked_as_invocations_is(three: Many) -> None:
    def ask(body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return three.ask("POST", "/models/three/invoke", body, {**JSON, **named})

    trace = {
        "X_Amzn_SageMaker_Custom_Attributes": "trace=7",
        "X_Amzn_SageMaker_Inference_Id": "inf-7",
        "X_Amzn_SageMaker_Target_Model": "shops/three.tar.gz",
    }
    status, headers, body = ask(REQUEST, **trace)
    assert (status, headers["X-Amzn-SageMaker-Custom-Attributes"]) == (200, "trace=7")
    assert headers["Content-Type"] == "application/json" and "Date" in headers
    assert len(body) == int(headers["Content-Length"])
    status, headers, body = ask("1,2", Content_Type="text/csv", **trace)
    assert (status, headers["X-Amzn-SageMaker-Custom-Attributes"]) == (415, "trace=7")
    assert json.loads(body)["error"].startswith("Content-Type 'text/csv' is not supported")
    assert ask(REQUEST, Accept="text/csv")[0] == 406
    assert ask(gzip.compress(REQUEST.encode()), Content_Encoding="gzip")[0] == 200
    assert ask(REQUEST, Content_Encoding="br")[0] == 415
    status, headers, body = ask(
        json.dumps(INSTANCE) + "\n" + json.dumps(INSTANCE), Content_Type="application/jsonlines"
    )
    assert (status, headers["Content-Type"]) == (200, "application/jsonlines")
    assert len(body.splitlines()) == 2
    assert ask("{")[0] == 400
    status, _, body = ask(b" " * (6 * 1024 * 1024 + 1))
    assert status == 413 and b"; MAX_CONTENT_LENGTH sets this limit" in body
    large = {"instances": [{**INSTANCE, "target": [1.0] * 1_000_000}]}
    assert ask(json.dumps(large))[0] == 200
    assert ask(b"x" * 5_000_000, Content_Type="text/csv")[0] == 415
    assert ask(iter([REQUEST.encode()]))[0] == 200  # chunked
    line = r"invocation: status 200, 1 instances of 4 to 4 values, \d+\.\d ms, 1 joined, id inf-7, model shops/three.tar.gz"
    eventually(lambda: re.search(line, three.log.read_text()))
    assert three.forecast("three")[0] == 200
    eventually(lambda: re.search(r"1 joined, model three\n", three.log.read_text()))


def test_a_connection_is_kept_from_one_model_to_another(three: Many) -> None:
    three.load("two", three.tree / "models/two/model")
    connection = http.client.HTTPConnection("127.0.0.1", three.port, timeout=60)
    sockets = set()
    for name, length in (("three", 3), ("two", 2), ("three", 3)):
        connection.request("POST", f"/models/{name}/invoke", REQUEST, JSON)
        answer = connection.getresponse()
        assert len(json.loads(answer.read())["predictions"][0]["mean"]) == length
        sockets.add(connection.sock)
    assert len(sockets) == 1 and None not in sockets
    connection.close()
    three.ask("DELETE", "/models/two")


def test_requests_to_all_models_are_counted_also_of_those_that_died(three: Many) -> None:
    def counted() -> tuple[int, int]:
        text = three.ask("GET", "/metrics")[2].decode()
        found = dict(
            re.findall(r'^gluonts_shell_requests_total\{code="(...)"\} (\d+)$', text, re.M)
        )
        return int(found["2xx"]), int(found["4xx"])

    three.load("two", three.tree / "models/two/model")
    good, bad = counted()
    assert three.forecast("three")[0] == three.forecast("two")[0] == 200
    assert three.forecast("two", "{")[0] == 400  # by the model
    assert three.forecast("none")[0] == 404  # by the front
    assert counted() == (good + 2, bad + 2)
    [server] = children(three.process.pid)
    for pid in children(server):
        os.kill(pid, signal.SIGKILL)
    assert three.forecast("two")[0] == 200
    assert three.ask("DELETE", "/models/two")[0] == 200
    assert counted() == (good + 3, bad + 2)


def test_each_model_has_its_own_code(many: Many) -> None:
    """Modules of the same name; the last one brings a module that the server itself has imported."""
    rival = Path(uuid.__file__).read_text() + "\nVALUE = 3.0\n"
    said = "from said import VALUE"
    folders = {
        "one": own(many.tree / "one", "VALUE", said, said="VALUE = 1.0\n"),
        "two": own(many.tree / "own-two", "VALUE", said, said="VALUE = 2.0\n"),
        "three": own(many.tree / "own-three", "VALUE", "from uuid import VALUE", uuid=rival),
    }
    for name, folder in folders.items():
        assert many.load(name, folder)[0] == 200
    for number, name in enumerate(folders, start=1):
        assert many.forecast(name) == (200, [number] * 3)
        assert "invocation: status 200" in many.log.read_text()
    assert "brings modules that are imported already, and starts anew" in many.log.read_text()
    for name in folders:
        assert many.ask("DELETE", f"/models/{name}")[0] == 200


@pytest.mark.once
def test_what_a_models_code_requires_is_installed_once_while_it_is_loaded(many: Many) -> None:
    folder = own(many.tree / "requires", "float(VALUE)", "from thing import VALUE")
    wheel(folder / "code", "thing", "4.0")
    (folder / "code" / "requirements.txt").write_text("thing\n")
    assert many.load("requires", folder)[0] == 200
    assert many.forecast("requires") == (200, [4, 4, 4])
    [server] = children(many.process.pid)
    for pid in children(server):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder / "code")  # not looked at again
    (folder / "code").mkdir()
    (folder / "code" / "forecaster.py").write_text("")
    assert many.forecast("requires") == (200, [4, 4, 4])
    assert many.ask("DELETE", "/models/requires")[0] == 200


@pytest.mark.once
def test_code_that_cannot_be_installed_is_told(many: Many) -> None:
    folder = own(many.tree / "impossible", "1.0")
    (folder / "code" / "requirements.txt").write_text("no-such-thing-anywhere==9\n")
    wheel(folder / "code", "other")
    status, answer = many.load("impossible", folder)
    assert status == 400 and "no-such-thing-anywhere" in answer["error"]
    assert "forecaster.Own" not in answer["error"]


def test_a_model_that_is_damaged_or_forecasts_otherwise_is_not_loaded(many: Many) -> None:
    folder = naive(many.tree / "damaged")
    (folder / "predictor.json").write_text("{")
    status, answer = many.load("damaged", folder)
    assert status == 500 and "cannot be loaded" in answer["error"]
    folder = naive(many.tree / "differs")
    predictor, _ = artifact.load(folder)
    entry = {"start": pd.Period(START, "h"), "target": np.array(INSTANCE["target"])}
    canary.write(Model.of(predictor, "h", NO_FEATURES), [entry], folder)
    assert many.load("differs", folder)[0] == 200
    assert many.ask("DELETE", "/models/differs")[0] == 200
    kept = json.loads((folder / canary.NAME).read_text())
    kept["forecast"]["mean"]["values"][0] += 1
    (folder / canary.NAME).write_text(json.dumps(kept) + "\n")
    status, answer = many.load("differs", folder)
    assert status == 500 and "does not forecast here what it did" in answer["error"]
    assert many.load("damaged", naive(many.tree / "damaged-2"))[0] == 200
    assert many.ask("DELETE", "/models/damaged")[0] == 200


@pytest.mark.once
@pytest.mark.torch
def test_torch_is_imported_once_and_each_model_joins_its_own_requests(tmp_path: Path) -> None:
    """Networks that compute in processes forked from one that has imported torch, with canaries, at the same time."""
    pytest.importorskip("torch")
    folders = [deepar(tmp_path / name) for name in ("a", "b")]
    with Many(tmp_path, torch=True) as many:
        for name, folder in zip("ab", folders, strict=True):
            assert many.load(name, folder)[0] == 200
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda number: many.forecast("ab"[number % 2]), range(24)))
        assert all(status == 200 and len(mean) == 2 for status, mean in answers)
        pids = [many.process.pid, *children(many.process.pid)]
        pids += children(pids[1])
        assert len(pids) == 4
    assert many.status == 0
    eventually(lambda: [state(pid) for pid in pids] == [""] * 4)
    log = many.log.read_text()
    joined = [int(count) for count in re.findall(r"(\d+) joined", log)]
    assert len(joined) == 24 and max(joined) > 1


def deepar(folder: Path) -> Path:
    """A network as it is before the first batch of its training."""
    from gluonts.torch import DeepAREstimator

    estimator = DeepAREstimator(freq="h", prediction_length=2, num_layers=1, hidden_size=4)
    predictor = estimator.create_predictor(
        estimator.create_transformation(), estimator.create_lightning_module()
    )
    artifact.save(predictor, Contract("h", 2, "DeepAR", features=NO_FEATURES), folder)
    entry = {"start": pd.Period(START, "h"), "target": np.arange(1, 50, dtype=np.float32)}
    canary.write(Model.of(predictor, "h", NO_FEATURES), [entry], folder)
    return folder


def test_settings_that_do_not_fit_are_told(tmp_path: Path) -> None:
    batch = Settings.from_environ({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BATCH": "True"})
    with pytest.raises(ConfigurationError, match="a batch transform job has one model"):
        models.run(batch)
    with pytest.raises(ConfigurationError, match="models are loaded by POST /models"):
        models.run(Settings(multi_model=True), tmp_path)
    with pytest.raises(ConfigurationError, match="GLUONTS_FORWARD_FIELDS names 'mean'"):
        models.run(Settings(multi_model=True, forward_fields=("item_id", "mean")))
