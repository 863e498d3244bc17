"""The wheel and the source archive: what is in them, and that the same source always makes the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("flit_core", minversion="3.12")
pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
SOURCE = ["gluonts_shell", "tests", "docs", ".ci", "pyproject.toml", "README.md", "LICENSE"]
SOURCE += ["CHANGELOG.md", "Dockerfile", ".dockerignore"]
BUILD = "import sys; from flit_core import buildapi; buildapi.build_wheel(sys.argv[1]); buildapi.build_sdist(sys.argv[1])"


def copy(target: Path) -> Path:
    """The sources, with what a checkout gathers beside them left behind."""
    caches = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
    target.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=caches)
        else:
            shutil.copy(ROOT / name, target)
    return target


def build(source: Path, target: Path) -> tuple[Path, Path]:
    """The wheel and the source archive, built as of one moment."""
    target.mkdir()
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(target)], cwd=source, env=environ, check=True, timeout=120
    )
    (wheel,) = target.glob("*.whl")
    (archive,) = target.glob("*.tar.gz")
    return wheel, archive


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(source, wheel, source archive)"""
    folder = tmp_path_factory.mktemp("archives")
    source = copy(folder / "source")
    return source, *build(source, folder / "first")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_younger_copy_with_other_permissions_makes_the_same_bytes(
    built: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    source = copy(tmp_path / "another place")
    for path in source.rglob("*"):
        os.utime(path, (1_800_000_000, 1_800_000_000))
        path.chmod(path.stat().st_mode & 0o700)
    wheel, archive = build(source, tmp_path / "second")
    assert wheel.read_bytes() == built[1].read_bytes()
    assert archive.read_bytes() == built[2].read_bytes()


def test_the_wheel_is_the_same_from_the_source_archive(
    built: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(built[2]) as packed:
        packed.extractall(tmp_path)
    (source,) = tmp_path.iterdir()
    assert build(source, tmp_path / "again")[0].read_bytes() == built[1].read_bytes()


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path, Path]) -> None:
    source, wheel, _ = built
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"gluonts_shell/{name}" for name in files(source / "gluonts_shell")}
    assert {"gluonts_shell/py.typed", "gluonts_shell/data/code/seasonal_growth.py"} <= names


def test_the_source_archive_holds_the_tests_and_what_they_read(
    built: tuple[Path, Path, Path],
) -> None:
    source, _, archive = built
    with tarfile.open(archive) as packed:
        names = {member.name.partition("/")[2] for member in packed if member.isfile()}
    assert names == files(source) | {"PKG-INFO"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_the_source_archive_holds_what_git_has(built: tuple[Path, Path, Path]) -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(listed.stdout.splitlines()) - files(built[0]) <= {".gitignore"}


def project() -> str:
    return (ROOT / "pyproject.toml").read_text()


def test_each_python_that_is_allowed_has_a_classifier() -> None:
    (lowest, beyond) = re.findall(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', project(), re.M)[0]
    named = re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', project())
    assert named == [str(minor) for minor in range(int(lowest), int(beyond))]


def test_what_builds_without_a_network_is_told_with_the_version_that_is_asked_for() -> None:
    (backend,) = re.findall(r'^requires = \["(.*)"\]$', project(), re.M)
    for name in ("Dockerfile", "tests/image.sh"):
        assert f'"{backend}"' in (ROOT / name).read_text(), name
