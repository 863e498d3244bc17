"""Fills a folder that can be handed over as the code channel where there is no network."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gluonts_shell import log
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.sagemaker.code import requirements
from gluonts_shell.sagemaker.code.pip import Pip
from gluonts_shell.written import Written

# PEP 600: what runs with an older glibc runs with a newer one; pip takes the tags that it is given and no others
MANYLINUX = re.compile(r"manylinux_2_(\d+)_(\w+)")
OLDEST_GLIBC = 5
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def run(file: Path, output: Path, python_version: str | None, platforms: list[str]) -> int:
    """Download all that the requirements file needs, for another Python or platform where one is named.

    Raises ConfigurationError if the file is not there, CodeChannelError with pip's reason if pip fails.
    """
    log.configure()
    if not file.is_file():
        raise ConfigurationError(f"there is no requirements file {str(file)!r}")
    copies = _copies(file, output)
    _check_replaceable(copies, output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gluonts-shell-") as work:
        Pip(Path(work), os.environ).download(
            file.resolve(), output.resolve(), python_version, expanded(platforms)
        )
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    if copies:
        Written.read(output).add(*copies)
    print(f"{output} can be handed over as the code channel")  # noqa: T201
    return 0


def expanded(platforms: list[str]) -> list[str]:
    """Every tag that a platform takes: one that names a glibc takes all that was built for an older one."""
    found: dict[str, None] = {}
    for platform in platforms:
        match = MANYLINUX.fullmatch(platform)
        if not match:
            found[platform] = None
            continue
        for minor in range(int(match[1]), OLDEST_GLIBC - 1, -1):
            found[f"manylinux_2_{minor}_{match[2]}"] = None
            if minor in LEGACY:
                found[f"{LEGACY[minor]}_{match[2]}"] = None
    return list(found)


def _copies(file: Path, output: Path) -> dict[Path, Path]:
    """target -> source of the requirements file and all that it includes, without those that are there as they are."""
    # the code channel looks for requirements*.txt
    name = file.name if file.match("requirements*.txt") else f"requirements-{file.stem}.txt"
    found = {output / name: file}
    _add_included(file, output, found)
    for target, source in list(found.items()):
        if _same(source, target):
            del found[target]
    return found


def _add_included(file: Path, output: Path, found: dict[Path, Path]) -> None:
    """What it names with -r or -c lies beside it, else it would not be read in the container."""
    for name in requirements.included(file):
        source, target = file.parent / name, output / name
        inside = target.resolve().is_relative_to(output.resolve())
        if not inside or target in found:
            continue
        if not source.is_file():
            continue
        found[target] = source
        _add_included(source, output, found)


def _same(source: Path, target: Path) -> bool:
    if not target.is_file():
        return False
    if target.resolve() == source.resolve():
        return True
    return target.read_bytes() == source.read_bytes()


def _check_replaceable(targets: Iterable[Path], output: Path) -> None:
    written = Written.read(output)
    for target in targets:
        foreign = written.foreign(target)
        if foreign:
            raise ConfigurationError(
                f"{str(foreign)!r} is another file than the requirements that belong there, and this program did not "
                "write it; give another folder with --output, or move it away"
            )
