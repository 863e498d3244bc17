"""A forecast that is worth having: DeepAR on a year of real half-hourly demand, against what seasonal naive gets.

A single day tells nothing: seasonal naive's mean_wQuantileLoss on the last fourteen of them is between 0.018 and 0.157.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deepar_job import environment, found, lay_down, lines, scores_of, train

pytestmark = pytest.mark.torch

ELECTRICITY = Path(__file__).with_name("data") / "electricity"
DAY, DAYS = 48, 14
QUALITY = {
    "time_freq": "30min",
    "context_length": "48",
    "prediction_length": str(DAY),
    "epochs": "6",
    "mini_batch_size": "32",
    "learning_rate": "1e-3",
    "num_cells": "40",
    "num_layers": "3",
    "dropout_rate": "0.3",
    "likelihood": "student-T",
    "seed": "1",
}


def half_hours(channel: str) -> dict[str, Any]:
    """Demand of a year, with temperature and holidays as features; the test channel's ends a day later."""
    return json.loads(gzip.decompress((ELECTRICITY / channel / "data.json.gz").read_bytes()))


def until(row: dict[str, Any], end: int) -> dict[str, Any]:
    features = [feature[:end] for feature in row["dynamic_feat"]]
    return {"start": row["start"], "target": row["target"][:end], "dynamic_feat": features}


@pytest.fixture(scope="module")
def electricity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Trained on the year but for its last two weeks, and tested on each of their days."""
    whole = half_hours("test")
    ends = [len(whole["target"]) - DAY * before for before in range(DAYS)]
    channels = {
        "train": {"data.json.gz": gzip.compress(lines([until(whole, ends[-1] - DAY)]).encode())},
        "test": {
            "data.json.gz": gzip.compress(lines([until(whole, end) for end in ends]).encode())
        },
    }
    tree = lay_down(tmp_path_factory.mktemp("electricity") / "ml", QUALITY, channels)
    return tree, train(tree)


def test_deepar_is_better_than_seasonal_naive(electricity, tmp_path, record_property):
    tree, _ = electricity
    naive = lay_down(
        tmp_path / "ml",
        {
            "forecaster_name": "gluonts.model.seasonal_naive.SeasonalNaivePredictor",
            "time_freq": "30min",
            "prediction_length": str(DAY),
            "season_length": str(DAY),
        },
        {
            "test": {
                "data.json.gz": (tree / "input" / "data" / "test" / "data.json.gz").read_bytes()
            }
        },
    )
    train(naive)
    ours, theirs = scores_of(tree)["mean_wQuantileLoss"], scores_of(naive)["mean_wQuantileLoss"]
    for name, score in (("DeepAR", ours), ("seasonal naive", theirs)):
        record_property(
            f"mean_wQuantileLoss of {name} on {DAYS} days of electricity", f"{score:.4f}"
        )
    assert ours < theirs


def test_our_metric_definitions_find_their_values(electricity):
    command = [sys.executable, "-m", "gluonts_shell", "metrics"]
    printed = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    definitions = {entry["Name"]: entry["Regex"] for entry in json.loads(printed)}
    assert list(definitions)[:3] == ["test:RMSE", "test:mean_wQuantileLoss", "train:final_loss"]
    tree, log = electricity
    scores = scores_of(tree)
    for name, regex in definitions.items():
        if name == "validation:loss":  # this job has no such channel
            continue
        values = found(regex, log)
        assert values, name
        metric = re.sub(r"wQuantileLoss(0\.\d)", r"wQuantileLoss[\1]", name.removeprefix("test:"))
        if name.startswith("test:"):
            assert values == [pytest.approx(scores[metric])], name
