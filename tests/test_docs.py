"""What the manual tells to type is what the program takes: commands, JSON, Python, links."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gluonts_shell import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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


def test_there_are_commands_to_look_at() -> None:
    named = {arguments[0] for arguments in commands()}
    assert {
        "check",
        "demo",
        "inspect",
        "metrics",
        "serve",
        "train",
        "transform",
        "wheelhouse",
    } <= named


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_each_command_is_one_that_the_program_takes(arguments: list[str]) -> None:
    options = cli.parser().parse_args(arguments)
    assert options.command == arguments[0]


@pytest.mark.parametrize(("page", "text"), list(blocks("json")))
def test_each_json_block_is_json(page: str, text: str) -> None:
    assert json.loads(text.replace("[...]", "[]")), page


@pytest.mark.parametrize(("page", "text"), list(blocks("python")))
def test_each_python_block_compiles(page: str, text: str) -> None:
    assert compile(text, page, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_into_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    names = re.findall(r"^    (\w+)(?:  |$)", cli.parser().format_help(), re.MULTILINE)
    assert len(names) > 7
    assert [name for name in names if f"gluonts_shell {name}" not in text] == []
