"""Nothing that a request holds is evaluated, imported or run: the exploits that there were, and 21,000 random ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gluonts_shell
from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting

MKDIR = (
    r'[{"\u005f_kind__": "instance", "class": "list", "args": [{"\u005f_kind__": "instance", '
    r'"class": "gluonts.itertools.Map", "kwargs": {"fn": {"\u005f_kind__": "type", "class": "os.mkdir"}, '
    r'"iterable": ["owned"]}}]}]'
)
NPTS = {"freq": "D", "forecaster_name": "NPTSPredictor", "prediction_length": 3}
SEASONAL = {
    "freq": "D",
    "forecaster_name": "SeasonalNaivePredictor",
    "prediction_length": 3,
    "season_length": 1,
}


def refusal(**configuration):
    with pytest.raises(RequestError) as caught:
        Forecasting(None, Rule()).configure(configuration)
    return str(caught.value)


def child(arguments, folder, given=""):
    root = Path(gluonts_shell.__file__).parent.parent
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        input=given,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("value", [MKDIR, json.loads(MKDIR)], ids=["text", "json"])
def test_a_request_makes_no_folder(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected" in refusal(**NPTS, exp_kernel_weights=value)
    assert list(tmp_path.iterdir()) == []


def test_a_request_makes_no_object():
    embedding = {"()": "Embedding", "num_embeddings": 1000000, "embedding_dim": 1000}
    for value in (embedding, json.dumps(embedding), [embedding]):
        for name in ("imputation_method", "season_length"):
            assert refusal(**{**SEASONAL, name: value}).startswith(f"configuration.{name} is ")


@pytest.mark.parametrize(
    "text", ["1e12", "1_000_000_000", "\uff11\uff12", "1", " 7 ", "0x10", "null", "True", "[1]"]
)
@pytest.mark.parametrize("name", ["prediction_length", "season_length"])
def test_a_number_in_a_text_is_a_text(name, text):
    sentence = refusal(**{**SEASONAL, name: text})
    assert sentence.startswith(f"configuration.{name} is {text!r}, expected a whole number")


@pytest.mark.parametrize("number", [10_001, 1e12, 10**30])
def test_bounds_hold_for_the_number_that_is_used(number):
    assert refusal(**{**SEASONAL, "prediction_length": number}).endswith("expected at most 10000")
    assert refusal(**{**NPTS, "context_length": number * 1000}).endswith("expected at most 1000000")


def test_naming_an_estimator_imports_nothing(tmp_path):
    code = (
        "import sys\nfrom gluonts_shell.errors import RequestError\nfrom gluonts_shell.forecasting.service.allowed import Rule\n"
        "from gluonts_shell.forecasting.service.service import Forecasting\nbefore = set(sys.modules)\n"
        "for name in ('DeepAREstimator', 'gluonts.torch.model.tft.TemporalFusionTransformerEstimator', 'TreePredictor',\n"
        "             'gluonts.ext.prophet.ProphetPredictor', 'gluonts.mx.model.deepar.DeepAREstimator'):\n"
        "    try:\n        Forecasting(None, Rule()).configure({'forecaster_name': name, 'freq': 'D'})\n"
        "    except RequestError as error:\n        print(error)\nprint(sorted(set(sys.modules) - before))"
    )
    done = child(["-c", code], tmp_path)
    *sentences, imported = done.stdout.splitlines()
    assert imported == "[]", done.stderr
    assert [
        ("needs training" in sentence, "is not allowed" in sentence) for sentence in sentences
    ] == [
        (True, False),
        (True, False),
        (False, True),
        (False, True),
        (True, False),
    ]


def test_random_nests_for_every_predictor_and_parameter_do_nothing(tmp_path):
    program = Path(__file__).with_name("hostile_requests.py")
    done = child([str(program), "21000"], tmp_path, json.dumps(MKDIR))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seen"] == []
    assert (found["heavy"], found["files"], found["missed"]) == ([], ["code"], [])
    assert found["answered"] + found["refused"] + found["failed"] == 21000
    assert found["answered"] > 1000, "some get as far as the model"
    assert found["refused"] > 5000
    assert "os.mkdir" in found["by the owner's function"], "the watch sees what it is there for"
