"""Training jobs as SageMaker runs them: `python -m gluonts_shell train` in a process of its own, on real data."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import textwrap

import pytest

NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": "12",
    "season_length": "12",
}


@pytest.fixture
def site(tmp_path):
    """Where a user's module lies, as the code channel would put it."""
    return lambda name, text: (tmp_path / "site" / f"{name}.py").write_text(textwrap.dedent(text))


def test_scores_go_to_the_log_and_the_log_to_stdout(opt_ml, job):
    done = job(opt_ml(NAIVE))
    assert done.stderr == ""
    assert re.search(
        r"^\[[0-9/]+ [0-9:]+ INFO\] #test_score \(local, MASE\): [0-9]+\.[0-9]+$",
        done.stdout,
        re.MULTILINE,
    )


SLOW = """
    import time
    from gluonts.model.estimator import Estimator

    class Slow(Estimator):
        def __init__(self, prediction_length: int):
            super().__init__()

        def train(self, training_data, validation_data=None):
            print("training", flush=True)
            time.sleep(600)
"""


def wait_for(process, text):
    """Reads the child's output up to a line with the text; returns what was read."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(
        f"the job ended before it said {text!r}: {''.join(lines)}{process.stderr.read()}"
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_stopped_does_not_look_like_a_success(opt_ml, start, site, number, status):
    site("slow", SLOW)
    tree = opt_ml({"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"})
    process = start(tree)
    wait_for(process, "training")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"stopped by {number.name}" in out
    assert "Traceback" not in out + err
    assert not (tree.paths.model / "gluonts_shell.json").exists()


def test_a_mistake_of_the_user_shows_no_traceback(opt_ml, job):
    tree = opt_ml({**NAIVE, "seson_length": "3"})
    done = job(tree)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    text = tree.paths.failure.read_text()
    assert text.startswith(
        "hyperparameter 'seson_length' is not known to SeasonalNaivePredictor; did you mean 'season_length'?\n\nTraceback"
    )


def test_a_disk_that_is_full_is_a_sentence(opt_ml, job, site):
    """A limit of the file size, as a full disk needs a disk: the first write that is too long fails."""
    site("large", """
        from gluonts.core.component import validated
        from gluonts.model.trivial.mean import MeanPredictor

        class Large(MeanPredictor):
            def serialize(self, path):
                super().serialize(path)
                (path / "weights").write_bytes(bytes(1_000_000))
    """)  # fmt: skip
    tree = opt_ml({"forecaster_name": "large.Large", "freq": "M", "prediction_length": "12"})
    done = job(tree, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert done.returncode == 1
    assert (
        tree.reason == f"the model cannot be written to {str(tree.paths.model)!r}: File too large"
    )
    assert os.listdir(tree.paths.model) == []


def test_the_image_may_name_the_forecaster(opt_ml, job):
    given = {name: value for name, value in NAIVE.items() if name != "forecaster_name"}
    tree = opt_ml(given)
    assert (
        job(
            tree, GLUONTS_FORECASTER="gluonts.model.seasonal_naive.SeasonalNaivePredictor"
        ).returncode
        == 0
    )
    done = job(tree, "--forecaster", "SeasonalNaivePredictor", GLUONTS_FORECASTER="MeanPredictor")
    assert done.returncode == 0
    assert (
        "GLUONTS_FORECASTER is 'MeanPredictor', but --forecaster is 'SeasonalNaivePredictor', which wins"
        in done.stderr
    )


def test_print_and_log_lines_come_in_their_order(opt_ml, start, site):
    """A container's stdout is a pipe: what code prints must not lie in a buffer until the process ends, or is killed."""
    site("slow", SLOW.replace(", flush=True", ""))
    process = start(
        opt_ml({"forecaster_name": "slow.Slow", "freq": "M", "prediction_length": "12"})
    )
    assert "Final configuration" in wait_for(process, "training")


def test_a_log_of_objects_has_nothing_else(opt_ml, job, site):
    site(
        "printing",
        """
        from gluonts.model.trivial.mean import MeanPredictor

        class Printing(MeanPredictor):
            def predict_item(self, item):
                print("predicting\\nan item")
                return super().predict_item(item)
        """,
    )
    names = {"forecaster_name": "printing.Printing", "freq": "M", "prediction_length": "12"}
    tree = opt_ml(names)
    done = job(tree, GLUONTS_SHELL_LOG_FORMAT="json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert {"predicting", "an item"} <= {line["message"] for line in lines if "stream" in line}
    assert any(line["message"].startswith("#test_score (local, MASE): ") for line in lines)
