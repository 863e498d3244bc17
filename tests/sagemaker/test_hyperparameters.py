import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.sagemaker.hyperparameters import decode, joined, source_dir, unquoted


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("12", "12"),
        ('"D"', "D"),
        ('"\\"D\\""', '"D"'),
        ('"a \\u00e9"', "a é"),
        ('"', '"'),
        ('""', ""),
        ('"a" and "b"', '"a" and "b"'),
        ("[1, 2]", "[1, 2]"),
        (7, 7),
        (None, None),
        ({"a": 1}, {"a": 1}),
        (True, True),
    ],
)
def test_strings_that_the_sdk_quoted_once_more_are_unquoted(wire, value):
    assert unquoted(wire) == value


@given(st.text())
def test_whatever_the_sdk_quotes_comes_back(text):
    assert unquoted(json.dumps(text)) == text


@given(st.text(min_size=1), st.integers(1, 40))
def test_a_value_split_over_the_length_limit_comes_back_whole(text, size):
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    assert joined({f"_{i}_name": part for i, part in enumerate(parts)}) == {"name": text}


def test_parts_are_joined_by_number_and_not_by_place():
    raw = {f"_{i}_quantiles": str(i) for i in (11, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10)}
    assert joined(raw) == {"quantiles": "01234567891011"}


def test_parts_that_are_quoted_as_a_whole_are_unquoted_after_joining():
    assert decode({"_0_freq": '"', "_1_freq": 'D"'}) == ({"freq": "D"}, {})


def test_a_missing_part_is_named():
    with pytest.raises(
        ConfigurationError, match=r"^hyperparameter 'x' is split into parts, and '_1_x' is missing$"
    ):
        decode({"_0_x": "a", "_2_x": "b"})


def test_a_value_that_is_whole_and_in_parts_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"^hyperparameter 'x' is given whole and in parts; give it once$"
    ):
        decode({"_0_x": "a", "x": "b"})


def test_bookkeeping_of_the_service_is_no_hyperparameter():
    raw = {
        "sagemaker_program": '"train.py"',
        "sagemaker_region": "eu-west-1",
        "_tuning_objective_metric": "test:RMSE",
        "_kvstore": "auto",
        "_num_gpus": "auto",
        "_num_kv_servers": "auto",
        "epochs": "3",
    }
    assert decode(raw) == ({"epochs": "3"}, {})


def test_entries_for_the_environment_of_gluonts_are_kept_apart():
    assert decode({"$env.use_tqdm": "false", "freq": "D"}) == ({"freq": "D"}, {"use_tqdm": "false"})


def test_values_that_are_no_strings_stay_what_they_are():
    assert decode({"prediction_length": 7, "context_length": None})[0] == {
        "prediction_length": 7,
        "context_length": None,
    }


def test_env_entries_are_given_with_a_dollar_or_in_a_way_that_a_shell_takes():
    assert decode({"$env.use_tqdm": "False", "env_max_idle_transforms": "7", "envy": "x"}) == (
        {"envy": "x"},
        {"use_tqdm": "False", "max_idle_transforms": "7"},
    )


def test_spaces_around_names_and_around_the_forecaster_are_no_part_of_them():
    raw = {" forecaster_name": " deepar\n", "freq ": " D"}
    assert decode(raw) == ({"forecaster_name": "deepar", "freq": " D"}, {})


@pytest.mark.parametrize("raw", [{"x": "1", " x": "1"}, {"$env.x": "1", "env_x": "2"}])
def test_what_is_given_twice_is_refused(raw):
    with pytest.raises(
        ConfigurationError,
        match=r"^hyperparameter '( x|env_x)' is given twice, as 'x' too; give it once$",
    ):
        decode(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, None),
        ({"sagemaker_submit_directory": '"s3://b/s.tar.gz"'}, "s3://b/s.tar.gz"),
        ({"sagemaker_submit_directory": ""}, None),
    ],
)
def test_the_source_dir_of_the_sdk(raw, expected):
    assert source_dir(raw) == expected
