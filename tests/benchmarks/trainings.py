"""Processor seconds of whole training jobs, start-up and reading included, beside a plain script of GluonTS.

Both train the same model on the same windows from the same seed, with one native thread, in turn.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons import Effort, Samples, each
from sides import Side
from table import Table

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TORCH = "gluonts.torch.model"
FEATURES = {"num_feat_static_cat": "1", "cardinality": "[10]", "num_feat_dynamic_real": "1"}


@dataclass(frozen=True)
class Series:
    """count series of length values; featured: with a category and a feature that is known ahead."""

    count: int
    length: int
    freq: str
    featured: bool = False


A, B, C = Series(370, 3000, "H", featured=True), Series(20_000, 400, "D"), Series(10, 100_000, "H")
TRAININGS: dict[str, tuple[str, Series, dict[str, str]]] = {
    "train_deepar_a": (f"{TORCH}.deepar.DeepAREstimator", A, FEATURES),
    "train_deepar_b": (f"{TORCH}.deepar.DeepAREstimator", B, {}),
    "train_tide_b": (f"{TORCH}.tide.TiDEEstimator", B, {}),
    "train_patchtst_a": (f"{TORCH}.patch_tst.PatchTSTEstimator", A, {"patch_len": "16"}),
    "train_sff_c": (f"{TORCH}.simple_feedforward.SimpleFeedForwardEstimator", C, {}),
    # the plain script takes two seconds a batch
    "train_deepar_c": (f"{TORCH}.deepar.DeepAREstimator", C, {"num_batches_per_epoch": "25"}),
}


def measure(ours: Side, wanted: set[str], table: Table, folder: Path, effort: Effort) -> None:
    sides = [Side("peer", ours.python, ""), ours]
    for row, (forecaster, series, arguments) in TRAININGS.items():
        if row in wanted:
            tree = folder / row
            job(tree, forecaster, series, arguments)
            each(sides, effort, table, taking(row, tree))


def taking(row: str, tree: Path) -> Callable[[Side], Samples]:
    def take(side: Side) -> Samples:
        arguments = (
            ("train",) if side.module else (str(Path(__file__).with_name("plain.py")), str(tree))
        )
        return [(row, side.run(*arguments, tree=tree, **ONE_THREAD).cpu, ())]

    return take


def job(tree: Path, forecaster: str, series: Series, arguments: dict[str, str]) -> None:
    config = tree / "input" / "config"
    for path in (config, tree / "input" / "data" / "train"):
        path.mkdir(parents=True)
    trainer = {"max_epochs": 4, "enable_progress_bar": False, "accelerator": "cpu"}
    given = {
        "forecaster_name": forecaster,
        "freq": series.freq,
        "prediction_length": "24",
        "context_length": "48",
        "num_batches_per_epoch": "50",
        "seed": "1",
        "trainer_kwargs": json.dumps(trainer),
        **arguments,
    }
    (config / "hyperparameters.json").write_text(json.dumps(given))
    with (tree / "input" / "data" / "train" / "series.json").open("w") as file:
        for line in lines(series):
            file.write(json.dumps(line) + "\n")


def lines(series: Series) -> Iterator[dict[str, Any]]:
    dice = random.Random(series.count)
    for number in range(series.count):
        target = [
            round(40 + (step + number) % 24 + 6 * dice.random(), 2) for step in range(series.length)
        ]
        entry: dict[str, Any] = {
            "item_id": str(number),
            "start": "2021-03-01 00:00:00",
            "target": target,
        }
        if series.featured:
            known = [step % 7 / 7 for step in range(series.length)]
            entry |= {"cat": [number % 10], "dynamic_feat": [known]}
        yield entry
