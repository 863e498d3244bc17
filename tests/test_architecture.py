"""The import rule, read from the source: cli -> commands -> three packages that do not know each other -> the rest."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import gluonts_shell

pytestmark = pytest.mark.once

ROOT = Path(gluonts_shell.__file__).parent
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
WORLDS = ("sagemaker", "forecasting", "serving")
SHARED = (
    "errors",
    "messages",
    "settings",
    "log",
    "atomic",
    "nearby",
    "staging",
    "streams",
    "written",
)
# who may import what of our own, by the first part of the name below gluonts_shell; "" is the package itself
ALLOWED = {
    "__init__": (),
    "__main__": ("cli",),
    "errors": (),
    "messages": ("errors",),
    "settings": ("errors",),
    "log": ("errors", "settings"),
    "atomic": (),
    "nearby": (),
    "written": ("atomic",),
    "staging": ("written",),
    "data": (),
    "cli": ("", "commands", "sagemaker", *SHARED),
    "commands": ("", "commands", *WORLDS, *SHARED),
    **{world: ("", world, *SHARED) for world in WORLDS},
}
# what the worlds of the standard library may import besides, if it is there and only inside a function
OPTIONAL = {"serving": {"orjson"}, "sagemaker": {"packaging"}}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The dotted names that a module imports, and whether at its top, where every import of the module pays for it.

    What only type checkers see is left out: it is never imported.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    local = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in local) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path} has a relative import, which this test and a reader would have to resolve"
            )
            if node.module == "gluonts_shell":
                yield from (
                    (f"gluonts_shell.{alias.name}", id(node) not in local) for alias in node.names
                )
            else:
                yield str(node.module), id(node) not in local


def ours(name: str) -> str | None:
    """`gluonts_shell.sagemaker.paths` -> `sagemaker`; the package itself and its attributes -> the empty string."""
    first, _, rest = name.partition(".")
    if first != "gluonts_shell":
        return None
    part = rest.partition(".")[0]
    return part if (ROOT / part).is_dir() or (ROOT / f"{part}.py").is_file() else ""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_one_way(module):
    place = module.parts[0].removesuffix(".py")
    wrong = [
        name
        for name, _ in imports(ROOT / module)
        if (part := ours(name)) is not None and part not in ALLOWED[place]
    ]
    assert wrong == [], f"{module} may import {ALLOWED[place]} of gluonts_shell"


@pytest.mark.parametrize(
    "module",
    [
        m
        for m in MODULES
        if m.parts[0].removesuffix(".py") not in ("forecasting", "commands", "data")
    ],
    ids=str,
)
def test_what_runs_before_the_users_code_is_installed_is_standard_library_only(module):
    place = module.parts[0].removesuffix(".py")
    foreign = {
        name: at_the_top
        for name, at_the_top in imports(ROOT / module)
        if ours(name) is None and name.partition(".")[0] not in sys.stdlib_module_names
    }
    allowed = OPTIONAL.get(place, set())
    assert {name for name in foreign if name.partition(".")[0] not in allowed} == set()
    if place == "sagemaker":
        assert not any(foreign.values()), (
            "packaging is imported inside functions: the user's code may bring another"
        )


@pytest.mark.parametrize("command", ["train.py", "serve.py"])
def test_the_journeys_import_nothing_heavy_before_the_code_channel_is_installed(command):
    """They restart the process with the user's code, and that may bring another GluonTS."""
    found = list(imports(ROOT / "commands" / command))
    assert [name for name, at_the_top in found if at_the_top and ours(name) == "forecasting"] == []
    assert [name for name, at_the_top in found if at_the_top and name.startswith("gluonts.")] == []


def test_a_worker_that_tries_its_model_does_not_load_the_scores():
    found = list(imports(ROOT / "forecasting" / "service" / "canary.py"))
    assert not [name for name, top in found if top and ".evaluation" in name]


# where bytes of a client become a request, and where the request becomes a forecast
REQUESTS = (
    "serving.endpoint.app",
    "serving.endpoint.invocations",
    "serving.batch.job",
    "serving.http.wire",
    "forecasting.service.service",
)
# what turns text into objects, or names into code; `values` and `known` are the owner's
EVALUATES = ("ast", "code", "importlib", "marshal", "pickle", "pkgutil", "pydoc", "runpy", "subprocess", "yaml", "gluonts.core.serde",
             "gluonts.core.component", "gluonts_shell.forecasting.forecaster.hyperparameters.values", "gluonts_shell.forecasting.forecaster.known",
             "gluonts_shell.forecasting.forecaster.names", "gluonts_shell.forecasting.forecaster.hyperparameters.arguments")  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}


def reached(names: Iterable[str]) -> set[str]:
    """Our modules that these import, and so on, wherever in the module the statement stands."""
    found: set[str] = set()
    todo = [f"gluonts_shell.{name}" for name in names]
    while todo:
        name = todo.pop()
        path = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found.add(name)
        for imported in imported_modules(path):
            todo += [imported, imported.rpartition(".")[0]]
    return found


def imported_modules(path: Path) -> set[str]:
    """Dotted names of what a module imports; of `from a import b` both a and a.b, for b may be a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {name for name, _ in imports(path)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_in_the_path_of_a_request_evaluates_text_or_imports_by_name():
    modules = reached(REQUESTS)
    passed = ("service.named", "service.allowed", "service.plain", "service.configuration", "data.instances",
              "forecaster.catalog", "forecaster.constructors", "contract")  # fmt: skip
    assert {f"gluonts_shell.forecasting.{name}" for name in passed} <= modules
    assert "gluonts_shell.serving.endpoint.codec" in modules
    for name in sorted(modules):
        path = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
        wrong = [
            one
            for one in imported_modules(path)
            if f"{one}.".startswith(tuple(f"{bad}." for bad in EVALUATES))
        ]
        assert wrong == [], f"{name} is in the path of a request"
        called = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert not called & BUILTINS, f"{name} is in the path of a request"


def test_the_command_line_loads_nothing_heavy():
    code = "import sys, gluonts_shell.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=path_of_the_package(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not {"gluonts", "numpy", "pandas", "torch", "pydantic", "orjson", "packaging"} & set(
        done.stdout.split()
    )


def test_help_loads_little_more_than_argparse():
    code = "import sys, gluonts_shell.cli; gluonts_shell.cli.parser().format_help(); print(*sys.modules)"
    loaded = modules_after(code)
    assert not {"dataclasses", "inspect", "json", "logging", "pathlib", "tempfile"} & loaded
    ours = {name for name in loaded if name.startswith("gluonts_shell.")}
    assert ours == {f"gluonts_shell.{name}" for name in ("cli", "errors")}


def test_serve_loads_what_only_a_code_channel_or_a_batch_job_needs_where_there_is_one(tmp_path):
    code = f"""
import os, sys
from pathlib import Path
from gluonts_shell import cli
from gluonts_shell.commands import serve
from gluonts_shell.settings import Settings
absent = Path({str(tmp_path / "absent")!r})
assert serve.channel.activate(absent, absent, Settings(), os.environ) is None
print(*sys.modules)
"""
    loaded = modules_after(code)
    assert not {"difflib", "importlib.metadata", "tarfile", "zipfile"} & loaded
    of_code = {name for name in loaded if name.startswith("gluonts_shell.sagemaker.code.")}
    assert of_code == {"gluonts_shell.sagemaker.code.channel"}
    assert "gluonts_shell.serving.batch.timeout" not in loaded


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=path_of_the_package(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def path_of_the_package() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT.parent), os.environ.get("PYTHONPATH", "")]),
    }


# The order of the rooms inside a world, the lowest first: a module imports from its own room and from lower ones only.
ORDER = {
    "sagemaker": ("", "code"),
    "forecasting": (
        "shortcuts",
        "data",
        "distributed",
        "evaluation",
        "forecaster",
        "lightning",
        "",
        "checks",
        "report",
        "service",
    ),
    "serving": ("", "metrics", "http", "processes", "endpoint", "models", "batch"),
}
# The one exception of each world that has one, with its reason.
LOW = {
    "contract": "what a model promises is spoken of everywhere",
    "forecasts": "what a forecast of any kind has is asked by scores and answers alike",
}


def room(name: str) -> tuple[str, str]:
    """`gluonts_shell.serving.http.wire` -> ('serving', 'http'); modules beside the rooms are in the room ''."""
    parts = name.split(".")[1:]
    if not parts or parts[0] not in WORLDS:
        return "", ""
    inside = len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir()
    return parts[0], parts[1] if inside else ""


def own_imports(module: Path) -> set[str]:
    """The modules of ours that a module imports anywhere, also for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not str(node.module).startswith("gluonts_shell"):
            continue
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            path = ROOT.parent.joinpath(*inner.split("."))
            is_module = path.is_dir() or path.with_suffix(".py").is_file()
            found.add(inner if is_module else str(node.module))
    return found


def dotted(module: Path) -> str:
    parts = ("gluonts_shell", *module.with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] in WORLDS], ids=str)
def test_rooms_import_from_lower_rooms_only(module):
    world, own = room(dotted(module))
    order = ORDER[world]
    wrong = []
    for name in sorted(own_imports(module)):
        other_world, other = room(name)
        if other_world != world or name.rpartition(".")[2] in LOW:
            continue
        if order.index(other) > order.index(own):
            wrong.append(name)
    assert wrong == [], f"{module} is in the room {own!r}, and the order in {world} is {order}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {dotted(module): own_imports(module) for module in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for other in sorted(graph.get(name, ())):
            visit(other, (*trail, name))
        done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("folder", sorted({module.parent for module in MODULES}), ids=str)
def test_no_folder_is_a_long_list(folder):
    inside = sorted(
        path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("__")
    )
    assert len(inside) <= (12 if folder == Path("commands") else 9), (
        f"{folder} wants rooms: {inside}"
    )
