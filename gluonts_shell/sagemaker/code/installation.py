"""A Plan -> a folder that can be put on the path: pip first, then packages, modules and data.

It knows what goes where and in which order; `pip` knows how to run pip, `contents` what the channel holds.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import wheels
from gluonts_shell.sagemaker.code.archives import Budget
from gluonts_shell.sagemaker.code.contents import (
    Plan,
    Source,
    holds_only_distributions,
    visible,
    within,
)
from gluonts_shell.sagemaker.code.pip import Installed, Pip
from gluonts_shell.sagemaker.code.requirements import Line, Requirements
from gluonts_shell.sagemaker.code.wheels import Distribution

log = logging.getLogger(__name__)

OURS = frozenset({"gluonts", "gluonts_shell"})
CODE = (".py", ".so")
SITES = ("site-packages", "dist-packages")  # where installers put modules


def install(
    plan: Plan, code: Path, work: Path, *, offline: bool, environ: dict[str, str], budget: Budget
) -> list[Installed]:
    """Carry out the plan in the empty folder `code`; returns what pip installed. What is copied is charged to `budget`.

    Of two things that install the same name the later one is taken, with a warning that names both.
    Raises CodeChannelError.
    """
    installed: list[Installed] = []
    if plan.projects or plan.requirements:
        installed = _with_supply(
            plan, code, work, Pip(work, environ, offline, _supply(plan, work / "supply")), budget
        )
    elif plan.wheels:  # alone, they are all wanted
        installed = Pip(work, environ, offline).install(_fitting(plan.wheels), Requirements(), code)
    _place(plan.copies, code, _owners(code), budget)
    return installed


def _with_supply(plan: Plan, code: Path, work: Path, pip: Pip, budget: Budget) -> list[Installed]:
    """Wheels beside something that has requirements are for it to choose from."""
    built = []
    for i, source in enumerate(plan.projects):
        built.append(pip.build(_copy_of(source, work / f"project-{i}", budget), source.label))
    asked = Requirements()
    for source in plan.requirements:
        asked.read(source.path, source.label, source.root)
    asked.lines += _extras(plan, built, asked)
    sdists = [sdist for sdist, _ in plan.sdists]
    for name in _unasked([*plan.wheels, *sdists], built, asked.texts()):
        asked.lines.append(Line(name, f"{name} in the code channel"))
    return pip.install(_fitting(built), asked, code)


def _extras(plan: Plan, built: Sequence[Distribution], asked: Requirements) -> list[Line]:
    """What is asked of the channel's own projects and files beyond themselves, as in `./lib[dev]`."""
    names = {}
    for source, project in zip(plan.projects, built, strict=True):
        names[source.path.resolve()] = project.name
    for one in plan.wheels:
        names[one.path.resolve()] = one.name
    lines = []
    for local in asked.local:
        if local.extras and local.path in names:
            lines.append(Line(f"{names[local.path]}{local.extras}", local.place))
    return lines


def _fitting(found: Sequence[Distribution]) -> list[Distribution]:
    explicit = wheels.newest(found)
    for one in explicit:
        if not one.fits:
            takes = wheels.container()
            raise CodeChannelError(
                f"{one.label!r} in the code channel does not fit this container ({takes})"
            )
    return explicit


def modules(folder: Path) -> frozenset[str]:
    """The top-level names that can be imported from a folder of modules and packages."""
    if not folder.is_dir():
        return frozenset()
    found = set()
    for path in filter(_holds_code, visible(folder)):
        name = path.name
        if path.is_file():
            name = name.partition(".")[0]
        if name.isidentifier():
            found.add(name)
    return frozenset(found)


def _holds_code(path: Path) -> bool:
    if path.is_file():
        return path.suffix in CODE
    return any(inner.suffix in CODE for inner in path.rglob("*"))


def shadows(folder: Path) -> frozenset[str]:
    """Those of a folder's modules that are imported instead of the standard library's, GluonTS's or our own."""
    rivals = modules(folder) & (sys.stdlib_module_names | OURS)
    return frozenset(name for name in rivals if _comes_first(folder / name))


def of_the_image(folder: Path) -> frozenset[str]:
    """Those of a folder's modules that are imported instead of what is installed in this environment."""
    places = [entry for entry in sys.path if Path(entry).name in SITES]
    found = set(modules(folder) & OURS)
    for name in modules(folder):
        spec = PathFinder.find_spec(name, places)
        if spec is not None and spec.loader is not None:
            found.add(name)
    return frozenset(name for name in found if _comes_first(folder / name))


def _comes_first(path: Path) -> bool:
    """A folder without __init__.py is imported only where nothing else has its name."""
    if not path.is_dir():
        return True
    return (path / "__init__.py").exists()


def copy(source: Path, target: Path, budget: Budget, root: Path, hidden: bool = False) -> None:
    """Copy a file or folder; what is copied can be written, however read-only the source is.

    Links within `root` are copied as what they lead to, and those that lead out of it are left out
    with a warning. Raises CodeChannelError where the budget is spent.
    """
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in within(root, source, budget, hidden):
            copy(path, target / path.name, budget, root, hidden)
        return
    budget.charge(source.stat().st_size)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _copy_of(source: Source, target: Path, budget: Budget) -> Path:
    """A project is built from a copy: the channel may be read-only and stays as it is."""
    copy(source.path, target, budget, source.root, hidden=True)
    for folder in visible(target):
        if folder.is_dir() and holds_only_distributions(folder):
            shutil.rmtree(folder)
    return target


def _supply(plan: Plan, folder: Path) -> list[Distribution]:
    """All wheels and sdists in one folder, for pip's --find-links."""
    folder.mkdir()
    supply = []
    for one in (*plan.wheels, *plan.supply):
        path = folder / one.path.name
        if not path.exists():
            path.symlink_to(one.path)
            supply.append(Distribution(one.name, one.version, path, one.label, one.fits))
    return supply


def _unasked(
    found: Sequence[Distribution], built: Sequence[Distribution], lines: Sequence[str]
) -> list[str]:
    """The names of those that are in the channel, but neither in this image nor built from a project.

    A wheel is installed even if no requirement names it; one that the image has already only if a requirement does.
    """
    # then pip takes nothing that is not pinned with its hash
    if any("--hash" in line for line in lines):
        return []
    labels = {}
    for project in built:
        labels[project.name] = project.label
    unasked = set()
    for one in found:
        other = labels.get(one.name)
        if other is not None:
            log.warning("%r and %r both install %r: %r is taken", one.label, other, one.name, other)
        elif one.fits:
            unasked.add(one.name)
    here = wheels.installed()
    return sorted(unasked.difference(here))


def _owners(code: Path) -> dict[str, str]:
    """What pip has put into the folder: module name -> the distribution that it is of."""
    files: dict[str, str] = {}
    owners: dict[str, str] = {}
    for distribution in metadata.distributions(path=[str(code)]):
        owner = f"{distribution.metadata['Name']} {distribution.version}"
        for file in distribution.files or ():
            name = str(file)
            other = files.setdefault(name, owner)
            if other != owner and file.suffix == ".py":
                log.warning("%r and %r both install %r", other, owner, name)
            top = name.partition("/")[0]
            owners[_key(top, folder=top != name)] = other
    return owners


def _place(copies: Sequence[Source], code: Path, owners: dict[str, str], budget: Budget) -> None:
    for source in copies:
        target = code / source.name
        key = _key(source.name, folder=source.path.is_dir())
        taken = key in owners or target.exists()
        if taken:
            log.warning(
                "%r and %r both install %r: the second is taken",
                owners.get(key),
                source.label,
                source.name,
            )
            for path in (code / key, code / f"{key}.py", target):
                _remove(path)
        owners[key] = source.label
        copy(source.path, target, budget, source.root)


def _remove(path: Path) -> None:
    """One that this installation has put there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _key(name: str, folder: bool) -> str:
    """What is imported: a package and a module of one name are rivals."""
    if folder:
        return name
    return name.removesuffix(".py")
