"""`forecasters`: a line for each class that can be named, and what it still needs."""

import importlib.util

from gluonts_shell import cli
from tests.forecasters.rows import ROWS


def test_it_lists_what_can_be_named_with_what_each_needs(capsys):
    assert cli.main(["forecasters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop() == "and each Estimator or Predictor of your own code, by its dotted path"
    found = {line.split()[2]: line for line in lines}
    assert set(found) == {row.path for row in ROWS}
    for row in ROWS:
        name, kind, _, *remedy = found[row.path].split()
        unique = row.path != "gluonts.ext.statsforecast.SeasonalNaivePredictor"
        assert name == (row.name if unique else row.path)
        assert kind == ("estimator" if row.trained else "predictor")
        there = row.needs is None or importlib.util.find_spec(row.needs) is not None
        assert remedy == ([] if there else ["install", row.install])
