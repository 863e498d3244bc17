"""The table of forecasters against the installed GluonTS and against the manual."""

import re
from collections import Counter
from pathlib import Path

import pytest

import gluonts_shell
from gluonts_shell.errors import ForecasterError
from gluonts_shell.forecasting.forecaster.names import resolve
from tests.forecasters.discovery import forecasters
from tests.forecasters.rows import NONE, ROWS, as_table

FOUND = {tuple(path.split(".")) for path in forecasters()}


def public(path):
    """`gluonts.model.npts._predictor.NPTSPredictor` lies below `gluonts.model.npts.NPTSPredictor`."""
    package, _, name = path.rpartition(".")
    return lambda parts: parts[-1] == name and ".".join(parts).startswith(package + ".")


def test_the_table_has_every_forecaster_of_the_installed_gluonts_and_no_other():
    listed = {parts for row in ROWS for parts in FOUND if public(row.path)(parts)}
    assert len(listed) == len(ROWS)
    left = {parts[-1] for parts in FOUND - listed}
    assert left == set(NONE), "a class that the table lacks, or has too much: how is it run?"


def test_there_are_54_of_which_13_are_trained():
    assert len(ROWS) == len({row.path for row in ROWS}) == 54
    assert sum(row.trained for row in ROWS) == 13


def test_a_forecaster_has_a_short_name_where_it_is_unique():
    from gluonts_shell.forecasting.forecaster.names import SHORT_NAMES

    counts = Counter(row.name for row in ROWS)
    assert [name for name, count in counts.items() if count > 1] == ["SeasonalNaivePredictor"]
    for row in ROWS:
        assert SHORT_NAMES[row.name] == row.path or counts[row.name] == 2


@pytest.mark.parametrize("row", [row for row in ROWS if row.needs], ids=lambda row: row.path)
def test_a_forecaster_is_there_or_says_what_it_needs(row):
    """Those that look for their package only when they are constructed, Prophet and R, say so in their journeys."""
    if row.here or row.needs in ("prophet", "rpy2"):
        assert resolve(row.path).__name__ == row.name
        return
    with pytest.raises(ForecasterError) as caught:
        resolve(row.path)
    assert str(caught.value).endswith(f", which is not installed: install {row.install}")


DOCS = Path(gluonts_shell.__file__).parents[1] / "docs"


def test_the_manual_shows_the_table():
    page = (DOCS / "forecasters.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- forecasters -->\n(.*)\n<!-- /forecasters -->", page, re.DOTALL)
    assert shown.group(1) == as_table()


def test_the_predictor_of_the_manual_forecasts_and_is_saved(tmp_path, monkeypatch):
    """Written to where Python finds it, as the code channel does."""
    from gluonts.dataset.common import ListDataset
    from gluonts.model.predictor import Predictor

    from gluonts_shell.forecasting.forecaster.constructors import construct
    from gluonts_shell.forecasting.forecaster.savable import check_savable

    page = (DOCS / "code-channel.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(# mypkg.py.*?)```", page, re.DOTALL)
    (tmp_path / "mypkg.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = resolve("mypkg.Drift")
    check_savable(kind)
    construct(kind, {"prediction_length": 2}).serialize(tmp_path)
    data = ListDataset([{"start": "2024-01-01", "target": [1.0, 2.0, 3.0]}], "D")
    (forecast,) = Predictor.deserialize(tmp_path).predict(data)
    assert forecast.mean.tolist() == [4.0, 5.0]
