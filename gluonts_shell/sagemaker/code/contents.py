"""What becomes of each thing in the code channel: a walk over its folders that ends in a Plan.

It unpacks archives, because only then it is known what they hold, and otherwise only looks;
`channel` carries the plan out. In each folder, in this order: a project is built and installed by
pip, as are wheels and requirements*.txt; a folder with `__init__.py` is a package; of any other
folder the loose modules are copied with the data beside them, and its sub-folders and archives are
searched in the same way.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import archives
from gluonts_shell.sagemaker.code.wheels import Distribution

log = logging.getLogger(__name__)

MAX_DEPTH = 8  # archives within archives; some contain themselves
NEVER = ("__pycache__", ".git")
# of AWS's inference toolkits, the last two of that for TensorFlow; in a class of theirs they are called default_...
HOOKS = frozenset(
    ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn", "input_handler", "output_handler")
)  # fmt: skip
# files that name what to install, in other ways than the one that is read here
OVERLOOKED = re.compile(
    r"requirements?.*\.(?:txt|in|pip)|pipfile(?:\.lock)?|poetry\.lock|(?:environment|conda)\.ya?ml",
    re.IGNORECASE,
)
PROJECT_TABLE = re.compile(rb"^\s*\[\s*(?:project|build-system)\s*\]", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A file or folder; `name` is what it is installed as, `label` what messages call it.

    `root` is the channel or the unpacked archive that it is part of: no link in it is followed out of that.
    """

    path: Path
    label: str
    root: Path
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
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in NEVER:
            continue
        if path.name.startswith(".") and not hidden:
            continue
        if path.is_file() or _is_below(path):
            found.append(path)
    return found


def _is_below(path: Path) -> bool:
    """Whether it is a folder, and no link to one that it lies in."""
    if not path.is_dir():
        return False
    if not path.is_symlink():
        return True
    return not path.parent.resolve().is_relative_to(path.resolve())


def within(root: Path, folder: Path, budget: archives.Budget, hidden: bool = False) -> list[Path]:
    """What is visible in a folder without links that lead out of `root`; each entry is charged to the budget.

    Links may multiply: ten in each of ten folders that lead to the next are 10,000,000,000 entries
    in 600 bytes. Raises CodeChannelError where that are too many.
    """
    entries = visible(folder, hidden)
    budget.charge(members=len(entries))
    found = []
    for path in entries:
        if _leads_out(path, root):
            log.warning(
                "%r in the code channel is a link that leads out of it, and is left out", path.name
            )
        else:
            found.append(path)
    return found


def _leads_out(path: Path, root: Path) -> bool:
    if not path.is_symlink():
        return False
    return not path.resolve().is_relative_to(root.resolve())


def plan(channel: Path, work: Path, budget: archives.Budget) -> Plan:
    """Look through the channel; archives are unpacked into `work`.

    Raises CodeChannelError for an archive that is refused or a package that has no name.
    """
    found = Plan()
    walk = _Walk(found, work, budget, channel)
    if (channel / "__init__.py").is_file() and not is_project(channel):
        raise CodeChannelError(
            f"the code channel has '__init__.py' at its root ({str(channel)!r}), so the package has no name: "
            "put it into a folder that is named as the package is imported, or into an archive of that name"
        )
    walk.folder(channel, "", "")
    beside = bool(found.requirements or found.projects)
    for sdist, source in found.sdists:
        if beside:
            found.supply.append(sdist)
        else:
            found.projects.append(source)
    return found


def hooks(plan: Plan) -> dict[str, list[str]]:
    """Modules -> the functions in them that AWS's inference toolkits would call, and this program does not."""
    found = {}
    for source in (*plan.copies, *plan.projects):
        for path, label in _modules_of(source):
            names = _hooks_of(path)
            if names:
                found[label] = names
    return found


def _modules_of(source: Source) -> Iterator[tuple[Path, str]]:
    if source.path.is_file():
        if source.path.suffix == ".py":
            yield source.path, source.label
        return
    for path in filter(Path.is_file, sorted(source.path.rglob("*.py"))):
        yield path, str(path.relative_to(source.root))


def _hooks_of(path: Path) -> list[str]:
    data = path.read_bytes()
    if b"_fn" not in data and b"_handler" not in data:
        return []
    try:
        names = dict.fromkeys(_bound(ast.parse(data).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # what cannot be run defines nothing
    return [name for name in names if name.removeprefix("default_") in HOOKS]


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that a module's statements give to something, in its classes too, but not within functions."""
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if not isinstance(value, ast.Constant):  # which nothing could call
                    yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.ClassDef() | ast.If() | ast.Try() | ast.With() | ast.For():
                yield from _bound(statement.body)
                yield from _bound(getattr(statement, "orelse", ()))


def overlooked(channel: Path) -> list[str]:
    """Files at the channel's root that name what to install, but not as it is read here."""
    names = [path.name for path in visible(channel) if path.is_file()]
    return [
        name for name in names if OVERLOOKED.fullmatch(name) and not _is_for_pip(channel / name)
    ]


def is_project(folder: Path) -> bool:
    """Whether pip can install it; a pyproject.toml may also be there for a linter's settings alone."""
    pyproject = folder / "pyproject.toml"
    if (folder / "setup.py").is_file():
        return True
    if not pyproject.is_file():
        return False
    if (folder / "setup.cfg").is_file():
        return True
    return bool(PROJECT_TABLE.search(pyproject.read_bytes()))


def holds_only_distributions(folder: Path) -> bool:
    """As `wheels/` in a project does; setuptools would take such a folder for a package."""
    files = filter(Path.is_file, folder.rglob("*"))
    return all(map(_may_be_distribution, files))


def _may_be_distribution(path: Path) -> bool:
    return path.suffix == ".whl" or bool(archives.suffix(path.name))


@dataclass
class _Walk:
    """`root` is the channel, or the archive that is looked through just now."""

    plan: Plan
    work: Path
    budget: archives.Budget
    root: Path

    def folder(self, folder: Path, label: str, name: str, depth: int = 0) -> bool:
        """Whether there is anything to install in it. `name` is the package's, if the folder is one."""
        if is_project(folder):
            self.plan.projects.append(self.source(folder, label or "the code channel"))
            self.inside(folder, label, depth)
            self.unread(folder, label)
            return True
        entries = within(self.root, folder, self.budget)
        useful = self.for_pip(entries, label)
        if (folder / "__init__.py").is_file():
            self.plan.copies.append(self.source(folder, label, _importable(name, label)))
            return True
        loose = _loose(entries)
        for path in entries:
            text = _label(label, path)
            if self.useful(path, text, depth):
                useful = True
            elif loose:
                self.plan.copies.append(self.source(path, text, path.name))
        return useful or loose

    def unread(self, project: Path, label: str) -> None:
        """Many a project has both, and the second for other purposes than to be installed."""
        for path in filter(_is_for_pip, visible(project)):
            if path.suffix != ".whl":
                log.warning(
                    "%r in the code channel lies in a project: of what it names only that is installed which the "
                    "project itself needs",
                    _label(label, path),
                )

    def for_pip(self, entries: Iterable[Path], label: str) -> bool:
        """Whether pip installs any of them. This comes first, so that a folder's own come before its sub-folders'."""
        found = False
        for path in entries:
            if path.is_file() and _is_for_pip(path):
                self.pip(path, _label(label, path))
                found = True
        return found

    def source(self, path: Path, label: str, name: str = "") -> Source:
        return Source(path, label, self.root, name)

    def useful(self, path: Path, label: str, depth: int) -> bool:
        """Whether something is installed from it, other than by copying it as it is."""
        if path.is_dir():
            return self.folder(path, label, path.name, depth)
        if archives.suffix(path.name):
            return self.archive(path, label, depth)
        return _is_for_pip(path)

    def pip(self, path: Path, label: str) -> None:
        if path.suffix != ".whl":
            self.plan.requirements.append(self.source(path, label))
            return
        wheel = Distribution.parse(path, label)
        if wheel is None:
            raise CodeChannelError(
                f"{label!r} in the code channel is not named as a wheel is (PEP 427)"
            )
        self.plan.wheels.append(wheel)

    def archive(self, path: Path, label: str, depth: int) -> bool:
        unpacked = self.unpack(path, label, depth)
        stem = path.name[: -len(archives.suffix(path.name))]
        sdist = _sdist(path, unpacked, label)
        if sdist:
            self.plan.sdists.append(sdist)
            return True
        root, self.root = self.root, unpacked
        try:
            return self.folder(unpacked, label, stem, depth + 1)
        finally:
            self.root = root

    def unpack(self, path: Path, label: str, depth: int) -> Path:
        if depth >= MAX_DEPTH:
            raise CodeChannelError(
                f"archive {label!r} is refused: archives are nested more than {MAX_DEPTH} deep"
            )
        target = self.work / str(self.budget.members_left) / path.name
        archives.unpack(path, target, self.budget, label)
        return target

    def inside(self, project: Path, label: str, depth: int) -> None:
        """Wheels and sdists anywhere in a project are for pip to choose from, but not what the project itself built."""
        for path in self.files(project, skip=("build", "dist")):
            if not _may_be_distribution(path):
                continue
            text = f"{label}/{path.relative_to(project)}".lstrip("/")
            found = Distribution.parse(path, text)
            if found is None:
                continue
            if path.suffix == ".whl" or _sdist(path, self.unpack(path, text, depth), text):
                self.plan.supply.append(found)

    def files(self, folder: Path, skip: tuple[str, ...] = ()) -> Iterator[Path]:
        for path in within(self.root, folder, self.budget):
            if path.is_file():
                yield path
            elif path.name not in skip:
                yield from self.files(path)


def _loose(entries: Iterable[Path]) -> bool:
    """Whether modules lie among them."""
    files = filter(Path.is_file, entries)
    return any(path.suffix == ".py" for path in files)


def _label(parent: str, path: Path) -> str:
    return f"{parent}/{path.name}" if parent else path.name


def _is_for_pip(path: Path) -> bool:
    return path.suffix == ".whl" or path.match("requirements*.txt")


def _sdist(path: Path, unpacked: Path, label: str) -> tuple[Distribution, Source] | None:
    """A source distribution is named `name-version` and holds one folder with PKG-INFO."""
    folders = visible(unpacked)
    if len(folders) != 1:
        return None
    folder = folders[0]
    if not (folder / "PKG-INFO").is_file() or not is_project(folder):
        return None
    found = Distribution.parse(path, label)
    if found is None:
        return None
    return found, Source(folder, label, unpacked)


def _importable(name: str, label: str) -> str:
    if "." in name:
        raise CodeChannelError(
            f"{label!r} in the code channel holds a package that would be named {name!r}, which cannot be imported; "
            "name the folder or the archive as the package is imported"
        )
    return name
