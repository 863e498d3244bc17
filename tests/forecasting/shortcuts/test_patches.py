"""Shortcuts are taken where GluonTS is what they stand for; a GluonTS that is not as expected stays as it is."""

import pickle
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from gluonts_shell.forecasting.shortcuts import patches


def test_a_forecast_keeps_its_values_and_still_refuses_other_types():
    checked = SampleForecast(np.ones((1, 2)), pd.Period("2024-01-01", "D"))
    patches.take()
    assert repr(checked) == repr(SampleForecast(np.ones((1, 2)), pd.Period("2024-01-01", "D")))
    patches.take()
    assert not hasattr(SampleForecast.__init__, "Model"), "the pydantic model is out of the way"
    samples = np.arange(6.0).reshape(2, 3)
    forecast = SampleForecast(samples, pd.Period("2024-01-01", "D"), item_id="a", info={"b": 1})
    assert forecast.samples is samples
    assert (forecast.item_id, forecast.info, forecast.start_date) == (
        "a",
        {"b": 1},
        pd.Period("2024-01-01", "D"),
    )
    assert forecast.quantile(0.9).tolist() == [3, 4, 5]
    again = pickle.loads(pickle.dumps(forecast))
    assert (again.item_id, again.info, again.samples.tolist()) == (
        "a",
        {"b": 1},
        [[0, 1, 2], [3, 4, 5]],
    )
    with pytest.raises(AssertionError, match="samples should be a numpy array"):
        SampleForecast([[1.0]], pd.Period("2024-01-01", "D"))
    with pytest.raises(AssertionError, match="start_date should be a pandas Period"):
        SampleForecast(samples, "2024-01-01")


def test_what_has_other_parameters_is_left_alone():
    script = """
from gluonts.core.component import validated
from gluonts.model.forecast import SampleForecast
from gluonts_shell.forecasting.shortcuts import patches

@validated()
def __init__(self, samples, start_date, more: int = 0):
    pass

SampleForecast.__init__ = __init__
patches.take()
assert SampleForecast.__init__ is __init__
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.torch
def test_code_is_replaced_once_where_all_its_files_are_those_that_are_known():
    """In a process of its own, because what is replaced stays so."""
    pytest.importorskip("torch")
    script = """
from gluonts.model import forecast_generator
from gluonts.torch.model.deepar.module import DeepARModel
from gluonts_shell.forecasting.shortcuts import patches

def replaceable():
    kind = forecast_generator.DistributionForecastGenerator
    return [DeepARModel.forward, kind.__call__, forecast_generator.make_predictions]

original = replaceable()
for name in {**patches.DEEPAR, **patches.GENERATORS}:
    before = [dict(known) for known in (patches.DEEPAR, patches.GENERATORS)]
    for known in (patches.DEEPAR, patches.GENERATORS):
        last = name if name in known else list(known)[-1]
        known[last] = known[last][::-1]
    patches.take()
    assert replaceable() == original, f"another {name} is another GluonTS"
    for known, kept in zip((patches.DEEPAR, patches.GENERATORS), before):
        known.update(kept)
patches.take()
taken = replaceable()
assert not set(taken) & set(original)
patches.take()
assert replaceable() == taken
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_a_module_without_a_file_is_not_one_that_is_known():
    module = types.ModuleType("without_a_file")
    sys.modules["without_a_file"] = module
    try:
        assert not patches.unchanged({"without_a_file": "0" * 64})
        module.__file__ = "/nowhere/module.pyc"
        assert not patches.unchanged({"without_a_file": "0" * 64})
        assert not patches.unchanged({"not_loaded": "0" * 64})
    finally:
        del sys.modules["without_a_file"]
