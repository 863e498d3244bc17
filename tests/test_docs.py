"""What the manual tells to type is what the program takes: commands, JSON, YAML, Python, links; its first example runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gluonts_shell import cli
from gluonts_shell.forecasting.plan import Plan
from gluonts_shell.forecasting.service import configuration
from gluonts_shell.sagemaker.job import Channel
from gluonts_shell.serving.endpoint import batching
from gluonts_shell.serving.http import wire
from gluonts_shell.serving.http.limits import Limits
from gluonts_shell.settings import VARIABLES

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# what holds the blocks of a language: this module for most, and these run the pages' Python
LANGUAGES = {"json", "python", "sh", "text", "yaml"}
PYTHON_RUN_BY = {
    "sagemaker.md": "sdk/check_docs.py",
    "training-at-scale.md": "sdk/check_docs.py",
    "multi-model.md": "sdk/check_docs.py",
    "code-channel.md": "forecasters/test_table.py",
}


# options of Slurm, docker and pip
OTHERS = {"--array", "--build-arg", "--extra-index-url", "--only", "--ours", "--peer", "--fast"}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page, the block's text)"""
    for page in PAGES:
        for found in re.finditer(
            rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        ):
            yield page.name, found[1]


def commands() -> list[list[str]]:
    """The arguments of each line of a shell that runs this program, in the image too."""
    runs = re.compile(
        r"(?:-m gluonts_shell|^docker run .*forecaster(?::1)?) ([a-z][^>|&\n\x22]*)", re.MULTILINE
    )
    texts = [text.replace("\\\n", " ") for _, text in blocks("sh")]
    return [
        shlex.split(arguments, comments=True) for text in texts for arguments in runs.findall(text)
    ]


def marked(page: str, mark: str) -> str:
    """The block behind a comment."""
    text = (ROOT / page).read_text()
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"{page} has no block {mark!r}"
    return found[1]


def named_commands() -> list[str]:
    return re.findall(r"^    (\w+)(?:  |$)", cli.parser().format_help(), re.MULTILINE)


# --- blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_names_a_language_that_is_looked_at(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}


def test_there_are_commands_to_look_at() -> None:
    used = {arguments[0] for arguments in commands()}
    assert used == set(named_commands())


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_each_command_is_one_that_the_program_takes(arguments: list[str]) -> None:
    options = cli.parser().parse_args(arguments)
    assert options.command == arguments[0]


def test_each_shell_block_is_shell() -> None:
    for page, text in blocks("sh"):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert (page, done.stderr) == (page, "")


@pytest.mark.parametrize(("page", "text"), list(blocks("json")))
def test_each_json_block_is_json(page: str, text: str) -> None:
    assert json.loads(text.replace("[...]", "[]")), page


@pytest.mark.parametrize(("page", "text"), list(blocks("python")))
def test_each_python_block_compiles_and_is_run_by_a_test(page: str, text: str) -> None:
    assert compile(text, page, "exec")
    assert f'"{page}"' in (ROOT / "tests" / PYTHON_RUN_BY[page]).read_text()


@pytest.mark.parametrize(("page", "text"), list(blocks("yaml")))
def test_each_yaml_block_is_a_job_whose_arguments_the_program_takes(page: str, text: str) -> None:
    yaml = pytest.importorskip("yaml")  # Lightning brings it
    spec = yaml.safe_load(text)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    options = cli.parser().parse_args(container["args"])
    assert options.shard == f"auto/{spec['completions']}"


# --- links and lists


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_into_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text())
    for name, anchor in links:
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_the_readme_lists_every_page_and_every_command() -> None:
    text = README.read_text()
    pages = re.findall(r"\(docs/([\w-]+\.md)\)", text.partition("## The manual")[2])
    assert sorted(pages) == [page.name for page in PAGES[1:]]
    commands = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(commands) == sorted(named_commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_variable_and_option_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    variables = re.findall(
        r"\b(?:GLUONTS|SAGEMAKER|MODEL_SERVER|INFERENCE|DEEPAR|MAX)_[A-Z_]*[A-Z]\b", text
    )
    assert set(variables) <= {variable for variable, _, _ in VARIABLES}
    ours = set(re.findall(r"--[a-z-]+", "".join(helps())))
    named = set(re.findall(r"`(--[a-z-]+)[^`]*`", text))
    assert named - ours <= OTHERS


def helps() -> Iterator[str]:
    """What --help prints of each command."""
    (commands,) = (
        action.choices for action in cli.parser()._actions if isinstance(action.choices, dict)
    )
    for command in commands.values():
        yield command.format_help()


def test_the_limits_of_the_manual_are_those_of_the_code() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Limits")[2]
    limits = Limits()
    for row in (
        f"| 414, 431 | {wire.LINE_LIMIT:,} bytes; {wire.FIELDS_LIMIT} fields |",
        f"| {limits.head_seconds:g} s; {limits.body_seconds:g} s and 1 s for each MB |",
        f"| the one that waits longest makes room | {limits.connections} |",
        f"| 503 with Retry-After | {batching.MAX_WAITING} |",
        f"| 400 | {configuration.MAX_SAMPLES:,}, {configuration.MAX_QUANTILES:,}, "
        f"{configuration.MAX_PREDICTION_LENGTH:,} |",
    ):
        assert row in section


# --- what runs


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who types: `python` is this one."""
    programs = tmp_path_factory.mktemp("bin")
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MODEL_SERVER_WORKERS": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shell: dict[str, str]) -> tuple[Path, str]:
    """The README's train and request, and the manual's request beside it: the folder, and what was printed."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    folder = tmp_path_factory.mktemp("readme")
    block = marked("README.md", "train and ask")
    assert len(block.splitlines()) <= 10
    start, kill = block.split("kill %1\n")
    assert kill == ""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = f"set -m\n{start}{marked('docs/inference.md', 'ask')}echo\nkill %1\nwait\n"
    done = subprocess.run(
        ["bash", "-c", script.replace("8080", port)],
        cwd=folder,
        env={**shell, "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return folder, done.stdout


def test_the_readmes_job_trains_and_requests_are_answered(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    assert "model written to job/model" in printed
    assert (folder / "job" / "model" / "gluonts_shell.json").exists()
    assert "stopping" in printed, "the server outlives the block"
    texts = re.findall(r'^\{"predictions".*$', printed, re.MULTILINE)
    readmes, manuals = (json.loads(text)["predictions"][0] for text in texts)
    low, high = (readmes["quantiles"][level] for level in ("0.1", "0.9"))
    assert all(least <= most for least, most in zip(low, high, strict=True))
    assert low != high
    answers = [text for page, text in blocks("json") if page == "inference.md"]
    (documented,) = json.loads(answers[0])["predictions"]
    assert {name: len(manuals[name]) for name in manuals} == {
        name: len(documented[name]) for name in documented
    }


def test_the_forecaster_of_the_code_channels_page_runs_as_it_says(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    (module,) = [text for page, text in blocks("python") if page == "code-channel.md"]
    (tmp_path / "mypkg.py").write_text(module)
    block = marked("docs/code-channel.md", "own")
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, env=shell, check=True, timeout=120)
    model = tmp_path / "own" / "model"
    assert json.loads((model / "agg_metrics.json").read_text())["MASE"] < 2
    assert (model / "code" / "mypkg.py").exists()


@pytest.mark.torch
def test_the_hyperparameters_of_the_training_page_are_taken() -> None:
    pytest.importorskip("lightning")
    (text,) = [text for page, text in blocks("json") if page == "training.md"]
    train = Channel("train", ROOT / "gluonts_shell" / "data" / "monthly" / "train")
    plan = Plan.of(json.loads(text), {"train": train})
    assert plan.freq == "h"
    assert plan.arguments["trainer_kwargs"] == {"max_epochs": 20, "gradient_clip_val": 1.0}
    assert plan.arguments["lr"] == 0.001


def test_the_lines_and_the_command_of_the_batch_page_make_such_an_answer(
    trained: tuple[Path, str], shell: dict[str, str]
) -> None:
    folder = trained[0]
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "job" / "model", ".")
    line, answer = (text for page, text in blocks("json") if page == "batch.md")
    (folder / "series").mkdir()
    (folder / "series" / "data.json").write_text(line)
    command = next(text for page, text in blocks("sh") if "INFERENCE_CONFIG" in text)
    subprocess.run(["bash", "-ec", command], cwd=folder, env=shell, check=True, timeout=120)
    made = json.loads((folder / "forecasts" / "data.json.out").read_text())
    assert list(made) == list(json.loads(answer))
    assert list(made["quantiles"]) == list(json.loads(answer)["quantiles"])
