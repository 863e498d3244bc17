"""The charts of the page, each with a sentence, a key and its numbers as a table."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence

from gluonts_shell.forecasting.evaluation.details import Details, Shown
from gluonts_shell.forecasting.evaluation.evaluate import Evaluation
from gluonts_shell.forecasting.evaluation.formulas import Metrics
from gluonts_shell.forecasting.report import charts
from gluonts_shell.forecasting.report.tables import evenly, name, number, table, text

log = logging.getLogger(__name__)

MOST_ROWS = 50  # of a table of numbers
PLACES = {"best": "The best series", "median": "A median series", "worst": "The worst series"}


def _figure(title: str, picture: str, key: Mapping[str, str], words: str, numbers: str) -> str:
    """key: kind of line -> what it is. numbers: a table, which is folded away where there is a picture."""
    if not picture:
        return f'<figure class="card"><h3>{title}</h3><p>{words}</p>{numbers}</figure>'
    lines = "".join(f'<span><i class="{kind}"></i>{what}</span> ' for kind, what in key.items())
    folded = f"<details><summary>the numbers</summary>{numbers}</details>"
    return (
        f'<figure class="card"><h3>{title}</h3>{picture}<p class="key">{lines}</p>'
        f"<p>{words}</p>{folded}</figure>"
    )


def _drawn(why: str | None, draw: Callable[[], str]) -> str:
    """The picture, or nothing where there are none or this one fails."""
    if why is not None:
        return ""
    try:
        return draw()
    except Exception as error:
        log.warning("a chart of the report could not be drawn: %r", error, exc_info=True)
        return ""


def fans(evaluation: Evaluation, why: str | None) -> str:
    """why: the reason for which there are no pictures, here and in `curves`; None where there are some."""
    details = evaluation.details
    if details is None or not details.shown:
        return ""
    cards = [_fan(one, details, why) for one in details.shown]
    return f'<h2>Forecasts and what came</h2><div class="cards">{"".join(cards)}</div>'


def _fan(one: Shown, details: Details, why: str | None) -> str:
    example = one.example
    title = "The only series" if len(details.shown) == 1 else PLACES[example.place]
    dimension = "" if one.dimension is None else f", dimension {one.dimension}"
    naive = "" if math.isnan(one.naive) else f", seasonal naive's {number(one.naive)}"
    score = f"{text(details.ranked_by)} {number(example.score)}{naive}"
    words = f"{name(one.item_id)}{dimension}: {score}"
    levels = ", ".join(_percent(band.upper - band.lower) for band in reversed(example.bands))
    middle = "median" if example.bands else "forecast"
    key = {"actual": "actual", "model": middle, "naive": "seasonal naive"}
    if levels:
        key["band"] = f"intervals of {levels}"
    picture = _drawn(why, lambda: charts.fan(one))
    return _figure(title, picture, key, words, _fan_numbers(one, middle))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _fan_numbers(one: Shown, middle: str) -> str:
    example = one.example
    wide = example.bands[-2] if len(example.bands) > 1 else next(iter(example.bands), None)
    ends = () if wide is None else (_percent(wide.lower), _percent(wide.upper))
    rows = []
    for step in evenly(len(example.actual), MOST_ROWS):
        values = [example.actual[step], example.median[step], example.naive[step]]
        if wide is not None:
            values[2:2] = [wide.low[step], wide.high[step]]
        rows.append((text(one.start + step), *(number(float(value)) for value in values)))
    return table(("", "actual", middle, *ends, "naive"), rows)


def curves(
    evaluation: Evaluation | None, losses: Mapping[str, Sequence[float]], why: str | None
) -> str:
    """Calibration, error by step, loss by epoch: of those what there is."""
    cards = []
    if evaluation is not None:
        cards += [_calibration(evaluation, why), _steps(evaluation, why)]
    cards.append(_losses(losses, why))
    found = "".join(cards)
    return (
        f'<h2>How far the forecasts can be trusted</h2><div class="cards">{found}</div>'
        if found
        else ""
    )


def _calibration(evaluation: Evaluation, why: str | None) -> str:
    prefix, suffix = "Coverage[", "]"
    covered = {
        found[len(prefix) : -len(suffix)]: value
        for found, value in evaluation.aggregate.items()
        if found.startswith(prefix) and math.isfinite(value)
    }
    if not covered:
        return ""
    levels = [Metrics.parse([quantile]).quantiles[0][1] for quantile in covered]
    values = list(covered.values())
    rows = [
        (_percent(levels[index]), number(values[index])) for index in evenly(len(values), MOST_ROWS)
    ]
    words = (
        "Of a calibrated forecast's quantile of 90 %, 90 % of the actual values lie below it. A line below the "
        "diagonal means quantiles that are too low, one above it such that are too high."
    )
    picture = _drawn(why, lambda: charts.calibration(levels, values))
    key = {"model": "share of values below the quantile", "ideal": "ideal"}
    return _figure(
        "Calibration", picture, key, words, table(("quantile", "covered"), rows, "covered")
    )


def _steps(evaluation: Evaluation, why: str | None) -> str:
    details = evaluation.details
    if details is None or not len(details.by_step):
        return ""
    own, naive = details.by_step, details.naive_by_step
    rows = [
        (f"{index + 1:,}", number(float(own[index])), number(float(naive[index])))
        for index in evenly(len(own), MOST_ROWS)
    ]
    words = "Absolute errors at each step of the horizon over the mean of absolute values; their mean is ND."
    picture = _drawn(why, lambda: charts.by_step(own, naive))
    key = {"model": "this model", "naive": "seasonal naive"}
    head = ("step", "this model", "seasonal naive")
    return _figure("Error by step", picture, key, words, table(head, rows, "steps"))


def _losses(losses: Mapping[str, Sequence[float]], why: str | None) -> str:
    """A curve for each kind of loss that was computed, the training's first."""
    some = {name: values for name, values in losses.items() if values}
    if not some:
        return ""
    epochs = max(map(len, some.values()))
    rows = [
        (f"{epoch:,}", *(_at(values, epoch) for values in some.values()))
        for epoch in evenly(epochs, MOST_ROWS)
    ]
    words = f"{epochs:,} epochs" if epochs > 1 else "1 epoch"
    key = dict(zip(("model", "naive"), some, strict=False))
    picture = _drawn(why, lambda: charts.losses(list(some.values())))
    numbers = table(("epoch", *some), rows, "losses")
    return _figure("Loss by epoch", picture, key, f"{words}{_lowest(some)}.", numbers)


def _at(values: Sequence[float], epoch: int) -> str:
    return number(values[epoch]) if epoch < len(values) else ""


def _lowest(losses: Mapping[str, Sequence[float]]) -> str:
    """Of the first kind of loss: where it was best."""
    name, values = next(iter(losses.items()))
    finite = [loss for loss in values if math.isfinite(loss)]
    if not finite:
        return ""
    best = min(finite)
    return f"; the best {name} loss is {number(best)}, of epoch {list(values).index(best):,}"
