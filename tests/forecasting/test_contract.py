"""The contract beside a model: what is not of its type is a sentence when it is read."""

import json

import pytest

from gluonts_shell.errors import ModelError
from gluonts_shell.forecasting.contract import Contract, Features

GOOD = {"freq": "D", "prediction_length": 3, "forecaster": "x.Y", "features": {}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"freq": 5}, "freq is 5, expected a text such as 'D', or null"),
        ({"freq": "abc"}, "freq is 'abc', which is no pandas period; expected "),
        (
            {"prediction_length": "3"},
            'prediction_length is "3", expected a whole number of at least 1',
        ),
        ({"prediction_length": 0}, "prediction_length is 0, expected a whole number of at least 1"),
        (
            {"prediction_length": True},
            "prediction_length is true, expected a whole number of at least 1",
        ),
        ({"forecaster": None}, "forecaster is null, expected a class path"),
        ({"arguments": []}, "arguments is [], expected an object"),
        ({"versions": "1"}, 'versions is "1", expected an object'),
        ({"created": 1}, "created is 1, expected a text or null"),
        (
            {"features": None},
            "features is null, expected an object",
        ),
        (
            {"features": {"static_cat": "abc"}},
            'features.static_cat is "abc", expected a list of whole numbers',
        ),
        (
            {"features": {"static_cat": [2, "3"]}},
            'features.static_cat is [2, "3"], expected a list of whole numbers',
        ),
        (
            {"features": {"dynamic_real": -1}},
            "features.dynamic_real is -1, expected a whole number of at least 0",
        ),
        (
            {"features": {"static_real": 1.5}},
            "features.static_real is 1.5, expected a whole number of at least 0",
        ),
        (
            {"features": {"labels": ["ab"]}},
            'features.labels is ["ab"], expected a list of lists of texts, or of null',
        ),
        (
            {"features": {"labels": [[1]]}},
            "features.labels is [[1]], expected a list of lists of texts, or of null",
        ),
    ],
)
def test_a_value_of_another_type_is_named(change, sentence):
    with pytest.raises(ModelError) as caught:
        Contract.parse(json.dumps({**GOOD, **change}))
    assert str(caught.value).startswith(
        f"gluonts_shell.json in the model folder cannot be read: {sentence}"
    )


def test_what_training_writes_is_read_back():
    contract = Contract("D", 3, "x.Y", features=Features((2, 3), 0, 1, None, (("a", "b"), None)))
    assert Contract.parse(contract.to_json()) == contract
    assert Contract.parse(json.dumps({**GOOD, "freq": None})) == Contract(None, 3, "x.Y")


def test_a_contract_that_is_no_object_is_told_as_that():
    for text, kind in (("[]", "list"), ('"x"', "str"), ("null", "NoneType")):
        with pytest.raises(ModelError, match=f"it is a JSON {kind}, expected an object$"):
            Contract.parse(text)
