import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.settings import MEBIBYTE, VARIABLES, Settings


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environ({}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SAGEMAKER_DATA_PATH", "/data/ml", "data_path", "/data/ml"),
        ("GLUONTS_FORECASTER", " deepar ", "forecaster", "deepar"),
        ("TRAINING_JOB_NAME", "job-1", "training_job_name", "job-1"),
        ("GLUONTS_SHELL_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("GLUONTS_SHELL_LOG_LEVEL", "10", "log_level", "DEBUG"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "20", "log_level", "INFO"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "120", "timeout", 120.0),
        (
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
            "application/JSONLines",
            "default_accept",
            "application/jsonlines",
        ),
        ("SAGEMAKER_PROGRAM", "inference.py", "program", "inference.py"),
        ("GLUONTS_SHELL_LOG_FORMAT", " JSON", "log_format", "json"),
        ("GLUONTS_SHELL_OFFLINE", "true", "offline", True),
        ("GLUONTS_SHELL_MAX_UNPACKED_BYTES", "1000", "max_unpacked_bytes", 1000),
        ("SAGEMAKER_BIND_TO_PORT", "8081", "port", 8081),
        ("SAGEMAKER_SERVER_PORT", "0", "port", 0),
        ("SAGEMAKER_SERVER_ADDRESS", "127.0.0.1", "address", "127.0.0.1"),
        ("MODEL_SERVER_WORKERS", "3", "workers", 3),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", " 4 ", "workers", 4),
        ("SAGEMAKER_SERVER_TIMEOUT", "1.5", "timeout", 1.5),
        ("MAX_CONTENT_LENGTH", "1048576", "max_content_length", MEBIBYTE),
        ("GLUONTS_FORCE_STATIC", "1", "force_static", True),
        ("GLUONTS_ALLOWED_FORECASTERS", "a.b, c", "allowed_forecasters", ("a.b", "c")),
        ("GLUONTS_SHELL_LOCAL_ENDPOINTS", "yes", "local_endpoints", True),
        ("SAGEMAKER_BATCH", "True", "batch", True),
        ("SAGEMAKER_BATCH_STRATEGY", "SingleRecord", "batch_strategy", "SINGLE_RECORD"),
        ("SAGEMAKER_BATCH_STRATEGY", "MULTI_RECORD", "batch_strategy", "MULTI_RECORD"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0", "max_payload_in_mb", 0),
        ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "8", "max_concurrent_transforms", 8),
        ("INFERENCE_CONFIG", "{}", "inference_config", "{}"),
        ("DEEPAR_INFERENCE_CONFIG", "{}", "inference_config", "{}"),
        ("GLUONTS_BATCH_SUPPRESS_ERRORS", "off", "suppress_errors", False),
        ("GLUONTS_FORWARD_FIELDS", '["item_id", "a,b"]', "forward_fields", ("item_id", "a,b")),
        ("GLUONTS_FORWARD_FIELDS", "item_id,foo", "forward_fields", ("item_id", "foo")),
        ("GLUONTS_BATCH_TIMEOUT", "1.5", "batch_timeout", 1.5),
        ("GLUONTS_BATCH_FALLBACK_PREDICTOR", "my.Predictor", "fallback_predictor", "my.Predictor"),
    ],
)
def test_each_variable_sets_its_field_and_nothing_else(variable, text, field, value):
    settings = Settings.from_environ({variable: text})
    default = Settings()
    assert getattr(settings, field) == value
    others = [other.name for other in fields(Settings) if other.name != field]
    assert [getattr(settings, name) for name in others] == [
        getattr(default, name) for name in others
    ]


@pytest.mark.parametrize("variable", [variable for variable, _, _ in VARIABLES])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_absent(variable, text):
    assert Settings.from_environ({variable: text}) == Settings()


def test_every_variable_has_a_field_and_every_field_a_variable():
    assert {field for _, field, _ in VARIABLES} == {field.name for field in fields(Settings)}
    assert len({variable for variable, _, _ in VARIABLES}) == len(VARIABLES)


def test_of_several_variables_for_one_field_the_first_wins():
    assert (
        Settings.from_environ({"SAGEMAKER_SERVER_PORT": "1", "SAGEMAKER_BIND_TO_PORT": "2"}).port
        == 2
    )
    assert (
        Settings.from_environ(
            {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "MODEL_SERVER_WORKERS": "2"}
        ).workers
        == 2
    )


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("SAGEMAKER_BATCH", "perhaps", "true or false"),
        (
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
            "text/csv",
            "application/json or application/jsonlines",
        ),
        (
            "GLUONTS_SHELL_LOG_LEVEL",
            "loud",
            "DEBUG, INFO, WARNING, ERROR or CRITICAL, or the number of one of them",
        ),
        (
            "SAGEMAKER_CONTAINER_LOG_LEVEL",
            "7",
            "DEBUG, INFO, WARNING, ERROR or CRITICAL, or the number of one of them",
        ),
        ("SAGEMAKER_BIND_TO_PORT", "http", "a whole number of at least 0 and at most 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "65536", "a whole number of at least 0 and at most 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "9" * 5000, "a whole number of at least 0 and at most 65535"),
        ("SAGEMAKER_BIND_TO_PORT", "٣", "a whole number of at least 0 and at most 65535"),
        ("MODEL_SERVER_WORKERS", "0", "a whole number of at least 1 and at most 1024"),
        ("MODEL_SERVER_WORKERS", "-1", "a whole number of at least 1 and at most 1024"),
        ("MAX_CONTENT_LENGTH", "6MB", "a whole number of at least 1"),
        ("SAGEMAKER_SERVER_TIMEOUT", "nan", "a number of seconds, 0 or more"),
        ("SAGEMAKER_SERVER_TIMEOUT", "-1", "a number of seconds, 0 or more"),
        ("GLUONTS_BATCH_TIMEOUT", "2 s", "a number of seconds, 0 or more"),
        (
            "GLUONTS_FORWARD_FIELDS",
            "[item_id]",
            "a JSON list of strings, or names separated by commas",
        ),
        ("GLUONTS_FORWARD_FIELDS", "[1]", "a JSON list of strings, or names separated by commas"),
        ("GLUONTS_SHELL_LOG_FORMAT", "xml", "text or json"),
        ("SAGEMAKER_BATCH_STRATEGY", "Both", "SINGLE_RECORD or MULTI_RECORD"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(variable, text, expected):
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environ({variable: text})
    assert (
        str(caught.value)
        == f"environment variable {variable} is {text[:100]!r}, expected {expected}"
    )


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({}, 6 * MEBIBYTE),
        ({"MAX_CONTENT_LENGTH": "1000"}, 1000),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "50"}, 50 * MEBIBYTE),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "50"}, 6 * MEBIBYTE),
        ({"SAGEMAKER_BATCH": "true", "MAX_CONTENT_LENGTH": "1000"}, 6 * MEBIBYTE),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, 1024 * MEBIBYTE),
        (
            {
                "SAGEMAKER_BATCH": "true",
                "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
                "MAX_CONTENT_LENGTH": "1000",
            },
            1000,
        ),
    ],
)
def test_the_limit_of_a_body_is_what_the_kind_of_job_needs(environ, limit):
    assert Settings.from_environ(environ).body_limit == limit


def test_the_manual_has_the_table_of_settings():
    """Paste what this prints: python -m gluonts_shell.settings"""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "gluonts_shell.settings"]
    printed = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert printed.count("\n") == len(fields(Settings)) + 2
    page = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"<!-- settings -->\n{printed}<!-- /settings -->" in page


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("60", 60), ("3600", 3600), ("1", 60), ("0", 3600)]
)
def test_a_body_may_take_as_long_as_a_request_may_wait(timeout, seconds):
    assert Settings.from_environ({"SAGEMAKER_SERVER_TIMEOUT": timeout}).body_seconds == seconds
