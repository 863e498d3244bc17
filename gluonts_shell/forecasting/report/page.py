"""The page: sections in the order in which they are asked for, as one HTML file that loads nothing.

Of whatever may be long a part is shown, with a word on where the rest is; so the page stays below `MOST_BYTES` for any
data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.evaluation.evaluate import Evaluation
from gluonts_shell.forecasting.report import charts, figures, verdict
from gluonts_shell.forecasting.report.report import Report
from gluonts_shell.forecasting.report.style import CSS
from gluonts_shell.forecasting.report.tables import (
    duration,
    exact,
    number,
    share,
    table,
    text,
)

MOST_BYTES = 2_000_000
STATIC_CAT = "feat_static_cat"  # is told by the number of categories
MOST_SCORES = 300  # of the table of all of them
MOST_DIMENSIONS = 30
MOST_CALL = 6_000  # characters of the constructor's call
MOST_WARNING = 500  # and of a warning
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> bytes:
    """UTF-8, below `MOST_BYTES`. What fails in a chart is told in the log, and costs that chart."""
    why = charts.missing()
    found = _encoded(report, why)
    if len(found) >= MOST_BYTES:
        found = _encoded(
            report, "The charts would make this page too large; the tables have their numbers."
        )
    return found


def _encoded(report: Report, why: str | None) -> bytes:
    body = "\n".join(part for part in _sections(report, why) if part)
    title = text(f"{_short(report.forecaster)}: report")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{title}</title><style>{CSS}</style>"
    )
    whole = (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
    )
    # a lone surrogate, which JSON can hold, is no character of UTF-8
    return whole.encode("utf-8", errors="backslashreplace")


def _sections(report: Report, why: str | None) -> Iterator[str]:
    yield _header(report)
    yield "<main>"
    yield _verdict(report)
    yield _warnings(report)
    evaluation = report.evaluation
    if evaluation is not None:
        yield _scores(evaluation)
        yield _dimensions(evaluation)
        if why is not None:
            yield f'<p class="note">{text(why, MOST_WARNING)}</p>'
        yield figures.fans(evaluation, why)
    yield figures.curves(evaluation, report.losses, why)
    yield _data(report.channels, evaluation)
    yield _making(report)
    if evaluation is not None:
        yield _all_scores(evaluation)
    yield "</main>"
    yield _footer(report)


def _header(report: Report) -> str:
    scored = report.evaluation
    facts = [f"freq {report.freq!r}", f"prediction_length {report.prediction_length:,}"]
    if scored is not None:
        facts.append(f"{len(scored.items) // _size(scored):,} series scored")
    if report.job:
        facts.append(f"job {report.job}")
    return (
        f"<header><h1>{text(_short(report.forecaster))}</h1>"
        f'<p class="soft">{" · ".join(text(fact) for fact in facts)}</p></header>'
    )


def _short(forecaster: str) -> str:
    return forecaster.rpartition(".")[2] or forecaster


def _size(evaluation: Evaluation) -> int:
    """The dimensions of a target, at least 1."""
    items = evaluation.items
    return int(items["dimension"].max()) + 1 if "dimension" in items else 1


def _verdict(report: Report) -> str:
    evaluation = report.evaluation
    if evaluation is None:
        why = report.unscored or "there are no scores"
        return f'<div class="verdict"><strong>Not scored</strong><p>{text(why, MOST_WARNING)}</p></div>'
    details = evaluation.details
    best = verdict.first(evaluation.aggregate, details.naive) if details else None
    if details is None or best is None:
        return (
            '<div class="verdict"><strong>Not comparable with seasonal naive</strong>'
            "<p>No score is a number for both.</p></div>"
        )
    numbers = f"{best.metric} is {number(best.own)}, that of seasonal naive {number(best.naive)}."
    closer = (
        ""
        if math.isnan(details.better)
        else (
            f" The forecasts are closer than seasonal naive's for {share(details.better)} of the series."
        )
    )
    told = text(verdict.baseline(details.seasonality, report.freq), MOST_WARNING)
    return (
        f'<div class="verdict {best.side}"><strong>{text(best.headline)}</strong>'
        f'<p>{numbers}{closer}</p><p class="soft">{told}</p></div>'
    )


def _warnings(report: Report) -> str:
    if not report.warnings:
        return ""
    lines = "".join(f"<li>{text(warning, MOST_WARNING)}</li>" for warning in report.warnings)
    if report.unnamed:
        lines += f"<li>{report.unnamed:,} more are in the log</li>"
    return f'<section class="note"><h3>What the job warned of</h3><ul>{lines}</ul></section>'


def _scores(evaluation: Evaluation) -> str:
    naive = evaluation.details.naive if evaluation.details else {}
    rows = [
        (
            f"{one.metric}<small>{text(verdict.COMPARED[one.metric])}</small>",
            number(one.own),
            number(one.naive),
            f'<span class="{one.side}">{text(one.words)}</span>',
        )
        for one in verdict.compared(evaluation.aggregate, naive)
    ]
    for metric, meaning in verdict.ALONE.items():
        own = number(evaluation.aggregate.get(metric, math.nan))
        rows.append((f"{metric}<small>{text(meaning)}</small>", own, "", ""))
    head = ("lower is better", "this model", "seasonal naive", "")
    return f"<h2>Scores</h2>{table(head, rows, 'scores')}"


def _dimensions(evaluation: Evaluation) -> str:
    size = _size(evaluation)
    if size == 1:
        return ""
    naive = evaluation.details.naive if evaluation.details else {}
    rows = []
    for dimension in range(min(size, MOST_DIMENSIONS)):
        found = list(verdict.compared(evaluation.aggregate, naive, f"{dimension}_"))
        cells = [f"{number(one.own)} <small>{text(one.words)}</small>" for one in found]
        rows.append((str(dimension), *cells))
    more = _more(size, MOST_DIMENSIONS, "dimensions", "agg_metrics.json")
    head = ("dimension", *verdict.COMPARED)
    return f"<h3>By dimension, against seasonal naive</h3>{table(head, rows)}{more}"


def _more(count: int, most: int, what: str, where: str) -> str:
    return (
        "" if count <= most else f'<p class="soft">{count - most:,} more {what} are in {where}.</p>'
    )


def _data(channels: Mapping[str, Statistics], evaluation: Evaluation | None) -> str:
    if not channels:
        return ""
    left_out = evaluation.left_out if evaluation else 0
    columns = [
        _facts(found, left_out if channel == "test" else 0) for channel, found in channels.items()
    ]
    names = dict.fromkeys(fact for column in columns for fact in column)
    rows = [(text(fact), *(column.get(fact, "") for column in columns)) for fact in names]
    head = ("channel", *(text(channel) for channel in channels))
    return f"<h2>Data</h2>{table(head, rows, 'facts')}"


def _facts(found: Statistics, unscored: int) -> dict[str, str]:
    """Cells by what they tell; what there is none of is left out, but for missing values."""
    values = found.observations + found.missing
    facts = {
        "series": f"{found.series:,}",
        "left out, too short": _some(found.too_short),
        "too short to be scored": _some(unscored),
        "dimensions": _some(found.dimensions, 1),
        "values": f"{values:,}",
        "values a series": number(values / max(found.series, 1) / found.dimensions),
        "missing values": f"{found.missing:,} ({share(found.missing / max(values, 1))})",
    }
    if found.observations:
        facts["smallest"] = number(found.smallest)
        facts["mean"] = number(found.total / found.observations)
        facts["largest"] = number(found.largest)
        facts["kind of values"] = "whole numbers" if found.integers else "real numbers"
    counts = [f"{len(some):,}" for some in found.categories[:MOST_DIMENSIONS]]
    facts["categories"] = text(", ".join(counts))
    facts |= {kind: _some(count) for kind, count in found.counts.items() if kind != STATIC_CAT}
    return {fact: cell for fact, cell in facts.items() if cell}


def _some(count: int, usual: int = 0) -> str:
    return f"{count:,}" if count > usual else ""


def _making(report: Report) -> str:
    times = [(text(step), duration(seconds)) for step, seconds in report.seconds.items()]
    versions = [(text(package), text(version)) for package, version in report.versions.items()]
    cards = []
    for title, rows in (("Time", times), ("Versions", versions)):
        if rows:
            cards.append(
                f'<section class="card"><h3>{title}</h3>{table((), rows, "facts")}</section>'
            )
    return (
        f"<h2>How it was made</h2><pre>{text(report.call, MOST_CALL)}</pre>"
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _all_scores(evaluation: Evaluation) -> str:
    """Those of single dimensions have a table of their own."""
    own = {
        metric: value for metric, value in evaluation.aggregate.items() if not metric[0].isdigit()
    }
    rows = [(text(metric), exact(value)) for metric, value in list(own.items())[:MOST_SCORES]]
    more = _more(len(own), MOST_SCORES, "scores", "agg_metrics.json")
    listed = table(("metric", "value"), rows, "all")
    return f"<h2>All scores</h2><details><summary>as in agg_metrics.json</summary>{listed}{more}</details>"


def _footer(report: Report) -> str:
    version = report.versions.get("gluonts_shell", "")
    when = f" on {report.created}" if report.created else ""
    return f"<footer>{text(f'Written by gluonts_shell {version}{when}.')}</footer>"
