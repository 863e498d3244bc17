"""What can be named as a forecaster: GluonTS's own, and whether the packages that each needs are installed."""

from __future__ import annotations

import importlib.util
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
    for path in sorted((*ESTIMATORS, *PREDICTORS), key=lambda path: (path not in ESTIMATORS, path)):
        name = path.rpartition(".")[2]
        missing = next(
            (extra for package, extra in needs(path) if importlib.util.find_spec(package) is None),
            None,
        )
        kind = "estimator" if path in ESTIMATORS else "predictor"
        remedy = f"install {missing}" if missing else ""
        rows.append((name if SHORT_NAMES.get(name) == path else path, kind, path, remedy))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.write("and each Estimator or Predictor of your own code, by its dotted path\n")
    return 0
