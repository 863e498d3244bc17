"""Whole training jobs in this process, without torch: what a user may get wrong, and what must work all the same."""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import re
import signal
import sys
import tarfile
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.env import env
from gluonts.evaluation import Evaluator, make_evaluation_predictions
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

import gluonts_shell
from gluonts_shell import staging
from gluonts_shell.commands import metrics, train
from gluonts_shell.forecasting import artifact, contract
from gluonts_shell.forecasting.data.channel import Channel
from gluonts_shell.forecasting.service import canary
from gluonts_shell.serving.processes import machine
from gluonts_shell.settings import Settings

MONTHLY = Path(gluonts_shell.__file__).parent / "data" / "monthly"
NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": "12",
    "season_length": "12",
}
MEAN = {"forecaster_name": "MeanPredictor", "freq": "D", "prediction_length": "2"}
SERIES = {"start": "2020-01-01", "target": [1, 2, 3, 4, 5]}

USERS = """
    import sys
    import numpy as np
    from gluonts.core.component import validated
    from gluonts.model.forecast import SampleForecast
    from gluonts.model.estimator import Estimator
    from gluonts.model.predictor import RepresentablePredictor
    from gluonts.model.trivial.mean import MeanPredictor

    TRAINED = []

    class Learner(Estimator):
        def __init__(self, prediction_length: int, rate: float = 0.5, window=None):
            super().__init__()
            self.prediction_length, self.rate, self.window = prediction_length, rate, window

        def train(self, training_data, validation_data=None):
            TRAINED.append((self, training_data, validation_data))
            return MeanPredictor(prediction_length=self.prediction_length)

    class Continuing(Learner):
        def train_from(self, predictor, training_data, validation_data=None):
            TRAINED.append((self, predictor, training_data))
            return predictor

    class Failing(Learner):
        def train(self, training_data, validation_data=None):
            raise ValueError("no luck\\ntoday " + "x" * 3000)

    class Leaving(Learner):
        def train(self, training_data, validation_data=None):
            sys.exit(0)

    class Cancelling(Learner):
        def train(self, training_data, validation_data=None):
            import asyncio
            raise asyncio.CancelledError

    class Impatient(Learner):
        def train(self, training_data, validation_data=None):
            raise KeyboardInterrupt

    class Interrupted(Learner):
        def train(self, training_data, validation_data=None):
            import os, signal
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("the signal should have ended this")

    class Hopeless(MeanPredictor):
        def predict(self, dataset, **kwargs):
            raise RuntimeError("cannot predict")

    class Deriving(MeanPredictor):
        @classmethod
        def derive_auto_fields(cls, train_iter):
            return {"num_samples": len(list(train_iter))}

    class Mine(RepresentablePredictor):
        @validated()
        def __init__(self, prediction_length: int) -> None:
            super().__init__(prediction_length=prediction_length)
            self.level = 0.0

        def predict_item(self, item):
            samples = np.full((1, self.prediction_length), self.level)
            return SampleForecast(samples, start_date=item["start"] + len(item["target"]))

    class Forgetful(Learner):
        def train(self, training_data, validation_data=None):
            found = Mine(prediction_length=self.prediction_length)
            found.level = 3.0
            return found

    class Losing(Mine):
        def predict_item(self, item):
            self.level = self.network.level
            return super().predict_item(item)

    class Broken(Learner):
        def train(self, training_data, validation_data=None):
            found = Losing(prediction_length=self.prediction_length)
            found.network = Mine(prediction_length=1)
            return found

    class Endless(Learner):
        def train(self, training_data, validation_data=None):
            found = Mine(prediction_length=self.prediction_length)
            del found.prediction_length
            return found

    class Stopping(MeanPredictor):
        def predict(self, dataset, **kwargs):
            import os, signal
            if len(list(dataset)) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().predict(dataset, **kwargs)

    class Unsaved(RepresentablePredictor):
        def __init__(self, prediction_length):
            super().__init__(prediction_length=prediction_length)

        def predict_item(self, item):
            return MeanPredictor(prediction_length=self.prediction_length).predict_item(item)

    class Free(MeanPredictor):
        @validated()
        def __init__(self, prediction_length: int, **model_params) -> None:
            super().__init__(prediction_length=prediction_length)
            self.model_params = model_params
"""


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the job in a tree; returns its exit status and its log. What a process has once is put back afterwards."""
    root, handlers, level = (
        logging.getLogger(),
        logging.getLogger().handlers[:],
        logging.getLogger().level,
    )
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for variable in ("TRAINING_JOB_NAME", "GLUONTS_FORECASTER"):
        monkeypatch.delenv(variable, raising=False)

    def job(tree, **settings):
        status = train.run(replace(Settings(data_path=str(tree.paths.base)), **settings))
        return status, capsys.readouterr().out

    with env._let(use_tqdm=env.use_tqdm):
        yield job
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.raiseExceptions = True
    for number, handler in signals.items():
        signal.signal(number, handler)


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of forecasters that lies on the path, as a code channel would put it there."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "users.py").write_text(textwrap.dedent(USERS))
    (tmp_path / "site" / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    import users

    yield users
    sys.modules.pop("users")
    sys.modules.pop("leaves", None)


def strict(path):
    """JSON as JavaScript has it: a bare NaN is an error."""
    return json.loads(
        path.read_text(), parse_constant=lambda name: pytest.fail(f"{path.name} has a bare {name}")
    )


class TestASuccess:
    def test_leaves_a_model_its_contract_and_the_scores(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        status, log = run(tree, training_job_name="job-7")
        assert (status, tree.reason) == (0, None)
        predictor, contract = artifact.load(tree.paths.model)
        assert predictor == SeasonalNaivePredictor(prediction_length=12, season_length=12)
        assert (contract.freq, contract.prediction_length, contract.training_job_name) == (
            "M",
            12,
            "job-7",
        )
        assert contract.forecaster == "gluonts.model.seasonal_naive.SeasonalNaivePredictor"
        assert contract.arguments == {"prediction_length": 12, "season_length": 12}
        assert contract.versions["gluonts_shell"] == gluonts_shell.__version__
        for name in ("agg_metrics.json", "item_metrics.csv"):
            assert (tree.paths.output_data / name).read_bytes() == (
                tree.paths.model / name
            ).read_bytes()
        assert "\nAirPassengers," in (tree.paths.output_data / "item_metrics.csv").read_text()
        assert (
            "Final configuration: gluonts.model.seasonal_naive.SeasonalNaivePredictor(prediction_length=12, season_length=12)"
            in log
        )

    def test_has_the_scores_of_gluonts_evaluator_in_log_and_file(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        status, log = run(tree)
        assert status == 0
        data = Channel("test", MONTHLY / "test", "M").read()
        predictor = SeasonalNaivePredictor(prediction_length=12, season_length=12)
        forecasts, series = make_evaluation_predictions(data, predictor, num_samples=100)
        quantiles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        expected, _ = Evaluator(quantiles=quantiles, num_workers=0)(series, forecasts)
        written = strict(tree.paths.output_data / "agg_metrics.json")
        logged = dict(
            line.split("#test_score (local, ")[1].split("): ")
            for line in log.splitlines()
            if "#test_score" in line
        )
        assert list(written) == list(logged) == [*expected, "calibration_error"]
        for name, value in expected.items():
            found = [float("nan") if written[name] is None else written[name], float(logged[name])]
            assert found == pytest.approx([value, value], rel=1e-6, nan_ok=True), name
        assert f"#quality_metric: host=local, test RMSE <loss>={logged['RMSE']}" in log
        assert (
            f"#quality_metric: host=local, test mean_wQuantileLoss <loss>={logged['mean_wQuantileLoss']}"
            in log
        )

    def test_removes_the_failure_of_an_earlier_run(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        tree.paths.failure.parent.mkdir()
        tree.paths.failure.write_text("yesterday's")
        assert run(tree)[0] == 0
        assert tree.reason is None

    def test_needs_no_test_channel(self, opt_ml, run):
        tree = opt_ml(MEAN, train=[SERIES])
        assert run(tree)[0] == 0
        assert not (tree.paths.base / "output").exists()

    def test_of_a_predictor_needs_no_train_channel(self, opt_ml, run):
        tree = opt_ml(MEAN, test=[SERIES])
        assert run(tree)[0] == 0
        assert strict(tree.paths.output_data / "agg_metrics.json")["MSE"] is not None

    def test_needs_no_channel_at_all_where_nothing_is_learnt(self, opt_ml, run):
        tree = opt_ml(MEAN, nothing=[])
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[1].freq == "D"

    def test_of_an_estimator_that_learns_a_mean_needs_no_torch(self, opt_ml, run):
        tree = opt_ml(
            {**MEAN, "forecaster_name": "MeanEstimator", "num_samples": "10"},
            train=[SERIES, SERIES],
        )
        assert (run(tree)[0], tree.reason) == (0, None)
        predictor, contract = artifact.load(tree.paths.model)
        assert contract.forecaster == "gluonts.model.trivial.mean.MeanEstimator"
        assert predictor.samples.shape == (10, 2)

    def test_leaves_the_current_directory_alone(self, opt_ml, run, tmp_path, monkeypatch):
        (tmp_path / "cwd").mkdir()
        monkeypatch.chdir(tmp_path / "cwd")
        assert run(opt_ml(NAIVE))[0] == 0
        assert os.listdir() == []

    def test_works_with_channels_that_cannot_be_written(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        for path in [*tree.paths.data.rglob("*"), tree.paths.data]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = sorted(tree.paths.data.rglob("*"))
        assert run(tree)[0] == 0
        assert sorted(tree.paths.data.rglob("*")) == before

    @pytest.mark.parametrize("variant", ["quoted", "split", "values", "mixed"])
    def test_takes_hyperparameters_in_every_dialect(self, opt_ml, run, variant):
        given = {
            "quoted": {name: json.dumps(value) for name, value in NAIVE.items()},
            "split": {
                **{n: v for n, v in NAIVE.items() if n != "forecaster_name"},
                "_0_forecaster_name": "SeasonalNaive",
                "_1_forecaster_name": "Predictor",
            },
            "values": {
                **NAIVE,
                "prediction_length": 12,
                "season_length": 12.0,
                "sagemaker_program": "x",
                "_tuning_objective_metric": "test:RMSE",
            },
            "mixed": {
                **NAIVE,
                "prediction_length": "12.0",
                "season_length": '"12"',
                "$env.use_tqdm": "False",
                "listify_dataset": "yes",
            },
        }[variant]
        tree = opt_ml(given)
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[0] == SeasonalNaivePredictor(
            prediction_length=12, season_length=12
        )

    @pytest.mark.parametrize(
        ("given", "freq"),
        [
            ({"freq": "MS"}, "M"),
            ({"freq": "ME"}, "M"),
            ({"freq": "1M"}, "M"),
            ({"time_freq": "MS"}, "M"),
            ({"freq": "D"}, "D"),
            ({"freq": "15T"}, "15T"),
        ],
    )
    def test_knows_a_frequency_by_all_its_names(self, opt_ml, run, given, freq):
        tree = opt_ml(
            {name: value for name, value in MEAN.items() if name != "freq"} | given, test=[SERIES]
        )
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[1].freq.replace("min", "T") == freq

    @pytest.mark.parametrize(
        "metadata",
        [
            {"freq": "MS"},
            {"freq": "M", "target": None, "prediction_length": 12},
            {"time_granularity": "M"},
        ],
    )
    def test_takes_the_frequency_from_the_metadata_channel(self, opt_ml, run, metadata):
        tree = opt_ml({name: value for name, value in NAIVE.items() if name != "freq"})
        (tree.paths.data / "metadata").mkdir()
        (tree.paths.data / "metadata" / "metadata.json").write_text(json.dumps(metadata))
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[1].freq == "M"

    def test_is_told_for_the_host_that_trains(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        tree.configure(
            "resourceconfig",
            {"current_host": "algo-1-x7f", "hosts": ["algo-1-x7f"], "topology": None},
        )
        assert "#test_score (algo-1-x7f, MASE): " in run(tree)[1]

    @pytest.mark.parametrize("name", ["NPTSPredictor", "MeanPredictor"])
    def test_repeats_itself_with_a_seed(self, opt_ml, run, name):
        means = []
        tree = opt_ml(
            {"forecaster_name": name, "freq": "M", "prediction_length": "12", "seed": "7"},
            test=MONTHLY / "test",
        )
        for _ in range(2):
            random.seed(None)
            np.random.seed(None)
            assert run(tree)[0] == 0
            means.append((tree.paths.output_data / "item_metrics.csv").read_bytes())
        assert means[0] == means[1]

    @pytest.mark.parametrize(
        ("names", "content"),
        [
            (["train.2020.01.json", "a/b/c/d.jsonl"], None),
            (["part-00000", "part-00001", "_SUCCESS", "._SUCCESS.crc"], None),
            (["part-00000.gz", "data.json.gz"], gzip.compress),
            (["data.json", "empty.json", ".DS_Store", "notes.txt"], None),
        ],
    )
    def test_reads_files_as_others_leave_them(self, opt_ml, run, names, content):
        tree = opt_ml(MEAN, nothing=[])
        line = (json.dumps(SERIES) + "\n\n").encode()
        for name in names:
            path = tree.paths.data / "test" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            empty = name.startswith(("_", "empty"))
            path.write_bytes(
                b"" if empty else b"\0" if name.startswith(".") else (content or bytes)(line)
            )
        status, log = run(tree)
        assert (status, tree.reason) == (0, None)
        expected = sum(not name.startswith(("_", ".", "empty", "notes")) for name in names)
        assert f"number of time series: {expected}" in log

    def test_reads_parquet_and_arrow(self, opt_ml, run):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import feather, parquet

        tree = opt_ml(MEAN, nothing=[])
        table = pyarrow.Table.from_pylist([SERIES])
        (tree.paths.data / "test").mkdir()
        parquet.write_table(table, tree.paths.data / "test" / "a.parquet")
        feather.write_feather(table, str(tree.paths.data / "test" / "b.arrow"))
        status, log = run(tree)
        assert status == 0
        assert "number of time series: 2" in log

    def test_leaves_other_channels_alone(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        (tree.paths.data / "pretrained").mkdir()
        (tree.paths.data / "pretrained" / "w.bin").write_bytes(b"\0")
        tree.configure(
            "inputdataconfig",
            {name: {"TrainingInputMode": "FastFile"} for name in ("train", "test", "pretrained")},
        )
        status, log = run(tree)
        assert status == 0
        assert "channel 'pretrained' is left alone" in log

    def test_reads_a_table_that_is_partitioned_in_folders(self, opt_ml, run):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        tree = opt_ml(MEAN, nothing=[])
        for item in ("007", "b"):
            folder = tree.paths.data / "test" / f"item_id={item}"
            folder.mkdir(parents=True)
            parquet.write_table(pyarrow.Table.from_pylist([SERIES]), folder / "part.parquet")
        assert run(tree)[0] == 0
        scored = (tree.paths.output_data / "item_metrics.csv").read_text().splitlines()
        assert [line.partition(",")[0] for line in scored[1:]] == ["007", "b"]

    def test_reads_what_gluonts_writes_for_quarters_and_scores_a_periodic_series_without_error(
        self, opt_ml, run
    ):
        from gluonts.dataset.jsonl import JsonLinesWriter

        entry = {"item_id": "q", "start": pd.Period("2001Q1", "Q"), "target": np.arange(40) % 4}
        given = {
            "forecaster_name": "SeasonalNaivePredictor",
            "freq": "Q",
            "prediction_length": "4",
            "season_length": "4",
        }
        tree = opt_ml(given, nothing=[])
        (tree.paths.data / "test").mkdir()
        JsonLinesWriter().write_to_folder([entry], tree.paths.data / "test")
        assert (run(tree)[0], tree.reason) == (0, None)
        assert strict(tree.paths.output_data / "agg_metrics.json")["MSE"] == 0.0

    def test_keeps_its_scores_where_an_item_id_is_half_a_surrogate_pair(self, opt_ml, run):
        tree = opt_ml(MEAN, test=[{**SERIES, "item_id": "\ud800"}])
        status, log = run(tree)
        assert (status, "its evaluation failed" in log) == (0, False)
        assert "\\ud800," in (tree.paths.output_data / "item_metrics.csv").read_text()


class TestUsersForecasters:
    def test_get_the_parameters_that_they_declare_and_the_data(self, opt_ml, run, users):
        given = {
            "forecaster_name": "users.Learner",
            "freq": "D",
            "prediction_length": "2",
            "rate": "0.25",
            "window": "[1, 2]",
        }
        tree = opt_ml(given, train=[SERIES, SERIES], validation=[SERIES])
        assert run(tree)[0] == 0
        ((estimator, training, validation),) = users.TRAINED
        assert (estimator.prediction_length, estimator.rate, estimator.window) == (2, 0.25, [1, 2])
        assert (len(training), len(validation)) == (2, 1)
        assert artifact.load(tree.paths.model)[1].forecaster == "users.Learner"

    def test_get_fields_of_their_own_and_targets_of_several_dimensions(self, opt_ml, run, users):
        row = {
            "start": "2020-01-01",
            "target": [[1, 2, 3, 4], [5, 6, 7, 8]],
            "capacity": 9,
            "info": {"note": "x"},
        }
        tree = opt_ml({**MEAN, "forecaster_name": "users.Learner"}, train=[row])
        assert (run(tree)[0], tree.reason) == (0, None)
        ((_, training, _),) = users.TRAINED
        (entry,) = training
        assert (entry["capacity"], entry["info"], entry["target"].shape) == (
            9,
            {"note": "x"},
            (2, 4),
        )
        features = artifact.load(tree.paths.model)[1].features
        assert (features.own, features.dimensions) == (True, 2)

    def test_that_take_anything_get_the_rest(self, opt_ml, run, users):
        tree = opt_ml(
            {**MEAN, "forecaster_name": "users.Free", "season_length": "12", "alias": "Auto"},
            test=[SERIES],
        )
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[0].model_params == {
            "season_length": 12,
            "alias": "Auto",
        }

    def test_that_derive_fields_read_the_train_channel_though_they_only_predict(
        self, opt_ml, run, users
    ):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Deriving"}, train=[SERIES] * 3)
        assert run(tree)[0] == 0
        assert artifact.load(tree.paths.model)[0].num_samples == 3

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("users.Failing", "Failing failed in training: ValueError: no luck today xxx"),
            ("users.Leaving", "the forecaster's code ended the process with sys.exit(0)"),
            ("users.Cancelling", "the forecaster's code raised CancelledError"),
            ("users.Impatient", "the forecaster's code raised KeyboardInterrupt"),
            ("leaves.Anything", "the forecaster's code ended the process with sys.exit(3)"),
            ("users.Unsaved", "forecaster 'users.Unsaved' cannot be saved: its class needs"),
            (
                "users.TRAINED",
                "'users.TRAINED' is a list, expected a subclass of gluonts' Estimator or Predictor",
            ),
        ],
    )
    def test_that_fail_fail_the_job_with_a_reason(self, opt_ml, run, users, name, reason):
        tree = opt_ml({**MEAN, "forecaster_name": name}, train=[SERIES])
        status, _ = run(tree)
        assert status == 1
        assert tree.reason.startswith(reason)
        assert not (tree.paths.model / contract.CONTRACT).exists()

    def test_that_cannot_predict_keep_their_model_and_the_log_has_the_traceback(
        self, opt_ml, run, users
    ):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Hopeless"}, test=[SERIES])
        status, log = run(tree)
        assert (status, tree.reason) == (0, None)
        assert (
            "the model is saved, but its evaluation failed: Hopeless failed on the test data" in log
        )
        assert "Traceback" in log
        assert artifact.load(tree.paths.model)[0].prediction_length == 2

    def test_that_cannot_predict_fail_the_job_where_scores_are_required(self, opt_ml, run, users):
        tree = opt_ml(
            {**MEAN, "forecaster_name": "users.Hopeless", "evaluation": "required"}, test=[SERIES]
        )
        assert run(tree)[0] == 1
        assert tree.reason.startswith("Hopeless failed on the test data")
        assert artifact.load(tree.paths.model)[0].prediction_length == 2

    def test_are_stopped_by_an_interrupt_without_looking_like_a_success(self, opt_ml, run, users):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Interrupted"}, train=[SERIES])
        with pytest.raises(SystemExit) as ended:
            run(tree)
        assert ended.value.code == 130
        assert not tree.paths.model.exists()


@pytest.fixture(params=["a fork", "a new interpreter"])
def tried_in(request, users, monkeypatch):
    """What tries a saved model: no process that may use an accelerator is forked."""
    if request.param == "a new interpreter":
        monkeypatch.setattr(machine, "DRIVERS", (os.devnull,))
        monkeypatch.setenv("PYTHONPATH", str(Path(users.__file__).parent), prepend=os.pathsep)


class TestTheSavedModel:
    """It is tried in a process of its own, and published whole."""

    def test_is_published_where_it_forecasts_the_same(self, opt_ml, run, tried_in):
        tree = opt_ml(NAIVE)
        assert (run(tree)[0], tree.reason) == (0, None)
        assert artifact.present(tree.paths.model)

    def test_keeps_a_few_series_with_their_forecasts(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        assert run(tree)[0] == 0
        lines = (tree.paths.model / canary.NAME).read_text().splitlines()
        first = (MONTHLY / "test" / "data.json").read_text().splitlines()[:3]
        found = [json.loads(line)["entry"]["item_id"] for line in lines]
        assert found == [json.loads(line)["item_id"] for line in first]
        assert {json.loads(line)["tolerance"] for line in lines} == {0}

    def test_is_tried_on_the_channel_train_where_there_is_no_test(self, opt_ml, run, users):
        tree = opt_ml(NAIVE, train=MONTHLY / "train")
        assert run(tree)[0] == 0
        assert len((tree.paths.model / canary.NAME).read_text().splitlines()) == 3

    def test_is_not_made_of_a_channel_train_that_has_a_fault(self, opt_ml, run):
        tree = opt_ml(NAIVE, train=[{"start": "2020-01-01", "target": [1, "x"]}])
        assert run(tree)[0] == 1
        assert "target[1] is 'x'" in tree.reason

    def test_that_lost_what_was_set_after_construction_fails_the_job(self, opt_ml, run, tried_in):
        tree = opt_ml(
            {**MEAN, "forecaster_name": "users.Forgetful"}, train=[{**SERIES, "item_id": "a"}]
        )
        status, _ = run(tree)
        assert status == 1
        assert tree.reason == (
            "the saved model forecasts something else than the trained one: its class users.Mine does not save "
            "'level'; what it is constructed from must hold all that it needs "
            "(item_id 'a': its mean was 3 at step 1 and is 0)"
        )
        assert not artifact.present(tree.paths.model)

    def test_that_cannot_forecast_fails_the_job(self, opt_ml, run, tried_in):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Broken"}, train=[SERIES])
        assert run(tree)[0] == 1
        assert tree.reason == (
            "the saved model does not forecast: AttributeError: 'Losing' object has no attribute 'network', "
            "in a process that loaded it; its class is users.Losing, and what it is constructed from must hold all "
            "that it needs"
        )

    def test_must_say_how_many_steps_it_forecasts(self, opt_ml, run, users):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Endless"}, train=[SERIES])
        assert run(tree)[0] == 1
        assert tree.reason.startswith(
            "Mine has prediction_length None, expected a positive whole number; its constr"
        )

    def test_is_not_tried_where_the_setting_says_so(self, opt_ml, run, users):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Forgetful"}, train=[SERIES])
        assert run(tree, canary=False)[0] == 0
        assert not (tree.paths.model / canary.NAME).exists()

    def test_leaves_the_old_one_where_the_new_one_is_none(self, opt_ml, run, users):
        tree = opt_ml(MEAN, train=[SERIES], test=[SERIES])
        assert run(tree)[0] == 0
        before = {path.name: path.read_bytes() for path in tree.paths.model.iterdir()}
        tree.configure("hyperparameters", {**MEAN, "forecaster_name": "users.Forgetful"})
        assert run(tree)[0] == 1
        assert {path.name: path.read_bytes() for path in tree.paths.model.iterdir()} == before

    def test_has_no_file_of_the_one_before_and_none_of_a_run_that_was_killed(self, opt_ml, run):
        tree = opt_ml(MEAN, train=[SERIES], test=[SERIES])
        assert run(tree)[0] == 0
        assert (tree.paths.model / "agg_metrics.json").exists()
        (tree.paths.model / staging.NAME).mkdir()
        (tree.paths.model / staging.NAME / "half").write_text("")
        (tree.paths.data / "test" / "data.json").write_text(json.dumps({**SERIES, "target": [1]}))
        assert run(tree)[0] == 0
        assert not (tree.paths.model / "agg_metrics.json").exists()
        assert not (tree.paths.model / staging.NAME).exists()

    def test_is_kept_without_scores_where_a_stop_interrupts_them(self, opt_ml, run, users):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Stopping"}, test=[SERIES, SERIES])
        with pytest.raises(SystemExit) as ended:
            run(tree)
        assert ended.value.code == 143
        assert artifact.load(tree.paths.model)[0].prediction_length == 2
        assert not (tree.paths.model / "agg_metrics.json").exists()


class TestWhoseForecaster:
    """--forecaster or GLUONTS_FORECASTER (one field of the settings) before the hyperparameter."""

    def test_the_image_wins_over_the_hyperparameter_and_says_so(self, opt_ml, run):
        tree = opt_ml({**MEAN, "forecaster_name": "SeasonalNaivePredictor"}, test=[SERIES])
        status, log = run(tree, forecaster="MeanPredictor")
        assert status == 0
        assert (
            "hyperparameter 'forecaster_name' is 'SeasonalNaivePredictor', but --forecaster or GLUONTS_FORECASTER is 'MeanPredictor', which wins"
            in log
        )
        assert (
            artifact.load(tree.paths.model)[1].forecaster
            == "gluonts.model.trivial.mean.MeanPredictor"
        )

    def test_the_same_name_twice_is_no_difference(self, opt_ml, run):
        assert "which wins" not in run(opt_ml(MEAN, test=[SERIES]), forecaster="MeanPredictor")[1]

    def test_the_image_alone_is_enough(self, opt_ml, run):
        tree = opt_ml(
            {name: value for name, value in MEAN.items() if name != "forecaster_name"},
            test=[SERIES],
        )
        assert run(tree, forecaster="MeanPredictor")[0] == 0


class TestTheTestChannel:
    def test_with_series_that_are_too_short_is_scored_without_them(self, opt_ml, run):
        tree = opt_ml(MEAN, test=[SERIES, {"start": "2020-01-01", "target": [1, 2]}])
        status, log = run(tree)
        assert status == 0
        assert "channel 'test': 1 series are too short to be scored and are left out" in log

    def test_with_no_series_that_is_long_enough_keeps_the_model(self, opt_ml, run):
        tree = opt_ml(MEAN, test=[{"start": "2020-01-01", "target": [1, 2]}])
        status, log = run(tree)
        assert (status, tree.reason) == (0, None)
        assert (
            "the model is saved, but its evaluation failed: none of the 1 test series can be scored"
            in log
        )
        assert "Traceback" not in log
        assert artifact.load(tree.paths.model)[0].prediction_length == 2

    def test_with_no_series_that_is_long_enough_fails_where_scores_are_required(self, opt_ml, run):
        tree = opt_ml(
            {**MEAN, "evaluation": "required"}, test=[{"start": "2020-01-01", "target": [1, 2]}]
        )
        assert run(tree)[0] == 1
        assert tree.reason.startswith("none of the 1 test series can be scored")
        assert artifact.load(tree.paths.model)[0].prediction_length == 2

    def test_must_be_there_where_scores_are_required(self, opt_ml, run):
        tree = opt_ml({**NAIVE, "evaluation": "required"}, train=MONTHLY / "train")
        assert run(tree)[0] == 1
        assert tree.reason == (
            "hyperparameter 'evaluation' is 'required', but channel 'test', on which the model is scored, is missing"
        )

    def test_is_scored_at_the_quantiles_that_were_asked_for(self, opt_ml, run):
        tree = opt_ml({**MEAN, "test_quantiles": "p10, 0.90"}, test=[SERIES])
        assert run(tree)[0] == 0
        scores = strict(tree.paths.output_data / "agg_metrics.json")
        assert [name for name in scores if name.startswith("QuantileLoss")] == [
            "QuantileLoss[0.1]",
            "QuantileLoss[0.90]",
        ]

    def test_that_is_wrong_fails_before_any_training(self, opt_ml, run, users):
        tree = opt_ml(
            {**MEAN, "forecaster_name": "users.Learner"},
            train=[SERIES],
            test=[SERIES, {"start": "2020-01-01"}],
        )
        assert run(tree)[0] == 1
        assert tree.reason == (
            "test/data.json line 2: field 'target': target is missing, expected a list of numbers (empty where there is no history)"
        )
        assert users.TRAINED == []


# (hyperparameters that are added to MEAN or, with None, taken away; what the failure reason begins with)
WRONG = [
    (
        {"forecaster_name": None},
        "no forecaster is named: give hyperparameter 'forecaster_name', GLUONTS_FORECASTER or --forecaster, or DeepAR's hyperparameters",
    ),
    (
        {"forecaster_name": "MeanPredicter"},
        "there is no forecaster 'MeanPredicter'; did you mean 'gluonts.model.trivial.mean.MeanPredictor'",
    ),
    (
        {"forecaster_name": "collections.OrderedDict"},
        "'collections.OrderedDict' is the class OrderedDict, expected a subclass of",
    ),
    (
        {"freq": None},
        "hyperparameter 'freq' (or DeepAR's 'time_freq') is missing, expected for example 'D' or '1h'",
    ),
    ({"freq": ""}, "hyperparameter 'freq' (or DeepAR's 'time_freq') is missing"),
    (
        {"freq": "xyz"},
        "freq is 'xyz', which is no pandas period; expected a pandas frequency such as",
    ),
    ({"prediction_length": None}, "MeanPredictor needs hyperparameter 'prediction_length'"),
    (
        {"prediction_length": "seven"},
        "hyperparameter 'prediction_length' is 'seven', expected a whole number",
    ),
    (
        {"prediction_length": "5.7"},
        "hyperparameter 'prediction_length' is '5.7', expected a whole number",
    ),
    (
        {"prediction_length": "-1"},
        "hyperparameter 'prediction_length' is -1, expected a positive whole number",
    ),
    (
        {"prediction_length": "0"},
        "hyperparameter 'prediction_length' is 0, expected a positive whole number",
    ),
    (
        {"predicton_length": "1"},
        "hyperparameter 'predicton_length' is not known to MeanPredictor; did you mean 'prediction_length'?",
    ),
    ({"test_quantiles": '["mean"]'}, "hyperparameter 'test_quantiles': quantile 'mean' is none"),
    (
        {"listify_dataset": "maybe"},
        "hyperparameter 'listify_dataset' is 'maybe', expected true or false",
    ),
    ({"$env.nope": "1"}, "hyperparameter '$env.nope' sets nothing: gluonts.env has no 'nope'"),
    (
        {"_0_seed": "1", "_2_seed": "2"},
        "hyperparameter 'seed' is split into parts, and '_1_seed' is missing",
    ),
    ({"forecaster_name": "MeanEstimator"}, "MeanEstimator needs hyperparameter 'num_samples'"),
    (
        {"forecaster_name": "MeanEstimator", "num_samples": "3"},
        "channel 'train' is missing: MeanEstimator is an estimator and learns from it",
    ),
]


@pytest.mark.parametrize(("changes", "reason"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_hyperparameter_is_a_sentence_before_anything_is_read(opt_ml, run, changes, reason):
    hyperparameters = {name: value for name, value in (MEAN | changes).items() if value is not None}
    tree = opt_ml(hyperparameters, test=["this line would be found if it were read"])
    status, log = run(tree)
    assert status == 1
    assert tree.reason.startswith(reason)
    assert "Traceback" not in log
    assert "Traceback" in tree.paths.failure.read_text()
    assert not tree.paths.model.exists()


def test_a_channel_by_another_name_is_named(opt_ml, run):
    """`training` is the default of the SDK."""
    tree = opt_ml(
        {**MEAN, "forecaster_name": " MeanEstimator ", "num_samples": "3"}, training=[SERIES]
    )
    assert run(tree)[0] == 1
    expected = "channel 'train' is missing: MeanEstimator is an estimator and learns from it; the job has channel 'training'"
    assert tree.reason == f"{expected}; name it 'train'"
    tree = opt_ml(
        {**MEAN, "forecaster_name": "MeanEstimator", "num_samples": "3"},
        Train=[SERIES],
        more=[SERIES],
    )
    assert run(tree)[0] == 1
    assert tree.reason.endswith(
        "; the job has channels 'Train', 'more', 'training'; name one of them 'train'"
    )


def test_a_source_dir_that_is_not_there_is_told_where_the_forecaster_is_not_found(opt_ml, run):
    source = "s3://bucket/sourcedir.tar.gz"
    tree = opt_ml(
        {**MEAN, "forecaster_name": "mine.Mine", "sagemaker_submit_directory": f'"{source}"'},
        train=[SERIES],
    )
    assert run(tree)[0] == 1
    assert tree.reason.startswith("there is no forecaster 'mine.Mine'")
    expected = f"source_dir (sagemaker_submit_directory, {source!r}) is not installed here: give that folder as a channel"
    assert tree.reason.endswith(f"; {expected} named 'code'")


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        (
            {"train": [SERIES, "", {"item_id": "SKU-7", "start": "2020-01-01", "target": "x"}]},
            "train/data.json line 3 (item_id 'SKU-7'): field 'target': target is 'x', expected a list of numbers",
        ),
        (
            {"train": [SERIES, '{"start": ']},
            "train/data.json line 2: this is not JSON: Expecting value at column 10",
        ),
        (
            {"train": [{"target": [1, 2, 3]}]},
            "train/data.json line 1: field 'start': start is missing",
        ),
        ({"train": []}, "channel 'train': its files hold no series"),
        (
            {"train": [{"start": "2020-01-01", "target": [1]}]},
            "channel 'train': no series is long enough: the longest has 1 values, and at least 2 are needed",
        ),
        (
            {"train": [SERIES], "validation": ["{"]},
            "validation/data.json line 1: this is not JSON: ",
        ),
        ({"train": [SERIES], "metadata": ["{"]}, None),
        (
            {"train": [SERIES], "model": [SERIES]},
            "channel 'model', which is to be trained further: there is no model in ",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_data_that_is_wrong_is_a_sentence(opt_ml, run, users, channels, reason):
    tree = opt_ml({**MEAN, "forecaster_name": "users.Continuing"}, **channels)
    status, log = run(tree)
    assert status == (1 if reason else 0)
    assert (tree.reason or "").startswith(reason or "")
    assert "Traceback" not in log
    assert len(users.TRAINED) == (0 if reason else 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "channel 'metadata': metadata.json cannot be read: "),
        (
            "{}",
            "channel 'metadata': metadata.json has no 'freq', expected for example {\"freq\": \"D\"}",
        ),
        ("[]", "channel 'metadata': metadata.json has no 'freq'"),
        (None, "channel 'metadata': metadata.json cannot be read: "),
    ],
)
def test_metadata_without_a_frequency_is_a_sentence(opt_ml, run, content, reason):
    tree = opt_ml({name: value for name, value in MEAN.items() if name != "freq"}, test=[SERIES])
    (tree.paths.data / "metadata").mkdir()
    if content is not None:
        (tree.paths.data / "metadata" / "metadata.json").write_text(content)
    assert run(tree)[0] == 1
    assert tree.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("hyperparameters", ["a"], "hyperparameters.json holds a JSON list, expected an object"),
        (
            "inputdataconfig",
            {"train": {"TrainingInputMode": "Pipe"}},
            "channel 'train' has TrainingInputMode 'Pipe', which is not supported",
        ),
        (
            "inputdataconfig",
            {"absent": {}, "test": {}, "train": {}},
            "channel 'train' is in inputdataconfig.json, but there is no folder",
        ),
    ],
)
def test_configuration_that_is_wrong_is_a_sentence(opt_ml, run, name, content, reason):
    tree = opt_ml(MEAN, test=[SERIES])
    tree.configure(name, content)
    status, log = run(tree)
    assert status == 1
    assert tree.reason.startswith(reason)
    assert "Traceback" not in log


@pytest.mark.parametrize("name", ["MeanPredictor", "users.Learner"])
def test_what_cannot_be_trained_further_says_so_before_it_reads_anything(opt_ml, run, users, name):
    tree = opt_ml({**MEAN, "forecaster_name": name}, train=["no series"], model=[SERIES])
    assert run(tree)[0] == 1
    assert tree.reason == (
        f"channel 'model' asks for incremental training, which {name.rpartition('.')[2]} cannot do; remove the channel"
    )


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_model_archive_that_is_damaged_is_a_sentence(opt_ml, run, users, content):
    tree = opt_ml({**MEAN, "forecaster_name": "users.Continuing"}, train=[SERIES], model=[])
    (tree.paths.data / "model" / "model.tar.gz").write_bytes(content)
    assert run(tree)[0] == 1
    assert tree.reason.startswith("channel 'model', which is to be trained further: ")
    assert "model.tar.gz" in tree.reason
    assert users.TRAINED == []


def test_a_model_archive_is_unpacked_aside_and_not_in_the_channel(opt_ml, run, users, tmp_path):
    tree = opt_ml({**MEAN, "forecaster_name": "users.Continuing"}, train=[SERIES], model=[])
    (tmp_path / "old").mkdir()
    SeasonalNaivePredictor(prediction_length=2, season_length=1).serialize(tmp_path / "old")
    (tree.paths.data / "model" / "data.json").unlink()
    with tarfile.open(tree.paths.data / "model" / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "old", arcname=".")
    assert (run(tree)[0], tree.reason) == (0, None)
    ((_, previous, _),) = users.TRAINED
    assert (
        previous
        == artifact.load(tree.paths.model)[0]
        == SeasonalNaivePredictor(prediction_length=2, season_length=1)
    )
    assert os.listdir(tree.paths.data / "model") == ["model.tar.gz"]


def test_a_reason_is_one_sentence_within_what_sagemaker_shows(opt_ml, run, users):
    tree = opt_ml({**MEAN, "forecaster_name": "users.Failing"}, train=[SERIES])
    status, log = run(tree)
    assert status == 1
    text = tree.paths.failure.read_text()
    assert len(text.partition("\n\n")[0]) < 1024
    assert "\n" not in text.partition("\n\n")[0]
    assert "Traceback (most recent call last):" in text
    # not the user's own mistake, so the log has it too
    assert "Traceback (most recent call last):" in log


def test_no_other_libraries_warnings_reach_the_log(opt_ml, run):
    log = run(opt_ml({**NAIVE, "freq": "MS"}))[1]
    assert [line for line in log.splitlines() if "Warning" in line or "WARNING" in line] == []


@pytest.mark.torch
class TestDeepAR:
    """Several jobs in one process, because importing torch takes longer than they do."""

    GIVEN = {  # noqa: RUF012
        "forecaster_name": "DeepAREstimator",
        "freq": "M",
        "prediction_length": "12",
        "context_length": "12",
        "lags_seq": "[1, 12]",
        "hidden_size": "4",
        "num_layers": "1",
        "epochs": "1",
        "num_batches_per_epoch": "2",
        "batch_size": "4",
        "num_eval_samples": "10",
    }

    def test_every_metric_definition_finds_its_value_in_the_log(self, opt_ml, run):
        data = {
            name: MONTHLY / ("train" if name == "validation" else name)
            for name in ("train", "validation", "test")
        }
        status, log = run(opt_ml({**self.GIVEN, "epochs": "2"}, **data), training_job_name="job-7")
        assert status == 0
        values = {name: re.findall(regex, log) for name, regex in metrics.DEFINITIONS}
        assert [name for name, found in values.items() if not found] == []
        assert all(np.isfinite(float(value)) for found in values.values() for value in found)
        assert len(values["train:loss"]) == len(values["validation:loss"]) == 2
        assert values["train:progress"] == ["50.0", "100.0"]
        assert len([line for line in log.splitlines() if "Epoch[" in line]) == 2

    def test_shows_no_progress_bar_in_a_log_and_no_other_libraries_warnings(self, opt_ml, run):
        status, log = run(opt_ml(self.GIVEN), training_job_name="job-7")
        assert status == 0
        assert [
            word
            for word in ("it/s", "\r", "Warning", "WARNING", "lightning_logs", "tqdm")
            if word in log
        ] == []

    def test_repeats_itself_with_a_seed(self, opt_ml, run):
        tree, scores = opt_ml({**self.GIVEN, "seed": "5"}), []
        for _ in range(2):
            assert run(tree)[0] == 0
            scores.append((tree.paths.output_data / "item_metrics.csv").read_bytes())
        assert scores[0] == scores[1]

    def test_is_trained_further_from_a_channel_that_may_be_read_only(self, opt_ml, run, tmp_path):
        import torch

        tree = opt_ml(self.GIVEN, train=MONTHLY / "train")
        assert run(tree)[0] == 0
        before = torch.load(tree.paths.model / "prediction-net-state.pt", map_location="cpu")
        channel = tree.paths.data / "model"
        channel.mkdir()
        with tarfile.open(channel / "model.tar.gz", "w:gz") as archive:
            archive.add(tree.paths.model, arcname=".")
        channel.chmod(0o555)
        # without a step of learning the weights stay those of the model that it started from; checkpoints of a job
        # that did not start from it are no part of that
        started = json.loads((tree.paths.model / "gluonts_shell.json").read_text())["created"]
        tree.configure("hyperparameters", {**self.GIVEN, "lr": "1e-30"})
        tree.paths.checkpoints.mkdir()
        channel.rename(tmp_path / "aside")
        assert run(tree)[0] == 0
        (tmp_path / "aside").rename(channel)
        sentence = f"another job ignored: channel 'model' was not given, is '{started}'"
        assert sentence in run(tree)[1]
        assert (run(tree)[0], tree.reason) == (0, None)
        after = torch.load(tree.paths.model / "prediction-net-state.pt", map_location="cpu")
        assert all(torch.allclose(before[name], after[name]) for name in before)
        assert os.listdir(channel) == ["model.tar.gz"]

        for given, reason in (
            (
                {"hidden_size": "5"},
                "channel 'model': that model has another architecture than DeepAREstimator",
            ),
            (
                {
                    "forecaster_name": "SimpleFeedForwardEstimator",
                    "lags_seq": None,
                    "hidden_size": None,
                    "num_layers": None,
                },
                "channel 'model': ",
            ),
            (
                {
                    "forecaster_name": "DeepNPTSEstimator",
                    "lags_seq": None,
                    "hidden_size": None,
                    "num_layers": None,
                },
                "channel 'model' asks for incremental training, which DeepNPTSEstimator cannot do",
            ),
        ):
            tree.configure(
                "hyperparameters",
                {n: v for n, v in {**self.GIVEN, **given}.items() if v is not None},
            )
            status, log = run(tree)
            assert status == 1
            assert tree.reason.startswith(reason)
            assert "Traceback" not in log

    def test_is_what_an_image_for_deepar_runs(self, opt_ml, run):
        tree = opt_ml(
            {
                "time_freq": "M",
                "prediction_length": "12",
                "context_length": "12",
                "epochs": "1",
                "num_cells": "4",
            }
            | {
                "num_layers": "1",
                "mini_batch_size": "4",
                "num_batches_per_epoch": "1",
                "num_eval_samples": "10",
            }
        )
        assert (run(tree, forecaster="deepar")[0], tree.reason) == (0, None)
        contract = artifact.load(tree.paths.model)[1]
        assert contract.forecaster == "gluonts.torch.model.deepar.DeepAREstimator"
        assert (contract.arguments["hidden_size"], contract.arguments["lr"]) == (4, 0.001)

    def test_takes_its_own_field_names_and_says_what_it_found(self, opt_ml, run):
        target = [float(step % 12) for step in range(60)]
        rows = [
            {"start": "2020-01-01", "target": target, "cat": [i], "dynamic_feat": [[0.5] * 60]}
            for i in range(3)
        ]
        future = [{**row, "dynamic_feat": [[0.5] * 60]} for row in rows]
        tree = opt_ml(self.GIVEN, train=rows, test=future)
        status, log = run(tree)
        assert (status, tree.reason) == (0, None)
        assert "cardinality=[3], num_dynamic_feat=1" in log
        assert artifact.load(tree.paths.model)[1].features == contract.Features(
            (3,), 0, 1, 0, dynamic_cat=(), past_dynamic_cat=()
        )


class TestTheReport:
    def test_is_written_beside_the_scores_and_the_model(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        status, log = run(tree, training_job_name="job-7")
        assert (status, tree.reason) == (0, None)
        path = tree.paths.output_data / "report.html"
        page = path.read_text()
        assert f"report written to {path}" in log
        assert path.read_bytes() == (tree.paths.model / "report.html").read_bytes()
        assert "As good as seasonal naive" in page
        assert "job job-7" in page
        assert "SeasonalNaivePredictor(prediction_length=12, season_length=12)" in page
        for value in strict(tree.paths.output_data / "agg_metrics.json").values():
            assert f"<td>{'-' if value is None else json.dumps(value)}</td>" in page
        for place in (tree.paths.output_data, tree.paths.model):
            record = json.loads((place / ".gluonts_shell.written.json").read_text())
            assert "report.html" in record["files"]

    def test_tells_what_the_job_warned_of(self, opt_ml, run):
        tree = opt_ml(NAIVE, test=[{"start": "2020-01", "target": [1, 2, 3, -9999] * 9}] * 3)
        status, _ = run(tree)
        assert status == 0
        page = (tree.paths.output_data / "report.html").read_text()
        assert "the smallest value of 3 series is -9999" in page

    def test_can_be_left_out(self, opt_ml, run):
        tree = opt_ml(NAIVE)
        assert run(tree)[0] == 0
        tree.configure("hyperparameters", {**NAIVE, "report": "no"})
        status, log = run(tree)
        assert status == 0
        # that of the job before would tell of another model
        assert not (tree.paths.output_data / "report.html").exists()
        assert not (tree.paths.model / "report.html").exists()
        assert "report" not in log
        assert (tree.paths.output_data / "agg_metrics.json").exists()

    def test_of_somebody_else_is_kept(self, opt_ml, run):
        tree = opt_ml({**NAIVE, "report": "no"})
        tree.paths.output_data.mkdir(parents=True)
        (tree.paths.output_data / "report.html").write_text("mine")
        assert run(tree)[0] == 0
        assert (tree.paths.output_data / "report.html").read_text() == "mine"

    def test_is_not_written_without_a_test_channel(self, opt_ml, run):
        tree = opt_ml(NAIVE, train=MONTHLY / "train")
        status, _ = run(tree)
        assert status == 0
        assert not (tree.paths.output_data / "report.html").exists()
        assert not (tree.paths.model / "report.html").exists()

    def test_says_why_there_are_no_scores(self, opt_ml, run, users):
        tree = opt_ml({**MEAN, "forecaster_name": "users.Hopeless"}, test=[SERIES])
        status, _ = run(tree)
        assert status == 0
        page = (tree.paths.output_data / "report.html").read_text()
        assert "Not scored" in page
        assert "cannot predict" in page

    def test_that_fails_costs_a_line(self, opt_ml, run, monkeypatch):
        def fail(_):
            raise ZeroDivisionError("no luck")

        monkeypatch.setattr("gluonts_shell.forecasting.report.page.page", fail)
        tree = opt_ml({**NAIVE, "evaluation": "required"})
        status, log = run(tree)
        assert (status, tree.reason) == (0, None)
        assert "WARNING] the report could not be made: " in log
        assert "no luck" in log
        assert (tree.paths.model / "agg_metrics.json").exists()
        assert not (tree.paths.model / "report.html").exists()

    def test_is_asked_for_by_known_words(self, opt_ml, run):
        tree = opt_ml({**NAIVE, "report": "maybe"})
        assert run(tree)[0] == 1
        assert "hyperparameter 'report' is 'maybe', expected" in tree.reason
