"""What users of GluonTS do without this package, and beside it our evaluation, in one process with all threads.

    python gluonts_alone.py predict|evaluate|evaluate_ours TREE

The last word that it prints is how many seconds that took, without start and reading.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from gluonts.dataset.common import ListDataset
from gluonts.model.predictor import Predictor

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def predict(predictor: Any, tree: Path) -> None:
    for forecast in predictor.predict(series(tree / "lines"), num_samples=100):
        forecast.mean  # noqa: B018 - it is computed once it is asked for
        for level in QUANTILES:
            forecast.quantile(level)


def evaluate(predictor: Any, tree: Path) -> None:
    from gluonts.evaluation import Evaluator, make_evaluation_predictions

    forecasts, targets = make_evaluation_predictions(
        series(tree / "tested"), predictor, num_samples=100
    )
    Evaluator(quantiles=QUANTILES)(targets, forecasts)


def evaluate_ours(predictor: Any, tree: Path) -> None:
    from gluonts_shell.forecasting.evaluation.evaluate import evaluate

    length = predictor.prediction_length
    evaluate(predictor, series(tree / "tested"), prediction_length=length, freq="h")


def series(folder: Path) -> ListDataset:
    lines = (folder / "series.json").read_text().splitlines()
    return ListDataset([json.loads(line) for line in lines], freq="h")


if __name__ == "__main__":
    tree = Path(sys.argv[2])
    predictor = Predictor.deserialize(tree / "model")
    began = time.perf_counter()
    {"predict": predict, "evaluate": evaluate, "evaluate_ours": evaluate_ours}[sys.argv[1]](
        predictor, tree
    )
    print(time.perf_counter() - began)
