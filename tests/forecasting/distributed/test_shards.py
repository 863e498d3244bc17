"""Channels of which each host has read a share; the hosts are calls of a function."""

import json

import numpy as np
import pytest

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Channel
from gluonts_shell.forecasting.distributed import shards

EVERYTHING = Features(static_cat=None, dynamic_real=None, dynamic_cat=None, dimensions=0)


def one(*values, **fields):
    return {"start": "2024-01-01", "target": [float(value) for value in values], **fields}


@pytest.fixture
def hosts(tmp_path):
    """What each host has, from the series of each; `hold` as in Channel.read."""

    def read(*shares, hold=True, features=EVERYTHING):
        read = []
        for number, series in enumerate(shares):
            folder = tmp_path / str(number) / "data" / "train"
            folder.mkdir(parents=True)
            (folder / "data.json").write_text("\n".join(map(json.dumps, series)))
            read.append(Channel("train", folder, "D", features=features, shortest=2).read(hold))
        asked = [[] for _ in read]
        for said, data in zip(asked, read, strict=True):
            with pytest.raises(Said):
                shards.of_all(data, lambda value, said=said: say(value, said))
        unread = [list(data.unread) for data in read]
        return [
            shards.of_all(data, answers([[said[0] for said in asked], unread])) for data in read
        ]

    return read


class Said(Exception):
    pass


def say(value, said):
    said.append(json.loads(json.dumps(value)))
    raise Said


def answers(values):
    left = list(values)
    return lambda _: left.pop(0)


def test_statistics_are_those_of_all_series_and_the_series_those_of_the_host(hosts):
    first, second = hosts([one(1, 2, 3), one(9)], [one(-50, 5), one(4, 4.5)])
    assert (len(first), len(second)) == (1, 2)
    assert [len(list(first)), len(list(second))] == [1, 2]
    assert first.statistics == second.statistics
    whole = first.statistics
    assert (whole.series, whole.too_short, whole.observations) == (3, 1, 7)
    assert (whole.smallest, whole.largest, whole.integers) == (-50, 5, False)
    assert whole.largest_at.startswith("train/data.json line 1")
    assert whole.extreme.startswith("the smallest value of the data is -50")


def test_the_statistics_of_one_share_are_its_own(hosts, tmp_path):
    series = [one(1, 2, cat=[0], dynamic_feat=[[1, 2]]), one(3, 4, cat=[4], dynamic_feat=[[1, 2]])]
    (alone,) = hosts(series)
    read = Channel("train", tmp_path / "0" / "data" / "train", "D", features=EVERYTHING, shortest=2)
    assert alone.statistics == read.read(True).statistics


@pytest.mark.parametrize("hold", [True, False])
def test_texts_have_the_numbers_of_the_alphabet_of_all(hosts, hold):
    first, second, third = hosts(
        [one(1, 2, cat=["b", 1]), one(1, 2, cat=[7, 3])],
        [one(1, 2, cat=["c", 2]), one(5, 6, cat=["a", 2])],
        [one(1, 2, cat=[10, 9])],
        hold=hold,
    )
    assert first.statistics.labels == (("10", "7", "a", "b", "c"), None)
    assert third.channel.features.labels == first.statistics.labels
    assert first.statistics.categories == [{0, 1, 2, 3, 4}, {1, 2, 3, 9}]

    def categories(data):
        return [entry["feat_static_cat"].tolist() for entry in data]

    assert categories(first) == [[3, 1], [1, 3]]
    assert categories(second) == [[4, 2], [2, 2]]
    assert categories(third) == [[0, 9]]


def test_peaks_of_categories_over_time_are_the_highest(hosts):
    first, second = hosts(
        [one(1, 2, feat_dynamic_cat=[[0, 3]])], [one(1, 2, feat_dynamic_cat=[[7, 1]])]
    )
    assert first.statistics.peaks == second.statistics.peaks == {"feat_dynamic_cat": [7]}


def test_shares_with_other_features_are_uneven(hosts):
    first, second = hosts([one(1, 2, dynamic_feat=[[1, 2]])], [one(1, 2)])
    assert first.statistics.uneven == second.statistics.uneven
    assert first.statistics.uneven["feat_dynamic_real"] == (
        "channel 'train': the series of one host have 1 feat_dynamic_real, those of another 0"
    )


def test_targets_of_other_dimensions_are_refused(hosts):
    several = {"start": "2024-01-01", "target": [[1.0, 2.0], [3.0, 4.0]]}
    with pytest.raises(DataError, match="1 dimensions on one host and 2 on another"):
        hosts([one(1, 2)], [several])


def test_a_share_stays_the_same_series(hosts):
    first, _ = hosts([one(1, 2, 3)], [one(4, 5)])
    (entry,) = first
    np.testing.assert_array_equal(entry["target"], [1, 2, 3])


NAMED = Features(dynamic_cat=None, past_dynamic_cat=None, dynamic_real=None, dimensions=0)


def named(**covariates):
    return one(
        1, 2, past_covariates=covariates, future_covariates={name: [] for name in covariates}
    )


@pytest.mark.parametrize("hold", [True, False])
def test_covariates_by_name_have_the_same_numbers_on_all_hosts(hosts, hold):
    first, second = hosts(
        [named(price=[1, 2], day=["sun", "wet"])],
        [named(price=[3, 4], day=["wet", "snow"]), named(price=[3, 4], day=["snow", "sun"])],
        hold=hold,
        features=NAMED,
    )
    features = first.channel.features
    assert features == second.channel.features.__class__(**vars(second.channel.features))
    assert features.future_covariates == ("price",)
    assert features.covariate_labels == (("sun", "wet", "snow"),)
    assert first.statistics.peaks == second.statistics.peaks == {"feat_dynamic_cat": [2]}
    (entry,) = first
    assert entry["feat_dynamic_cat"].tolist() == [[0, 1]]
    assert [entry["feat_dynamic_cat"].tolist() for entry in second] == [[[1, 2]], [[2, 0]]]


def test_covariates_with_other_names_are_refused(hosts):
    with pytest.raises(DataError, match="'price', 'day' on one host and 'price' on another"):
        hosts([named(price=[1, 2], day=[5, 6])], [named(price=[3, 4])], features=NAMED)
