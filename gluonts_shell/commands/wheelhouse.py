"""Fills a folder that can be handed over as the code channel where there is no network."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from gluonts_shell import log
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.sagemaker.code import requirements
from gluonts_shell.sagemaker.code.pip import Pip

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
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gluonts-shell-") as work:
        Pip(Path(work), os.environ).download(file.resolve(), output.resolve(), python_version, expanded(platforms))
    # the code channel looks for requirements*.txt
    name = file.name if file.match("requirements*.txt") else f"requirements-{file.stem}.txt"
    if (output / name).resolve() != file.resolve():
        shutil.copyfile(file, output / name)
    _copy_included(file, output)
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


def _copy_included(file: Path, output: Path) -> None:
    """What it names with -r or -c lies beside it, else it would not be read in the container."""
    for name in requirements.included(file):
        source, target = file.parent / name, output / name
        inside = target.resolve().is_relative_to(output.resolve())
        if not source.is_file() or not inside or target.resolve() == source.resolve():
            continue
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        _copy_included(source, output)
