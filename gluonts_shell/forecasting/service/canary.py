"""A few series with their forecasts, kept beside the model: what it said in training, it must say wherever it is.

`canary.jsonl` has a line for each series: `entry`, as the model gets it; `forecast`, rows by name;
`tolerance`, by which a model that draws its forecasts may differ, 0 for one that does not. Training
writes it with the model in memory, and a process that loads the saved model compares. Knows no
other file of the model, no process and no HTTP.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gluonts_shell.errors import ModelError
from gluonts_shell.forecasting.data.instances import history, length_of
from gluonts_shell.forecasting.service.service import Model, one_line
from gluonts_shell.messages import Configuration, Prediction

NAME = "canary.jsonl"
SERIES, LOOKED_AT = 3, 50
STEPS = 1000  # of each series, its last ones, which keeps the file small
SLOW = 1.0  # seconds for the series, once
# how often what is drawn is drawn again, and how many standard deviations between those apart it may be later: by
# Student's distribution it is more once in 300,000 (of a slow model, 20,000) times
COPIES, DEVIATIONS = 8, 12
COPIES_SLOW, DEVIATIONS_SLOW = 2, 200
SEED = 20
CONFIGURATION = Configuration(quantiles=(("0.1", 0.1), ("0.5", 0.5), ("0.9", 0.9)))
# relative to the largest value: float32 in one image, and between processors and libraries
SAME, ELSEWHERE = 1e-5, 1e-3
IN_STEP = (
    "feat_dynamic_real",
    "feat_dynamic_cat",
    "past_feat_dynamic_real",
    "past_feat_dynamic_cat",
)

Entry = dict[str, Any]


class Differs(ModelError):
    """The forecasts of the saved model are not those of the trained one."""


def choose(dataset: Iterable[Entry], window: int) -> list[Entry]:
    """The first series that are longer than the window, without that: features reach to its end."""
    found = []
    for entry in islice(dataset, LOOKED_AT):
        length = length_of(entry)
        if length > window:
            found.append(_recent(history(entry, length, window)))
        if len(found) == SERIES:
            break
    return found


def _recent(entry: Entry) -> Entry:
    surplus = length_of(entry) - STEPS
    if surplus <= 0:
        return entry
    cut = {name: entry[name][:, surplus:] for name in IN_STEP if name in entry}
    return {
        **entry,
        **cut,
        "start": entry["start"] + surplus,
        "target": entry["target"][..., surplus:],
    }


def write(model: Model, entries: list[Entry], folder: Path) -> None:
    """Forecast with the model in memory and keep what came. Raises whatever the model raises.

    What it draws is drawn again a few times, to know by how much drawing makes forecasts differ.
    """
    began = time.monotonic()
    first = _forecasts(model, entries, SEED)
    slow = time.monotonic() - began > SLOW
    copies, deviations = COPIES, DEVIATIONS
    if slow:
        copies, deviations = COPIES_SLOW, DEVIATIONS_SLOW
    again = _forecasts(model, entries * copies, SEED + 1)
    lines = []
    for number, (entry, rows) in enumerate(zip(entries, first, strict=True)):
        tolerance = _tolerance(rows, again[number :: len(entries)], deviations)
        kept = {"entry": _plain(entry), "forecast": _plain(rows), "tolerance": tolerance}
        lines.append(json.dumps(kept) + "\n")
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def _tolerance(
    rows: dict[str, np.ndarray], others: list[dict[str, np.ndarray]], deviations: int
) -> float:
    """0 where every forecast of the series is the same; else so much that drawing cannot exceed it, but by a miracle.

    That is so many standard deviations between the forecasts, and the width of their middle 80 %.
    """
    noise = 0.0
    for name, row in rows.items():
        drawn = np.stack([row, *(other[name] for other in others)])
        noise = max(noise, float(np.nanmax(np.std(drawn, axis=0, ddof=1), initial=0.0)))
    if noise <= SAME * _size(rows):
        return 0.0
    width = 0.0
    if {"0.1", "0.9"} <= set(rows):
        width = float(np.nanmax(rows["0.9"] - rows["0.1"], initial=0.0))
    return deviations * noise + width


def replay(model: Model, freq: str | None, folder: Path, relative: float) -> int:
    """Forecast the canary of a saved model; returns how many series that were, 0 where it has none.

    relative: by how much, of the largest value, forecasts that are not drawn may differ. Raises
    Differs, and ModelError where the model fails.
    """
    kept = _kept(folder / NAME)
    if not kept:
        return 0
    entries = [_entry(line["entry"], freq) for line in kept]
    try:
        found = _forecasts(model, entries, SEED)
    except Exception as error:
        raise ModelError(
            f"the saved model does not forecast: {type(error).__name__}: {one_line(error)}"
        ) from error
    for line, rows in zip(kept, found, strict=True):
        reason = difference(_arrays(line["forecast"]), rows, line["tolerance"], relative)
        if reason is not None:
            raise Differs(f"item_id {line['entry'].get('item_id')!r}: {reason}")
    return len(kept)


def _kept(file: Path) -> list[dict[str, Any]]:
    """Raises ModelError where the file is none of ours: a start must not end in a traceback."""
    if not file.exists():
        return []
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if all({"entry", "forecast", "tolerance"} <= line.keys() for line in lines):
            return lines
    except (ValueError, AttributeError):
        pass
    raise ModelError(
        f"{NAME} in the model folder cannot be read: expected lines that a training job wrote"
    )


def difference(
    expected: dict[str, np.ndarray], found: dict[str, np.ndarray], tolerance: float, relative: float
) -> str | None:
    """In words; None where there is none. Of what was drawn, more than half the steps must be beyond the tolerance."""
    bound = relative * _size(expected)
    for name, row in expected.items():
        other = found.get(name)
        if other is None or other.shape != row.shape:
            return f"there is no {name} of {row.size} values"
        step = _first_apart(row, other, tolerance, (relative, bound))
        if step is not None:
            was, there = f"{row.flat[step]:.6g}", f"{other.flat[step]:.6g}"
            return f"its {name} was {was} at step {step + 1} and is {there}"
    return None


def _first_apart(
    row: np.ndarray, other: np.ndarray, tolerance: float, close: tuple[float, float]
) -> int | None:
    """Where two rows differ first. close: relatively and absolutely, for what is not drawn."""
    relative, absolute = close
    apart = ~np.isclose(other, row, rtol=relative, atol=absolute, equal_nan=True)
    if apart.any() and tolerance:
        apart = ~(np.abs(other - row) <= tolerance)
        apart &= apart.mean() > 0.5
    steps = np.flatnonzero(apart)
    return int(steps[0]) if steps.size else None


def _size(rows: dict[str, np.ndarray]) -> float:
    sizes = [float(np.nanmax(np.abs(row), initial=0.0)) for row in rows.values()]
    return max(sizes, default=0.0)


def _forecasts(model: Model, entries: list[Entry], seed: int) -> list[dict[str, np.ndarray]]:
    with _seeded(seed):
        predictions = model.predict([dict(entry) for entry in entries], CONFIGURATION)
    return [_rows(prediction) for prediction in predictions]


def _rows(prediction: Prediction) -> dict[str, np.ndarray]:
    rows = {"mean": prediction.mean, **(prediction.quantiles or {})}
    if prediction.mean is None:
        del rows["mean"]
    return {name: np.asarray(row, dtype=float) for name, row in rows.items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The random numbers that follow are the seed's; afterwards they go on as if nothing had been drawn."""
    python, legacy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    forked = nullcontext() if torch is None else torch.random.fork_rng(devices=())
    with forked:
        random.seed(seed)
        np.random.seed(seed)
        if torch is not None:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _plain(fields: Entry) -> dict[str, Any]:
    """As JSON can have it: arrays with their type, null for NaN."""
    return {name: _plain_value(value) for name, value in fields.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, pd.Period):
        return str(value.to_timestamp())
    if not isinstance(value, np.ndarray):
        return value
    values = value.astype(object)
    if value.dtype.kind == "f":
        values[np.isnan(value)] = None
    return {"dtype": str(value.dtype), "values": values.tolist()}


def _entry(fields: dict[str, Any], freq: str | None) -> Entry:
    arrays = _arrays(fields)
    return {**fields, **arrays, "start": pd.Period(fields["start"], freq=freq)}


def _arrays(fields: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for name, value in fields.items():
        if isinstance(value, dict) and value.keys() == {"dtype", "values"}:
            found[name] = np.array(value["values"], dtype=value["dtype"])
    return found


def state(predictor: Any) -> dict[str, str]:
    """A predictor's attributes as text, to see which of them saving lost; those without a text of their own are not in.

    Only for the sentence about forecasts that differ: models whose forecasts are the same may differ here.
    """
    found = {}
    for name, value in vars(predictor).items():
        text = repr(value)[:1000]
        if " at 0x" not in text and not name.startswith("__"):
            found[name] = text
    return found
