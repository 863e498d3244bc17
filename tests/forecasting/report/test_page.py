"""The page is one file that loads nothing, tells the numbers of agg_metrics.json, and stands any data."""

from __future__ import annotations

import builtins
import html
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast

from gluonts_shell.forecasting.data.statistics import Statistics
from gluonts_shell.forecasting.evaluation.evaluate import evaluate, write
from gluonts_shell.forecasting.report import charts, figures
from gluonts_shell.forecasting.report.page import MOST_BYTES, page
from gluonts_shell.forecasting.report.report import Report

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = (
    "<script>alert(1)</script><img src=http://example.com/x onerror=x>\"'&$x^2$\u202e\x00\ud800"
    + "x" * 5000
)
with_charts = pytest.mark.skipif(charts.missing() is not None, reason="needs matplotlib")


@dataclass
class Seen(HTMLParser):
    """What is on a page. rows: of each table, by its class."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    table: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, content: bytes) -> Seen:
        seen = cls()
        seen.feed(content.decode("utf-8"))
        seen.close()
        assert seen.open == []
        return seen

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.table = dict(attrs)["class"] or ""
            self.rows.setdefault(self.table, [])
        if tag == "tr":
            self.rows[self.table].append([])
        if tag in ("td", "th"):
            self.rows[self.table][-1].append("")
        if tag == "data":
            self.values.append(float(dict(attrs)["value"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[self.table][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def pictures(self) -> int:
        return sum(tag == "svg" for tag, _ in self.tags)


class Made:
    """A predictor whose forecasts are made by a function of the history."""

    lead_time = 0

    def __init__(self, make, prediction_length=12):
        self.make, self.prediction_length = make, prediction_length

    def predict(self, dataset):
        for entry in dataset:
            yield self.make(entry, entry["start"] + entry["target"].shape[-1])


def series(count=20, length=60, dimensions=0, name="s"):
    random = np.random.default_rng(0)
    shape = (dimensions, length) if dimensions else (length,)
    start = pd.Period("2020-01", "M")
    for number in range(count):
        target = random.gamma(2, 5, size=shape).astype(np.float32)
        yield {"item_id": f"{name}{number}", "start": start, "target": target}


def sampled(entry, start, steps=12):
    random = np.random.default_rng(1)
    shape = (50, steps, *entry["target"].shape[:-1])
    return SampleForecast(random.gamma(2, 5, size=shape), start, entry["item_id"])


def scored(data=None, make=sampled, length=12, **options):
    data = list(series()) if data is None else list(data)
    predictor = Made(make, length)
    return evaluate(predictor, data, prediction_length=length, freq="M", details=True, **options)


def report(evaluation=None, **changes):
    known = Report(
        forecaster="mypkg.Drift",
        call="mypkg.Drift(prediction_length=12)",
        freq="M",
        prediction_length=12,
        evaluation=evaluation,
        losses={"train": [3.0, 2.0, 2.5], "validation": [3.5, 2.5, 2.75]},
        seconds={"training": 12.0},
        versions={"gluonts_shell": "0.2.0"},
    )
    return replace(known, **changes)


def without(monkeypatch, error):
    """From now on matplotlib cannot be imported."""
    real = builtins.__import__

    def refuse(name, *arguments, **named):
        if name.partition(".")[0] == "matplotlib":
            raise error
        return real(name, *arguments, **named)

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


def statistics(data):
    found = Statistics()
    for entry in data:
        found.add(entry, lambda: "somewhere")
    return found


def assert_alone(content: bytes) -> Seen:
    """It loads nothing, runs nothing, and says where from: nowhere."""
    seen = Seen.of(content)
    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "image"}
    for _, attributes in seen.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href", "srcset", "data", "action", "poster"):
                assert value is not None
                assert value.startswith(("#", "data:"))
    text = content.decode("utf-8")
    assert all(
        found.startswith(("#", "data:")) for found in re.findall(r"url\(['\"]?([^)]*)", text)
    )
    assert "@import" not in text
    return seen


def test_the_numbers_are_those_of_agg_metrics_json(tmp_path):
    found = scored()
    write(found, tmp_path)
    expected = json.loads((tmp_path / "agg_metrics.json").read_text())
    seen = Seen.of(page(report(found)))
    listed = dict(seen.rows["all"][1:])
    assert listed == {
        name: "-" if value is None else json.dumps(value) for name, value in expected.items()
    }
    for name in ("MASE", "ND", "RMSE", "mean_wQuantileLoss", "calibration_error"):
        assert expected[name] in seen.values
    for level, covered in seen.rows["covered"][1:]:
        share = float(level.removesuffix("%")) / 100
        assert float(covered) == pytest.approx(expected[f"Coverage[{share:g}]"], rel=1e-3)
    steps = [float(row[1]) for row in seen.rows["steps"][1:]]
    assert sum(steps) / len(steps) == pytest.approx(expected["ND"], rel=1e-3)
    assert "MASE is" in seen.text


@with_charts
def test_it_loads_nothing_from_elsewhere():
    seen = assert_alone(page(report(scored())))
    assert seen.pictures == 6
    assert "http:" not in page(report(scored())).decode()


@with_charts
def test_the_same_values_give_the_same_page():
    found = scored()
    assert page(report(found)) == page(report(found))


@with_charts
def test_ids_are_not_used_twice_and_all_are_referred_to():
    text = page(report(scored())).decode()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(ids) == set(re.findall(r"[\"(]#([\w.-]+)[\")]", text))


def test_what_the_data_say_is_text():
    found = scored([dict(entry, item_id=HOSTILE) for entry in series(3)])
    told = report(
        found,
        call=HOSTILE,
        warnings=[HOSTILE],
        job=HOSTILE,
        forecaster=HOSTILE,
        versions={HOSTILE: HOSTILE},
        channels={"train": statistics(series(3))},
    )
    content = page(told)
    seen = assert_alone(content)
    assert "<script>alert(1)</script>" in seen.text
    assert b"\x00" not in content
    assert not any("onerror" in attributes for _, attributes in seen.tags)


@pytest.mark.parametrize("pictures", [True, False])
def test_it_stays_small(monkeypatch, pictures):
    """Long names, a long horizon, many quantiles, epochs, warnings, dimensions, categories."""
    if not pictures:
        without(monkeypatch, ImportError("no", name="matplotlib"))
    quantiles = [level / 1000 for level in range(1, 1000, 10)]
    steps = 1000
    data = [dict(one, item_id="&" * 100_000) for one in series(3, 2 * steps, dimensions=3)]
    found = scored(
        data, lambda entry, start: sampled(entry, start, steps), steps, quantiles=quantiles
    )
    wide = statistics(series(3))
    wide.categories = [set(range(5))] * 5000
    told = report(
        found,
        call="&" * 1_000_000,
        warnings=["&" * 10_000] * 30,
        unnamed=10**6,
        losses={"train": [1.0] * 20_000, "validation": [math.nan] * 20_000},
        channels={"train": wide, "test": wide},
    )
    content = page(told)
    assert len(content) < MOST_BYTES / 2
    assert "1,000,000 more are in the log" in Seen.of(content).text


def test_a_page_that_would_be_too_large_has_no_charts(monkeypatch):
    monkeypatch.setattr("gluonts_shell.forecasting.report.page.MOST_BYTES", 10_000)
    seen = Seen.of(page(report(scored())))
    assert seen.pictures == 0


def test_many_dimensions_are_shown_in_part():
    found = scored(series(2, dimensions=40))
    seen = Seen.of(page(report(found)))
    assert "By dimension, against seasonal naive" in seen.text
    assert "10 more dimensions are in agg_metrics.json" in seen.text
    assert ", dimension " in seen.text
    assert "2 series scored" in seen.text


def test_without_matplotlib_the_page_has_its_tables_and_says_how_to_get_pictures(monkeypatch):
    found = scored()
    without(monkeypatch, ImportError("No module named 'matplotlib'", name="matplotlib"))
    seen = assert_alone(page(report(found)))
    assert seen.pictures == 0
    assert "pip install 'gluonts-shell[report]'" in seen.text
    assert len(seen.rows["steps"]) == 13
    assert "the numbers" not in seen.text  # nothing is folded away


@pytest.mark.parametrize(
    "error", [ImportError("libpng is missing", name="PIL"), RuntimeError("built for another numpy")]
)
def test_a_matplotlib_that_does_not_work_is_told(monkeypatch, error):
    found = scored()
    without(monkeypatch, error)
    seen = Seen.of(page(report(found)))
    assert seen.pictures == 0
    assert f"cannot be imported: {error}" in seen.text.replace("RuntimeError('", "").replace(
        "')", ""
    )


@with_charts
def test_a_chart_that_fails_leaves_its_table(monkeypatch, caplog):
    def fail(*_):
        raise ValueError("no luck")

    monkeypatch.setattr(charts, "calibration", fail)
    seen = Seen.of(page(report(scored())))
    assert seen.pictures == 5
    assert "Calibration" in seen.text
    assert caplog.messages == ["a chart of the report could not be drawn: ValueError('no luck')"]


def test_a_mean_alone():
    def make(entry, start):
        return QuantileForecast(entry["target"][None, -12:], start, ["mean"], entry["item_id"])

    seen = Seen.of(page(report(scored(make=make))))
    assert "interval" not in seen.text
    assert "As good as seasonal naive" in seen.text
    assert ["mean_wQuantileLoss" in row[0] and row[1] for row in seen.rows["scores"]][4] == "-"
    assert "Calibration" not in seen.text


def test_quantiles_alone():
    def make(entry, start):
        rows = entry["target"][-12:] * np.array([[0.8], [1.0], [1.2]])
        return QuantileForecast(rows, start, ["0.1", "0.5", "0.9"], entry["item_id"])

    seen = Seen.of(page(report(scored(make=make, quantiles=[0.1, 0.5, 0.9]))))
    assert "Calibration" in seen.text
    assert [row[0] for row in seen.rows["covered"][1:]] == ["10 %", "50 %", "90 %"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e300, 1e300, 0.0])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_of_all_kinds(value, caplog):
    data = [dict(one, target=one["target"].astype(float)) for one in series(4)]
    data[0]["target"][50:] = value
    data[1]["target"] = np.full(60, value)
    data[2]["target"][:] = 0

    def make(entry, start):
        forecast = sampled(entry, start)
        forecast.samples[:, 3] = value
        return forecast

    seen = Seen.of(page(report(scored(data, make))))
    assert "Scores" in seen.text
    assert caplog.messages == []  # no chart failed


def test_no_scores():
    content = page(report(None, unscored="no test series can be scored", warnings=["a < b"]))
    seen = assert_alone(content)
    assert "Not scored no test series can be scored" in seen.text
    assert "What the job warned of a < b" in seen.text
    assert "Loss by epoch" in seen.text
    assert "seasonal naive" not in seen.text


def test_scores_without_details():
    found = replace(scored(), details=None)
    seen = Seen.of(page(report(found)))
    assert "Not comparable with seasonal naive" in seen.text
    assert "Calibration" in seen.text


def test_losses():
    seen = Seen.of(page(report(losses={"train": [3.0, math.nan, 2.0]})))
    assert "3 epochs; the best train loss is 2 , of epoch 2." in seen.text
    assert [row[1] for row in seen.rows["losses"]] == ["train", "3", "-", "2"]
    assert "Loss by epoch" not in Seen.of(page(report(losses={}))).text


def test_the_data_are_summed_up():
    target = np.array([1, 2, np.nan, 3], dtype=np.float32)
    entry = {
        "target": target,
        "feat_static_cat": np.array([0]),
        "feat_dynamic_real": np.ones((2, 4)),
    }
    rows = Seen.of(page(report(channels={"train": statistics([entry])}))).rows["facts"]
    facts = {row[0]: row[1] for row in rows}
    assert facts["series"] == "1"
    assert facts["missing values"] == "1 (25.0 %)"
    assert (facts["smallest"], facts["mean"], facts["largest"]) == ("1", "2", "3")
    assert (facts["categories"], facts["feat_dynamic_real"]) == ("1", "2")
    assert (facts["training"], facts["gluonts_shell"]) == ("12 s", "0.2.0")


@pytest.mark.parametrize("count", [1, 2, 5, 51, 1000])
def test_rows_are_at_equal_distances(count):
    some = figures.evenly(count, 50)
    assert some[0] == 0
    assert some[-1] == count - 1
    assert len(some) == min(count, 50)


MEASURE = """
<script>
const width = document.documentElement.clientWidth, whole = document.documentElement.scrollWidth, out = [];
for (const one of document.querySelectorAll("body *")) {
  const box = one.getBoundingClientRect();
  if (!one.closest(".scroll *, svg *") && box.right > width + 1) out.push(one.tagName + " " + box.right);
}
for (const one of document.querySelectorAll("svg text")) {
  const box = one.getBoundingClientRect(), all = one.ownerSVGElement.getBoundingClientRect();
  if (box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1) out.push(one.textContent);
}
for (const picture of document.querySelectorAll("svg")) {
  const boxes = [...picture.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
  for (const [name, one] of boxes) for (const [other, two] of boxes) {
    const apart = one.right <= two.left || two.right <= one.left || one.bottom <= two.top || two.bottom <= one.top;
    if (one !== two && !apart) out.push(name + " is over " + other);
  }
}
document.body.innerHTML = "";
parent.document.title = JSON.stringify([whole, width, out]);
</script>
"""
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@with_charts
@pytest.mark.once
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
@pytest.mark.parametrize(("width", "freq"), [(1280, "M"), (390, "W"), (390, "ns")])
def test_no_text_overflows_in_a_browser(tmp_path, width, freq):
    start = pd.Period("2024-01-01 00:00:00.123456789", freq)
    data = [
        dict(one, item_id="long-" * 200, start=start, target=one["target"] * 1e7)
        for one in series(3, dimensions=8)
    ]
    found = scored(data)
    content = page(report(found, call="x" * 5000, warnings=["w" * 400]))
    # the policy of the page itself would not let the measuring script run
    text = re.sub(r"<meta http-equiv[^>]*>", "", content.decode()).replace(
        "<details", "<details open"
    )
    inner = html.escape(text.replace("</body>", MEASURE + "</body>"))
    path = tmp_path / "frame.html"  # a window of its own has a least width
    path.write_text(
        f'<title></title><iframe srcdoc="{inner}" width="{width}" height="900"></iframe>'
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command = [str(BROWSER), *options, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    whole, inside, out = json.loads(html.unescape(title[1]))
    assert inside == width
    assert whole <= inside
    assert out == []
