import pytest

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting.forecaster.deepar import WORDS, asked_for, translate

# a job of 31 October 2024, as its log has it
JOB = {
    "context_length": "84",
    "early_stopping_patience": "40",
    "epochs": "400",
    "learning_rate": "5E-4",
    "mini_batch_size": "64",
    "prediction_length": "84",
    "time_freq": "2H",
}


@pytest.mark.parametrize(
    ("name", "hyperparameters", "wanted"),
    [
        (None, JOB, True),
        (None, {**JOB, "time_freq": "D"}, True),
        (None, {}, False),
        (
            None,
            {"freq": "D", "context_length": "1", "prediction_length": "1", "epochs": "1"},
            False,
        ),
        ("deepar", {}, True),
        ("DeepAR", {}, True),
        ("DeepAREstimator", JOB, False),
        ("MeanPredictor", JOB, False),
    ],
)
def test_the_built_in_algorithm_is_asked_for_by_name_or_by_its_hyperparameters(
    name, hyperparameters, wanted
):
    assert asked_for(name, hyperparameters) is wanted


def test_a_real_job_is_put_into_the_words_of_the_estimator_with_the_defaults_of_the_algorithm():
    found = translate(JOB, built_in=True)
    assert found.hyperparameters == {
        "freq": "2H",
        "context_length": 84,
        "prediction_length": 84,
        "epochs": 400,
        "lr": 5e-4,
        "batch_size": 64,
        "hidden_size": 40,
        "num_layers": 2,
        "dropout_rate": 0.10,
        "distr_output": "StudentTOutput",
    }
    assert (found.cardinality, found.dynamic) == ("auto", "auto")
    assert (found.embedding_dimension, found.early_stopping_patience) == (10, 40)
    assert found.notes == []


def test_an_estimator_that_is_named_gets_no_defaults_but_the_same_words():
    found = translate({"num_cells": "8", "freq": "D", "trainer_kwargs": "{}"}, built_in=False)
    assert found.hyperparameters == {"hidden_size": 8, "freq": "D", "trainer_kwargs": "{}"}
    assert found.embedding_dimension is None


def test_the_words_of_the_estimator_are_taken_too_and_replace_a_default():
    given = {name: value for name, value in JOB.items() if name != "time_freq"}
    assert (
        translate({**given, "freq": "D", "hidden_size": "8"}, built_in=True).hyperparameters[
            "hidden_size"
        ]
        == "8"
    )


def test_defaults_are_those_that_aws_documents():
    assert {
        name: word.default for name, word in WORDS.items() if word.default not in (None, "auto")
    } == {
        "mini_batch_size": 128,
        "learning_rate": 0.001,
        "num_cells": 40,
        "num_layers": 2,
        "dropout_rate": 0.10,
        "likelihood": "student-T",
        "embedding_dimension": 10,
    }


@pytest.mark.parametrize(
    ("likelihood", "output"),
    [
        ("student-T", "StudentTOutput"),
        ("student-t", "StudentTOutput"),
        ("gaussian", "NormalOutput"),
        ("Gaussian", "NormalOutput"),
        ("negative-binomial", "NegativeBinomialOutput"),
        ("negative_binomial", "NegativeBinomialOutput"),
        ("beta", "BetaOutput"),
        ("deterministic-L1", "LaplaceOutput"),
    ],
)
def test_likelihoods_have_their_distribution(likelihood, output):
    found = translate({**JOB, "likelihood": likelihood}, built_in=True)
    assert found.hyperparameters["distr_output"] == output
    assert len(found.notes) == (likelihood == "deterministic-L1")


def test_what_means_something_else_than_in_the_algorithm_is_noted():
    assert translate({**JOB, "dropout_rate": "0.2"}, built_in=True).notes == [
        "dropout_rate is the rate of dropout; the built-in algorithm means zoneout by it"
    ]


@pytest.mark.parametrize(
    ("given", "cardinality", "dynamic"),
    [
        ({}, "auto", "auto"),
        ({"cardinality": "auto", "num_dynamic_feat": "auto"}, "auto", "auto"),
        ({"cardinality": "ignore", "num_dynamic_feat": "ignore"}, "ignore", "ignore"),
        ({"cardinality": "", "num_dynamic_feat": ""}, "ignore", "ignore"),
        ({"cardinality": "[3, 4]", "num_dynamic_feat": "2"}, [3, 4], 2),
        ({"cardinality": "3,4", "num_dynamic_feat": "2.0"}, [3, 4], 2),
        ({"cardinality": "5", "num_dynamic_feat": "0"}, [5], 0),
    ],
)
def test_the_use_of_features_is_auto_ignore_or_explicit(given, cardinality, dynamic):
    found = translate({**JOB, **given}, built_in=True)
    assert (found.cardinality, found.dynamic) == (cardinality, dynamic)


@pytest.mark.parametrize(
    "given", [{"embedding_dimension": "[3, 4]"}, {"embedding_dimension": [3, 4]}]
)
def test_a_list_of_embedding_dimensions_is_the_estimators(given):
    found = translate({**JOB, **given}, built_in=True)
    assert found.embedding_dimension is None
    assert found.hyperparameters["embedding_dimension"] == [3, 4]


@pytest.mark.parametrize("text", ["", "null", "None"])
def test_early_stopping_may_be_given_as_nothing(text):
    assert (
        translate({**JOB, "early_stopping_patience": text}, built_in=True).early_stopping_patience
        is None
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epochs": "0"}, "hyperparameter 'epochs' is '0', expected a positive whole number"),
        ({"epochs": "1.5"}, "hyperparameter 'epochs' is '1.5', expected a whole number"),
        (
            {"context_length": "-1"},
            "hyperparameter 'context_length' is '-1', expected a positive whole number",
        ),
        (
            {"prediction_length": "x"},
            "hyperparameter 'prediction_length' is 'x', expected a whole number",
        ),
        ({"num_cells": "0"}, "hyperparameter 'num_cells' is '0', expected a positive whole number"),
        ({"dropout_rate": "1"}, "hyperparameter 'dropout_rate' is '1', expected 0 <= rate < 1"),
        ({"learning_rate": "0"}, "hyperparameter 'learning_rate' is '0', expected more than 0"),
        ({"learning_rate": "fast"}, "hyperparameter 'learning_rate' is 'fast', expected a number"),
        (
            {"likelihood": "poisson"},
            "hyperparameter 'likelihood' is 'poisson', expected one of student-T, gaussian, negative-binomial, beta, deterministic-L1",
        ),
        (
            {"cardinality": "many"},
            "hyperparameter 'cardinality' is 'many', expected auto, ignore or a list in which each item is a whole number",
        ),
        (
            {"cardinality": "[0]"},
            "hyperparameter 'cardinality' is '[0]', expected positive numbers",
        ),
        (
            {"num_dynamic_feat": "-1"},
            "hyperparameter 'num_dynamic_feat' is '-1', expected positive numbers",
        ),
        ({"freq": "D"}, "hyperparameters 'time_freq' and 'freq' are the same; give one of them"),
        ({"lr": "1"}, "hyperparameters 'learning_rate' and 'lr' are the same; give one of them"),
        (
            {"early_stopping_patience": "0"},
            "hyperparameter 'early_stopping_patience' is '0', expected a positive whole number",
        ),
    ],
)
def test_a_value_outside_the_range_is_named(given, sentence):
    with pytest.raises(ConfigurationError) as caught:
        translate({**JOB, **given}, built_in=True)
    assert str(caught.value) == sentence


def test_what_the_algorithm_requires_is_missed_by_name():
    with pytest.raises(
        ConfigurationError,
        match=r"^hyperparameter 'time_freq', 'context_length', 'epochs' is missing; DeepAR requires it$",
    ):
        translate({"prediction_length": "3"}, built_in=True)
    assert (
        translate(
            {"freq": "D", "context_length": "1", "prediction_length": "1", "epochs": "1"},
            built_in=True,
        ).hyperparameters["freq"]
        == "D"
    )
