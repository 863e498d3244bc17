"""Jobs of the built-in DeepAR algorithm, unchanged: training, tuning's regular expressions, endpoint and batch clients.

Each client sends what the class, notebook or pipeline of its section sends, in that shape and with that reading of the
answer; only lengths are ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gluonts_shell.commands.metrics import DEFINITIONS
from tests.deepar_job import (
    MONTHLY,
    Endpoint,
    found,
    lay_down,
    lines,
    scores_of,
    series,
    served,
    train,
)

pytestmark = pytest.mark.torch

DECILES = [f"0.{i}" for i in range(1, 10)]
STEPS = 12
# subject and place of each monthly series, which is what its categories are
SUBJECTS = ("energy", "travel", "climate", "retail", "health", "industry")
PLACES = ("au", "uk", "us", "elsewhere")
CATEGORIES = {
    "AirPassengers": ("travel", "us"),
    "UKDriverDeaths": ("travel", "uk"),
    "nottem": ("climate", "uk"),
    "gas": ("energy", "au"),
    "wineind": ("retail", "au"),
    "a10": ("health", "au"),
    "h02": ("health", "au"),
    "auscafe": ("retail", "au"),
    "elecequip": ("industry", "elsewhere"),
    "debitcards": ("retail", "elsewhere"),
    "usmelec": ("energy", "us"),
}


def categories(name: str) -> list[int]:
    subject, place = CATEGORIES[name]
    return [SUBJECTS.index(subject), PLACES.index(place)]


def seasons(start: str, length: int) -> list[list[float]]:
    """Three dynamic features: the year as a circle, and a slow trend."""
    first = pd.Period(start, freq="M").month
    turns = [2 * math.pi * (first + step) / 12 for step in range(length)]
    waves = [[round(wave(turn), 4) for turn in turns] for wave in (math.sin, math.cos)]
    return [*waves, [step / 100 for step in range(length)]]


# --- the training jobs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_categories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Eleven monthly series with two categories and three dynamic features, as in the notebook of section D."""
    rows = {
        channel: [
            {
                "start": row["start"],
                "target": row["target"],
                "cat": categories(row["item_id"]),
                "dynamic_feat": seasons(row["start"], len(row["target"])),
            }
            for row in series(MONTHLY / channel)
        ]
        for channel in ("train", "test")
    }
    hyperparameters = {
        "time_freq": "M",
        "epochs": "2",
        "early_stopping_patience": "40",
        "mini_batch_size": "64",
        "learning_rate": "5E-3",
        "context_length": "12",
        "prediction_length": str(STEPS),
        "num_cells": "10",
        "likelihood": "gaussian",
        "cardinality": "auto",
        "num_dynamic_feat": "auto",
        "test_quantiles": "[0.5, 0.6, 0.7, 0.8]",
        "num_eval_samples": "44",
    }
    channels = {name: {f"{name}.json": lines(data)} for name, data in rows.items()}
    tree = lay_down(tmp_path_factory.mktemp("two") / "ml", hyperparameters, channels)
    return tree, train(tree)


@pytest.fixture(scope="module")
def bare_category(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A job of 2018: bare integers as categories, data from Spark, a channel whose files have no suffix; it diverges."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {"start": row["start"], "target": row["target"], "cat": position}
        for position, row in enumerate(series(MONTHLY / "train")[:6])
    ]
    parts = {}
    for part in (0, 1):
        sink = pyarrow.BufferOutputStream()
        table = pyarrow.Table.from_pylist(
            [{**row, "start": pd.Timestamp(row["start"])} for row in rows[part::2]]
        )
        parquet.write_table(table, sink)
        parts[f"run/part-0000{part}-c000.snappy.parquet"] = sink.getvalue().to_pybytes()
    spark = {
        "run/_SUCCESS": "",
        "run/._SUCCESS.crc": "crc",
        "run/.part-00000-c000.snappy.parquet.crc": "crc",
    }
    short = {"start": "2020-01-01", "target": [1.0] * 5, "cat": 0}
    zeros = {"start": "2020-01-01 00:00:00", "target": [0] * 60, "cat": 1}
    hyperparameters = {
        "time_freq": "1M",
        "epochs": "30",
        "early_stopping_patience": "2",
        "learning_rate": "0.9",
        "context_length": "6",
        "prediction_length": "6",
        "num_cells": "4",
        "num_layers": "1",
        "likelihood": "Deterministic-L1",
        "mini_batch_size": "16",
        "dropout_rate": "0.05",
        "embedding_dimension": "3",
    }
    channels: dict[str, dict[str, Any]] = {
        "train": {**parts, **spark, "more.json": lines([short, zeros])},
        "validation": {"ContentType": "json", "part-00000": lines(rows)},
    }
    tree = lay_down(tmp_path_factory.mktemp("bare") / "ml", hyperparameters, channels)
    return tree, train(tree)


def test_the_log_begins_with_configuration_and_statistics(two_categories):
    _, log = two_categories
    for line in (
        r"Integer time series|Real time series",
        r"number of time series: 11\n",
        r"number of observations: 2775\n",
        r"mean target length: 252\.27",
        r"min/mean/max target: 0\.32\d*/\d+\.\d+/63896\.0\n",
        r"contains missing values: no\n",
        r"cardinality=\[6, 4\], num_dynamic_feat=3\n",
        r"Final configuration: .*batch_size=64.*hidden_size=10.*NormalOutput",
        r"Using early stopping with patience 40\n",
        r"Evaluating model accuracy on testset using 44 samples\n",
    ):
        assert re.search(line, log), line
    assert (
        log.index("Training set statistics:")
        < log.index("Test set statistics:")
        < log.index("epoch=0")
    )
    assert "_kvstore" not in log and "_tuning_objective_metric" not in log


def test_tuning_finds_its_numbers_in_the_log(two_categories):
    tree, log = two_categories
    scores = scores_of(tree)
    # the objectives of section G, read as the other built-in algorithms' definitions do
    assert found(r"#quality_metric: host=\S+, test RMSE <loss>=(\S+)", log) == [scores["RMSE"]]
    assert found(r"#quality_metric: host=\S+, test mean_wQuantileLoss <loss>=(\S+)", log) == [
        scores["mean_wQuantileLoss"]
    ]
    losses = found(r"#quality_metric: host=\S+, epoch=\S+, train loss <loss>=(\S+)", log)
    assert len(losses) == 2
    assert found(r"#quality_metric: host=\S+, train final_loss <loss>=(\S+)", log) == [min(losses)]
    assert found(r"#progress_metric: host=\S+, completed (\S+) %", log) == [50.0, 100.0]
    assert (
        min(found(r"#throughput_metric: host=\S+, train throughput=(\S+) records/second", log)) > 0
    )
    # users of other images scrape the tail of #test_score
    assert found(r"MAPE\): (\d+\.\d+)", log)[0] == pytest.approx(scores["MAPE"])
    for quantile in ("0.5", "0.6", "0.7", "0.8"):
        assert found(rf"#test_score \(algo-1, wQuantileLoss\[{quantile}\]\): (\d+\.\d+)", log)
    assert not re.search(r"wQuantileLoss\[0\.9\]", log)
    assert found(r"#test_score \(algo-1, mean_absolute_QuantileLoss\): (\S+)", log)
    assert "algo-1" not in re.sub(r"host=algo-1|\(algo-1, ", "", log)


def test_an_old_job_with_spark_output_stops_early_and_keeps_the_best_weights(bare_category):
    _, log = bare_category
    losses = found(r"#quality_metric: host=\S+, epoch=\S+, train loss <loss>=(\S+)", log)
    assert 3 <= len(losses) < 30
    best = losses.index(min(losses))
    assert best == len(losses) - 3, "two epochs without progress end it"
    assert f"Final loss: {min(losses)} (occurred at epoch {best})" in log
    validation = found(dict(DEFINITIONS)["validation:loss"], log)
    assert len(validation) == len(losses)
    kept = validation.index(min(validation))
    assert f"the model has the weights of epoch {kept}, whose val_loss was the lowest\n" in log
    assert "number of time series: 7\n" in log, "six from Spark and the one that is all zeros"
    assert re.search(
        r"channel 'train': 1 of 8 series have fewer than \d+ values and are left out", log
    )
    assert re.search(
        r"not as in the built-in algorithm: .*deterministic-L1 is a Laplace.*dropout_rate", log
    )
    assert "cardinality=[6], num_dynamic_feat=0" in log
    assert "embedding_dimension=[3]" in log


# --- the endpoint --------------------------------------------------------------------------------------------------


class OfficialPredictor:
    """Section A: the class of AWS's current notebook. One series a request, quantiles as text, "NaN" for what is missing."""

    def __init__(self, endpoint: Endpoint, freq: str, prediction_length: int) -> None:
        self.endpoint, self.freq, self.prediction_length = endpoint, freq, prediction_length

    def predict(
        self,
        ts: pd.Series,
        cat: Any = None,
        dynamic_feat: list[list[float]] | None = None,
        num_samples: int = 100,
        return_samples: bool = False,
        quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
    ) -> pd.DataFrame:
        levels = [str(quantile) for quantile in quantiles]
        instance: dict[str, Any] = {
            "start": str(ts.index[0]),
            "target": [x if math.isfinite(x) else "NaN" for x in ts],
        }
        if cat is not None:
            instance["cat"] = cat
        if dynamic_feat:
            instance["dynamic_feat"] = dynamic_feat
        wanted = ["quantiles", "samples"] if return_samples else ["quantiles"]
        configuration = {"num_samples": num_samples, "output_types": wanted, "quantiles": levels}
        answer = self.endpoint.ask({"instances": [instance], "configuration": configuration})
        prediction = answer["predictions"][0]
        columns = dict(prediction["quantiles"])
        assert list(columns) == levels
        assert {len(column) for column in columns.values()} == {self.prediction_length}
        if return_samples:
            assert len(prediction["samples"]) == num_samples
            columns |= {
                f"sample_{number}": path for number, path in enumerate(prediction["samples"])
            }
        start = ts.index[-1] + pd.tseries.frequencies.to_offset(self.freq)
        return pd.DataFrame(
            columns, index=pd.date_range(start, freq=self.freq, periods=self.prediction_length)
        )


class OlderPredictor:
    """Section B: the class of the synthetic notebook. Many series a request, bare categories, bare NaN."""

    def __init__(self, endpoint: Endpoint, prediction_length: int) -> None:
        self.endpoint, self.prediction_length = endpoint, prediction_length

    def predict(
        self, ts: list[pd.Series], cat: list[int], **configuration: Any
    ) -> list[pd.DataFrame]:
        instances = [
            {"start": str(each.index[0]), "target": list(each), "cat": cat[number]}
            for number, each in enumerate(ts)
        ]
        answer = self.endpoint.ask({"instances": instances, "configuration": configuration})
        assert len(answer["predictions"]) == len(ts)
        return [
            pd.DataFrame(answer["predictions"][number]["quantiles"]) for number in range(len(ts))
        ]


@pytest.fixture(scope="module")
def endpoint(two_categories: tuple[Path, str]) -> Iterator[Endpoint]:
    """A batch job's configuration, which CreateModel may have set for the endpoint too, has no meaning here."""
    with served(
        two_categories[0],
        DEEPAR_INFERENCE_CONFIG='{ "num_samples": 200, "output_types": ["samples"] }',
    ) as it:
        yield it


def monthly(name: str, length: int | None = None) -> dict[str, Any]:
    """A training series as a request's instance, whose features reach to the end of the forecast."""
    row = next(row for row in series(MONTHLY / "train") if row["item_id"] == name)
    target = row["target"][:length]
    features = seasons(row["start"], len(target) + STEPS)
    return {
        "start": row["start"],
        "target": target,
        "cat": categories(name),
        "dynamic_feat": features,
    }


def test_client_of_the_current_notebook(endpoint):
    instance = monthly("gas")
    index = pd.date_range("1956-01-01 00:00:00", freq="MS", periods=len(instance["target"]))
    ts = pd.Series(instance["target"], index=index)
    ts.iloc[-7] = float("nan")
    ts.iloc[3] = float("inf")
    predictor = OfficialPredictor(endpoint, "MS", STEPS)
    table = predictor.predict(ts, instance["cat"], instance["dynamic_feat"])
    assert list(table.columns) == ["0.1", "0.5", "0.9"]
    assert table.index[0] == index[-1] + pd.offsets.MonthBegin()
    assert (table["0.1"] <= table["0.5"]).all() and (table["0.5"] <= table["0.9"]).all()
    assert 1_000 < table["0.5"].mean() < 500_000, "of the size of the series"
    wide = predictor.predict(ts, instance["cat"], instance["dynamic_feat"], 7, True, (0.10, 0.95))
    assert list(wide.columns) == ["0.1", "0.95"] + [f"sample_{number}" for number in range(7)]


def test_client_of_the_synthetic_notebook(bare_category):
    rows = series(MONTHLY / "train")[:6]
    ts = [
        pd.Series(
            row["target"], index=pd.date_range(row["start"], freq="MS", periods=len(row["target"]))
        )
        for row in rows
    ]
    ts[1].iloc[10:20] = float("nan")
    with served(bare_category[0]) as endpoint:
        older = OlderPredictor(endpoint, 6)
        tables = older.predict(
            ts,
            list(range(6)),
            num_samples=100,
            output_types=["quantiles"],
            quantiles=["0.1", "0.5", "0.9"],
        )
        assert [list(table.columns) for table in tables] == [["0.1", "0.5", "0.9"]] * 6
        assert {len(table) for table in tables} == {6}
        levels = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.75", "0.8", "0.95"]
        wide = older.predict(
            ts[:1], [0], num_samples=1000, output_types=["quantiles"], quantiles=levels
        )[0]
        assert list(wide.columns) == levels and (wide.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
        # the cold starts of the same section: no history, then a start that is only a date
        configuration = {
            "num_samples": 50,
            "output_types": ["quantiles"],
            "quantiles": ["0.1", "0.5", "0.9"],
        }
        for start in ("2010-01-01 00:00:00", "2010-01-01"):
            request = {
                "instances": [{"start": start, "target": [], "cat": 3}],
                "configuration": configuration,
            }
            cold = endpoint.ask(request)["predictions"][0]["quantiles"]
            assert [len(cold[level]) for level in ("0.1", "0.5", "0.9")] == [6, 6, 6]
            assert all(isinstance(value, float) for value in cold["0.5"])
        assert "instance 0: cat is 6, expected a whole number from 0 to 5" in endpoint.refused(
            {"instances": [{"start": "2010-01-01", "target": [1.0], "cat": 6}]}
        )


def test_client_of_the_forecast_notebook_names_no_samples(endpoint):
    instances = [monthly(name) for name in CATEGORIES]
    configuration = {"output_types": ["quantiles"], "quantiles": ["0.1", "0.5", "0.9"]}
    predictions = endpoint.ask({"instances": instances, "configuration": configuration})[
        "predictions"
    ]
    assert [list(prediction) for prediction in predictions] == [["quantiles"]] * 11
    medians = [sum(prediction["quantiles"]["0.5"]) / STEPS for prediction in predictions]
    last = [sum(instance["target"][-12:]) / 12 for instance in instances]
    assert all(0.2 < median / mean < 5 for median, mean in zip(medians, last, strict=True)), (
        "in the requests' order"
    )


def test_client_of_the_clarify_notebook_sends_no_configuration(endpoint):
    instance = monthly("UKDriverDeaths", 5)
    assert [len(feature) for feature in instance["dynamic_feat"]] == [5 + STEPS] * 3
    template = {key: instance[key] for key in ("target", "start", "dynamic_feat", "cat")}
    answer = endpoint.ask({"instances": [template]}, Accept="application/json")
    # Clarify reads the JMESPath `predictions[*].mean`; DeepAR's endpoint answers no more than that
    assert [len(prediction["mean"]) for prediction in answer["predictions"]] == [STEPS]
    assert list(answer["predictions"][0]["quantiles"]) == DECILES
    # and the cold start of section B where there are features
    assert (
        len(endpoint.ask({"instances": [monthly("UKDriverDeaths", 0)]})["predictions"][0]["mean"])
        == STEPS
    )
    status, alone = endpoint.post(
        json.dumps({"instances": [template, template]}), Content_Type="application/json"
    )
    assert status == 200 and len(json.loads(alone)["predictions"]) == 2


def test_the_request_of_the_documentation(endpoint):
    one, other = monthly("usmelec", 5), monthly("wineind", 1)
    one["target"] = [4.0, 10.0, "NaN", 100.0, 113.0]
    other["start"] = "2012-01-30"
    configuration = {
        "num_samples": 50,
        "output_types": ["mean", "quantiles", "samples"],
        "quantiles": ["0.5", "0.9"],
    }
    request = {"instances": [one, other], "configuration": configuration}
    for prediction in endpoint.ask(request)["predictions"]:
        assert set(prediction) == {"mean", "quantiles", "samples"}
        assert list(prediction["quantiles"]) == ["0.5", "0.9"]
        assert [len(path) for path in prediction["samples"]] == [STEPS] * 50
        assert len(prediction["mean"]) == STEPS
        means = [sum(step) / 50 for step in zip(*prediction["samples"], strict=True)]
        assert prediction["mean"] == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cat": None}, "instance 1: cat (or feat_static_cat) is missing, expected 2 categories"),
        ({"cat": [0]}, "instance 1: cat has 1 category, expected 2"),
        ({"cat": [0, 4]}, "instance 1: cat[1] is 4, expected a whole number from 0 to 3"),
        ({"cat": "au"}, "instance 1: cat has 1 category, expected 2"),
        (
            {"dynamic_feat": None},
            "instance 1: dynamic_feat (or feat_dynamic_real) is missing, expected 3 features",
        ),
        ({"dynamic_feat": [[1.0] * 24]}, "instance 1: dynamic_feat has 1 feature, expected 3"),
        (
            {"dynamic_feat": [[1.0] * 12] * 3},
            "dynamic_feat[0] has 12 values, expected 24 = len(target) 12 + prediction_",
        ),
        (
            {"dynamic_feat": [[1.0] * 24, [1.0] * 24, [1.0] * 23 + ["NaN"]]},
            "dynamic_feat[2][23] is 'NaN', expected a num",
        ),
        ({"start": "2014-05-30 01:00:00+02:00"}, "which has a time zone"),
    ],
)
def test_a_request_that_does_not_fit_the_model_is_refused_with_a_sentence(
    endpoint, change, sentence
):
    good = monthly("usmelec", 12)
    assert sentence in endpoint.refused({"instances": [good, {**good, **change}]})


# --- batch jobs ----------------------------------------------------------------------------------------------------


def rows_of(answer: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.split(b"\n") if line]


def batch_lines() -> list[str]:
    return [json.dumps(monthly(name, 30)) for name in CATEGORIES]


def test_a_multi_record_batch_job_without_configuration_or_content_type(two_categories):
    with served(two_categories[0], SAGEMAKER_BATCH="true") as endpoint:
        body = "".join(line + "\n" for line in batch_lines())
        kinds = [{}, {"Content_Type": "application/jsonlines", "Accept": "application/jsonlines"}]
        kinds += [
            {"Accept": "application/json"},
            {"Accept": "text/csv"},
            {"Content_Type": "text/csv"},
        ]
        for headers in kinds:
            status, answer = endpoint.post(body, **headers)
            assert status == 200, answer
            rows = rows_of(answer)
            assert len(rows) == 11 and answer.count(b"\n") == 10
            assert all(
                list(row) == ["mean", "quantiles"] and list(row["quantiles"]) == DECILES
                for row in rows
            )
        means = [sum(row["mean"]) / STEPS for row in rows]
        assert means[3] > 100 * means[5], "the lines' order is that of the input"


def test_a_single_record_batch_job_with_the_guides_configuration(two_categories):
    job = {
        "SAGEMAKER_BATCH": "True",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
    }
    config = '{ "num_samples": 200, "output_types": ["mean"] }'
    with served(two_categories[0], **job, DEEPAR_INFERENCE_CONFIG=config) as endpoint:
        for line in batch_lines()[:3]:
            status, answer = endpoint.post(line + "\n", Content_Type="application/jsonlines")
            assert status == 200, answer
            assert [list(row) for row in rows_of(answer)] == [["mean"]]
