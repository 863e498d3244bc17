"""What is trained on and asked for: made-up hourly series with a daily pattern, always the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAIVE = {
    "forecaster_name": "gluonts.model.seasonal_naive.SeasonalNaivePredictor",
    "freq": "H",
    "prediction_length": "24",
    "season_length": "24",
}
DEEPAR = {
    "forecaster_name": "gluonts.torch.model.deepar.DeepAREstimator",
    "freq": "H",
    "prediction_length": "24",
    "num_batches_per_epoch": "5",
    "trainer_kwargs": json.dumps({"max_epochs": 1, "enable_progress_bar": False}),
}


def network(forecaster: str, **arguments: str) -> dict[str, str]:
    """As little training as a network can have: what it forecasts takes as long."""
    return {**DEEPAR, "forecaster_name": f"gluonts.torch.model.{forecaster}", **arguments}


NETWORKS = {
    "tft": network("tft.TemporalFusionTransformerEstimator"),
    "patchtst": network("patch_tst.PatchTSTEstimator", patch_len="16"),
    "tide": network("tide.TiDEEstimator"),
    "sff": network("simple_feedforward.SimpleFeedForwardEstimator"),
}


def series(count: int, hours: int) -> Iterator[dict[str, Any]]:
    dice = random.Random(count * hours)
    for number in range(count):
        daily = [40 + (hour + number) % 24 for hour in range(24)]
        target = [round(daily[hour % 24] + 6 * dice.random(), 3) for hour in range(hours)]
        yield {"item_id": f"item {number}", "start": "2021-03-01 00:00:00", "target": target}


def request(instances: int) -> bytes:
    wanted = {
        "freq": "H",
        "num_samples": 100,
        "output_types": ["mean", "quantiles"],
        "quantiles": ["0.1", "0.5", "0.9"],
    }
    return json.dumps({"instances": list(series(instances, 240)), "configuration": wanted}).encode(
        "ascii"
    )


def job(folder: Path, hyperparameters: dict[str, str], **channels: tuple[int, int]) -> Path:
    """Write the tree of a training job; each channel has (number, hours) of series in one file."""
    config = folder / "input" / "config"
    for path in (config, folder / "model", folder / "output"):
        path.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(
        json.dumps({name: {"TrainingInputMode": "File"} for name in channels})
    )
    for name, (count, hours) in channels.items():
        lines(folder / "input" / "data" / name / "series.json", count, hours)
    return folder


def lines(path: Path, count: int, hours: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for one in series(count, hours):
            file.write(json.dumps(one) + "\n")
