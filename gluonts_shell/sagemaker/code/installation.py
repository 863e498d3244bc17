"""A Plan -> a folder that can be put on the path: pip first, then packages, modules and data.

It knows what goes where and in which order; `pip` knows how to run pip, `treatment` what the channel holds.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import wheels
from gluonts_shell.sagemaker.code.contents import Plan, Source, holds_only_distributions, visible
from gluonts_shell.sagemaker.code.pip import Installed, Pip
from gluonts_shell.sagemaker.code.requirements import Line, Requirements
from gluonts_shell.sagemaker.code.wheels import Distribution

log = logging.getLogger(__name__)

OURS = frozenset({"gluonts", "gluonts_shell"})
CODE = (".py", ".so")


def install(plan: Plan, code: Path, work: Path, offline: bool, environ: dict[str, str]) -> list[Installed]:
    """Carry out the plan in the empty folder `code`; returns what pip installed.

    Of two things that install the same name the later one is taken, with a warning that names both.
    Raises CodeChannelError.
    """
    installed: list[Installed] = []
    if plan.projects or plan.wheels or plan.requirements:
        # wheels beside something that has requirements are for it to choose from; alone, they are all wanted
        supplied = bool(plan.projects or plan.requirements)
        supply = _supply([*plan.wheels, *plan.supply], work / "supply") if supplied else []
        pip = Pip(work, environ, offline, supply)
        built = [
            pip.build(_copy_of(source, work / f"project-{i}"), source.label) for i, source in enumerate(plan.projects)
        ]
        explicit = wheels.newest(built if supplied else plan.wheels)
        for one in explicit:
            if not one.fits:
                takes = wheels.container()
                raise CodeChannelError(f"{one.label!r} in the code channel does not fit this container ({takes})")
        asked = Requirements()
        for source in plan.requirements:
            asked.read(source.path, source.label)
        if supplied:
            found = _unasked([*plan.wheels, *(sdist for sdist, _ in plan.sdists)], built, asked.texts())
            asked.lines += [Line(name, f"{name} in the code channel") for name in found]
        installed = pip.install(explicit, asked, code)
    _place(plan.copies, code, _owners(code))
    return installed


def modules(folder: Path) -> frozenset[str]:
    """The top-level names that can be imported from a folder of modules and packages."""
    entries = visible(folder) if folder.is_dir() else []
    files = {path.name.split(".")[0] for path in entries if path.suffix in CODE and path.is_file()}
    folders = {path.name for path in entries if path.is_dir() and path.name.isidentifier()}
    return frozenset(files | {name for name in folders if any(p.suffix in CODE for p in (folder / name).rglob("*"))})


def shadows(folder: Path) -> frozenset[str]:
    """Those of a folder's modules that are imported instead of the standard library's, GluonTS's or our own."""
    rivals = modules(folder) & (sys.stdlib_module_names | OURS)
    # a folder without __init__.py is imported only where nothing else has its name
    return frozenset(
        name for name in rivals if not (folder / name).is_dir() or (folder / name / "__init__.py").exists()
    )


def copy(source: Path, target: Path, hidden: bool = False) -> None:
    """Copy a file or folder; what is copied can be written, however read-only the source is."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in visible(source, hidden):
            copy(path, target / path.name, hidden)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _copy_of(source: Source, target: Path) -> Path:
    """A project is built from a copy: the channel may be read-only and stays as it is."""
    copy(source.path, target, hidden=True)
    for folder in visible(target):
        if folder.is_dir() and holds_only_distributions(folder):
            shutil.rmtree(folder)
    return target


def _supply(found: Iterable[Distribution], folder: Path) -> list[Distribution]:
    """All of them in one folder, for pip's --find-links."""
    folder.mkdir()
    supply = []
    for one in found:
        path = folder / one.path.name
        if not path.exists():
            path.symlink_to(one.path)
            supply.append(Distribution(one.name, one.version, path, one.label, one.fits))
    return supply


def _unasked(found: Sequence[Distribution], built: Sequence[Distribution], lines: Sequence[str]) -> list[str]:
    """The names of those that are in the channel, but neither in this image nor built from a project.

    A wheel is installed even if no requirement names it; one that the image has already only if a requirement does.
    """
    if any("--hash" in line for line in lines):  # then pip takes nothing that is not pinned with its hash
        return []
    projects = {one.name: one for one in built}
    for one in found:
        if one.name in projects:
            other = projects[one.name].label
            log.warning("%r and %r both install %r: %r is taken", one.label, other, one.name, other)
    return sorted({one.name for one in found if one.fits} - set(projects) - set(wheels.installed()))


def _owners(code: Path) -> dict[str, str]:
    """What pip has put into the folder: module name -> the distribution that it is of."""
    files: dict[str, str] = {}
    for distribution in metadata.distributions(path=[str(code)]):
        owner = f"{distribution.metadata['Name']} {distribution.version}"
        for file in distribution.files or ():
            other = files.setdefault(str(file), owner)
            if other != owner and file.suffix == ".py":
                log.warning("%r and %r both install %r", other, owner, str(file))
    return {_key(name.split("/")[0], folder="/" in name): owner for name, owner in files.items()}


def _place(copies: Sequence[Source], code: Path, owners: dict[str, str]) -> None:
    for source in copies:
        target = code / source.name
        key = _key(source.name, folder=source.path.is_dir())
        if key in owners or target.exists():
            log.warning("%r and %r both install %r: the second is taken", owners.get(key), source.label, source.name)
            for path in (code / key, code / f"{key}.py", target):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        owners[key] = source.label
        copy(source.path, target)


def _key(name: str, folder: bool) -> str:
    """What is imported: a package and a module of one name are rivals."""
    return name if folder else name.removesuffix(".py")
