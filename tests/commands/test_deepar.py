"""DeepAR's jobs in this process, from files to answers: what the data may hold, and what each hyperparameter does to it."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gluonts_shell.commands import serve
from gluonts_shell.errors import ConfigurationError, DataError, RequestError
from gluonts_shell.forecasting import artifact, training
from gluonts_shell.forecasting.data.instances import Reader
from gluonts_shell.forecasting.plan import Plan
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.settings import Settings
from tests.deepar_job import lay_down, lines

pytestmark = pytest.mark.torch

JOB = {
    "time_freq": "D",
    "context_length": "4",
    "prediction_length": "3",
    "epochs": "1",
    "num_batches_per_epoch": "2",
    "mini_batch_size": "4",
    "num_cells": "4",
    "num_layers": "1",
}


def row(number: int, length: int = 80, **fields: Any) -> dict[str, Any]:
    target = [round(10 + number + 5 * math.sin(step), 3) for step in range(length)]
    return {"start": "2020-01-01 00:00:00", "target": target, **fields}


def plan(
    tree: Path, rows: list[dict[str, Any]], hyperparameters: Mapping[str, str] = JOB, **others: Any
) -> Plan:
    channels = {"train": rows, **others}
    lay_down(
        tree,
        hyperparameters,
        {name: {"data.json": lines(content)} for name, content in channels.items()},
    )
    job = TrainingJob.read(Paths(tree))
    return Plan.of(job.hyperparameters, job.channels)


def trained(
    tree: Path, rows: list[dict[str, Any]], hyperparameters: Mapping[str, str] = JOB
) -> Forecasting:
    made = plan(tree, rows, hyperparameters)
    data = made.read()
    watch = training.Watch(host="algo-1", progress_bar=False)
    predictor = training.fit(
        made.construct(data), data.train, None, options=made.options, watch=watch
    )
    artifact.save(predictor, made.contract(predictor, data, None), tree / "model")
    return Forecasting(artifact.load(tree / "model"), Rule(None, None, None))


def ask(service: Forecasting, *instances: dict[str, Any], **configuration: Any) -> list[Any]:
    found = service.configure(configuration)
    return service.predict([service.prepare(instances, found)])[0]


@pytest.mark.parametrize(
    "likelihood", ["student-T", "Gaussian", "NEGATIVE-BINOMIAL", "beta", "deterministic-L1"]
)
def test_each_likelihood_trains_and_answers_within_its_range(tmp_path, likelihood):
    rows = [row(number) for number in range(4)]
    if likelihood == "beta":
        for each in rows:
            each["target"] = [round(0.02 + 0.9 * math.sin(step) ** 8, 3) for step in range(80)]
    if likelihood == "NEGATIVE-BINOMIAL":
        for each in rows:
            each["target"] = [round(value) for value in each["target"]]
    service = trained(tmp_path, rows, {**JOB, "likelihood": likelihood})
    samples = np.array(ask(service, rows[0], output_types=["samples"])[0].samples)
    assert samples.shape == (100, 3) and np.isfinite(samples).all()
    if likelihood == "beta":
        assert samples.min() >= 0 and samples.max() <= 1
    if likelihood == "NEGATIVE-BINOMIAL":
        assert samples.min() >= 0 and not (samples % 1).any()


@pytest.mark.parametrize(
    ("likelihood", "targets", "sentence"),
    [
        (
            "beta",
            [0.5, 1.0],
            "is BetaOutput, which needs numbers between 0 and 1, without 0 and 1 themselves",
        ),
        ("beta", [0.0, 0.5], "but target has numbers from 0 to 0.5"),
        (
            "negative-binomial",
            [1, 2.5],
            "needs whole numbers from 0 on, but target has numbers from 1 to 2.5",
        ),
        (
            "negative-binomial",
            [1, -2],
            "needs whole numbers from 0 on, but target has whole numbers from -2 to 1",
        ),
    ],
)
def test_data_outside_of_a_likelihoods_range_is_a_sentence_before_training(
    tmp_path, likelihood, targets, sentence
):
    rows = [{"start": "2020-01-01", "target": targets * 20}]
    with pytest.raises(DataError, match=sentence):
        plan(tmp_path, rows, {**JOB, "likelihood": likelihood}).read()


def test_data_of_zeros_alone_trains(tmp_path):
    """The built-in algorithm refused it."""
    rows = [{"start": "2020-01-01", "target": [0] * 80} for _ in range(3)]
    prediction = ask(trained(tmp_path, rows), rows[0], output_types=["mean"])[0]
    assert prediction.mean == pytest.approx([0, 0, 0], abs=1e-3)


def test_one_short_series_with_fields_of_its_owner_is_enough(tmp_path):
    """The built-in algorithm wanted 300 observations."""
    rows = [row(0, length=10, item_id="tea", colour={"red": [1]}, weight=None)]
    assert len(ask(trained(tmp_path, rows), rows[0], output_types=["mean"])[0].mean) == 3


LABELLED = [
    row(number, cat=[subject, number % 2])
    for number, subject in enumerate(["tea", "coffee", "water", "tea"])
]


def test_labels_are_categories_from_training_to_answers(tmp_path):
    service = trained(
        tmp_path, LABELLED, {**JOB, "cardinality": "auto", "embedding_dimension": "2"}
    )
    contract = json.loads((tmp_path / "model" / "gluonts_shell.json").read_text())
    assert contract["features"]["static_cat"] == [3, 2]
    assert contract["features"]["labels"] == [["coffee", "tea", "water"], None]
    assert contract["arguments"]["embedding_dimension"] == [2, 2]
    for each in LABELLED:
        assert len(ask(service, each)[0].mean) == 3
    for value, sentence in (
        (
            ["milk", 0],
            r"instance 0: cat\[0\] is 'milk', which the model was not trained with \(.*\); it knows 'coffee', 'tea', 'w",
        ),
        ([0, 0], r"instance 0: cat\[0\] is 0, which the model was not trained with"),
        (["tea", 2], r"instance 0: cat\[1\] is 2, expected a whole number from 0 to 1"),
        ("tea", r"instance 0: cat has 1 category, expected 2"),
    ):
        with pytest.raises(RequestError, match=sentence):
            ask(service, {**LABELLED[0], "cat": value})


def test_a_label_of_the_test_channel_that_training_did_not_have_is_a_sentence(tmp_path):
    with pytest.raises(
        DataError,
        match=r"test/data.json line 1: field 'cat': cat\[0\] is 'milk', which the model was not",
    ):
        plan(tmp_path, LABELLED, test=[row(0, cat=["milk", 0])]).read()


FEATURED = [
    row(number, cat=[number % 2], dynamic_feat=[[float(step % 7) for step in range(80)]])
    for number in range(4)
]


@pytest.mark.parametrize(
    ("given", "cardinality", "dynamic"),
    [
        ({}, (2,), 1),
        ({"cardinality": "auto", "num_dynamic_feat": "auto"}, (2,), 1),
        ({"cardinality": "ignore", "num_dynamic_feat": "ignore"}, (), 0),
        ({"cardinality": "", "num_dynamic_feat": ""}, (), 0),
        ({"cardinality": "[2]", "num_dynamic_feat": "1"}, (2,), 1),
    ],
)
def test_features_are_used_as_the_job_says(tmp_path, given, cardinality, dynamic):
    made = plan(tmp_path, FEATURED, {**JOB, **given}, test=FEATURED)
    data = made.read()
    assert (data.features.static_cat, data.features.dynamic_real) == (cardinality, dynamic)
    estimator = made.construct(data)
    assert (estimator.num_feat_static_cat, estimator.num_feat_dynamic_real) == (
        len(cardinality),
        dynamic,
    )
    assert ["feat_dynamic_real" in entry for entry in data.test] == [bool(dynamic)] * 4


@pytest.mark.parametrize(
    ("rows", "given", "sentence"),
    [
        (
            FEATURED,
            {"cardinality": "[2, 3]"},
            "'cardinality' is [2, 3], but the series of channel 'train' have 1 categories",
        ),
        (
            FEATURED,
            {"num_dynamic_feat": "2"},
            "'num_dynamic_feat' is 2, but the series of channel 'train' have 1",
        ),
        (
            FEATURED[::2],
            {"cardinality": "[2]"},
            "cat[0] must take every value from 0 to 1; missing: 1",
        ),
        (
            [row(0, cat=[0]), row(1, cat=[3])],
            {},
            "channel 'train': cat[0] must take every value from 0 to 3; missing: 1, 2",
        ),
        (
            [row(0, cat=[0]), row(1)],
            {},
            "train/data.json line 2: it has 0 feat_static_cat (or cat), the series before it have 1",
        ),
        (
            [row(0, dynamic_feat=[[1.0] * 79])],
            {},
            "train/data.json line 1: field 'dynamic_feat': dynamic_feat[0] has 79 values, expected len(target) 80",
        ),
        (
            [row(0, item_id="tea", dynamic_feat=[[1.0] * 79 + [None]])],
            {},
            "train/data.json line 1 (item_id 'tea'): field 'dynamic_feat': dynamic_feat[0][79] is null, expected a number",
        ),
        (
            [row(0, length=2)],
            {},
            "channel 'train': no series is long enough: the longest has 2 values",
        ),
    ],
)
def test_data_that_does_not_fit_is_a_sentence_before_training(tmp_path, rows, given, sentence):
    with pytest.raises((ConfigurationError, DataError)) as caught:
        plan(tmp_path, rows, {**JOB, **given}).read()
    assert sentence in str(caught.value)


def test_deepars_words_are_taken_for_the_estimator_by_its_name(tmp_path):
    named = {
        "forecaster_name": "DeepAREstimator",
        **JOB,
        "likelihood": "gaussian",
        "learning_rate": "5E-4",
    }
    made = plan(tmp_path, FEATURED, named)
    estimator = made.construct(made.read())
    assert (estimator.batch_size, estimator.lr, estimator.hidden_size) == (4, 5e-4, 4)
    assert type(estimator.distr_output).__name__ == "NormalOutput"
    assert estimator.cardinality == [2]


def test_the_general_words_of_deepar_are_taken_for_every_estimator(tmp_path):
    words = {
        "time_freq": "D",
        "prediction_length": "3",
        "epochs": "7",
        "mini_batch_size": "5",
        "learning_rate": "5E-4",
    }
    made = plan(tmp_path, FEATURED, {"forecaster_name": "SimpleFeedForwardEstimator", **words})
    estimator = made.construct(made.read())
    assert made.freq == "D"
    assert (estimator.batch_size, estimator.lr, estimator.trainer_kwargs["max_epochs"]) == (
        5,
        5e-4,
        7,
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Forecasting:
    return trained(
        tmp_path_factory.mktemp("batch"), FEATURED, {**JOB, "num_dynamic_feat": "ignore"}
    )


@pytest.mark.parametrize(
    ("configuration", "keys", "quantiles"),
    [
        (None, ["mean", "quantiles"], [f"0.{i}" for i in range(1, 10)]),
        ('{ "num_samples": 100, "output_types": ["mean"] }', ["mean"], None),
        (
            '{"num_samples":20,"output_types":["quantiles"],"quantiles":["0.5"]}',
            ["quantiles"],
            ["0.5"],
        ),
        (
            '{"num_samples":100,"output_types":["quantiles","mean"],"quantiles":["0.1","0.5","0.9"]}',
            ["mean", "quantiles"],
            ["0.1", "0.5", "0.9"],
        ),
    ],
)
def test_batch_jobs_without_and_with_parts_of_a_configuration(
    service, configuration, keys, quantiles
):
    job = Settings.from_environ(
        {"SAGEMAKER_BATCH": "true", "DEEPAR_INFERENCE_CONFIG": configuration or ""}
    )
    answer = serve.batch_job(service, job, threads=1)().answer(lines(FEATURED[:3]).encode())
    found = [json.loads(line) for line in answer.split(b"\n")]
    assert [list(each) for each in found] == [keys] * 3
    assert quantiles is None or list(found[0]["quantiles"]) == quantiles


# what a line's `cat` may be, as people have it
CATEGORIES = st.one_of(
    st.sampled_from([0, 1, 2, 1.0, "0", "1", "a", "b", "", "00", None, True, 1.5]),
    st.integers(0, 3),
    st.sampled_from(["x", "y"]),
)
ROWS = st.lists(
    st.tuples(st.lists(CATEGORIES, max_size=2) | CATEGORIES, st.sampled_from([2, 12, 12, 12])),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS)
@pytest.mark.parametrize("listify", ["yes", "no"])
def test_any_mixture_of_categories_trains_and_is_served_or_one_sentence_names_it(
    tmp_path, listify, mixture
):
    """Up to the training itself, which sees what the estimator was constructed with: indices below cardinalities."""
    rows = [row(number, length, cat=category) for number, (category, length) in enumerate(mixture)]
    tree = Path(tempfile.mkdtemp(dir=tmp_path))
    named = {**JOB, "forecaster_name": "DeepAREstimator", "listify_dataset": listify}
    try:
        data = plan(tree, rows, named).read()
    except DataError as error:
        assert re.match(r"train/data.json line \d+: |channel 'train': ", str(error))
        assert "\n" not in str(error)
        return
    cardinalities = data.arguments.get("cardinality") or []
    for entry in data.train:
        categories = list(entry.get("feat_static_cat", ()))
        assert len(categories) == len(cardinalities)
        assert all(0 <= index < most for index, most in zip(categories, cardinalities, strict=True))
    long_enough = [each for each in rows if len(each["target"]) > 2]
    entries, _ = Reader(3, data.features, pads_empty=False).read(long_enough, "D")
    for served, entry in zip(entries, data.train, strict=True):
        assert list(served.get("feat_static_cat", ())) == list(entry.get("feat_static_cat", ()))


@pytest.mark.parametrize("categories", [([0], [0], ["a"]), (["a"], [0], [1])])
def test_numbers_among_texts_are_labels_too(tmp_path, categories):
    rows = [row(number, cat=category) for number, category in enumerate(categories)]
    service = trained(tmp_path, rows, {**JOB, "listify_dataset": "no"})
    assert service.contract.features.labels[0] == tuple(
        sorted({str(category) for (category,) in categories})
    )
    for each in rows:
        assert len(ask(service, each)[0].mean) == 3


def test_a_label_of_a_short_series_alone_is_no_category_and_a_refusal_says_why(tmp_path):
    rows = [row(0, cat=["z"]), row(1, length=2, cat=["a"])]
    service = trained(tmp_path, rows)
    assert len(ask(service, rows[0])[0].mean) == 3
    sentence = r"cat\[0\] is 'a', which the model was not trained with \(series too short to train do not count\)"
    with pytest.raises(RequestError, match=sentence):
        ask(service, rows[1])


def test_a_number_of_a_short_series_alone_is_said_to_be_there(tmp_path):
    rows = [row(0, cat=[0]), row(1, cat=[2]), row(2, length=2, cat=[1])]
    with pytest.raises(DataError) as caught:
        plan(tmp_path, rows).read()
    assert str(caught.value).endswith(
        "missing: 1; series that are too short have 1, but do not count"
    )


def test_series_with_other_numbers_of_texts_are_named(tmp_path):
    with pytest.raises(
        DataError,
        match=r"line 2: it has 1 feat_static_cat \(or cat\), the series before it have 2$",
    ):
        plan(tmp_path, [row(0, cat=["a", "x"]), row(1, cat=["b"])]).read()


def test_a_class_by_its_path_takes_cardinalities_beyond_what_the_data_has(tmp_path):
    rows = [row(number, cat=[number, 0]) for number in range(3)]
    named = {**JOB, "forecaster_name": "DeepAREstimator", "cardinality": "[359, 7]"}
    service = trained(tmp_path, rows, named)
    assert service.contract.features.static_cat == (359, 7)
    assert len(ask(service, row(0, cat=[358, 6]))[0].mean) == 3


@pytest.mark.parametrize("nothing", ["null", "None", ""])
def test_an_embedding_dimension_may_be_given_as_nothing(tmp_path, nothing):
    made = plan(tmp_path, FEATURED, {**JOB, "embedding_dimension": nothing})
    estimator = made.construct(made.read())
    assert (estimator.cardinality, made.read().arguments.get("embedding_dimension")) == ([2], None)


OTHERS = {
    "freq": "D",
    "prediction_length": "3",
    "context_length": "4",
    "epochs": "1",
    "num_batches_per_epoch": "1",
    "batch_size": "2",
}


def test_a_field_that_a_model_does_not_use_is_not_checked(tmp_path, caplog):
    rows = [row(0, cat=["tea"], dynamic_feat=[[1]]), row(1, cat=[0, 1], dynamic_feat="none")]
    given = {**OTHERS, "forecaster_name": "SimpleFeedForwardEstimator", "hidden_dimensions": "[2]"}
    service = trained(tmp_path, rows, given)
    assert (
        "SimpleFeedForwardEstimator cannot use cat, dynamic_feat of the data and ignores it"
        in caplog.text
    )
    for each in rows:
        assert len(ask(service, each)[0].mean) == 3


TFT = {**OTHERS, "forecaster_name": "TemporalFusionTransformerEstimator", "hidden_dim": "2", "variable_dim": "2",
       "num_heads": "1"}  # fmt: skip
CARRIED = [
    row(
        number,
        cat=["tea" if number else 0],
        dynamic_feat=[[float(step % 7) for step in range(80)]],
        past_feat_dynamic_real=[[1.0] * 80],
        feat_static_real=[0.5, 1],
        feat_dynamic_cat=[[step % 3 for step in range(80)]],
        past_feat_dynamic_cat=[[step % 2 for step in range(80)]],
    )
    for number in range(3)
]


def test_an_estimator_uses_every_feature_that_it_has_a_parameter_for(tmp_path):
    service = trained(tmp_path, CARRIED, TFT)
    arguments = service.contract.arguments
    assert {
        name: arguments[name] for name in arguments if "dims" in name or "cardinalities" in name
    } == {
        "static_cardinalities": [2],
        "static_dims": [1, 1],
        "dynamic_dims": [1],
        "past_dynamic_dims": [1],
        "dynamic_cardinalities": [3],
        "past_dynamic_cardinalities": [2],
    }
    longer = {"dynamic_feat": [[1.0] * 83], "feat_dynamic_cat": [[2] * 83]}
    assert len(ask(service, {**CARRIED[0], **longer})[0].mean) == 3
    with pytest.raises(
        RequestError, match=r"feat_dynamic_cat\[0\]\[0\] is 3, expected a whole number from 0 to 2"
    ):
        ask(service, {**CARRIED[0], **longer, "feat_dynamic_cat": [[3] * 83]})


@pytest.mark.parametrize(
    "given",
    [
        {"forecaster_name": "TiDEEstimator"},
        {"forecaster_name": "DeepNPTSEstimator", "num_hidden_nodes": "[2]"},
        {
            "forecaster_name": "WaveNetEstimator",
            "context_length": None,
            "num_residual_channels": "2",
            "dilation_depth": "2",
        },
        {
            "forecaster_name": "PatchTSTEstimator",
            "patch_len": "2",
            "stride": "2",
            "d_model": "2",
            "nhead": "1",
        },
        {
            "forecaster_name": "MQF2MultiHorizonEstimator",
            "hidden_size": "2",
            "icnn_hidden_size": "2",
            "es_num_samples": "2",
        },
    ],
    ids=lambda given: given["forecaster_name"],
)
def test_every_estimator_trains_on_data_that_carries_everything(tmp_path, given):
    """It uses what it has parameters for, and answers a line of the training data with features for the future."""
    job = {name: value for name, value in {**OTHERS, **given}.items() if value is not None}
    service = trained(tmp_path, CARRIED, job)
    longer = {"dynamic_feat": [[1.0] * 83], "feat_dynamic_cat": [[2] * 83]}
    assert len(ask(service, {**CARRIED[0], **longer}, output_types=["mean"])[0].mean) == 3


def test_ignore_turns_a_feature_off_for_every_estimator(tmp_path):
    given = {
        **TFT,
        "dynamic_dims": "ignore",
        "static_cardinalities": "ignore",
        "dynamic_cardinalities": "ignore",
    }
    made = plan(tmp_path, CARRIED, given)
    data = made.read()
    assert made.construct(data).dynamic_dims == []
    assert (
        data.features.dynamic_real,
        data.features.static_cat,
        data.features.past_dynamic_real,
    ) == (0, (), 1)


def test_targets_of_several_dimensions_from_files_to_answers(tmp_path):
    rows = [{"start": "2020-01-01", "target": [row(0)["target"], row(1)["target"]]}]
    given = {**OTHERS, "forecaster_name": "gluonts.torch.model.i_transformer.ITransformerEstimator"}
    service = trained(
        tmp_path, rows, {**given, "d_model": "2", "nhead": "1", "dim_feedforward": "2"}
    )
    assert service.contract.features.dimensions == 2
    assert np.array(ask(service, rows[0], output_types=["mean"])[0].mean).shape == (2, 3)
    with pytest.raises(
        RequestError, match="target is a list of 3 lists, expected a list of 2 lists of numbers"
    ):
        ask(service, {**rows[0], "target": [[1], [2], [3]]})
