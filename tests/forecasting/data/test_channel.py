import cProfile
import json
import logging

import numpy as np
import pandas as pd
import pytest

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Channel


@pytest.fixture
def channel(tmp_path):
    """Writes series as JSON Lines, one file for each positional argument, and returns the channel `train`."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)

    def make(*files, freq="D", **options):
        for number, series in enumerate(files):
            lines = [row if isinstance(row, str) else json.dumps(row) for row in series]
            (folder / f"part-000{number}.jsonl").write_text("\n".join(lines))
        return Channel("train", folder, freq, **options)

    return make


def series(length=3, **fields):
    return {"start": "2020-01-01", "target": list(range(length)), **fields}


def test_series_become_entries_of_gluonts(channel):
    data = channel(
        [series(item_id="a"), {"start": "2020-01-31 05:00:00", "target": [1, None, "NaN", 2.5]}],
        freq="M",
    ).read()
    first, second = data
    assert first["item_id"] == "a"
    assert second["item_id"] == "part-0000.jsonl:2"
    assert second["start"] == pd.Period("2020-01", freq="M")
    assert second["target"].dtype == np.float32
    np.testing.assert_array_equal(second["target"], [1, np.nan, np.nan, 2.5])


def test_a_bare_nan_in_a_line_is_a_missing_value(channel):
    (entry,) = channel(['{"start": "2020-01-01", "target": [1, NaN, 3]}']).read()
    np.testing.assert_array_equal(entry["target"], [1, np.nan, 3])


def test_the_names_of_deepar_become_those_of_gluonts(channel):
    (entry,) = channel([series(cat=[1, 0], dynamic_feat=[[1, 2, 3], [4, 5, 6]])]).read()
    np.testing.assert_array_equal(entry["feat_static_cat"], [1, 0])
    np.testing.assert_array_equal(entry["feat_dynamic_real"], [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("hold", [True, False, None])
def test_a_data_set_is_sized_and_read_again_and_again(channel, hold):
    data = channel([series(2), series(3)], [series(4)]).read(hold)
    assert len(data) == 3
    assert [len(entry["target"]) for entry in data] == [2, 3, 4]
    assert [len(entry["target"]) for entry in data] == [2, 3, 4]
    assert (data.held is None) is (hold is False)


def test_statistics_are_those_that_deepar_logs(channel):
    rows = [series(4), {"start": "2020-01-01", "target": [None, -10, 3]}]
    assert list(channel([*rows]).read().statistics.lines()) == [
        "Integer time series",
        "number of time series: 2",
        "number of observations: 6",
        "mean target length: 3.5",
        "min/mean/max target: -10.0/-0.16666666666666666/3.0",
        "mean abs(target): 3.1666666666666665",
        "contains missing values: yes",
    ]
    assert (
        next(
            channel([series(1), {"start": "2020-01-01", "target": [0.5]}]).read().statistics.lines()
        )
        == "Real time series"
    )


def test_a_channel_of_missing_values_alone_has_statistics_too(channel):
    lines = list(channel([{"start": "2020-01-01", "target": [None]}]).read().statistics.lines())
    assert "number of observations: 0" in lines
    assert not any("nan" in line or "inf" in line for line in lines)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"target": [1]}, "field 'start': start is missing, expected 'YYYY-MM-DD HH:MM:SS'"),
        ({"start": "2020-01-01"}, "field 'target': target is missing, expected a list of numbers"),
        (
            series(item_id="SKU-7", start="yesterday"),
            "field 'start': start is 'yesterday', expected 'YYYY-MM-DD HH:MM:SS'",
        ),
        (
            series(item_id="SKU-7", target=[1, "null"]),
            "field 'target': target[1] is 'null', expected a number, null or \"NaN\"",
        ),
        (
            series(item_id="SKU-7", target=[[1], [2]]),
            "field 'target': target is a list of 2 lists, expected one list of numbers",
        ),
        (
            series(item_id="SKU-7", target=7),
            "field 'target': target is 7, expected a list of numbers",
        ),
        (
            series(item_id="SKU-7", cat=[-1]),
            "field 'cat': cat[0] is -1, expected a whole number from 0 to 2147483647, or text",
        ),
        (
            series(item_id="SKU-7", feat_static_cat=[0.5]),
            "field 'feat_static_cat': feat_static_cat[0] is 0.5, expected a whole number",
        ),
        (
            series(item_id="SKU-7", dynamic_feat=[[1, 2]]),
            "field 'dynamic_feat': dynamic_feat[0] has 2 values, expected len(target) 3",
        ),
        (
            series(item_id="SKU-7", dynamic_feat=[[1, None, 2]]),
            "field 'dynamic_feat': dynamic_feat[0][1] is null, expected a number",
        ),
        (
            series(item_id="SKU-7", feat_static_real="x"),
            "field 'feat_static_real': feat_static_real is 'x', expected a list of numbers",
        ),
        ([1, 2], "it is a list of 2, expected an object with 'start' and 'target'"),
    ],
)
@pytest.mark.parametrize("hold", [True, False])
def test_a_series_that_is_wrong_is_named_by_file_line_item_and_field(channel, row, fault, hold):
    read = channel([series()], [series(), "", row]).read
    item = " (item_id 'SKU-7')" if isinstance(row, dict) and "item_id" in row else ""
    with pytest.raises(DataError) as caught:
        read(hold)
    assert str(caught.value).startswith(f"train/part-0001.jsonl line 3{item}: {fault}")


def test_a_line_that_is_no_json_is_named(channel):
    with pytest.raises(DataError, match=r"^train/part-0000.jsonl line 2: this is not JSON: "):
        channel([series(), "{"]).read()


def test_a_series_with_a_start_beyond_what_pandas_knows_is_named(channel):
    with pytest.raises(
        DataError,
        match=r"^train/part-0000.jsonl line 1: field 'start': start is '0000-01-01', which is no date",
    ):
        channel([series(start="0000-01-01")]).read()


def test_short_series_are_left_out_with_a_warning_that_counts_them(channel, caplog):
    caplog.set_level(logging.WARNING)
    for hold in (True, False):
        data = channel([series(2), series(5), series(3)], shortest=3).read(hold)
        assert [len(entry["target"]) for entry in data] == [5, 3]
        assert len(data) == 2
    assert (
        caplog.messages
        == ["channel 'train': 1 of 3 series have fewer than 3 values and are left out"] * 2
    )


def test_where_no_series_is_long_enough_the_longest_is_told(channel):
    with pytest.raises(DataError) as caught:
        channel([series(2), series(5)], shortest=6).read()
    assert str(caught.value) == (
        "channel 'train': no series is long enough: the longest has 5 values, and at least 6 are needed"
    )


def test_a_channel_of_blank_lines_holds_no_series(channel):
    with pytest.raises(DataError, match=r"^channel 'train': its files hold no series$"):
        channel(["", " ", ""]).read()


@pytest.mark.parametrize("hold", [True, False])
def test_categories_that_are_text_get_numbers_in_the_order_of_the_alphabet(channel, hold):
    rows = [
        series(cat=["pear", 3]),
        series(cat=["apple", 1]),
        series(cat=["pear", 0]),
        series(cat=["fig", 2]),
    ]
    data = channel(rows).read(hold)
    assert data.statistics.labels == (("apple", "fig", "pear"), None)
    assert [list(entry["feat_static_cat"]) for entry in data] == [[2, 3], [0, 1], [2, 0], [1, 2]]
    assert data.statistics.categories == [{0, 1, 2}, {0, 1, 2, 3}]


def test_one_category_may_be_given_bare(channel):
    data = channel([series(cat="b"), series(cat="a")]).read()
    assert [list(entry["feat_static_cat"]) for entry in data] == [[1], [0]]


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_column_of_numbers_and_texts_is_one_of_texts_in_any_order(channel, hold, order):
    rows = [series(cat=[0]), series(cat=["0"]), series(cat=["a"])]
    data = channel([rows[position] for position in order]).read(hold)
    assert data.statistics.labels == (("0", "a"),)
    expected = [[0], [0], [1]]
    assert [list(entry["feat_static_cat"]) for entry in data] == [
        expected[position] for position in order
    ]
    assert data.statistics.categories == [{0, 1}]


@pytest.mark.parametrize("hold", [True, False])
def test_a_label_that_only_a_short_series_has_does_not_count_and_is_told(channel, hold, caplog):
    data = channel([series(1, cat=["a"]), series(5, cat=["z"])], shortest=3).read(hold)
    assert data.statistics.labels == (("z",),)
    assert [list(entry["feat_static_cat"]) for entry in data] == [[0]]
    assert (
        "channel 'train': cat[0] is 'a' only in series that are left out; the model will not know it"
        in caplog.text
    )


@pytest.mark.parametrize("hold", [True, False])
def test_series_without_categories_stand_beside_series_that_have_some(channel, hold):
    data = channel([series(), series(cat=["b"])]).read(hold)
    assert ["feat_static_cat" in entry for entry in data] == [False, True]
    assert data.statistics.uneven["feat_static_cat"].endswith(
        "line 2: it has 1 feat_static_cat (or cat), the series before it have 0"
    )


def test_a_flag_is_no_category(channel):
    with pytest.raises(
        DataError, match=r"field 'cat': cat\[0\] is True, expected a whole number from 0 to"
    ):
        channel([series(cat=[True])]).read()


@pytest.mark.parametrize("hold", [True, False])
def test_targets_of_several_dimensions_are_read_as_they_come(channel, hold):
    rows = [series(target=[[1, 2, 3], [4, None, 6]]), series(target=[[1], [2]])]
    data = channel(rows, features=Features(dimensions=0)).read(hold)
    assert data.statistics.dimensions == data.channel.features.dimensions == 2
    first, second = data
    np.testing.assert_array_equal(first["target"], [[1, 2, 3], [4, np.nan, 6]])
    assert second["target"].shape == (2, 1)
    assert "mean target length: 2.0" in data.statistics.lines()
    assert "number of dimensions: 2" in data.statistics.lines()


def test_series_of_different_dimensions_are_named(channel):
    rows = [series(target=[[1, 2], [3, 4]]), series(target=[[1, 2], [3, 4], [5, 6]]), series()]
    with pytest.raises(DataError) as caught:
        channel(rows, features=Features(dimensions=0)).read()
    assert str(caught.value) == (
        "train/part-0000.jsonl line 2: its target has 3 dimensions, the series before it have 2"
    )


def test_short_series_of_several_dimensions_are_left_out_too(channel):
    rows = [series(target=[[1, 2, 3], [4, 5, 6]]), series(target=[[1], [2]])]
    for hold in (True, False):
        data = channel(rows, features=Features(dimensions=0), shortest=2).read(hold)
        assert [entry["target"].shape for entry in data] == [(2, 3)]


def test_fields_that_are_there_and_not_read_are_known(channel):
    wanted = Features(static_cat=(), static_real=0, dynamic_real=0, past_dynamic_real=0)
    data = channel(
        [series(cat=[1]), series(dynamic_feat=[[1]], colour="red")], features=wanted
    ).read()
    assert data.unread == ("cat", "dynamic_feat")


def test_what_looks_like_a_fill_value_is_told_with_its_place(channel, caplog):
    channel([series(item_id="a"), series(target=[1, 9.96921e36]), series(target=[-9999, 3])]).read()
    assert caplog.messages == [
        "channel 'train': the smallest value of 1 series is -9999, first in train/part-0000.jsonl line 3; "
        "where it stands for a missing value, null is expected",
        "channel 'train': the largest value of the data is 9.96921e+36 (train/part-0000.jsonl line 2); "
        "if it is a fill value, null is expected",
    ]


def test_forty_thousand_labels_take_time_in_proportion(channel):
    """Measured in calls, which do not depend on the machine: twice the labels, about twice the calls."""
    calls = []
    for count in (500, 1000):
        made = channel([series(cat=[f"label {number}"]) for number in range(count)])
        profile = cProfile.Profile()
        data = profile.runcall(made.read, False)
        profile.runcall(list, data)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[1] < 2.2 * calls[0]


def test_a_test_channel_is_read_with_the_labels_of_the_training(channel):
    wanted = Features(static_cat=(2,), labels=(("a", "b"),))
    (entry,) = channel([series(cat=["b"])], features=wanted).read()
    assert list(entry["feat_static_cat"]) == [1]
    with pytest.raises(
        DataError,
        match=r"line 1: field 'cat': cat\[0\] is 'c', which the model was not trained with \(.*\); it knows 'a', 'b'$",
    ):
        channel([series(cat=["c"])], features=wanted).read()


def test_features_that_the_model_does_not_use_are_not_read(channel):
    wanted = Features(static_cat=(), static_real=0, dynamic_real=0, past_dynamic_real=0)
    row = series(
        cat=["x"], dynamic_feat="whatever", feat_static_real=None, past_feat_dynamic_real=1
    )
    (entry,) = channel([row], features=wanted).read()
    assert sorted(entry) == ["item_id", "start", "target"]


def test_features_that_the_model_needs_are_missed_by_name(channel):
    with pytest.raises(
        DataError,
        match=r"^train/part-0000.jsonl line 1: field 'dynamic_feat': dynamic_feat \(or feat_dynamic_real\) is missing, expected 2 features",
    ):
        channel([series()], features=Features(dynamic_real=2)).read()


def test_series_with_other_counts_of_features_than_the_first_are_remembered(channel):
    data = channel([series(cat=[0]), series(cat=[0, 1])]).read()
    assert data.statistics.uneven == {
        "feat_static_cat": "train/part-0000.jsonl line 2: it has 2 feat_static_cat (or cat), the series before it have 1"
    }
