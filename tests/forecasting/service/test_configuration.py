"""The configuration of a request: DeepAR's keys, their defaults and bounds, and the text of every refusal."""

import pytest

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.service import configuration
from gluonts_shell.forecasting.service.configuration import check_contract, check_freq, parse
from gluonts_shell.messages import Configuration

DECILES = tuple(
    (text, float(text)) for text in ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")
)


def test_without_a_configuration_the_answer_has_the_mean_and_nine_deciles():
    for nothing in (
        {},
        {"num_samples": None, "output_types": None, "quantiles": None, "freq": None},
    ):
        found = parse(nothing)
        assert found == Configuration(100, ("mean", "quantiles"), DECILES)


def test_every_key_is_optional():
    assert parse({"output_types": ["quantiles"]}).quantiles == DECILES
    assert parse({"quantiles": ["0.5"]}).output_types == ("mean", "quantiles")
    assert parse({"num_samples": 7}).num_samples == 7


@pytest.mark.parametrize("value", [1, 44, "44", 44.0, 10_000])
def test_numbers_of_samples(value):
    assert parse({"num_samples": value}).num_samples == int(value)
    assert parse({"num_eval_samples": value}).num_samples == int(value)
    assert parse({"num_samples": value, "num_eval_samples": 3}).num_samples == int(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [(0, "0"), (-1, "-1"), (10_001, "10001"), (1.5, "1.5"), (True, "True"), ("x", "'x'"), ([], "a list of 0"),
     (float("nan"), "nan"), (10**400, "1000000")],
)  # fmt: skip
def test_other_numbers_of_samples_are_refused(value, found):
    with pytest.raises(RequestError) as caught:
        parse({"num_samples": value})
    assert str(caught.value).endswith("expected a whole number from 1 to 10000")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("num_samplse", "num_samples"),
        ("output_type", "output_types"),
        ("quantile", "quantiles"),
        ("predictionLength", "prediction_length"),
        ("forecaster", "forecaster_name"),
        ("quantile_levels", "quantiles"),
        ("quantileLevels", "quantiles"),
    ],
)
def test_slips_of_our_keys_are_refused(key, meant):
    with pytest.raises(RequestError) as caught:
        parse({key: 3})
    assert str(caught.value) == f"configuration.{key} is not known; did you mean {meant!r}?"
    assert parse({"forecaster_name": "a.B", key: 3} | {"forecaster_name": "a.B"}).parameters


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("configuration", "its keys belong into the configuration itself"),
        ("Configuration", "its keys belong into the configuration itself"),
        ("parameters", "its keys belong into the configuration itself"),
        ("instances", "it belongs beside it"),
        ("inputs", "it belongs beside it"),
    ],
)
def test_a_member_of_the_request_in_its_configuration_is_refused(key, advice):
    with pytest.raises(RequestError) as caught:
        parse({key: {"num_samples": 3}})
    assert str(caught.value) == f"configuration.{key} has no effect in a configuration; {advice}"
    assert parse({"forecaster_name": "a.B", key: {"num_samples": 3}}).parameters


def test_other_keys_are_ignored_and_told_once(caplog):
    caplog.set_level("INFO")
    configuration._tell_ignored.cache_clear()
    for _ in range(2):
        assert parse({"epochs": 3, "context_length": 7}) == Configuration()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"a request has configuration.{k}, which is ignored (told once)"
        for k in ("epochs", "context_length")
    ]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "prediction_length",
            12,
            "configuration.prediction_length is 12, but the model was trained with 6",
        ),
        (
            "prediction_length",
            "12",
            "configuration.prediction_length is '12', but the model was trained with 6",
        ),
        (
            "prediction_length",
            "x",
            "configuration.prediction_length is 'x', but the model was trained with 6",
        ),
        (
            "num_dynamic_feat",
            2,
            "configuration.num_dynamic_feat is 2, but the model was trained with 1",
        ),
        (
            "num_dynamic_feat",
            True,
            "configuration.num_dynamic_feat is True, but the model was trained with 1",
        ),
        (
            "cardinality",
            [3],
            "configuration.cardinality is [3], but the model was trained with [3, 2]",
        ),
    ],
)
def test_what_training_has_decided_cannot_be_asked_for_otherwise(key, value, sentence):
    decided = {"prediction_length": 6, "num_dynamic_feat": 1, "cardinality": [3, 2]}
    with pytest.raises(RequestError) as caught:
        check_contract({key: value}, decided)
    assert str(caught.value) == sentence
    same = {"prediction_length": "6", "num_dynamic_feat": 1.0, "cardinality": [3, 2]}
    for equal in (same, {"cardinality": "auto", "num_dynamic_feat": None}, {}):
        check_contract(equal, decided)
        assert parse(equal) == Configuration()
    check_contract({key: value}, dict.fromkeys(decided))


@pytest.mark.parametrize("key", ["freq", "time_freq"])
def test_both_names_of_the_frequency_are_compared(key):
    check_freq({key: "60min"}, "h")
    check_freq({key: None}, "h")
    with pytest.raises(RequestError) as caught:
        check_freq({key: "D"}, "h")
    assert str(caught.value) == f"configuration.{key} is 'D', but the model was trained with 'h'"


def test_output_types_are_answered_once_and_in_one_order():
    assert parse({"output_types": ["samples", "mean", "samples"]}).output_types == (
        "mean",
        "samples",
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "mean",
            "configuration.output_types is 'mean', expected a list out of 'mean', 'quantiles', 'samples'",
        ),
        (
            [],
            "configuration.output_types is a list of 0, expected a list out of 'mean', 'quantiles', 'samples'",
        ),
        (
            ["mean", "quantile"],
            "configuration.output_types[1] is 'quantile', expected a list out of 'mean', 'quantiles', 'samples'; "
            "did you mean 'quantiles'?",
        ),
        (
            [3],
            "configuration.output_types[0] is 3, expected a list out of 'mean', 'quantiles', 'samples'",
        ),
        (
            [[0]],
            "configuration.output_types[0] is a list of 1, expected a list out of 'mean', 'quantiles', 'samples'",
        ),
    ],
)
def test_other_output_types_are_refused(value, sentence):
    with pytest.raises(RequestError) as caught:
        parse({"output_types": value})
    assert str(caught.value) == sentence


def test_quantiles_keep_the_text_that_was_sent():
    found = parse({"quantiles": ["0.50", 0.5, ".9", "p90", 0.1, "1e-2", "0.50"]}).quantiles
    assert found == (
        ("0.50", 0.5),
        ("0.5", 0.5),
        (".9", 0.9),
        ("p90", 0.9),
        ("0.1", 0.1),
        ("1e-2", 0.01),
    )
    assert parse({"quantiles": []}).quantiles == ()


@pytest.mark.parametrize(
    "value", ["1.5", 1.5, "mean", 0, 1, "0", "1.0", -0.1, None, [], "", "nan", float("nan"), True]
)
def test_other_quantiles_are_refused(value):
    with pytest.raises(RequestError) as caught:
        parse({"quantiles": ["0.5", value]})
    assert str(caught.value).startswith("configuration.quantiles[1] is ")
    assert str(caught.value).endswith(", expected a level between 0 and 1 such as '0.5'")


def test_quantiles_are_a_list_with_an_end():
    with pytest.raises(
        RequestError, match=r"quantiles is '0.5', expected a list of at most 1000 levels$"
    ):
        parse({"quantiles": "0.5"})
    with pytest.raises(
        RequestError, match=r"quantiles is a list of 1001, expected a list of at most 1000 levels$"
    ):
        parse({"quantiles": [0.5] * 1001})


def test_frequencies_have_one_spelling():
    assert {parse({"freq": text}).freq for text in ("H", "h", "1h", "1H")} == {"h"}
    with pytest.raises(
        RequestError, match=r"^configuration\.freq is 'X', which is no pandas period; expected "
    ):
        parse({"freq": "X"})
    with pytest.raises(
        RequestError, match=r"^configuration\.freq is 3, expected a text such as 'h' or 'D'$"
    ):
        parse({"freq": 3})


def test_other_keys_are_ignored_unless_a_forecaster_is_named():
    assert parse({"epochs": "400", "time_freq": "H"}) == parse({})


def test_with_a_forecaster_the_other_keys_are_its_parameters():
    found = parse(
        {
            "forecaster_name": "a.B",
            "value": 1,
            "freq": "D",
            "prediction_length": 7,
            "num_samples": 3,
        }
    )
    assert found == Configuration(
        num_samples=3, freq="D", forecaster="a.B", parameters='{"prediction_length": 7, "value": 1}'
    )
    assert parse({"value": 1}, "a.B") == parse({"forecaster_name": "a.B", "value": 1})
    assert hash(found) == hash(found)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "prediction_length",
            10_001,
            "configuration.prediction_length is 10001, expected at most 10000",
        ),
        (
            "prediction_length",
            float("nan"),
            "configuration.prediction_length is nan, expected at most 10000",
        ),
        (
            "season_length",
            1_000_001,
            "configuration.season_length is 1000001, expected at most 1000000",
        ),
        ("season_length", 1e300, "configuration.season_length is 1e+300, expected at most 1000000"),
        ("method", "x" * 1001, "configuration.method has 1001 characters, expected at most 1000"),
        (
            "value",
            [{"__kind__": "instance"}],
            "configuration.value is a list of 1, expected plain JSON values, without the key '__kind__'",
        ),
        (
            "value",
            [[[[[[[[[]]]]]]]]],
            "configuration.value is a list of 1, expected at most 8 levels of lists and objects",
        ),
        (
            "value",
            [0] * 100_000,
            "configuration.value is a list of 100000, expected at most 100000 values",
        ),
        ("forecaster_name", 5, "configuration.forecaster_name is 5, expected a class path"),
    ],
)
def test_parameters_have_bounds(key, value, sentence):
    with pytest.raises(RequestError) as caught:
        parse({"forecaster_name": "a.B", key: value})
    assert str(caught.value) == sentence
