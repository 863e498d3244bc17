"""Scores beside those of seasonal naive -> what that means, in words. It knows no HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# the first of which both have a number makes the headline: scale-free, then weighted by size, then squared
HEADLINE = ("MASE", "ND", "RMSE")
COMPARED = {
    "MASE": "mean absolute error, in units of the naive error within the history",
    "ND": "sum of absolute errors over the sum of absolute values",
    "RMSE": "root of the mean squared error, of the mean forecast",
    "mean_wQuantileLoss": "loss of the quantiles over the sum of absolute values",
}
ALONE = {
    "calibration_error": "mean distance between a quantile's level and the share of values below it",
}
SAME = 0.0005
"""Relative differences below it are told as none: a percentage with one decimal would be 0.0 %."""
TIMES = 10.0
"""Errors that are more than so many times as large are told as a multiple; nobody reads `1,900 % worse`."""


@dataclass(frozen=True)
class Comparison:
    """One metric of the forecaster and of seasonal naive; lower is better, and NaN stands for none."""

    metric: str
    own: float
    naive: float

    @property
    def change(self) -> float:
        """-0.12 where the forecaster's is 12 % lower; NaN where the two cannot be compared."""
        if self.own == self.naive == 0:
            return 0.0
        if self.naive == 0 or not math.isfinite(self.own - self.naive):
            return math.nan
        return self.own / self.naive - 1

    @property
    def words(self) -> str:
        """`12 % better`, or nothing where there is nothing to compare."""
        side = self.side
        if side == "same":
            return "the same"
        if self.change > TIMES:
            return f"{self.change + 1:,.0f} times as large"
        return side and f"{_percent(abs(self.change))} {side}"

    @property
    def headline(self) -> str:
        words = self.words
        if words == "the same":
            return "As good as seasonal naive"
        if words.endswith("as large"):
            return f"The error is {words} as that of seasonal naive"
        return f"{words} than seasonal naive"

    @property
    def side(self) -> str:
        """better, worse or same; nothing where there is nothing to compare."""
        if math.isnan(self.change):
            return ""
        if abs(self.change) < SAME:
            return "same"
        return "better" if self.change < 0 else "worse"


def compared(
    own: Mapping[str, float], naive: Mapping[str, float], prefix: str = ""
) -> Iterator[Comparison]:
    """Of the metrics that are shown beside each other; prefix: `0_` for those of the first dimension."""
    for name in COMPARED:
        mine = own.get(prefix + name, math.nan)
        yield Comparison(name, mine, naive.get(prefix + name, math.nan))


def first(own: Mapping[str, float], naive: Mapping[str, float]) -> Comparison | None:
    """What makes the headline; None where no metric can be compared."""
    found = {one.metric: one for one in compared(own, naive)}
    return next((found[name] for name in HEADLINE if found[name].side), None)


def baseline(seasonality: int, freq: str) -> str:
    """A sentence about what is compared with."""
    if seasonality == 1:
        return f"Seasonal naive repeats the last value (GluonTS has no season for freq {freq!r})."
    return (
        f"Seasonal naive repeats the values of one season before: {seasonality:,} steps, "
        f"which is GluonTS' season for freq {freq!r}."
    )


def _percent(share: float) -> str:
    """With a space at which no line breaks."""
    number = f"{100 * share:.1f}"
    if share >= 0.1:
        number = f"{100 * share:.0f}"
    return f"{number}\N{NO-BREAK SPACE}%"
