"""Instances become data entries, or the sentence that names instance, field, what was found and what was expected."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.fields import moment
from gluonts_shell.forecasting.data.frequency import period_alias
from gluonts_shell.forecasting.data.instances import Reader, _tell_ignored

NONE = Features((), 0, 0, 0)
ANY = Features()
FULL = Features(static_cat=(3, 2), static_real=1, dynamic_real=2, past_dynamic_real=1)
START = "2020-01-01 00:00:00"


def read(instance, features=NONE, freq="h", length=3, pads=False):
    (entry,) = Reader(length, features, pads).read([instance], freq)[0]
    return entry


def refused(instance, features=NONE, freq="h", length=3):
    with pytest.raises(RequestError) as caught:
        read(instance, features, freq, length)
    return str(caught.value)


def full(**changes):
    instance = {
        "start": START,
        "target": [1, 2],
        "cat": [2, 0],
        "feat_static_real": [0.5],
        "dynamic_feat": [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1.5]],
        "past_feat_dynamic_real": [[7, 8]],
    }
    return {name: value for name, value in {**instance, **changes}.items() if value is not None}


def test_large_values_are_taken_without_a_word(recwarn):
    found = read({"start": START, "target": [3e38, -3e38]})["target"]
    assert np.allclose(found, [3e38, -3e38])
    assert not recwarn.list


def test_missing_values_have_three_spellings():
    entry = read({"start": START, "target": [1, 2.5, None, "NaN", math.nan, "nan", "NAN"]})
    assert entry["target"].dtype == np.float32
    np.testing.assert_array_equal(entry["target"], [1, 2.5] + [np.nan] * 5)
    assert entry["start"] == pd.Period(START, "h")
    assert entry["item_id"] is None


def test_lengths_and_order_are_those_of_the_instances():
    instances = [{"start": START, "target": [1] * n, "item_id": n} for n in (3, 0, 2)]
    entries, lengths = Reader(3, NONE, False).read(instances, "h")
    assert lengths == [3, 0, 2]
    assert [entry["item_id"] for entry in entries] == ["3", "0", "2"]
    assert Reader(3, NONE, False).read([], "h") == ([], [])


@pytest.mark.parametrize(
    ("text", "freq", "period"),
    [
        ("2009-11-01 00:00:00", "h", "2009-11-01 00:00"),
        ("2009-11-01T05:00:00", "h", "2009-11-01 05:00"),
        ("2012-01-30", "D", "2012-01-30"),
        ("2012-01-30 10:30", "30min", "2012-01-30 10:30"),
        ("2012-01-30 10:30:15.123456789", "s", "2012-01-30 10:30:15"),
        ("2012-01", "M", "2012-01"),
        ("1969-07-20", "W", "1969-07-20"),
        ("2012-01-30", "2h", "2012-01-30 00:00"),
    ],
)
def test_starts(text, freq, period):
    found = read({"start": text, "target": []}, freq=freq)["start"]
    assert found == pd.Period(period, freq)
    assert found.freqstr == pd.Period(period, freq).freqstr


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (5, "start is 5, expected a text 'YYYY-MM-DD HH:MM:SS'"),
        (None, "start is null, expected a text 'YYYY-MM-DD HH:MM:SS'"),
        ("x" * 100, "expected a text 'YYYY-MM-DD HH:MM:SS'"),
        ("not a date", "start is 'not a date', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("2020", "start is '2020', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("now", "start is 'now', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("\uff12020-01-01", "start is '\uff12020-01-01', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("2020-02-30", "start is '2020-02-30', which is no date and time: "),
        (
            "1500-01-01",
            "start is '1500-01-01', which is no date and time: its year is not from 1678 to 2261",
        ),
        (
            "2020-01-01 24:00:00",
            "start is '2020-01-01 24:00:00', which is no date and time: hour must be in 0..23",
        ),
    ],
)
def test_bad_starts(value, sentence):
    assert sentence in refused({"start": value, "target": []})


@pytest.mark.parametrize("zone", ["Z", "+02:00", "-0500", " UTC", "+01"])
def test_zoned_starts_are_refused(zone):
    text = "2020-01-01T00:00:00" + zone
    assert refused({"start": text, "target": []}) == (
        f"instance 0: start is {text!r}, which has a time zone; expected 'YYYY-MM-DD HH:MM:SS' without one"
    )


@pytest.mark.parametrize(
    ("instance", "sentence"),
    [
        ({"target": []}, "instance 0: start is missing, expected 'YYYY-MM-DD HH:MM:SS'"),
        ({"start": START}, "instance 0: target is missing, expected a list of numbers (empty where there is no history)"),
        ({"start": START, "target": 5}, "instance 0: target is 5, expected a list of numbers"),
        ({"start": START, "target": "1,2"}, "instance 0: target is '1,2', expected a list of numbers"),
        ({"start": START, "target": [[1, 2], [3, 4]]},
         "instance 0: target is a list of 2 lists, expected one list of numbers: the model forecasts one dimension"),
        ({"start": START, "target": [1, [2]]},
         "instance 0: target[1] is a list, expected a number as the values before it"),
        ({"start": START, "target": [1, "2"]}, 'instance 0: target[1] is \'2\', expected a number, null or "NaN"'),
        ({"start": START, "target": [1, True]}, 'instance 0: target[1] is True, expected a number, null or "NaN"'),
        ({"start": START, "target": [{}]}, 'instance 0: target[0] is an object of 0, expected a number, null or "NaN"'),
        ({"start": START, "target": [0, math.inf]},
         "instance 0: target[1] is inf, expected a finite number of at most 3.4e+38"),
        ({"start": START, "target": [-1e39]}, "instance 0: target[0] is -1e+39, expected a finite number of at most 3.4e+38"),
        ({"start": START, "target": [], "item_id": "SKU-7"} | {"start": 1},
         "instance 0 (item_id 'SKU-7'): start is 1, expected a text 'YYYY-MM-DD HH:MM:SS'"),
        ({"start": 1, "target": [], "item_id": "\ud800" + "x" * 500}, "instance 0 (item_id '\\ud800xxx"),
        ({"start": START, "Target": [1]},
         "instance 0: target is missing, expected a list of numbers (empty where there is no history); "
         "did you mean 'target', not 'Target'?"),
        ({"start_date": START, "target": [1]},
         "instance 0: start is missing, expected 'YYYY-MM-DD HH:MM:SS'; did you mean 'start', not 'start_date'?"),
        (5, "instance 0: it is 5, expected an object with 'start' and 'target'"),
        ('{"start": 1}', "instance 0: it is '{\"start\": 1}', expected an object with 'start' and 'target'"),
        (None, "instance 0: it is null, expected an object with 'start' and 'target'"),
    ],
)  # fmt: skip
def test_bad_instances(instance, sentence):
    found = refused(instance)
    assert found.startswith(sentence)
    assert len(found) < 300


def test_integers_beyond_floats_are_refused():
    sentence = refused({"start": START, "target": [1, 10**400]})
    assert sentence.startswith("instance 0: target[1] is 1000")
    assert len(sentence) < 200


def test_the_index_is_that_of_the_bad_instance():
    good = {"start": START, "target": [1]}
    with pytest.raises(RequestError, match=r"^instance 2: target\[0\] is 'x', expected"):
        Reader(3, NONE, False).read([good, good, {"start": START, "target": ["x"]}], "h")


def test_features_reach_the_model_under_gluonts_names():
    entry = read(full(), FULL)
    np.testing.assert_array_equal(entry["feat_static_cat"], [2, 0])
    assert entry["feat_static_cat"].dtype == np.int64
    np.testing.assert_array_equal(entry["feat_static_real"], np.float32([0.5]))
    np.testing.assert_array_equal(
        entry["feat_dynamic_real"], np.float32([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1.5]])
    )
    np.testing.assert_array_equal(entry["past_feat_dynamic_real"], np.float32([[7, 8]]))
    renamed = full(
        cat=None,
        feat_static_cat=[2, 0],
        dynamic_feat=None,
        feat_dynamic_real=full()["dynamic_feat"],
    )
    for name, value in read(renamed, FULL).items():
        np.testing.assert_array_equal(value, entry[name])


def test_features_that_the_model_was_not_trained_with_are_ignored():
    entry = read(full(cat="nonsense", dynamic_feat=5, unknown=[]), NONE)
    assert set(entry) == {"start", "target", "item_id"}


def test_a_model_that_tells_nothing_gets_what_was_sent():
    assert set(read({"start": START, "target": [1]}, ANY)) == {"start", "target", "item_id"}
    assert read(full(), ANY)["feat_dynamic_real"].shape == (2, 5)
    assert refused(full(dynamic_feat=[[1, 2]]), ANY).endswith(
        "has 2 values, expected 5 = len(target) 2 + prediction_length 3"
    )


def test_a_bare_category_is_a_list_of_one():
    one = Features((4,), 0, 0, 0)
    for value in (3, [3], 3.0):
        np.testing.assert_array_equal(
            read({"start": START, "target": [], "cat": value}, one)["feat_static_cat"], [3]
        )


def test_labels_stand_for_their_index():
    features = Features((2, 3), 0, 0, 0, labels=(None, ("blue", "7", "red")))
    np.testing.assert_array_equal(read(full(cat=[1, "red"]), features)["feat_static_cat"], [1, 2])
    np.testing.assert_array_equal(read(full(cat=[0, 7]), features)["feat_static_cat"], [0, 1])
    assert refused(full(cat=[0, "green"]), features) == (
        "instance 0: cat[1] is 'green', which the model was not trained with "
        "(series too short to train do not count); it knows 'blue', '7', 'red'"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cat": None}, "cat (or feat_static_cat) is missing, expected 2 categories: the model was trained with it"),
        ({"cat": None, "cats": [2, 0]},
         "cat (or feat_static_cat) is missing, expected 2 categories: the model was trained with it; "
         "did you mean 'cat', not 'cats'?"),
        ({"cat": None, "featStaticCat": [2, 0]},
         "cat (or feat_static_cat) is missing, expected 2 categories: the model was trained with it; "
         "did you mean 'feat_static_cat', not 'featStaticCat'?"),
        ({"dynamic_feat": None, "past_feat_dynamic_cat": [[1, 2]]},
         "dynamic_feat (or feat_dynamic_real) is missing, expected 2 features: the model was trained with it"),
        ({"cat": [1]}, "cat has 1 category, expected 2"),
        ({"cat": 1}, "cat has 1 category, expected 2"),
        ({"cat": [3, 0]}, "cat[0] is 3, expected a whole number from 0 to 2"),
        ({"cat": [0, -1]}, "cat[1] is -1, expected a whole number from 0 to 1"),
        ({"cat": [0, "1"]}, "cat[1] is '1', expected a whole number from 0 to 1"),
        ({"cat": [0, True]}, "cat[1] is True, expected a whole number from 0 to 1"),
        ({"cat": [0.5, 0]}, "cat[0] is 0.5, expected a whole number from 0 to 2"),
        ({"feat_static_cat": [0, 0]}, "it has both cat and feat_static_cat, which are the same; expected one of them"),
        ({"feat_static_real": None}, "feat_static_real is missing, expected 1 number: the model was trained with it"),
        ({"feat_static_real": [1, 2]}, "feat_static_real has 2 numbers, expected 1"),
        ({"feat_static_real": 1}, "feat_static_real is 1, expected a list of numbers"),
        ({"feat_static_real": ["a"]}, "feat_static_real[0] is 'a', expected a number (none may be missing)"),
        ({"dynamic_feat": None},
         "dynamic_feat (or feat_dynamic_real) is missing, expected 2 features: the model was trained with it"),
        ({"dynamic_feat": [[1, 2, 3, 4, 5]]}, "dynamic_feat has 1 feature, expected 2"),
        ({"dynamic_feat": 3}, "dynamic_feat is 3, expected a list of lists of numbers"),
        ({"dynamic_feat": [1, 2]}, "dynamic_feat[0] is 1, expected a list of 5 numbers"),
        ({"dynamic_feat": [[1, 2, 3, 4, 5], [1]]},
         "dynamic_feat[1] has 1 value, expected 5 = len(target) 2 + prediction_length 3"),
        ({"dynamic_feat": [[1, 2, 3, 4, 5], [1, 2, None, 4, 5]]},
         "dynamic_feat[1][2] is null, expected a number (none may be missing)"),
        ({"dynamic_feat": [[1, 2, 3, 4, math.nan], [1, 2, 3, 4, 5]]},
         "dynamic_feat[0][4] is nan, expected a number (none may be missing)"),
        ({"past_feat_dynamic_real": [[1, 2, 3]]}, "past_feat_dynamic_real[0] has 3 values, expected len(target) 2"),
    ],
)  # fmt: skip
def test_bad_features(changes, sentence):
    assert (
        refused(full(**changes, item_id="SKU-7"), FULL)
        == f"instance 0 (item_id 'SKU-7'): {sentence}"
    )


def test_a_configuration_inside_an_instance_is_told_of_once(caplog):
    caplog.set_level("INFO")
    _tell_ignored.cache_clear()
    for _ in range(2):
        read({"start": START, "target": [1], "configuration": {"num_samples": 3}})
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == (
        "an instance has a field 'configuration', which is ignored: it belongs beside the instances (told once)"
    )


def test_the_sentence_of_the_contract():
    features = Features((), 0, 2, 0)
    good = {"start": START, "target": [1.0] * 100, "dynamic_feat": [[1.0] * 124] * 2}
    bad = {**good, "item_id": "SKU-7", "dynamic_feat": [[1.0] * 124, [1.0] * 100]}
    with pytest.raises(RequestError) as caught:
        Reader(24, features, False).read([good, good, good, bad], "h")
    assert str(caught.value) == (
        "instance 3 (item_id 'SKU-7'): dynamic_feat[1] has 100 values, "
        "expected 124 = len(target) 100 + prediction_length 24"
    )


def test_a_cold_start_is_one_missing_value_just_before_start():
    features = Features((), 0, 1, 1)
    instance = {
        "start": START,
        "target": [],
        "dynamic_feat": [[1, 2, 3]],
        "past_feat_dynamic_real": [[]],
    }
    entry = read(instance, features, pads=True)
    assert entry["start"] == pd.Period("2019-12-31 23:00", "h")
    np.testing.assert_array_equal(entry["target"], [np.nan])
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [[1, 1, 2, 3]])
    assert entry["past_feat_dynamic_real"].shape == (1, 1)
    entry = read(instance, features, pads=False)
    assert (entry["start"], entry["target"].shape) == (pd.Period(START, "h"), (0,))


@pytest.mark.parametrize(
    ("text", "freq", "period"),
    [
        ("2001Q1", "Q-DEC", "2001Q1"),
        ("2001Q4", "Q-JAN", "2001Q4"),
        ("2001Q3", "2Q", "2001Q3"),
        ("2001-01-01/2001-01-07", "W-SUN", "2001-01-01"),
        ("2001-01-02/2001-01-08", "W-MON", "2001-01-02"),
        ("2001-01-01/2001-01-14", "2W", "2001-01-01"),
        ("2001", "Y-DEC", "2001"),
        ("2001", "Y-MAR", "2001"),
    ],
)
def test_starts_as_gluonts_writes_periods(text, freq, period):
    alias = period_alias(freq)
    assert read({"start": text, "target": []}, freq=alias)["start"] == pd.Period(period, alias)


@pytest.mark.parametrize(
    ("year", "freq"), [(1999, "Q"), (2004, "Q-FEB"), (2001, "W"), (2003, "W-THU"), (1700, "Y")]
)
def test_whatever_gluonts_writes_for_a_period_is_read_as_that_period(year, freq):
    alias = period_alias(freq)
    for offset in range(8):
        period = pd.Period(f"{year}-05-17", alias) + offset
        assert read({"start": str(period), "target": []}, freq=alias)["start"] == period


@pytest.mark.parametrize(
    ("text", "freq", "sentence"),
    [
        ("2001Q1", "D", "start is '2001Q1', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("2001Q5", "Q-DEC", "start is '2001Q5', expected 'YYYY-MM-DD HH:MM:SS'"),
        ("1500Q1", "Q-DEC", "start is '1500Q1', expected 'YYYY-MM-DD HH:MM:SS'"),
        (
            "2001-01-02/2001-01-08",
            "W-SUN",
            "expected a period of 'W-SUN', such as '2001-01-01/2001-01-07'",
        ),
        (
            "2001-02-30/2001-03-08",
            "W-SUN",
            "start is '2001-02-30/2001-03-08', which is no period: ",
        ),
    ],
)
def test_periods_of_another_frequency_are_no_start(text, freq, sentence):
    assert sentence in refused({"start": text, "target": []}, freq=freq)


TWO = Features((), 0, 0, 0, dimensions=2)


def test_a_target_of_several_dimensions_has_a_list_for_each():
    entry = read({"start": START, "target": [[1, 2, None], [4, "NaN", 6]]}, TWO)
    assert entry["target"].dtype == np.float32
    np.testing.assert_array_equal(entry["target"], [[1, 2, math.nan], [4, math.nan, 6]])
    assert Reader(3, TWO, False).read([{"start": START, "target": [[1], [2]]}], "h")[1] == [1]


def test_one_list_in_a_list_is_one_dimension():
    np.testing.assert_array_equal(read({"start": START, "target": [[1, 2]]})["target"], [1, 2])


def test_a_cold_start_of_several_dimensions_is_a_missing_value_in_each():
    for target in ([], [[], []]):
        entry = read({"start": START, "target": target}, TWO, pads=True)
        assert entry["start"] == pd.Period("2019-12-31 23:00", "h")
        np.testing.assert_array_equal(entry["target"], [[math.nan], [math.nan]])


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            [1, 2],
            "target is one list of numbers, expected a list of 2 lists of numbers: the model forecasts 2 dimensions",
        ),
        ([[1, 2]], "target is a list of 1 list, expected a list of 2 lists of numbers"),
        ([[1], [2], [3]], "target is a list of 3 lists, expected a list of 2 lists of numbers"),
        (
            [[1, 2], [3]],
            "target[1] has 1 values, target[0] has 2; expected as many in each dimension",
        ),
        ([[1, 2], 3], "target[1] is 3, expected a list of numbers as target[0] is"),
        ([[1, 2], [3, "x"]], "target[1][1] is 'x', expected a number, null or \"NaN\""),
        ([[1, 2], [3, [4]]], "target[1][1] is a list, expected a number as the values before it"),
        (None, "target is missing, expected a list of 2 lists of numbers"),
    ],
)
def test_bad_targets_of_several_dimensions(target, sentence):
    assert sentence in refused({"start": START, "target": target}, TWO)


def test_flags_are_numbers_where_they_are_features():
    entry = read(
        full(dynamic_feat=[[True, False, True, 1, 0], [0.5] * 5], feat_static_real=[True]), FULL
    )
    np.testing.assert_array_equal(entry["feat_dynamic_real"][0], [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(entry["feat_static_real"], [1])


def test_an_empty_list_is_no_features():
    assert set(read(full(dynamic_feat=[], cat=[], feat_static_real=[]), ANY)) == {
        "start",
        "target",
        "item_id",
        "past_feat_dynamic_real",
    }
    assert "dynamic_feat (or feat_dynamic_real) is missing, expected 2 features" in refused(
        full(dynamic_feat=[]), FULL
    )


CHANGING = Features((), 0, 0, 0, dynamic_cat=(3,), past_dynamic_cat=(2, 2))


def changing(**changes):
    fields = {"feat_dynamic_cat": [[0, 1, 2, 0, 1]], "past_feat_dynamic_cat": [[0, 1], [1, 0]]}
    return {"start": START, "target": [1, 2], **fields, **changes}


def test_categories_may_change_with_time():
    entry = read(changing(), CHANGING)
    assert entry["feat_dynamic_cat"].dtype == entry["past_feat_dynamic_cat"].dtype == np.int64
    np.testing.assert_array_equal(entry["feat_dynamic_cat"], [[0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(entry["past_feat_dynamic_cat"], [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"feat_dynamic_cat": [[0, 1, 3, 0, 1]]},
            "feat_dynamic_cat[0][2] is 3, expected a whole number from 0 to 2",
        ),
        (
            {"feat_dynamic_cat": [[0, 1]]},
            "feat_dynamic_cat[0] has 2 values, expected 5 = len(target) 2",
        ),
        (
            {"feat_dynamic_cat": None},
            "feat_dynamic_cat is missing, expected 1 feature: the model was trained with it",
        ),
        ({"past_feat_dynamic_cat": [[0, 1]]}, "past_feat_dynamic_cat has 1 feature, expected 2"),
    ],
)
def test_bad_categories_that_change_with_time(changes, sentence):
    assert sentence in refused(changing(**changes), CHANGING)


def test_features_cover_the_lead_time_too():
    wanted = Features((), 0, 1, 1, lead_time=2)
    instance = {
        "start": START,
        "target": [1, 2],
        "dynamic_feat": [[0] * 7],
        "past_feat_dynamic_real": [[0, 0]],
    }
    assert read(instance, wanted)["feat_dynamic_real"].shape == (1, 7)
    assert refused({**instance, "dynamic_feat": [[0] * 5]}, wanted).endswith(
        "has 5 values, expected 7 = len(target) 2 + lead_time 2 + prediction_length 3"
    )


def test_fields_of_ones_own_reach_a_class_of_ones_own_as_they_came():
    given = full(capacity=[1, "x"], info={"note": None})
    entry = read(given, Features((), 0, 0, 0, own=True))
    assert set(entry) == {"start", "target", "item_id", "capacity", "info"}
    assert (entry["capacity"], entry["info"]) == ([1, "x"], {"note": None})


def test_fields_of_ones_own_are_bounded():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    for value in ([0] * 100_001, deep, "x" * 20_000_000):
        sentence = refused({"start": START, "target": [], "capacity": value}, Features(own=True))
        assert (
            sentence
            == "instance 0: its own fields (capacity) hold more than 100000 values, expected at most that"
        )


def test_half_a_surrogate_pair_in_an_item_id_becomes_text_that_can_be_written():
    assert (
        read({"start": START, "target": [], "item_id": "caf\u00e9 \ud800"})["item_id"]
        == "caf\u00e9 \\ud800"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
instances = st.fixed_dictionaries(
    {},
    optional={
        "start": json_values | st.just(START),
        "target": json_values
        | st.lists(st.none() | st.floats() | st.integers() | st.just("NaN"), max_size=5),
        "item_id": json_values,
        "cat": json_values | st.lists(st.integers(-1, 3), max_size=3),
        "feat_static_real": json_values,
        "dynamic_feat": json_values | st.lists(st.lists(st.floats(), max_size=6), max_size=3),
        "past_feat_dynamic_real": json_values,
    },
)


@given(json_values | instances, st.sampled_from([NONE, ANY, FULL]), st.booleans())
def test_whatever_is_sent_is_an_entry_or_a_sentence(instance, features, pads):
    try:
        entry = read(instance, features, pads=pads)
    except RequestError as error:
        assert str(error).startswith("instance 0")
        assert len(str(error)) < 2000
    else:
        assert not np.isinf(entry["target"]).any()
        assert len(entry["target"]) or not pads


@pytest.mark.parametrize(
    ("freq", "start", "steps", "expected"),
    [
        ("h", "2024-01-01 01:00:00", 9, "2024-01-01T10:00:00"),
        ("h", "2024-01-01T00:30:00", 10, "2024-01-01T10:30:00"),
        ("15min", "2024-01-01 00:05", 3, "2024-01-01T00:50:00"),
        ("D", "2024-02-28", 2, "2024-03-01T00:00:00"),
        ("D", "2024-02-28 06:00:00", 2, "2024-03-01T06:00:00"),
        ("B", "2024-03-01", 1, "2024-03-04T00:00:00"),
        ("W-SUN", "2024-01-07", 2, "2024-01-21T00:00:00"),
        ("W-SUN", "2024-01-01", 2, "2024-01-15T00:00:00"),
        ("W-SUN", "2024-01-03", 2, "2024-01-17T00:00:00"),
        ("M", "2024-01-01", 1, "2024-02-01T00:00:00"),
        ("M", "2024-01-31", 1, "2024-02-29T00:00:00"),
        ("M", "2024-02-29", 1, "2024-03-31T00:00:00"),
        ("M", "2024-01-30", 1, "2024-02-29T00:00:00"),
        ("Q-DEC", "2024-03-31", 1, "2024-06-30T00:00:00"),
        ("Y-DEC", "2023", 1, "2024-01-01T00:00:00"),
        ("W-SUN", "2024-01-01/2024-01-07", 1, "2024-01-08T00:00:00"),
        ("Y-DEC", "1970-01-01", 400, "2370"),
        ("D", "2024-02", 1, "2024-02-02T00:00:00"),
        ("2h", "2024-01-01 01:00:00", 3, "2024-01-01T07:00:00"),
        ("2W-SUN", "2024-01-07", 1, "2024-01-21T00:00:00"),
        ("s", "2024-01-01 00:00:00.250000", 1, "2024-01-01T00:00:01.250000"),
    ],
)
def test_a_forecast_is_dated_as_its_series_is(freq, start, steps, expected):
    period = pd.Period(start.partition("/")[0], freq=freq) + steps
    assert moment(start, period, freq) == expected


def test_an_item_id_that_is_nested_too_deeply_is_the_clients_to_mend():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert refused({"start": START, "target": [1], "item_id": nested}).endswith(
        "item_id is nested too deeply, expected a text"
    )
