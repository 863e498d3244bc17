"""Numbers, texts and tables as HTML. All that comes from the data passes `text`, which escapes and shortens it."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence

from gluonts_shell.log import one_line

MOST_CHARACTERS = 120
NONE = "-"


def text(value: object, most: int = MOST_CHARACTERS) -> str:
    """Escaped, on one line, and with an ellipsis where it is longer than `most` characters."""
    shown = one_line(str(value)[: most + 1])
    if len(shown) > most:
        shown = shown[:most] + "…"
    return html.escape(shown)


def name(value: object) -> str:
    """What somebody else named; it may be written from right to left, which is not to turn what stands around it."""
    return f"<bdi>{text(value)}</bdi>"


def number(value: float) -> str:
    """About four digits for the eye; the element's `value` has all of them."""
    if math.isnan(value):
        return NONE
    return f'<data value="{value!r}">{rounded(value)}</data>'


def rounded(value: float) -> str:
    size = abs(value)
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if size >= 1e15 or size < 1e-4:
        return f"{value:.3e}"
    return f"{value:,.0f}" if size >= 10_000 else f"{value:,.4g}"


def exact(value: float) -> str:
    """As agg_metrics.json has it, where null stands for what is no finite number."""
    return json.dumps(value) if math.isfinite(value) else NONE


def share(value: float) -> str:
    """0.123 as `12.3 %`."""
    return NONE if math.isnan(value) else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Cells are HTML already; the first of each row is its heading. kind: a class for its looks."""
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    above = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{above}<tbody>{body}</tbody></table></div>'


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the positions from 0 to count - 1, at equal distances, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})
