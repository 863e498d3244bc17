"""Every forecaster through its whole journey on real data: train, scores, endpoint, batch job, `transform`.

The values are GluonTS's own for the same model, saved and read back by GluonTS alone. Random ones are compared where
both sides draw the same numbers: `transform` forks workers, each of which has numbers of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gluonts_shell
from tests.forecasters.journey import DECILES, SAMPLES
from tests.forecasters.rows import ROWS

pytestmark = pytest.mark.once

ROOT = Path(gluonts_shell.__file__).parent.parent
MONTHLY = ROOT / "gluonts_shell" / "data" / "monthly"
MACRO = Path(__file__).parent / "macro.json"
LENGTH = 3
# GluonTS pairs their forecasts with the wrong values; tests/forecasting/evaluation has the right ones
DATED_AT_THE_START = ("ConstantPredictor", "MeanPredictor", "MeanEstimator")
FREQ = {"monthly": "M", "macro": "Q-DEC", "hierarchy": "Q-DEC"}


def monthly():
    """Three series of six years."""
    lines = (MONTHLY / "test" / "data.json").read_text().splitlines()[:3]
    for number, series in enumerate(map(json.loads, lines)):
        yield {
            "item_id": f"item {number}",
            "start": series["start"],
            "target": series["target"][:72],
        }


def macro():
    """Consumption and investment of the United States, two dimensions of one series of fifteen years."""
    (series,) = map(json.loads, MACRO.read_text().splitlines())
    yield {
        "item_id": "us",
        "start": series["start"],
        "target": [row[:60] for row in series["target"]],
    }


def hierarchy():
    """The same, below their sum."""
    (series,) = macro()
    rows = series["target"]
    yield {**series, "target": [np.sum(rows, axis=0).tolist(), *rows]}


DATA = {"monthly": monthly, "macro": macro, "hierarchy": hierarchy}


def without_the_last(series):
    target = series["target"]
    cut = [row[:-LENGTH] for row in target] if isinstance(target[0], list) else target[:-LENGTH]
    return {**series, "target": cut}


class Preloaded:
    """The process that runs tasks with everything imported already: see preloaded.py."""

    def __init__(self, environment):
        command = [sys.executable, str(Path(__file__).with_name("preloaded.py"))]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        for line in self.process.stdout:  # some packages print when they are imported
            if line == "ready\n":
                return
        raise AssertionError("it ended before it was ready")

    def run(self, output, **task):
        """The status and the output of one task."""
        output.unlink(missing_ok=True)
        task = {"environment": {}, **task, "output": str(output)}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        status = self.process.stdout.readline()
        return int(status), output.read_text()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="module")
def preloaded():
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GLUONTS_", "SAGEMAKER_"))
    }
    process = Preloaded(
        {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    )
    yield process
    process.stop()


@pytest.fixture
def journey(opt_ml, preloaded, tmp_path):
    """The tree of a row's job, its series, and how to run what works on it."""

    def begin(row):
        series = list(DATA[row.data]())
        # statsforecast has a SeasonalNaivePredictor too, and the short name is the other's
        name = row.path if row.name == "SeasonalNaivePredictor" else row.name
        given = {"forecaster_name": name, "freq": FREQ[row.data], "prediction_length": str(LENGTH)}
        given |= {"num_eval_samples": "10", "seed": "3", **row.given}
        if row.name == "ConstantPredictor":
            del given["prediction_length"]  # its samples tell
        tree = opt_ml(given, train=[without_the_last(each) for each in series], test=series)
        (tree.paths.base / "instances.json").write_text("\n".join(map(json.dumps, series)) + "\n")

        def run(**task):
            return preloaded.run(tmp_path / "output", **task)

        return tree, series, run

    return begin


def strict(text):
    """JSON as JavaScript has it: a bare NaN is an error."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"a bare {name}"))


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.here and row.needs != "torch"], ids=lambda row: row.path
)
def test_a_job_without_the_package_ends_with_what_to_install(row, journey):
    tree, _, run = journey(row)
    status, output = run(command=["train", "--data-path", str(tree.paths.base)])
    assert status == 1, output
    assert tree.reason.endswith(f", which is not installed: install {row.install}"), tree.reason
    assert row.needs == "rpy2" or row.name in tree.reason


@pytest.mark.parametrize("row", [row for row in ROWS if row.cannot], ids=lambda row: row.path)
def test_what_gluonts_cannot_serve_fails_before_the_job_ends(row, journey):
    tree, _, run = journey(row)
    status, output = run(command=["train", "--data-path", str(tree.paths.base)])
    assert status == 1, output
    assert "Tree" in tree.reason or not row.here
    assert row.here or tree.reason.endswith(f", which is not installed: install {row.install}")


RUN = [
    pytest.param(row, id=row.path, marks=[pytest.mark.torch] if row.needs == "torch" else [])
    for row in ROWS
    if (row.here or row.needs == "torch") and not row.cannot
]


@pytest.mark.parametrize("row", RUN)
def test_a_forecaster_trains_scores_answers_and_transforms(row, journey):
    tree, _, run = journey(row)
    base = tree.paths.base
    status, output = run(
        command=["train", "--data-path", str(base)], environment={"TRAINING_JOB_NAME": "job-1"}
    )
    assert (status, tree.reason) == (0, None), output
    if row.needs in (None, "torch"):  # other packages may warn
        assert [word for word in ("\r", "it/s", "Warning") if word in output] == []
    if row.needs == "torch":  # DeepNPTS trains in a loop of its own, which prints
        pattern = (
            r"^Loss for epoch (\d+):"
            if row.name == "DeepNPTSEstimator"
            else r"INFO\] Epoch\[(\d+)\] train loss"
        )
        assert re.findall(pattern, output, re.MULTILINE) == ["0"]
    contract = strict((tree.paths.model / "gluonts_shell.json").read_text())
    described = {"freq": FREQ[row.data], "prediction_length": LENGTH, "forecaster": row.path}
    assert {name: contract[name] for name in described} == described
    scores = strict((tree.paths.output_data / "agg_metrics.json").read_text())
    assert scores["MASE"] > 0
    assert scores["RMSE"] > 0
    target = base / "answers.json"
    arguments = {"ml": str(base), "freq": FREQ[row.data], "target": str(target)}
    status, output = run(answer=arguments, environment={"SAGEMAKER_BATCH": ""})
    assert status == 0, output
    found = json.loads(target.read_text())
    check_scores(row, scores, found["scores"])
    check(row, found["default"], found["gluonts"], samples=None)
    check(row, found["everything"], found["gluonts everything"], samples=SAMPLES)
    check_lines(row, found["lines"], found["gluonts"])
    check_transformed(row, run, tree, found["gluonts"])


def check_scores(row, of_the_job, pairs):
    """pairs: our score and GluonTS's, of the same model with the same random numbers."""
    if row.name in DATED_AT_THE_START:
        return
    assert {"MASE", "RMSE"} <= pairs.keys()
    # where each quantile is drawn anew, ten samples a time, only the size can be told
    tolerance = 0.5 if row.draws == "own" else 1e-5
    if row.forecasts == "mean":  # GluonTS makes a quantile loss of the median alone
        assert np.isnan(pairs.pop("mean_wQuantileLoss")[0])
    for name, (ours, theirs) in pairs.items():
        assert ours == pytest.approx(theirs, rel=tolerance), name
        if not row.draws:
            assert of_the_job[name] == pytest.approx(theirs, rel=1e-5), name


def check(row, answer, expected, samples):
    status, body = answer
    if samples is not None and row.forecasts == "mean":  # only what was really asked for is refused
        assert status == 400
        assert (
            "configuration.quantiles asks for 0.1, but this model's forecasts have only a mean"
            in body
        )
        return
    assert status == 200, body
    predictions = strict(body)["predictions"]
    check_predictions(row, predictions, expected, exact=row.draws != "own")
    for prediction in predictions:
        has = samples is not None and row.forecasts in ("samples", "distribution")
        assert ("samples" in prediction) == has, prediction.keys()
        if has:
            drawn = np.array(prediction["samples"], dtype=float)
            assert drawn.shape[1:] == np.shape(np.array(prediction["mean"]).T.T)
            assert np.isfinite(drawn).all()


def check_lines(row, answer, expected):
    status, body = answer
    assert status == 200, body
    check_predictions(
        row, [strict(line) for line in body.splitlines()], expected, exact=row.draws != "own"
    )


def check_transformed(row, run, tree, expected):
    base = tree.paths.base
    command = [
        "transform",
        "--input",
        str(base / "instances.json"),
        "--output",
        str(base / "out"),
        "--workers",
        "1",
    ]
    status, output = run(command=[*command, "--model", str(tree.paths.model)])
    assert status == 0, output
    lines = (base / "out" / "instances.json.out").read_text().splitlines()
    check_predictions(row, [strict(line) for line in lines], expected, exact=not row.draws)


def check_predictions(row, predictions, expected, exact):
    assert len(predictions) == len(expected)
    for found, plain in zip(predictions, expected, strict=True):
        assert "error" not in plain, plain
        width = 0.0 if exact else spread(plain)
        same(found["mean"], plain["mean"], width)
        if row.forecasts == "mean":
            assert not found.get("quantiles")
            continue
        assert list(found["quantiles"]) == DECILES
        for level, values in plain["quantiles"].items():
            same(found["quantiles"][level], values, width)


def spread(plain):
    """How far numbers that were drawn anew may be from each other, by step: the width of the forecast itself.

    A decile of twenty samples has a standard error of about a third of a standard deviation, and the width from the
    first decile to the last is two and a half.
    """
    low, high = (np.array(plain["quantiles"][level], dtype=float) for level in ("0.1", "0.9"))
    return 1e-6 + high - low


def same(found, expected, width):
    found, expected = np.array(found, dtype=float), np.array(expected, dtype=float)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    assert (np.abs(found - expected) <= width + 1e-6 + 1e-6 * np.abs(expected)).all()
