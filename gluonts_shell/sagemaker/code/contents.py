"""What becomes of each thing in the code channel: a walk over its folders that ends in a Plan.

It unpacks archives, because only then it is known what they hold, and otherwise only looks; `code_channel` carries the
plan out. In each folder, in this order: a project is built and installed by pip, as are wheels and requirements*.txt;
a folder with `__init__.py` is a package; of any other folder the loose modules are copied with the data beside them,
and its sub-folders and archives are searched in the same way.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import archives
from gluonts_shell.sagemaker.code.wheels import Distribution

log = logging.getLogger(__name__)

MAX_DEPTH = 8  # archives within archives; some contain themselves
NEVER = ("__pycache__", ".git")
PROJECT_TABLE = re.compile(rb"^\s*\[\s*(?:project|build-system)\s*\]", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A file or folder; `name` is what it is installed as, `label` what messages call it."""

    path: Path
    label: str
    name: str = ""


@dataclass
class Plan:
    """`supply` is what pip may take but need not: wheels and sdists that lie within a project."""

    projects: list[Source] = field(default_factory=list)
    requirements: list[Source] = field(default_factory=list)
    wheels: list[Distribution] = field(default_factory=list)
    sdists: list[tuple[Distribution, Source]] = field(default_factory=list)
    supply: list[Distribution] = field(default_factory=list)
    copies: list[Source] = field(default_factory=list)


def visible(folder: Path, hidden: bool = False) -> list[Path]:
    """What a folder holds, sorted, without caches, links that lead nowhere or upwards, and (or `hidden`) dot-files."""
    above = (folder.resolve(), *folder.resolve().parents)
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name not in NEVER
        and (hidden or not path.name.startswith("."))
        and (path.is_file() or (path.is_dir() and path.resolve() not in above))
    ]


def plan(channel: Path, work: Path, budget: archives.Budget) -> Plan:
    """Look through the channel; archives are unpacked into `work`.

    Raises CodeChannelError for an archive that is refused or a package that has no name.
    """
    walk = _Walk(Plan(), work, budget)
    if (channel / "__init__.py").is_file() and not is_project(channel):
        raise CodeChannelError(
            f"the code channel has '__init__.py' at its root ({str(channel)!r}), so the package has no name: "
            "put it into a folder that is named as the package is imported, or into an archive of that name"
        )
    walk.folder(channel, "", "")
    if walk.plan.requirements or walk.plan.projects:
        walk.plan.supply += [sdist for sdist, _ in walk.plan.sdists]
    else:
        walk.plan.projects += [source for _, source in walk.plan.sdists]
    return walk.plan


def is_project(folder: Path) -> bool:
    """Whether pip can install it; a pyproject.toml may also be there for a linter's settings alone."""
    pyproject = folder / "pyproject.toml"
    return (folder / "setup.py").is_file() or (
        pyproject.is_file() and ((folder / "setup.cfg").is_file() or bool(PROJECT_TABLE.search(pyproject.read_bytes())))
    )


def holds_only_distributions(folder: Path) -> bool:
    """As `wheels/` in a project does; setuptools would take such a folder for a package."""
    return all(path.suffix == ".whl" or archives.suffix(path.name) for path in folder.rglob("*") if path.is_file())


@dataclass
class _Walk:
    plan: Plan
    work: Path
    budget: archives.Budget

    def folder(self, folder: Path, label: str, name: str, depth: int = 0) -> bool:
        """Whether there is anything to install in it. `name` is the package's, if the folder is one."""
        if is_project(folder):
            self.plan.projects.append(Source(folder, label or "the code channel"))
            self.within(folder, label, depth)
            return True
        entries = [(path, f"{label}/{path.name}" if label else path.name) for path in visible(folder)]
        found = [self.pip(path, text) for path, text in entries if path.is_file()]
        if (folder / "__init__.py").is_file():
            self.plan.copies.append(Source(folder, label, _importable(name, label)))
            return True
        loose = any(path.suffix == ".py" for path, _ in entries if path.is_file())
        for path, text in entries:
            if path.is_dir():
                useful = self.folder(path, text, path.name, depth)
            elif archives.suffix(path.name):
                useful = self.archive(path, text, depth)
            else:
                useful = self.is_for_pip(path)
            found.append(useful)
            if loose and not useful:
                self.plan.copies.append(Source(path, text, path.name))
        return loose or any(found)

    def is_for_pip(self, path: Path) -> bool:
        return path.suffix == ".whl" or path.match("requirements*.txt")

    def pip(self, path: Path, label: str) -> bool:
        if path.match("requirements*.txt"):
            self.plan.requirements.append(Source(path, label))
        elif path.suffix == ".whl":
            wheel = Distribution.parse(path, label)
            if wheel is None:
                raise CodeChannelError(f"{label!r} in the code channel is not named as a wheel is (PEP 427)")
            self.plan.wheels.append(wheel)
        return self.is_for_pip(path)

    def archive(self, path: Path, label: str, depth: int) -> bool:
        unpacked = self.unpack(path, label, depth)
        stem = path.name[: -len(archives.suffix(path.name))]
        sdist = _sdist(path, unpacked, label)
        if sdist:
            self.plan.sdists.append(sdist)
            return True
        return self.folder(unpacked, label, stem, depth + 1)

    def unpack(self, path: Path, label: str, depth: int) -> Path:
        if depth >= MAX_DEPTH:
            raise CodeChannelError(f"archive {label!r} is refused: archives are nested more than {MAX_DEPTH} deep")
        target = self.work / str(self.budget.members_left) / path.name
        archives.unpack(path, target, self.budget, label)
        return target

    def within(self, project: Path, label: str, depth: int) -> None:
        """Wheels and sdists anywhere in a project are for pip to choose from, but not what the project itself built."""
        for path in _files(project, skip=("build", "dist")):
            text = f"{label}/{path.relative_to(project)}".lstrip("/")
            found = Distribution.parse(path, text) if path.suffix == ".whl" or archives.suffix(path.name) else None
            if found and (path.suffix == ".whl" or _sdist(path, self.unpack(path, text, depth), text)):
                self.plan.supply.append(found)


def _files(folder: Path, skip: tuple[str, ...] = ()) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_file():
            yield path
        elif path.name not in skip:
            yield from _files(path)


def _sdist(path: Path, unpacked: Path, label: str) -> tuple[Distribution, Source] | None:
    """A source distribution is named `name-version` and holds one folder with PKG-INFO."""
    folders = visible(unpacked)
    if len(folders) != 1 or not (folders[0] / "PKG-INFO").is_file() or not is_project(folders[0]):
        return None
    found = Distribution.parse(path, label)
    return (found, Source(folders[0], label)) if found else None


def _importable(name: str, label: str) -> str:
    if "." in name:
        raise CodeChannelError(
            f"{label!r} in the code channel holds a package that would be named {name!r}, which cannot be imported; "
            "name the folder or the archive as the package is imported"
        )
    return name
