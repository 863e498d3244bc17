"""What the Dockerfile decides before it builds anything; `tests/image.sh` builds the image itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gluonts_shell import __version__

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PACKAGED_FOR_USERS = {"torch", "fast", "arrow", "report"}


def check(extras: str) -> subprocess.CompletedProcess[str]:
    """The Dockerfile's step that looks at EXTRAS, run by the shell that would run it."""
    (step,) = re.findall(
        r"^RUN (.*EXTRAS.*?[^\\])$\nWORKDIR",
        (ROOT / "Dockerfile").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    environ = {"EXTRAS": extras, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", step], env=environ, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("extras", ["", "torch", "torch,fast,arrow,report", "fast, arrow"])
def test_extras_that_the_package_has_are_taken(extras: str) -> None:
    assert check(extras).returncode == 0


@pytest.mark.parametrize(
    ("extras", "named"),
    [("pytorch", "pytorch"), ("fast,Torch", "Torch"), ("torch;fast", "torch;fast")],
)
def test_an_extra_that_the_package_does_not_have_is_refused(extras: str, named: str) -> None:
    done = check(extras)
    expected = f"EXTRAS has '{named}', expected none, or some of torch, fast, arrow and report with commas between\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_the_extras_of_the_dockerfile_are_those_of_the_package() -> None:
    section = (
        (ROOT / "pyproject.toml")
        .read_text()
        .partition("[project.optional-dependencies]")[2]
        .partition("\n[")[0]
    )
    extras = set(re.findall(r"^([a-z-]+) = ", section, re.MULTILINE))
    assert (
        extras - {name for name in extras if name.startswith(("test", "lint"))}
        == PACKAGED_FOR_USERS
    )
    assert all(check(name).returncode == 0 for name in PACKAGED_FOR_USERS)


def test_the_image_is_labelled_with_the_version_of_the_package() -> None:
    found = re.findall(r'image\.version="(.*)"', (ROOT / "Dockerfile").read_text())
    assert found == [__version__]


def test_the_image_tells_sagemaker_what_it_can_do() -> None:
    """Without the labels CreateModel refuses it for pipelines, and for many models on one endpoint."""
    text = (ROOT / "Dockerfile").read_text()
    for capability in ("accept-bind-to-port", "multi-models"):
        assert f"com.amazonaws.sagemaker.capabilities.{capability}=true" in text
