"""Pictures as SVG that stands in an HTML page, by matplotlib (the extra `report`).

The colours are the page's CSS variables, so that the same picture reads in light and dark; texts are texts in the
page's font. No text of the data is in a picture. The same values give the same picture.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gluonts_shell.forecasting.evaluation.details import Shown
from gluonts_shell.forecasting.report.tables import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray

# what is drawn in these colours gets the page's
INK, SOFT, LINE, MODEL, NAIVE = "#010101", "#010102", "#010103", "#010104", "#010105"
VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", MODEL: "--model", NAIVE: "--naive"}
WIDTH, HEIGHT = 4.0, 2.5  # inches of 72 of the picture's units, which are about a pixel and a third
SIZE = 8.5  # of texts
STYLE = {
    "svg.fonttype": "none",
    "font.size": SIZE,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "text.parse_math": False,
    "text.usetex": False,
}
MOST_POINTS = 400
"""Of a line or band; of more, as many at equal distances are drawn."""
LONG, LONGEST = 10, 22
"""Characters of a date: of longer ones there is room for two below a picture, and of none for more than the second."""


def missing() -> str | None:
    """Why there will be no pictures; None where there will be some."""
    try:
        # importing it says where its cache is, and which fonts it looks at
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        import matplotlib.backends.backend_svg  # noqa: F401
    except ImportError as error:
        if error.name == "matplotlib":
            return (
                "matplotlib, which draws the charts, is not installed: "
                "pip install 'gluonts-shell[report]' brings it. The tables have the same numbers."
            )
        return f"matplotlib, which draws the charts, cannot be imported: {error}"
    except Exception as error:
        return f"matplotlib, which draws the charts, cannot be imported: {error!r}"
    return None


def fan(shown: Shown) -> str:
    """The end of the history, what came, the median with intervals around it, and the baseline."""
    example = shown.example
    past = example.past[-_history(len(example.actual)) :]
    steps = np.arange(len(example.actual))

    def draw(axes: Axes) -> None:
        axes.axvline(-0.5, color=LINE, linewidth=0.7)
        for band in example.bands:
            some = evenly(len(steps), MOST_POINTS)
            low, high = _finite(band.low)[some], _finite(band.high)[some]
            axes.fill_between(steps[some], low, high, color=MODEL, alpha=0.2, linewidth=0)
        _line(axes, steps, example.naive, color=NAIVE, linestyle=(0, (3, 2)), linewidth=1.1)
        known = np.concatenate([past, example.actual])
        _line(axes, np.arange(-len(past), len(steps)), known, color=INK, linewidth=1)
        _line(axes, steps, example.median, color=MODEL, linewidth=1.5)
        _limit(axes, [past, example.actual, example.median, example.naive], example.bands)
        _dates(axes, shown, len(past), len(steps))

    return _picture(f"fan-{example.place}", draw)


def calibration(levels: Sequence[float], covered: Sequence[float]) -> str:
    """Nominal against covered; the diagonal is what a calibrated forecast has."""
    order = np.argsort(levels)
    x, y = np.asarray(levels, dtype=float)[order], np.asarray(covered, dtype=float)[order]

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle=(0, (3, 2)), linewidth=1)
        few = {"marker": "o", "markersize": 3.5} if len(x) <= 20 else {}
        _line(axes, x, y, color=MODEL, linewidth=1.4, **few)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])

    return _picture("calibration", draw)


def by_step(own: Array, naive: Array) -> str:
    steps = np.arange(1, len(own) + 1)

    def draw(axes: Axes) -> None:
        few = {"marker": "o", "markersize": 2.5} if len(steps) <= 30 else {}
        _line(axes, steps, naive, color=NAIVE, linestyle=(0, (3, 2)), linewidth=1.1)
        _line(axes, steps, own, color=MODEL, linewidth=1.5, **few)
        _limit(axes, [own, naive, np.zeros(1)])
        _count(axes, len(steps), 1)

    return _picture("steps", draw)


def losses(curves: Sequence[Sequence[float]]) -> str:
    """One or two: that of the training, and that of the validation."""
    lines = [np.asarray(curve, dtype=float) for curve in curves]
    looks: tuple[dict[str, Any], ...] = (
        {"color": MODEL},
        {"color": NAIVE, "linestyle": (0, (3, 2))},
    )

    def draw(axes: Axes) -> None:
        for values, look in zip(lines, looks, strict=False):
            dots = {"marker": "o", "markersize": 2.5} if len(values) <= 30 else {}
            _line(axes, np.arange(len(values)), values, linewidth=1.4, **look, **dots)
        _limit(axes, lines)
        _count(axes, max(map(len, lines)), 0)

    return _picture("losses", draw)


def _history(steps: int) -> int:
    """So much that the forecast takes a third of the width, where it is not very short."""
    return max(2 * steps, 24)


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _line(axes: Axes, x: Array, y: Array, **looks: Any) -> None:
    some = evenly(len(x), MOST_POINTS)
    values = _finite(np.asarray(y, dtype=float))
    # a value between two that are missing makes no line
    if "marker" not in looks and len(values) and np.isnan(values).any():
        looks = {**looks, "marker": ".", "markersize": 2.5}
    axes.plot(x[some], values[some], **looks)


def _limit(axes: Axes, lines: Sequence[Array], bands: Sequence[Any] = ()) -> None:
    """All lines are seen whole, and intervals as far as they are no wider than three times that."""
    values = np.concatenate([np.asarray(line, dtype=float) for line in lines])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    span = (high - low) or abs(high) or 1.0
    for band in bands:
        ends = np.concatenate([band.low, band.high]).astype(float)
        low = min(low, max(float(ends.min()), float(values.min()) - span))
        high = max(high, min(float(ends.max()), float(values.max()) + span))
    span = (high - low) or abs(high) or 1.0
    axes.set_ylim(low - 0.05 * span, high + 0.05 * span)


def _dates(axes: Axes, shown: Shown, before: int, steps: int) -> None:
    """A few of those from `before` steps before the first that is forecast to the last that is."""
    many = 3 if len(_date(shown, 0)) <= LONG else 2
    ticks = [tick - before for tick in evenly(before + steps, many)]
    axes.set_xticks(ticks, [_date(shown, tick) for tick in ticks])
    axes.set_xlim(-before - 0.5, max(steps - 0.5, 1))
    if len(ticks) > 1:  # the outer ones are no wider than the axis
        texts = axes.get_xticklabels()
        texts[0].set_horizontalalignment("left")
        texts[-1].set_horizontalalignment("right")


def _date(shown: Shown, step: int) -> str:
    """The first day of a week, which pandas writes as two."""
    return str(shown.start + step).partition("/")[0][:LONGEST]


def _count(axes: Axes, count: int, first: int) -> None:
    """Ticks at whole numbers, of which there are `count`."""
    ticks = evenly(count, 6)
    axes.set_xticks([tick + first for tick in ticks], [f"{tick + first:,}" for tick in ticks])
    axes.set_xlim(first - 0.5, first + count - 0.5)


def _compact(value: float) -> str:
    """At most six characters, for which there is room: 1.2k, 35M, 1e-05."""
    size = abs(value)
    for least, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if least <= size < least * 1000:
            return f"{value / least:.3g}{suffix}"
    return f"{value:.3g}" if size < 1e15 else f"{value:.0e}"


def _picture(name: str, draw: Callable[[Axes], None]) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib and numpy, about values that nobody expects
        mpl.rcdefaults()  # not what a matplotlibrc of this machine says
        mpl.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(WIDTH, HEIGHT))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.125, 0.1, 0.83, 0.86))
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        axes.tick_params(length=2.5, width=0.7, pad=2.5)
        axes.yaxis.set_major_formatter(lambda value, _: _compact(value))
        draw(axes)
        out = io.StringIO()
        nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nobody)
    return _inline(out.getvalue())


def _inline(svg: str) -> str:
    """What an HTML page needs of a file of its own: no declarations, no size, ids only where one is referred to."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', svg)
    svg = re.sub(
        r"<svg[^>]*>", f'<svg viewBox="{box[1] if box else ""}" aria-hidden="true">', svg, count=1
    )
    svg = svg.replace("xlink:href=", "href=")
    used = set(re.findall(r"#([\w.-]+)[\")]", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r" ?font-family: [^;\"]+;?", "", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\s*\n\s*", " ", svg).strip()
