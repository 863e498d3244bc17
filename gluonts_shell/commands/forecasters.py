"""What can be named as a forecaster: GluonTS's own, and whether the packages that each needs are installed."""

from __future__ import annotations

import importlib.util
import itertools
import sys


def run() -> int:
    """Prints a line for each: the name that will do, whether it is trained, its path, and what it still needs."""
    from gluonts_shell.forecasting.forecaster.catalog import (
        ESTIMATORS,
        PREDICTORS,
        SHORT_NAMES,
        needs,
    )

    rows = []
    paths = [
        *zip(sorted(ESTIMATORS), itertools.repeat("estimator")),
        *zip(sorted(PREDICTORS), itertools.repeat("predictor")),
    ]
    for path, kind in paths:
        name = path.rpartition(".")[2]
        if SHORT_NAMES.get(name) != path:
            name = path
        rows.append((name, kind, path, _remedy(needs(path))))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.write("and each Estimator or Predictor of your own code, by its dotted path\n")
    return 0


def _remedy(needs: list[tuple[str, str]]) -> str:
    """What to do where one of the packages is missing: the first that is."""
    for package, extra in needs:
        if importlib.util.find_spec(package) is None:
            return f"install {extra}"
    return ""
