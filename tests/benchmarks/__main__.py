"""Measures this package beside its peer, `gluonts.shell`, and beside its own limits, and prints one table.

    python tests/benchmarks --ours .venv/bin/python --peer /path/to/peer/bin/python

Any Python runs it; what is measured are the two interpreters that it is given. Without --peer only our own rows are
measured. Rows of the peer are pairs, taken in turn in one run: figures of different runs or machines do not compare,
their ratios do. A sample that other work on the machine may have spoiled is taken again, and marked if it stays so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import comparisons
import forecasts
import growth
import hosts
import machine
import ratios
import trainings
from sides import Side
from table import ROWS, Table

# what libraries import where it is there, which the rows of a start pay for, and what reads JSON faster
EXTRAS = ("pyarrow", "matplotlib", "orjson")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ours",
        type=interpreter,
        required=True,
        metavar="PYTHON",
        help="an interpreter that has gluonts_shell",
    )
    parser.add_argument(
        "--peer",
        type=interpreter,
        metavar="PYTHON",
        help='one that has "gluonts[shell]", click and packaging',
    )
    parser.add_argument(
        "--fast",
        type=interpreter,
        metavar="PYTHON",
        help="one that has gluonts_shell and orjson, for the rows fast_; the others are without",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="ROW", choices=list(ROWS), help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=3,
        help="samples of each side; their median counts (default: 3)",
    )
    parser.add_argument(
        "--seconds", type=int, default=5, help="of load for one sample (default: 5)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=30,
        help="seconds to wait for a quiet machine (default: 30)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args()
    wanted = set(options.only or ROWS)
    ours = Side("ours", options.ours, "gluonts_shell")
    peer = Side("peer", options.peer, "gluonts.shell") if options.peer else None
    fast = Side("ours", options.fast, "gluonts_shell") if options.fast else None
    for side in (peer, ours, fast):
        if side:
            extras = [name for name in EXTRAS if side.has(name)]
            print(
                f"{side.name} {side.python} has {' and '.join(extras) or 'no extras'}",
                file=sys.stderr,
            )
    effort = comparisons.Effort(options.pairs, options.seconds, options.patience)
    table = Table()
    print(machine.description(), file=sys.stderr)
    # whoever stops it stops the servers too, and sees what was measured until then
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            measure(
                [side for side in (peer, ours) if side], fast, wanted, table, Path(folder), effort
            )
    finally:
        print(machine.description())
        print(table)
        if options.json:
            options.json.write_text(json.dumps(table.samples, indent=1))
    return 0


def measure(
    sides: list[Side],
    fast: Side | None,
    wanted: set[str],
    table: Table,
    folder: Path,
    effort: comparisons.Effort,
) -> None:
    """sides: the peer, if there is one, and ours, the last."""
    ours = sides[-1]
    comparisons.measure(sides, wanted, table, folder, effort)
    if fast:
        comparisons.fast(sides[:-1], fast, wanted, table, folder, effort)
    for module in (forecasts, ratios, trainings, hosts, growth):
        module.measure(ours, wanted, table, folder, effort)


def interpreter(text: str) -> str:
    """Its absolute path, since commands run in folders of their own; a link into an environment stays one."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no program that can be run, expected an interpreter of Python"
        )
    return str(Path(found).absolute())


if __name__ == "__main__":
    sys.exit(main())
