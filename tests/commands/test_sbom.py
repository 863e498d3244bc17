"""`sbom` lists what is installed, once each, as CycloneDX has it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import gluonts_shell
from gluonts_shell.commands import sbom

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def printed() -> str:
    command = [sys.executable, "-m", "gluonts_shell", "sbom"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_it_has_every_distribution_that_is_installed_once(printed: str) -> None:
    bill = json.loads(printed)
    listed = [one["name"] for one in bill["components"][1:]]
    installed = {re.sub(r"[-_.]+", "-", one.name).lower() for one in metadata.distributions()}
    assert listed == sorted(installed - {"gluonts-shell"})
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(references) == len(set(references))
    gluonts = next(one for one in bill["components"] if one["name"] == "gluonts")
    assert gluonts["purl"] == f"pkg:pypi/gluonts@{metadata.version('gluonts')}"
    assert bill["metadata"]["component"]["version"] == gluonts_shell.__version__
    assert bill["components"][0]["version"] == ".".join(map(str, sys.version_info[:3]))


def test_it_says_what_it_is_and_the_same_again(printed: str) -> None:
    bill = json.loads(printed)
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert json.dumps(sbom.bill(metadata.distributions()), indent=2) + "\n" == printed


def head(**fields: str) -> Message:
    message = Message()
    for name, value in {"Name": "A_b.C", "Version": "1", **fields}.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "licences"),
    [
        ({"License_Expression": "MIT OR Apache-2.0"}, [{"expression": "MIT OR Apache-2.0"}]),
        ({"License_Expression": "MIT", "License": "as MIT"}, [{"expression": "MIT"}]),
        ({"License": "BSD  3"}, [{"license": {"name": "BSD 3"}}]),
        ({"License": "Permission is hereby granted, " * 9}, None),
        ({"License": ""}, None),
        ({}, None),
    ],
)
def test_a_licence_is_an_expression_or_a_name_or_not_told(
    fields: dict[str, str], licences: Any
) -> None:
    described = sbom.component(head(**fields))
    assert described.get("licenses") == licences
    assert described["purl"] == "pkg:pypi/a-b-c@1"
