"""The metrics of `gluonts.evaluation.Evaluator`, for many series at once; pure numpy.

It knows the names, formulas and order that GluonTS users compare, and nothing of predictors, datasets or files.
The one deliberate difference: where GluonTS refuses a forecast that holds NaN, the metrics that need it become NaN,
for the series and for the data set. A missing forecast must never flatter a model by dropping out of a mean.
One metric is added at the end, `calibration_error`: the mean absolute difference between each quantile's level and the
share of values that it covered, which is what the name MAE_Coverage promises and GluonTS 0.17 does not compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gluonts.model.forecast import Quantile

from gluonts_shell.errors import ConfigurationError

ALPHA = 0.05
"""MSIS judges the interval that holds 1 - ALPHA of the distribution, as in the M4 competition (and GluonTS)."""

MEAN, MEDIAN, LOWER, UPPER = range(4)
"""The first rows of every forecast; the rows of the quantiles asked for follow."""

# the metric of the data set <- the row of the forecast that it needs; sums over the series, the others are means
FROM_ROW = {
    "MSE": MEAN,
    "abs_error": MEDIAN,
    "MASE": MEDIAN,
    "MAPE": MEDIAN,
    "sMAPE": MEDIAN,
    "MSIS": LOWER,
}
SUMMED = ("abs_error", "abs_target_sum", "num_masked_target_values")
TOTALS = (
    *("MSE", "abs_error", "abs_target_sum", "abs_target_mean", "seasonal_error"),
    *("MASE", "MAPE", "sMAPE", "MSIS", "num_masked_target_values"),
)


@dataclass(frozen=True)
class Metrics:
    """What to measure: the names of the quantiles, which become part of the metrics' names, and their levels."""

    quantiles: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, quantiles: Sequence[float | str]) -> Metrics:
        """Take levels from 0 to 1 in the spellings of GluonTS: 0.1, '0.1', '0.10', 'p10'.

        Raises ConfigurationError that names the one that is none.
        """
        named = {}
        for quantile in quantiles:
            try:
                parsed = Quantile.parse(quantile if isinstance(quantile, str) else float(quantile))
                level = float(parsed.value)
            except (ValueError, TypeError):
                level = np.nan
            if not 0 <= level <= 1:
                raise ConfigurationError(
                    f"quantile {quantile!r} is none: expected a level such as 0.1, '0.1' or 'p10'"
                )
            named[parsed.name] = level
        if not named:
            raise ConfigurationError(
                "the list of quantiles to evaluate is empty: expected levels such as 0.1 and 0.9"
            )
        return cls(tuple(named.items()))

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantile levels of a forecast's rows after the mean, in their order."""
        return (0.5, ALPHA / 2, 1.0 - ALPHA / 2, *(level for _, level in self.quantiles))

    def of_series(
        self, labels: np.ndarray, rows: np.ndarray, seasonal_errors: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Measure n series: each metric's n values, in GluonTS' order.

        labels: (n, prediction_length); NaN and infinite values are missing ones and do not count.
        rows: (n, 1 + len(levels), prediction_length), mean first; a row with a NaN must be NaN throughout.
        seasonal_errors: (n,).
        """
        observed = np.isfinite(labels)
        count = observed.sum(axis=1)
        actual = np.where(observed, labels, 0.0)
        size = np.abs(actual)
        error = np.abs(actual - rows[:, MEDIAN])

        def total(values: Any, counted: np.ndarray = observed) -> Any:
            return (
                values.sum(axis=-1)
                if counted.all()
                else np.where(counted, values, 0.0).sum(axis=-1)
            )

        def mean_of_finite(values: Any) -> Any:
            # the masked division of GluonTS leaves out x / 0 as if it were missing
            finite = observed & np.isfinite(values)
            return total(values, finite) / finite.sum(axis=1)

        def sum_or_nan(values: Any) -> Any:
            return np.where(count > 0, total(values), np.nan)

        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            lower, upper = rows[:, LOWER], rows[:, UPPER]
            below, above = (lower - actual) * (actual < lower), (actual - upper) * (actual > upper)
            interval_score = upper - lower + 2.0 / ALPHA * below + 2.0 / ALPHA * above
            metrics = {
                "MSE": total(np.square(actual - rows[:, MEAN])) / count,
                "abs_error": sum_or_nan(error),
                "abs_target_sum": sum_or_nan(size),
                "abs_target_mean": total(size) / count,
                "seasonal_error": seasonal_errors,
                "MASE": total(error) / count / seasonal_errors,
                "MAPE": mean_of_finite(error / size),
                "sMAPE": 2 * mean_of_finite(error / (size + np.abs(rows[:, MEDIAN]))),
                "num_masked_target_values": (labels.shape[1] - count).astype(np.float64),
                "ND": total(error) / total(size),
                "MSIS": total(interval_score) / count / seasonal_errors,
            }
            for row, (name, level) in enumerate(self.quantiles, start=UPPER + 1):
                quantile = rows[:, row]
                covered = actual <= quantile
                metrics[f"QuantileLoss[{name}]"] = 2 * sum_or_nan(
                    np.abs((quantile - actual) * (covered - level))
                )
                metrics[f"Coverage[{name}]"] = (
                    total(np.where(np.isnan(quantile), np.nan, covered)) / count
                )
        return metrics

    def of_dataset(
        self, series: Mapping[str, np.ndarray], incomplete: np.ndarray
    ) -> dict[str, float]:
        """Sum up what `of_series` gave for all series, in GluonTS' order and by its rules: NaN is left out.

        incomplete: (1 + len(levels),) bool, whether any series' forecast lacked that row; its metrics are NaN.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            totals = self._sums(series, incomplete)
            totals["RMSE"] = np.sqrt(totals["MSE"])
            totals["NRMSE"] = totals["RMSE"] / totals["abs_target_mean"]
            totals["ND"] = totals["abs_error"] / totals["abs_target_sum"]
            self._add_losses(totals)
            self._add_coverages(totals)
        return {name: float(value) for name, value in totals.items()}

    def _sums(self, series: Mapping[str, np.ndarray], incomplete: np.ndarray) -> dict[str, Any]:
        """Sums and means over the series; NaN for those that need a row which some forecast lacks."""
        rows, summed = dict(FROM_ROW), set(SUMMED)
        for row, (name, _) in enumerate(self.quantiles, start=UPPER + 1):
            rows |= {f"QuantileLoss[{name}]": row, f"Coverage[{name}]": row}
            summed.add(f"QuantileLoss[{name}]")
        totals = {}
        for name in dict.fromkeys([*TOTALS, *rows]):
            values = series[name][~np.isnan(series[name])]
            total = values.sum()
            totals[name] = total if name in summed else total / np.float64(len(values))
        for name, row in rows.items():
            if incomplete[row]:
                totals[name] = np.nan
        return totals

    def _add_losses(self, totals: dict[str, Any]) -> None:
        losses = [f"QuantileLoss[{name}]" for name, _ in self.quantiles]
        for name in losses:
            totals[f"w{name}"] = totals[name] / totals["abs_target_sum"]
        totals["mean_absolute_QuantileLoss"] = np.mean([totals[name] for name in losses])
        totals["mean_wQuantileLoss"] = np.mean([totals[f"w{name}"] for name in losses])

    def _add_coverages(self, totals: dict[str, Any]) -> None:
        levels = np.array([level for _, level in self.quantiles])
        coverages = np.array([totals[f"Coverage[{name}]"] for name, _ in self.quantiles])
        # not each quantile's own coverage, as the name promises, but the last one's: so it is in GluonTS 0.17's values
        totals["MAE_Coverage"] = np.mean(np.abs(coverages[-1] - levels))
        # GluonTS names it always and computes it only where R is installed and it is asked to
        totals["OWA"] = np.nan
        totals["calibration_error"] = np.mean(np.abs(coverages - levels))


def seasonal_error(past: np.ndarray, seasonality: int) -> Any:
    """Mean absolute error of the seasonal naive forecast within the history; NaN if no pair of values is observed.

    past: (length,), or (dimensions, length) for one value each. A history no longer than the season is compared with
    the step before, as in GluonTS.
    """
    lag = seasonality if seasonality < past.shape[-1] else 1
    with np.errstate(invalid="ignore"):
        differences = np.abs(past[..., lag:] - past[..., :-lag])
    total = np.add.reduce(differences, axis=-1, dtype=np.float64)
    count = differences.shape[-1]
    if not np.isfinite(total).all():
        finite = np.isfinite(differences)
        total = np.add.reduce(np.where(finite, differences, 0), axis=-1, dtype=np.float64)
        count = finite.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(total, count)
