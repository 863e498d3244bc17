"""For all tests: the tree that SageMaker mounts, and the numbers that tests record, printed in the summary."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gluonts_shell
from gluonts_shell.sagemaker.paths import Paths

ROOT = Path(gluonts_shell.__file__).parent.parent
MONTHLY = ROOT / "gluonts_shell" / "data" / "monthly"


@dataclass(frozen=True)
class Tree:
    """An /opt/ml tree; `paths` has its folders."""

    paths: Paths

    def configure(self, name: str, value: Any) -> None:
        self.paths.config.mkdir(parents=True, exist_ok=True)
        (self.paths.config / f"{name}.json").write_text(json.dumps(value))

    def channel(self, name: str, content: Any) -> Path:
        """A folder or file to copy from, or series; returns the channel's folder."""
        folder = self.paths.data / name
        if isinstance(content, Path):
            shutil.copytree(content, folder)
            return folder
        folder.mkdir(parents=True)
        lines = [line if isinstance(line, str) else json.dumps(line) for line in content]
        (folder / "data.json").write_text("\n".join(lines) + "\n")
        return folder

    @property
    def reason(self) -> str | None:
        """What SageMaker would show as FailureReason, up to the traceback."""
        if not self.paths.failure.exists():
            return None
        return self.paths.failure.read_text()[:1024].partition("\n\n")[0]


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A job in this process sets how much is logged, which is not for the tests after it."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def opt_ml(tmp_path: Path) -> Callable[..., Tree]:
    """opt_ml(hyperparameters, channel=content, ...): monthly train and test unless channels are given."""

    def make(hyperparameters: Mapping[str, Any], **channels: Any) -> Tree:
        tree = Tree(Paths(tmp_path / "ml"))
        tree.configure("hyperparameters", dict(hyperparameters))
        for name, content in (
            channels or {"train": MONTHLY / "train", "test": MONTHLY / "test"}
        ).items():
            tree.channel(name, content)
        return tree

    return make


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a job in an empty current directory, with an environment of its own; what is left over is ended."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "site").mkdir()
    children = []

    def child(
        tree: Tree,
        *arguments: str,
        limit: Callable[[], None] | None = None,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> Any:
        base = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GLUONTS_", "SAGEMAKER_", "TRAINING_", "PYTHONUNBUFFERED"))
        }
        path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
        process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-m",
                "gluonts_shell",
                "train",
                "--data-path",
                str(tree.paths.base),
                *arguments,
            ],
            cwd=tmp_path / "cwd",
            env={
                **base,
                "PYTHONPATH": path,
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
            start_new_session=True,
        )
        children.append(process)
        return process

    yield child
    for process in children:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert os.listdir(tmp_path / "cwd") == []


@pytest.fixture
def job(
    start: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `start`, to its end."""

    def run(tree: Tree, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        process = start(tree, *arguments, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The numbers that tests record, which print() would lose in xdist's workers."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
