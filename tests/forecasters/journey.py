"""What a trained model answers as it is served, and what GluonTS gives for the same model when it is used directly."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

DECILES = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]
SAMPLES = 20
EVERYTHING = {
    "num_samples": SAMPLES,
    "output_types": ["mean", "quantiles", "samples"],
    "quantiles": DECILES,
}
SEED = 5
SCORED_SAMPLES = 10


def seed() -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


def answer(ml: str, freq: str, target: str) -> None:
    """Writes `target`: the answers of an endpoint and of a batch job to the test series, and GluonTS's own values."""
    from gluonts_shell.commands import serve
    from gluonts_shell.serving.metrics.counters import Counters
    from gluonts_shell.serving.processes.machine import Machine
    from gluonts_shell.settings import Settings

    settings = dataclasses.replace(Settings.from_environ(os.environ), data_path=ml)
    machine = Machine(workers=1, threads=1, forks=True)
    model = Path(ml) / "model"
    instances = [
        json.loads(line) for line in (Path(ml) / "instances.json").read_text().splitlines()
    ]
    meter = Counters(1).of(0)
    endpoint = serve.load(settings, model, None, machine).start(meter)
    lines = serve.load(dataclasses.replace(settings, batch=True), model, None, machine).start(meter)
    found = {
        "default": _post(endpoint, {"instances": instances}),
        "everything": _post(endpoint, {"instances": instances, "configuration": EVERYTHING}),
        "lines": _post(lines, *instances),
        "gluonts": _plain(model, instances, freq, 100),
        "gluonts everything": _plain(model, instances, freq, SAMPLES),
        "scores": _scores(model, instances, freq),
    }
    Path(target).write_text(json.dumps(found, default=str))


def _post(app: Any, *documents: object) -> tuple[int, str]:
    from gluonts_shell.serving.http.exchange import Request

    body = "\n".join(json.dumps(document) for document in documents).encode()
    seed()
    headers = {"content-type": "application/json"}
    response = app(Request("POST", "/invocations", headers, body, lambda: True, time.monotonic()))
    return response.status, bytes(response.body).decode()


def _plain(
    model: Path, instances: list[dict[str, Any]], freq: str, samples: int
) -> list[dict[str, Any]]:
    """The same series through the model by GluonTS alone; {"error": ...} where GluonTS itself cannot."""
    import inspect

    from gluonts.dataset.common import ListDataset
    from gluonts.model.predictor import Predictor

    dimensions = np.ndim(instances[0]["target"])
    dataset = ListDataset(instances, freq, one_dim_target=dimensions == 1)
    try:
        predictor = Predictor.deserialize(model)
        takes = "num_samples" in inspect.signature(predictor.predict).parameters
        seed()
        forecasts = list(predictor.predict(dataset, **({"num_samples": samples} if takes else {})))
        return [_values(forecast) for forecast in forecasts]
    except Exception as error:
        return [{"error": f"{type(error).__name__}: {error}"}]


def _scores(model: Path, instances: list[dict[str, Any]], freq: str) -> dict[str, Any]:
    """Of the saved model: ours, and GluonTS's own after the same seed; {} where GluonTS's evaluator fails."""
    from gluonts.dataset.common import ListDataset
    from gluonts.evaluation import Evaluator, MultivariateEvaluator, make_evaluation_predictions
    from gluonts.model.predictor import Predictor

    from gluonts_shell.forecasting.evaluation.evaluate import evaluate

    several = np.ndim(instances[0]["target"]) > 1
    levels = [float(level) for level in DECILES]
    if several:
        evaluator: Evaluator = MultivariateEvaluator(levels)
    else:  # NaN: the other quantiles of what has only a mean
        evaluator = Evaluator(levels, num_workers=0, allow_nan_forecast=True)
    dataset = ListDataset(instances, freq, one_dim_target=not several)
    predictor = Predictor.deserialize(model)
    seed()
    ours = evaluate(
        predictor,
        dataset,
        prediction_length=predictor.prediction_length,
        freq=freq,
        num_samples=SCORED_SAMPLES,
    )
    seed()
    try:
        forecasts, series = make_evaluation_predictions(
            dataset, predictor, num_samples=SCORED_SAMPLES
        )
        theirs, _ = evaluator(series, map(_with_a_median, forecasts))
    except Exception:
        return {}
    names = ("MASE", "RMSE", "mean_wQuantileLoss", *(("0_MASE", "1_RMSE") if several else ()))
    return {
        name: (float(ours.aggregate[name]), float(theirs[name]))
        for name in names
        if np.isfinite(theirs[name])
    }


def _with_a_median(forecast: Any) -> Any:
    """What forecasts only a mean is scored by it, where GluonTS's evaluator wants a median."""
    from gluonts.model.forecast import QuantileForecast

    if getattr(forecast, "forecast_keys", None) != ["mean"]:
        return forecast
    mean = forecast.mean
    return QuantileForecast(
        np.array([mean, mean]), forecast.start_date, ["mean", "0.5"], item_id=forecast.item_id
    )


def _values(forecast: Any) -> dict[str, Any]:
    """Quantiles that the forecast has not are left out; several dimensions come dimension first, as targets do."""
    found: dict[str, Any] = {
        "kind": type(forecast).__name__,
        "start": str(forecast.start_date),
        "quantiles": {},
    }
    for level in DECILES:
        try:
            value = np.asarray(forecast.quantile(float(level)), dtype=float)
        except Exception:
            continue
        if np.isfinite(value).all():
            found["quantiles"][level] = value.T.tolist()
    try:
        found["mean"] = np.asarray(forecast.mean, dtype=float).T.tolist()
    except Exception:
        found["mean"] = found["quantiles"]["0.5"]
    return found
