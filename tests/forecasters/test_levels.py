"""Whom the sentence about a quantile that is not there advises `quantile_levels`: those whom it gives quantiles."""

from __future__ import annotations

import importlib
import json

import pytest

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting
from tests.forecasters.rows import STATSFORECAST, Row

pytest.importorskip("statsforecast")

SERIES = {"start": "2020-01-01", "target": [float(n % 12 + 1) for n in range(48)]}


@pytest.mark.parametrize("row", STATSFORECAST, ids=lambda row: row.name)
def test_the_hyperparameter_is_advised_where_it_helps(row: Row) -> None:
    package, _, name = row.path.rpartition(".")
    kind = getattr(importlib.import_module(package), name)
    given = {key: json.loads(text) for key, text in row.given.items() if key != "quantile_levels"}
    predictor = kind(prediction_length=3, **given)
    contract = Contract("M", 3, row.path, features=Features((), 0, 0, 0))
    service = Forecasting((predictor, contract), Rule())
    call = service.prepare([SERIES], service.configure({"quantiles": ["0.1"]}))
    with pytest.raises(RequestError) as caught:
        service.predict([call])
    helps = row.forecasts == "quantiles"
    advice = "; hyperparameter 'quantile_levels' makes it forecast quantiles" if helps else ""
    sentence = "configuration.quantiles asks for 0.1, but this model's forecasts have only a mean"
    assert str(caught.value) == sentence + advice
