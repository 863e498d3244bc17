"""`check` says what `train` would say, all of it, and writes nothing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.commands import check
from gluonts_shell.settings import Settings

ROOT = Path(__file__).parents[2]
NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": "12",
    "season_length": "12",
}
MEAN = {
    "forecaster_name": "MeanEstimator",
    "freq": "D",
    "prediction_length": "2",
    "num_samples": "10",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def examined(tree: Any) -> check.Found:
    found = check.Found()
    settings = Settings(data_path=str(tree.paths.base))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with check.warnings_gathered(settings, found):
            check.examine(settings, found, lambda _: None)
    finally:  # or tests of other modules find the log set up
        root.handlers[:] = handlers
        root.setLevel(level)
    return found


def checked(tree: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "gluonts_shell",
        "check",
        "--data-path",
        str(tree.paths.base),
        *arguments,
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)


def series(**changes: Any) -> dict[str, Any]:
    return {"item_id": "A", "start": "2024-01-01", "target": [1, 2, 3, 4], **changes}


def test_a_job_without_problems_is_summed_up_and_nothing_is_written(
    opt_ml: Callable[..., Any],
) -> None:
    tree = opt_ml(NAIVE)
    before = contents(tree.paths.base)
    done = checked(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "channel test:\n  11 series of " in done.stdout
    call = "SeasonalNaivePredictor(prediction_length=12, season_length=12)"
    assert f"forecaster:\n  gluonts.model.seasonal_naive.{call}\n" in done.stdout
    assert done.stdout.endswith("no problem was found\n")
    assert contents(tree.paths.base) == before


def test_every_series_that_is_wrong_is_named_with_file_line_and_item(
    opt_ml: Callable[..., Any],
) -> None:
    rows = [series(target=["x"]), series(), "{", series()]
    tree = opt_ml(MEAN, train=rows, test=[series(start="soon"), series(item_id="B", target=None)])
    found = examined(tree)
    assert [problem.partition(": ")[0] for problem in found.problems] == [
        "train/data.json line 1 (item_id 'A')",
        "train/data.json line 3",
        "test/data.json line 1 (item_id 'A')",
        "test/data.json line 2 (item_id 'B')",
    ]
    assert not found.more
    assert found.problems[0].endswith("target[0] is 'x', expected a number, null or \"NaN\"")


def test_the_first_problem_is_word_for_word_that_of_train(
    opt_ml: Callable[..., Any], job: Callable[..., Any]
) -> None:
    tree = opt_ml(MEAN, train=[series(), series(target=["x"])])
    assert job(tree).returncode == 1
    assert examined(tree).problems == [tree.reason]


def test_twenty_problems_are_enough(opt_ml: Callable[..., Any]) -> None:
    tree = opt_ml(MEAN, train=[series(target=["x"])] * 21)
    found = examined(tree)
    assert (len(found.problems), found.more) == (check.MOST_PROBLEMS, True)
    assert f"these are the first {check.MOST_PROBLEMS} problems; there are more" in list(
        check.lines(found)
    )
    data = tree.paths.data / "train" / "data.json"
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    found = examined(tree)
    assert (len(found.problems), found.more) == (check.MOST_PROBLEMS, False)


def test_the_data_are_looked_at_even_where_the_hyperparameters_are_wrong(
    opt_ml: Callable[..., Any],
) -> None:
    found = examined(
        opt_ml({**MEAN, "forecaster_name": "MeanEstimat0r"}, train=[series(), series(target=["x"])])
    )
    assert [problem.partition(":")[0].partition(";")[0] for problem in found.problems] == [
        "there is no forecaster 'MeanEstimat0r'",
        "train/data.json line 2 (item_id 'A')",
    ]


@pytest.mark.parametrize(
    ("hyperparameters", "problem"),
    [
        ({"freq": "D"}, "no forecaster is named"),
        ({**MEAN, "freq": "fortnight"}, "freq is 'fortnight', which is no pandas period"),
        ({**MEAN, "prediction_lenght": "2"}, "did you mean 'prediction_length'"),
        ({**MEAN, "$env.nonsense": "1"}, "gluonts.env has no 'nonsense'"),
        ({**MEAN, "prediction_length": "9"}, "no series is long enough: the longest has 4 values"),
    ],
)
def test_what_fails_the_job_in_another_way_is_a_problem_too(
    opt_ml: Callable[..., Any], hyperparameters: dict[str, str], problem: str
) -> None:
    found = examined(opt_ml(hyperparameters, train=[series()]))
    assert len(found.problems) == 1
    assert problem in found.problems[0]


def test_for_machines_it_is_json_and_the_status_tells_too(opt_ml: Callable[..., Any]) -> None:
    done = checked(opt_ml(MEAN, train=[series(target=["x"]), series()]), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["fails"], len(found["problems"])) == (1, True, 1)


def test_what_is_odd_is_a_warning(opt_ml: Callable[..., Any]) -> None:
    found = examined(opt_ml(MEAN, train=[series(), series(item_id="B", target=[1])]))
    assert found.problems == []
    assert found.warnings == [
        "channel 'train': 1 of 2 series have fewer than 2 values and are left out"
    ]
    assert found.channels["train"].too_short == 1


def test_a_forecaster_of_the_code_channel_is_checked_as_the_job_would(
    opt_ml: Callable[..., Any],
) -> None:
    tree = opt_ml({**MEAN, "forecaster_name": "mine.Mine"}, train=[series()])
    code = tree.paths.data / "code"
    code.mkdir()
    (code / "mine.py").write_text(
        "from gluonts.model.trivial.mean import MeanEstimator\nprint('imported')\n\nclass Mine(MeanEstimator): pass\n"
    )
    before = contents(tree.paths.base)
    done = checked(tree, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["constructor"].startswith("mine.Mine(")
    assert contents(tree.paths.base) == before
    (code / "mine.py").write_text("raise SystemExit(3)\n")
    done = checked(tree, "--json")
    assert json.loads(done.stdout)["problems"] == [
        "the forecaster's code ended the process with sys.exit(3)"
    ]


@pytest.mark.torch
def test_a_training_is_tried_and_its_epochs_are_estimated(opt_ml: Callable[..., Any]) -> None:
    hyperparameters = {"forecaster_name": "SimpleFeedForwardEstimator", "prediction_length": "2", "epochs": "3",
                       "freq": "D", "num_batches_per_epoch": "10"}  # fmt: skip
    found = examined(opt_ml(hyperparameters, train=[series(target=list(range(50)))]))
    assert found.problems == []
    assert found.trial is not None
    assert (found.trial.batches, found.trial.epochs) == (10, 3)
    assert any(
        line.startswith("  about ") and line.endswith(" for 3 epochs")
        for line in check.lines(found)
    )


@pytest.mark.torch
def test_what_fails_in_the_first_batches_is_a_problem(opt_ml: Callable[..., Any]) -> None:
    hyperparameters = {"forecaster_name": "SimpleFeedForwardEstimator", "prediction_length": "2", "epochs": "3",
                       "freq": "D", "lr": "0.1", "gradient_clip_algorithm": "sideways"}  # fmt: skip
    found = examined(opt_ml(hyperparameters, train=[series(target=list(range(50)))]))
    assert len(found.problems) == 1
    assert "sideways" in found.problems[0]
