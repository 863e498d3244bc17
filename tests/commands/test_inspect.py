"""`inspect` tells what a model is from its files alone, and the request that it prints is answered."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.commands import inspect
from gluonts_shell.errors import DataError, ModelError
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import CONTRACT, Contract, Features
from gluonts_shell.settings import Settings
from tests.deepar_job import lay_down, lines, served, train

FEATURES = Features((2, 3), 1, 2, 0, labels=(("it's", "other"), None))
VERSIONS = {"gluonts_shell": "0.0.1", "python": "3.10.1", "gluonts": "0.17.0", "torch": "1.0+cu99"}


def saved(folder: Path, features: Features = FEATURES, forecaster: str = "mine.Naive") -> Path:
    contract = Contract(
        "h",
        3,
        forecaster,
        arguments={"season_length": 2},
        features=features,
        versions=VERSIONS,
        created="2026-01-02",
    )
    artifact.save(SeasonalNaivePredictor(prediction_length=3, season_length=2), contract, folder)
    return folder


def told(model: Path, capsys: pytest.CaptureFixture[str], **options: bool) -> str:
    assert inspect.run(model, Settings(), **options) == 0
    return capsys.readouterr().out


def body_of_the_curl(text: str) -> str:
    """What a shell makes of the printed line."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith("curl ")]
    words = shlex.split(line)
    return words[words.index("-d") + 1]


def test_contract_versions_features_and_scores_are_told(tmp_path, capsys):
    model = saved(tmp_path / "model")
    (model / "agg_metrics.json").write_text('{"MASE": 0.75, "MSIS": null, "ND": 0.125}')
    text = told(model, capsys)
    for line in (
        "  forecaster         mine.Naive",
        "  freq               h",
        "  prediction_length  3",
        "  season_length      2",
        "  trained            2026-01-02",
        "  cat[0]: one of \"it's\", 'other'",
        "  cat[1]: a whole number from 0 to 2",
        "  feat_static_real: numbers, 1 of them",
        "  dynamic_feat: 2 lists of len(target) + 3 numbers",
        "  MASE               0.75",
        "  ND                 0.125",
    ):
        assert line in text.splitlines()
    assert "MSIS" not in text


def test_versions_that_differ_from_this_environments_are_marked(tmp_path, capsys):
    found = json.loads(told(saved(tmp_path / "model"), capsys, as_json=True))
    here = artifact.versions()
    assert found["differing"] == ["gluonts_shell", "python", "torch"]
    assert found["versions"]["gluonts"] == ["0.17.0", here["gluonts"]]
    assert found["versions"]["numpy"] == [None, here["numpy"]]
    marked = [
        line.split()[0]
        for line in told(tmp_path / "model", capsys).splitlines()
        if "DIFFERS" in line
    ]
    assert marked == found["differing"]


def test_another_build_of_the_same_version_is_no_difference(tmp_path):
    contract = Contract(
        "h", 3, "mine.Naive", versions={"numpy": artifact.versions()["numpy"] + "+own"}
    )
    artifact.save(SeasonalNaivePredictor(prediction_length=3, season_length=2), contract, tmp_path)
    assert inspect.inspect(tmp_path, "model").differing == []


def test_the_printed_request_is_answered_by_a_real_server(tmp_path, capsys):
    saved(tmp_path / "model")
    body = body_of_the_curl(told(tmp_path / "model", capsys))
    assert json.loads(body)["instances"][0]["cat"] == ["it's", 0]
    with served(tmp_path) as endpoint:
        status, answer = endpoint.post(body, Content_Type="application/json")
    assert status == 200, answer
    assert len(json.loads(answer)["predictions"][0]["mean"]) == 3


@pytest.mark.torch
def test_the_printed_request_is_answered_by_a_trained_deepar(tmp_path, capsys):
    rows = [
        {
            "start": "2020-01-01",
            "target": list(range(40)),
            "cat": [kind],
            "dynamic_feat": [[0.5] * 40],
        }
        for kind in ("a", "b")
    ]
    hyperparameters = {"forecaster_name": "DeepAREstimator", "freq": "D", "prediction_length": "4", "epochs": "1",
                       "num_batches_per_epoch": "1", "num_feat_dynamic_real": "1", "num_feat_static_cat": "1",
                       "cardinality": "[2]"}  # fmt: skip
    lay_down(tmp_path, hyperparameters, {"train": {"data.json": lines(rows)}})
    train(tmp_path)
    text = told(tmp_path / "model", capsys)
    assert "DIFFERS" not in text
    with served(tmp_path) as endpoint:
        status, answer = endpoint.post(body_of_the_curl(text), Content_Type="application/json")
    assert status == 200, answer


def test_an_archive_is_told_as_its_folder_is(tmp_path, capsys):
    model = saved(tmp_path / "model")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        for path in sorted(model.iterdir()):
            archive.add(path, path.name)
    of_folder, of_archive = told(model, capsys), told(tmp_path / "model.tar.gz", capsys)
    assert of_archive.splitlines()[1:] == of_folder.splitlines()[1:]


def test_code_is_listed_and_never_run(tmp_path, capsys):
    model = saved(tmp_path / "model", forecaster="mine.Naive")
    (model / "code" / "mine").mkdir(parents=True)
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name in ("mine/__init__.py", "setup.py", "sitecustomize.py"):
        (model / "code" / name).write_text(trap)
    config = {"model": "0.17.0", "gluonts": "0.17.0", "type": "mine.Naive"}
    (model / "gluonts-config.json").write_text(json.dumps(config))
    record = {"python": "3.11.7", "installed": [{"name": "mine", "version": "1.2", "sha256": None}]}
    (model / "code-installed.json").write_text(json.dumps(record))
    environ = {**os.environ, "PYTHONPATH": str(Path(inspect.__file__).parents[2])}
    command = [sys.executable, "-m", "gluonts_shell", "inspect", str(model)]
    done = subprocess.run(
        command, cwd=model, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (
        "  mine/__init__.py\n  setup.py\n  sitecustomize.py\n  installed when it was trained: mine 1.2\n"
        in done.stdout
    )
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_contract_tells_what_gluonts_wrote(tmp_path, capsys):
    SeasonalNaivePredictor(prediction_length=3, season_length=2).serialize(tmp_path)
    text = told(tmp_path, capsys)
    assert "it has no contract (gluonts_shell.json)" in text
    assert "and perhaps more, which is not known without its contract" in text
    assert json.loads(body_of_the_curl(text))["configuration"] == {"freq": "D"}


def test_texts_of_a_model_do_not_steer_the_terminal(tmp_path, capsys):
    model = saved(tmp_path / "model", forecaster="evil\x1b[2J\ud800")
    (model / "code").mkdir()
    (model / "code" / "a\x1b]0;b.py").write_text("")
    text = told(model, capsys)
    assert "\x1b" not in text
    assert "evil\\x1b[2J\\ud800" in text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (CONTRACT, b"\xff{", "gluonts_shell.json in the model folder cannot be read"),
        (
            "agg_metrics.json",
            b"[1]",
            "agg_metrics.json of the model holds a JSON list, expected an object",
        ),
        ("code-installed.json", b"{", "code-installed.json of the model cannot be read"),
    ],
)
def test_a_damaged_file_is_a_sentence(tmp_path, name, content, reason):
    model = saved(tmp_path / "model")
    (model / name).write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        inspect.run(model, Settings())


def test_what_is_no_model_is_a_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"^'.*' holds no model: it is empty$"):
        inspect.run(tmp_path, Settings())
    (tmp_path / "job" / "model").mkdir(parents=True)
    (tmp_path / "job" / "model" / "gluonts-config.json").touch()
    with pytest.raises(ModelError, match=r"'.*job' holds no model: its folder 'model' does"):
        inspect.run(tmp_path / "job", Settings())
    with pytest.raises(DataError, match=r"config\.json' is a file, expected model\.tar\.gz or its"):
        inspect.run(tmp_path / "job" / "model" / "gluonts-config.json", Settings())
    with pytest.raises(DataError, match=r"does not exist, expected model\.tar\.gz or its folder"):
        inspect.run(tmp_path / "none", Settings())
    (tmp_path / "model.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"archive 'model.tar.gz' cannot be unpacked"):
        inspect.run(tmp_path / "model.tar.gz", Settings())
