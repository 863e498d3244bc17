import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gluonts_shell
from gluonts_shell import cli
from gluonts_shell.commands import metrics

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gluonts_shell.__file__).parent.parent)}


def shell(*arguments, **environment):
    """`python -m gluonts_shell` in a child process."""
    command = [sys.executable, "-X", "importtime", "-m", "gluonts_shell", *map(str, arguments)]
    return subprocess.run(
        command, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=60
    )


def imported(done):
    return {
        match[1] for match in re.finditer(r"^import time:.*\|\s+(\w+)", done.stderr, re.MULTILINE)
    }


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["serve", "--help"], ["--version"], ["metrics"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    done = shell(*arguments)
    assert done.returncode == 0
    assert done.stdout
    assert "argparse" in imported(done)
    assert not imported(done) & {"gluonts", "numpy", "pandas", "torch", "lightning", "pydantic"}


def test_help_names_the_commands_and_the_environment(capsys):
    for arguments in ([], ["train"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--help"])
        assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in (
        "train",
        "serve",
        "transform",
        "wheelhouse",
        "demo",
        "metrics",
        "SAGEMAKER_DATA_PATH",
        "GLUONTS_FORECASTER",
    ):
        assert name in text


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train", "--fly"], ["transform"]], ids=str)
def test_a_command_line_that_is_wrong_has_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: gluonts-shell" in capsys.readouterr().err


def test_a_wrong_setting_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setenv("MODEL_SERVER_WORKERS", "many")
    assert cli.main(["metrics"]) == 1
    expected = "gluonts-shell: environment variable MODEL_SERVER_WORKERS is 'many', expected a whole number"
    assert capsys.readouterr().err.startswith(expected)


def test_a_wrong_setting_fails_a_training_job_with_a_reason(tmp_path):
    done = shell("train", "--data-path", tmp_path, GLUONTS_SHELL_OFFLINE="perhaps")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    reason = (tmp_path / "output" / "failure").read_text().splitlines()[0]
    assert (
        reason == "environment variable GLUONTS_SHELL_OFFLINE is 'perhaps', expected true or false"
    )


@pytest.mark.parametrize(
    ("environ", "arguments", "settings"),
    [
        ({}, [], ("/opt/ml", None)),
        ({"SAGEMAKER_DATA_PATH": "/a", "GLUONTS_FORECASTER": "A"}, [], ("/a", "A")),
        (
            {"SAGEMAKER_DATA_PATH": "/a", "GLUONTS_FORECASTER": "A"},
            ["--data-path", "/b", "--forecaster", "B"],
            ("/b", "B"),
        ),
    ],
)
@pytest.mark.parametrize("command", ["train", "serve"])
def test_options_win_over_the_environment(monkeypatch, command, environ, arguments, settings):
    for variable in ("SAGEMAKER_DATA_PATH", "GLUONTS_FORECASTER"):
        monkeypatch.delenv(variable, raising=False)
    for variable, text in environ.items():
        monkeypatch.setenv(variable, text)
    seen = []
    monkeypatch.setattr(cli, "_run", lambda options, found: seen.append(found) or 0)
    assert cli.main([command, *arguments]) == 0
    assert [(found.data_path, found.forecaster) for found in seen] == [settings]


def test_a_difference_between_option_and_environment_is_told(monkeypatch, capsys):
    monkeypatch.setenv("GLUONTS_FORECASTER", "A")
    monkeypatch.setattr(cli, "_run", lambda options, found: 0)
    assert cli.main(["train", "--forecaster", "B"]) == 0
    assert (
        "GLUONTS_FORECASTER is 'A', but --forecaster is 'B', which wins" in capsys.readouterr().err
    )


def test_an_interrupted_command_has_the_status_of_the_signal(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupt)
    assert cli.main(["metrics"]) == 130
    assert capsys.readouterr().err == "gluonts-shell: interrupted\n"


def test_a_user_without_a_name_gets_a_home_before_gluonts_looks_for_it():
    code = (
        "import os, pwd, tempfile\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from gluonts_shell import cli\n"
        "cli.main(['metrics'])\n"
        "assert os.environ['HOME'] == tempfile.gettempdir()\n"
        "import gluonts.dataset.repository\n"
    )
    environ = {name: value for name, value in ENVIRONMENT.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_a_home_that_is_there_stays():
    environ = {"HOME": "/home/me"}
    cli.ensure_home(environ)
    assert environ == {"HOME": "/home/me"}


def test_metric_definitions_are_what_sagemaker_takes():
    """AWS, AlgorithmSpecification: at most 40 definitions, names to 255 and patterns to 500 characters, one group."""
    names = [name for name, _ in metrics.DEFINITIONS]
    assert len(names) == len(set(names)) <= 40
    assert all(
        len(name) <= 255 and len(regex) <= 500 and re.compile(regex).groups == 1
        for name, regex in metrics.DEFINITIONS
    )


def test_a_folder_that_cannot_be_made_is_a_sentence(capsys):
    assert cli.main(["demo", "--data-path", "/proc/none"]) == 1
    assert (
        capsys.readouterr().err
        == "gluonts-shell: FileNotFoundError: No such file or directory: '/proc/none'\n"
    )
