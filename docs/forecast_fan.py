"""Draws what the demo printed: the last years of AirPassengers, the forecast between its quantiles, and what came.

    python -m gluonts_shell demo | python docs/forecast_fan.py ml > docs/forecast_fan.svg

Standard library only. CI runs the demo and compares its picture with the file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 44, 30  # margins
HISTORY = 36  # months shown before the forecast
HIGHEST, STEP = (
    700,
    100,
)  # thousands of passengers: the top of the axis, and between two of its lines
ROW = re.compile(r"^(\d{4})-\d\d +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", re.MULTILINE)
STYLE = """\
  text { font: 13px sans-serif; fill: #333 }
  .grid { stroke: #e2e2e2 }
  .past, .median { fill: none; stroke-width: 2; stroke-linejoin: round }
  .past { stroke: #333 }
  .median { stroke: #1764ab }
  .fan { fill: #1764ab; fill-opacity: 0.25 }
  .actual { fill: #d1495b }"""


def main() -> None:
    printed = sys.stdin.read()
    sys.stdout.write(picture(history(Path(sys.argv[1])), ROW.findall(printed)))


def history(tree: Path) -> list[float]:
    """The first series of the demo's channel train."""
    lines = (tree / "input" / "data" / "train" / "data.json").read_text(encoding="utf-8")
    target: list[float] = json.loads(lines.splitlines()[0])["target"]
    return target


def picture(past: Sequence[float], rows: Sequence[Sequence[str]]) -> str:
    """rows: year, the quantiles 0.1, 0.5 and 0.9, and the actual value of each month, as printed."""
    low, median, high, actual = ([float(row[column]) for row in rows] for column in range(1, 5))
    months = HISTORY + len(rows)
    ahead = range(HISTORY, months)
    fan = [*zip(ahead, high, strict=True), *reversed([*zip(ahead, low, strict=True)])]
    shapes = [
        f'<polygon class="fan" points="{points(fan, months)}"/>',
        line("past", enumerate(past[-HISTORY:]), months),
        line("median", zip(ahead, median, strict=True), months),
        *(dot(month, value, months) for month, value in zip(ahead, actual, strict=True)),
    ]
    first = int(rows[0][0]) - HISTORY // 12
    return "\n".join([*opening(), *grid(), *years(first, months), *legend(), *shapes, "</svg>\n"])


def place(month: float, value: float, months: int) -> tuple[float, float]:
    x = LEFT + (WIDTH - LEFT - RIGHT) * month / (months - 1)
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / HIGHEST
    return round(x, 1), round(y, 1)


def points(values: Iterable[tuple[int, float]], months: int) -> str:
    places = [place(month, value, months) for month, value in values]
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def line(kind: str, values: Iterable[tuple[int, float]], months: int) -> str:
    return f'<polyline class="{kind}" points="{points(values, months)}"/>'


def dot(month: int, value: float, months: int) -> str:
    x, y = place(month, value, months)
    return f'<circle class="actual" cx="{x:g}" cy="{y:g}" r="3.5"/>'


def opening() -> list[str]:
    title = "Forecast of AirPassengers, 1960, and what came"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]


def grid() -> list[str]:
    found = []
    for value in range(0, HIGHEST + 1, STEP):
        _, y = place(0, value, 2)
        found.append(f'<path class="grid" d="M{LEFT} {y:g}H{WIDTH - RIGHT}"/>')
        found.append(f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{value}</text>')
    return found


def years(first: int, months: int) -> list[str]:
    """A label in the middle of each year."""
    found = []
    for month in range(0, months, 12):
        x, _ = place(month + 5.5, 0, months)
        text = first + month // 12
        found.append(f'<text x="{x:g}" y="{HEIGHT - 10}" text-anchor="middle">{text}</text>')
    return found


def legend() -> list[str]:
    return [
        f'<path class="past" d="M{LEFT} 20h24"/><text x="80" y="24">known</text>',
        '<rect class="fan" x="150" y="12" width="24" height="16"/>',
        '<path class="median" d="M150 20h24"/><text x="182" y="24">forecast: median, 0.1 to 0.9</text>',
        '<circle class="actual" cx="400" cy="20" r="3.5"/><text x="412" y="24">what came</text>',
        f'<text x="{WIDTH - RIGHT}" y="24" text-anchor="end">AirPassengers, thousands a month</text>',
    ]


if __name__ == "__main__":
    main()
