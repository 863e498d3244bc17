"""The rows: what each measures, in which unit, and what it must reach. Collects samples and prints the table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from machine import QUIET


@dataclass(frozen=True)
class Row:
    """less: whether less is better. ratio: how many times better than the peer; limit: for the figure itself."""

    what: str
    unit: str
    less: bool = False
    ratio: float | None = None
    limit: float | None = None


ROWS = {
    "cold_start": Row(
        "exec of serve to the first 200 of /ping, no canary", "s", less=True, ratio=1.25
    ),
    "cold_canary": Row("the same with the canary", "s", less=True, ratio=1.1),
    "cold_deepar": Row("the same of torch DeepAR", "s", less=True, ratio=1.1),
    "help": Row("--help", "s", less=True, ratio=12),
    "naive_c1": Row("seasonal naive, 1 instance a request, 1 connection", "/s", ratio=5.5),
    "naive_c16": Row("the same, 16 connections", "/s", ratio=14),
    "naive_50": Row("50 instances a request, 4 connections", "/s", ratio=20),
    "fast_c1": Row("naive_c1 with orjson", "/s", ratio=9),
    "fast_c16": Row("naive_c16 with orjson", "/s", ratio=24),
    "fast_50": Row("naive_50 with orjson", "/s", ratio=50),
    "ping_loaded": Row("p99 of /ping under naive_50 on 8 connections", "ms", less=True, limit=20),
    "deepar_c1": Row("torch DeepAR, 100 samples, 1 connection", "/s", ratio=2.5),
    "deepar_c32": Row("the same, 32 connections", "/s", ratio=10),
    "tft_c16": Row("TemporalFusionTransformer, 16 connections", "/s", ratio=8),
    "patchtst_c16": Row("PatchTST, 16 connections", "/s", ratio=8),
    "tide_c16": Row("TiDE, 16 connections", "/s", ratio=8),
    "sff_c16": Row("SimpleFeedForward, 16 connections", "/s", ratio=8),
    "transform_deepar": Row(
        "transform of DeepAR, 10,000 series, 2 workers / predictor.predict", "/s", ratio=1.8
    ),
    "evaluate_deepar": Row(
        "evaluation of DeepAR, 2,000 series / GluonTS's Evaluator", "s", less=True, ratio=3
    ),
    "memory": Row(
        "PSS of DeepAR's server of 2 workers after 10,000 requests",
        "MiB",
        less=True,
        ratio=1 / 0.6,
    ),
    "train_eval": Row("train of seasonal naive with 2,000 test series", "s", less=True, ratio=6),
    "train_deepar_a": Row(
        "CPU of DeepAR on 370 x 3,000 hours with features", "s", less=True, ratio=1.8
    ),
    "train_deepar_b": Row("CPU of DeepAR on 20,000 x 400 days", "s", less=True, ratio=1.1),
    "train_tide_b": Row("CPU of TiDE on the same", "s", less=True, ratio=1.3),
    "train_patchtst_a": Row("CPU of PatchTST on the hours", "s", less=True, ratio=1.0),
    "train_sff_c": Row("CPU of SimpleFeedForward on 10 x 100,000 hours", "s", less=True, ratio=1.1),
    "train_deepar_c": Row("CPU of DeepAR on the same", "s", less=True, ratio=8),
    "two_hosts": Row("throughput of DeepAR on two hosts of one thread / on one", "", limit=1.5),
    "limit_naive_50": Row("naive_50 / (one core in-process x cores)", "", limit=0.8),
    "limit_deepar_c32": Row("deepar_c32 / (one core in-process x cores)", "", limit=0.9),
    "worker_memory": Row(
        "memory of an extra worker / of the first, torch DeepAR", "", less=True, limit=0.25
    ),
    "steady": Row(
        "time per request after 200,000 requests / a fresh server's", "", less=True, limit=1.10
    ),
    "transform": Row(
        "transform of 10,000 series of half a year of hours, one worker / two", "", limit=1.7
    ),
    "linear_time": Row(
        "train and test, 20,000 series / 10 x 2,000 series", "", less=True, limit=1.15
    ),
    "linear_memory": Row(
        "the same, peak memory beyond a job of one series", "", less=True, limit=1.15
    ),
}


class Table:
    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = {}
        self.notes: dict[str, set[str]] = {}
        self.others: dict[str, float] = {}

    def add(self, row: str, side: str, value: float, *notes: str, others: float = 0.0) -> None:
        """others: the share of the machine that other work took meanwhile."""
        self.others[row] = max(others, self.others.get(row, 0.0))
        self.samples.setdefault(row, {}).setdefault(side, []).append(value)
        self.notes.setdefault(row, set()).update(note for note in notes if note)

    def median(self, row: str, side: str = "ours") -> float:
        return median(self.samples.get(row, {}).get(side) or [math.nan])

    def __str__(self) -> str:
        lines = [("row", "what", "peer", "ours", "better by", "target", "")]
        lines += [self._line(name, row) for name, row in ROWS.items() if name in self.samples]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, tuple("-" * width for width in widths))
        return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)

    def _line(self, name: str, row: Row) -> tuple[str, ...]:
        peer, ours = self.median(name, "peer"), self.median(name)
        better = peer / ours if row.less else ours / peer
        if row.ratio is not None:
            target, reached = f"{row.ratio:.3g}x", math.isnan(better) or better >= row.ratio
        else:
            assert row.limit is not None, "a row has one target or the other"
            target = f"{'at most' if row.less else 'at least'} {row.limit:g}"
            reached = ours <= row.limit if row.less else ours >= row.limit
        remarks = ([] if reached else ["MISSED"]) + sorted(self.notes[name])
        if self.others[name] > QUIET:
            remarks.append(f"DISTURBED: others took up to {self.others[name]:.0%}")
        return (
            name,
            row.what + (f" ({row.unit})" if row.unit else ""),
            shown(peer),
            shown(ours),
            "" if math.isnan(better) else f"{better:.2f}x",
            target,
            ", ".join(remarks),
        )


def shown(value: Any) -> str:
    return "" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
