"""The series that are shown of all that were scored: the best, the median and the worst, each with its forecast.

Which one is the median is known at the end, when its forecast is long gone: a random few are kept whole, and the one of
them that is nearest to the median is shown. What is kept does not grow with the number of series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonts_shell.forecasting.evaluation.formulas import LOWER, MEDIAN, UPPER, Metrics

Array = np.ndarray
MOST_KEPT = 20
RANKED_BY = ("MASE", "abs_error", "MSE")
# of the intervals that can be drawn, those that are nearest to these shares of the distribution
WIDE, NARROW = 0.8, 0.5


@dataclass(frozen=True)
class Band:
    """Two quantiles of a forecast that lie around its median: levels such as 0.1 and 0.9, values of (steps,) each."""

    lower: float
    upper: float
    low: Array
    high: Array


@dataclass(frozen=True)
class Example:
    """place: best, median or worst; score: its own; position: among all series (and dimensions).

    past: the end of the history, of which `actual` is what came; naive: the baseline's forecast. median: the mean where
    a forecast has no median, and NaN where it has neither. NaN stands for what was not observed.
    """

    place: str
    score: float
    position: int
    past: Array
    actual: Array
    median: Array
    naive: Array
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Kept:
    key: float
    score: float
    position: int
    past: Array
    actual: Array
    rows: Array
    naive: Array


class Examples:
    """Is told of each batch, and has the chosen ones at the end. ranked_by: the metric that says how good one is."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.ranked_by: str | None = None
        self.pairs = _pairs(metrics.levels)
        self.drawn = [MEDIAN, *(row for pair in self.pairs for row in pair)]
        self.best: Kept | None = None
        self.worst: Kept | None = None
        self.some: list[Kept] = []
        self.limit = np.inf  # of the keys of those in `some`, once they are as many as are kept
        self.scores: list[Array] = []
        self.count = 0
        self.random = np.random.default_rng(
            0
        )  # of its own: a job's seed decides about forecasts alone

    def add(
        self, found: Mapping[str, Array], pasts: Array, labels: Array, rows: Array, naive: Array
    ) -> None:
        """A batch of n series: their metrics, and arrays as in `formulas` and `baseline`, which are not kept."""
        if self.ranked_by is None:
            self.ranked_by = self._metric(found)
        if self.ranked_by is None:
            return
        scores = found[self.ranked_by]
        keys = self.random.random(len(scores))

        def kept(index: int) -> Kept:
            return Kept(
                key=float(keys[index]),
                score=float(scores[index]),
                position=self.count + index,
                past=pasts[index].copy(),
                actual=labels[index].copy(),
                rows=rows[index, self.drawn].astype(np.float32),
                naive=naive[index].copy(),
            )

        ranked = np.flatnonzero(np.isfinite(scores))
        if len(ranked):
            self._extremes(scores, ranked, kept)
            self._sample(keys, ranked, kept)
        self.scores.append(scores[ranked])
        self.count += len(scores)

    def _metric(self, found: Mapping[str, Array]) -> str | None:
        names = (*RANKED_BY, *(name for name in found if name.startswith("QuantileLoss")))
        return next((name for name in names if np.isfinite(found[name]).any()), None)

    def _extremes(self, scores: Array, ranked: Array, kept: Callable[[int], Kept]) -> None:
        lowest, highest = ranked[scores[ranked].argmin()], ranked[scores[ranked].argmax()]
        if self.best is None or scores[lowest] < self.best.score:
            self.best = kept(int(lowest))
        if self.worst is None or scores[highest] > self.worst.score:
            self.worst = kept(int(highest))

    def _sample(self, keys: Array, ranked: Array, kept: Callable[[int], Kept]) -> None:
        """Those with the smallest keys: a random choice among all, however many come."""
        chosen = ranked[keys[ranked] < self.limit]
        chosen = chosen[np.argsort(keys[chosen])][:MOST_KEPT]
        self.some += [kept(int(index)) for index in chosen]
        self.some.sort(key=lambda one: one.key)
        del self.some[MOST_KEPT:]
        if len(self.some) == MOST_KEPT:
            self.limit = self.some[-1].key

    def chosen(self) -> tuple[Example, ...]:
        """Three where there are so many series with a score, the best first."""
        if self.best is None or self.worst is None:
            return ()
        middle = float(np.median(np.concatenate(self.scores)))
        median = min(self.some, key=lambda one: (abs(one.score - middle), one.position))
        places = {"best": self.best, "median": median, "worst": self.worst}
        shown: dict[int, Example] = {}
        # the median gives way where there are fewer than three
        for place in ("best", "worst", "median"):
            one = places[place]
            shown.setdefault(one.position, self._example(place, one))
        return tuple(sorted(shown.values(), key=lambda one: list(places).index(one.place)))

    def _example(self, place: str, kept: Kept) -> Example:
        bands = []
        for index, (lower, upper) in enumerate(self.pairs):
            low, high = kept.rows[1 + 2 * index], kept.rows[2 + 2 * index]
            if np.isfinite(low).all() and np.isfinite(high).all():
                levels = self.metrics.levels
                bands.append(Band(levels[lower - 1], levels[upper - 1], low, high))
        return Example(
            place=place,
            score=kept.score,
            position=kept.position,
            past=kept.past,
            actual=kept.actual,
            median=kept.rows[0],
            naive=kept.naive,
            bands=tuple(bands),
        )


def _pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Rows of forecasts that are the ends of an interval around the median, the widest interval first.

    levels: of the rows after the mean. At most three: that of MSIS, and of those asked for a wide and a narrow one.
    """
    rows: dict[float, int] = {}
    for row, level in enumerate(levels, start=1):
        rows.setdefault(round(level, 6), row)
    widths = {
        round(1 - 2 * level, 6): (row, rows[round(1 - level, 6)])
        for level, row in rows.items()
        if level < 0.5 and round(1 - level, 6) in rows and row not in (LOWER, UPPER)
    }
    pairs: dict[Any, tuple[int, int]] = {"all": (LOWER, UPPER)}
    for share in (WIDE, NARROW):
        if widths:
            width = min(widths, key=lambda found: abs(found - share))
            pairs[width] = widths[width]
    return list(pairs.values())
