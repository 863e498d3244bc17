"""The request made from a contract is one that the service takes, whatever features the model has."""

from __future__ import annotations

import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.service import example
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.service import Forecasting


@pytest.mark.parametrize(
    "features",
    [
        Features(),
        Features((), 0, 0, 0),
        Features((3,), 0, 0, 0),
        Features((2, 3), 0, 0, 0, labels=(None, ("a", "b", "c"))),
        Features((), 2, 0, 0),
        Features((), 0, 3, 0),
        Features((), 0, 0, 2),
        Features((2,), 1, 1, 1, labels=(("a", "b"),)),
        Features((), 0, 1, 1, dynamic_cat=(2, 3), past_dynamic_cat=(4,)),
        Features((), 0, 1, 0, lead_time=2),
    ],
)
@pytest.mark.parametrize("freq", ["h", "W", None])
def test_the_service_answers_it(features: Features, freq: str | None) -> None:
    contract = Contract(freq, 3, "some.Forecaster", features=features)
    service = Forecasting(
        (SeasonalNaivePredictor(prediction_length=3, season_length=2), contract), Rule()
    )
    request = example.example_request(contract)
    configuration = service.configure(request.get("configuration", {}))
    ((prediction,),) = service.predict([service.prepare(request["instances"], configuration)])
    assert prediction.mean is not None
    assert len(prediction.mean) == 3


@pytest.mark.parametrize(
    ("arguments", "length"),
    [({"context_length": 12, "season_length": 7}, 12), ({"season_length": 7}, 7), ({"context_length": None}, 5),
     ({"context_length": 5000}, example.MOST_VALUES)],
)  # fmt: skip
def test_the_history_is_what_the_forecaster_looks_at(
    arguments: dict[str, int | None], length: int
) -> None:
    instance = example.example_instance(
        Contract("D", 5, "some.Forecaster", arguments=dict(arguments))
    )
    assert len(instance["target"]) == length


def test_what_requests_need_is_said_in_the_names_of_requests() -> None:
    contract = Contract(
        "D", 5, "some.Forecaster", features=Features((9,), 0, 0, 1, labels=(tuple("abcdefghi"),))
    )
    assert example.needs(contract) == [
        "cat[0]: one of 'a', 'b', 'c', 'd', 'e' and 4 more",
        "past_feat_dynamic_real: 1 list of len(target) numbers",
    ]
    assert example.needs(Contract("D", 5, "some.Forecaster")) is None
    assert example.needs(Contract("D", 5, "some.Forecaster", features=Features((), 0, 0, 0))) == []


def test_gluonts_own_description_stands_for_a_missing_contract() -> None:
    found = example.without_contract(
        {"class": "some.Forecaster", "kwargs": {"prediction_length": 4, "freq": "D"}}
    )
    assert found == Contract("D", 4, "some.Forecaster")
    for useless in (
        {},
        {"kwargs": []},
        {"kwargs": {"prediction_length": "4"}},
        {"kwargs": {"prediction_length": 0}},
    ):
        assert example.without_contract(useless) is None
