"""How tightly the package's code is packed: branches per 100 lines of functions, long lines, lines of code.

    python3 tests/code_figures.py            the figures of the whole package
    python3 tests/code_figures.py --worst    and the ten functions with the most branches, and each folder's figure

A branch is what a reader must hold in mind: an if, a loop, an except, a case, a conditional expression, each `for` and
`if` of a comprehension, each further operand of `and` and `or`. Lines of docstrings, comments and blanks do not count.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gluonts_shell"
LONG = 100  # characters
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Function:
    place: str
    folder: str
    lines: int
    branches: int


@dataclass(frozen=True)
class Module:
    path: Path
    code: frozenset[int]
    long: int
    lines: int
    functions: tuple[Function, ...]


def branches(node: ast.AST) -> int:
    """Of everything below the node."""
    found = 0
    for inner in ast.walk(node):
        if isinstance(
            inner, ast.If | ast.IfExp | ast.For | ast.While | ast.ExceptHandler | ast.match_case
        ):
            found += 1
        elif isinstance(inner, ast.comprehension):
            found += 1 + len(inner.ifs)
        elif isinstance(inner, ast.BoolOp):
            found += len(inner.values) - 1
    return found


def code_lines(text: str, tree: ast.AST) -> frozenset[int]:
    """The numbers of the lines that hold code."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            found.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return frozenset(found)


def outermost(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions and methods; one that stands in another counts as part of it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        else:
            yield from outermost(node)


def measured(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    code = code_lines(text, tree)
    name = path.relative_to(PACKAGE)
    functions = []
    for node in outermost(tree):
        lines = len(code.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
        functions.append(Function(f"{name}:{node.name}", str(name.parent), lines, branches(node)))
    rows = text.splitlines()
    return Module(path, code, sum(len(row) > LONG for row in rows), len(rows), tuple(functions))


def density(functions: list[Function]) -> float:
    """Branches per 100 lines."""
    return (
        100 * sum(one.branches for one in functions) / max(1, sum(one.lines for one in functions))
    )


def main(arguments: list[str]) -> None:
    modules = [measured(path) for path in sorted(PACKAGE.rglob("*.py"))]
    functions = [function for module in modules for function in module.functions]
    share = 100 * sum(module.long for module in modules) / sum(module.lines for module in modules)
    print(f"branches per 100 lines of functions  {density(functions):8.1f}")
    print(
        f"functions with more than 10 branches {sum(one.branches > 10 for one in functions):8} of {len(functions)}"
    )
    print(f"lines over {LONG} characters           {share:8.1f} %")
    print(f"lines of code                        {sum(len(module.code) for module in modules):8,}")
    if "--worst" not in arguments:
        return
    for one in sorted(functions, key=lambda one: -one.branches)[:10]:
        print(f"{one.branches:4} branches {one.lines:4} lines  {one.place}")
    folders = defaultdict(list)
    for one in functions:
        folders[one.folder].append(one)
    for folder, inside in sorted(folders.items()):
        print(f"{density(inside):8.1f}  {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
