import json

import pytest
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Channel
from gluonts_shell.forecasting.forecaster.deepar import Translation
from gluonts_shell.forecasting.forecaster.features import derived, overrides_derivation, to_read, used

# the constructor parameters by which an estimator of GluonTS tells its features; the annotations do not matter here
COUNTED = dict.fromkeys(("num_feat_static_cat", "cardinality", "num_feat_static_real", "num_feat_dynamic_real"), int)
TIDE = dict.fromkeys(
    (
        "num_feat_static_cat",
        "cardinality",
        "num_feat_static_real",
        "num_feat_dynamic_real",
        "num_past_feat_dynamic_real",
    ),
    int,
)
TFT = dict.fromkeys(("static_cardinalities", "static_dims", "dynamic_dims", "past_dynamic_dims"), list)
WAVENET = dict.fromkeys(("num_feat_static_cat", "num_feat_dynamic_real", "num_feat_static_real", "cardinality"), int)
NPTS = dict.fromkeys(("use_feat_static_cat", "cardinality", "num_feat_dynamic_real"), int)


class Deriving(Estimator):
    """Derives as DeepAR does: counts and cardinalities of what it sees."""

    @classmethod
    def derive_auto_fields(cls, train_iter):
        entries = list(train_iter)
        categories = [entry["feat_static_cat"] for entry in entries if "feat_static_cat" in entry]
        cardinality = [int(max(values)) + 1 for values in zip(*categories, strict=True)]
        dynamic = len(entries[0].get("feat_dynamic_real", ()))
        return {"num_feat_static_cat": len(cardinality), "cardinality": cardinality, "num_feat_dynamic_real": dynamic}


class Plain(RepresentablePredictor):
    pass


@pytest.fixture
def data(tmp_path):
    def make(*rows, dialect=None):
        lines = [json.dumps({"start": "2020-01-01", "target": [1, 2], **row}) for row in rows]
        (tmp_path / "data.json").write_text("\n".join(lines))
        return Channel("train", tmp_path, "D", features=to_read(dialect)).read()

    return make


def test_only_classes_that_derive_fields_themselves_are_asked():
    assert overrides_derivation(Deriving)
    assert not overrides_derivation(Plain)
    assert not overrides_derivation(Estimator)


def test_fields_are_derived_and_what_was_given_wins(data):
    channel = data({"cat": [0]}, {"cat": [2]})
    assert derived(Deriving, channel, {"lr": 0.1}, None) == {
        "lr": 0.1,
        "num_feat_static_cat": 1,
        "cardinality": [3],
        "num_feat_dynamic_real": 0,
    }
    assert derived(Deriving, channel, {"cardinality": [5]}, None)["cardinality"] == [5]
    assert derived(Plain, channel, {"lr": 0.1}, None) == {"lr": 0.1}


class TestDeepArsWays:
    """Of saying which features to use: auto, ignore, or a value that must agree with the data."""

    rows = ({"cat": [0, 1], "dynamic_feat": [[1, 2]]}, {"cat": [1, 0], "dynamic_feat": [[3, 4]]})

    def arguments(self, data, *rows, **dialect):
        dialect = Translation({}, **dialect)
        return derived(Deriving, data(*(rows or self.rows), dialect=dialect), {}, dialect)

    def test_auto_takes_what_there_is(self, data):
        found = self.arguments(data, embedding_dimension=10)
        assert found["num_feat_static_cat"] == 2
        assert found["cardinality"] == [2, 2]
        assert found["embedding_dimension"] == [10, 10]
        assert found["num_feat_dynamic_real"] == 1

    def test_ignore_takes_nothing(self, data):
        found = self.arguments(data, cardinality="ignore", dynamic="ignore", embedding_dimension=10)
        assert (found["num_feat_static_cat"], found["cardinality"], found["num_feat_dynamic_real"]) == (0, None, 0)
        assert "embedding_dimension" not in found

    def test_ignored_fields_may_hold_anything(self, data):
        rows = ({"cat": ["a", "b", "c"], "dynamic_feat": "none"}, {"cat": {}, "dynamic_feat": [[1]]})
        found = self.arguments(data, *rows, cardinality="ignore", dynamic="ignore")
        assert found["num_feat_static_cat"] == 0

    def test_explicit_values_that_agree_are_taken(self, data):
        found = self.arguments(data, cardinality=[2, 2], dynamic=1)
        assert (found["cardinality"], found["num_feat_dynamic_real"]) == ([2, 2], 1)

    @pytest.mark.parametrize(
        ("dialect", "error", "sentence"),
        [
            (
                {"cardinality": [2]},
                ConfigurationError,
                "hyperparameter 'cardinality' is [2], but the series of channel 'train' have 2 categories (field cat)",
            ),
            (
                {"dynamic": 2},
                ConfigurationError,
                "hyperparameter 'num_dynamic_feat' is 2, but the series of channel 'train' have 1 (field dynamic_feat)",
            ),
            (
                {"cardinality": [2, 4]},
                DataError,
                "channel 'train': cat[1] must take every value from 0 to 3; missing: 2, 3",
            ),
        ],
    )
    def test_explicit_values_that_contradict_the_data_are_named(self, data, dialect, error, sentence):
        with pytest.raises(error) as caught:
            self.arguments(data, **dialect)
        assert str(caught.value) == sentence

    def test_a_category_without_an_example_is_named(self, data):
        with pytest.raises(
            DataError, match=r"^channel 'train': cat\[0\] must take every value from 0 to 3; missing: 1, 2$"
        ):
            self.arguments(data, {"cat": [0]}, {"cat": [3]})

    def test_a_category_far_away_does_not_take_all_the_memory(self, data):
        with pytest.raises(
            DataError,
            match=r"^channel 'train': cat\[0\] must take every value from 0 to 2000000000; missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 \.\.\.$",
        ):
            self.arguments(data, {"cat": [0]}, {"cat": [2000000000]})

    def test_series_with_other_features_than_the_first_are_named(self, data):
        with pytest.raises(
            DataError, match=r"data\.json line 2: it has 2 feat_static_cat \(or cat\), the series before it have 1$"
        ):
            self.arguments(data, {"cat": [0]}, {"cat": [0, 1]})


@pytest.mark.parametrize(
    ("parameters", "arguments", "features"),
    [
        ({}, {}, Features()),
        (COUNTED, {}, Features((), 0, 0)),
        (COUNTED, {"num_feat_static_cat": 1, "cardinality": [3], "num_feat_dynamic_real": 2}, Features((3,), 0, 2)),
        (COUNTED, {"num_feat_static_cat": 0, "cardinality": [1]}, Features((), 0, 0)),
        (TIDE, {"num_feat_static_real": 2, "num_past_feat_dynamic_real": 1}, Features((), 2, 0, 1)),
        (
            TFT,
            {"static_cardinalities": [3, 4], "static_dims": [2], "dynamic_dims": [1, 3], "past_dynamic_dims": [1]},
            Features((3, 4), 2, 4, 1),
        ),
        (TFT, {}, Features((), 0, 0, 0)),
        (NPTS, {"use_feat_static_cat": True, "cardinality": [3]}, Features((3,), None, 0)),
        (NPTS, {"use_feat_static_cat": False, "cardinality": [3]}, Features((), None, 0)),
        (WAVENET, {"num_feat_static_cat": 1, "cardinality": [1]}, Features((1,), 0, 0)),
    ],
)
def test_what_a_series_must_carry_follows_from_the_constructors_arguments(parameters, arguments, features):
    assert used(parameters, arguments, None) == features


def test_labels_of_the_training_data_are_kept(data):
    channel = data({"cat": ["b"]}, {"cat": ["a"]})
    found = used(COUNTED, {"num_feat_static_cat": 1, "cardinality": [2]}, channel.statistics)
    assert found == Features((2,), 0, 0, labels=(("a", "b"),))


@pytest.mark.parametrize(
    ("rows", "arguments", "sentence"),
    [
        (
            ({"cat": [0]},),
            {"num_feat_static_cat": 2, "cardinality": [2, 2]},
            "channel 'train': the series have 1 feat_static_cat, but cardinality asks for 2",
        ),
        (
            ({},),
            {"num_feat_dynamic_real": 2},
            "channel 'train': the series have 0 feat_dynamic_real, but num_feat_dynamic_real asks for 2",
        ),
        (
            ({"cat": [5]},),
            {"num_feat_static_cat": 1, "cardinality": [3]},
            "channel 'train': cat[0] has the value 5, but its cardinality is 3",
        ),
        (
            ({"feat_static_real": [1]}, {"feat_static_real": [1, 2]}),
            {"num_feat_static_real": 1},
            "it has 2 feat_static_real, the series before it have 1",
        ),
    ],
)
def test_data_that_does_not_carry_what_the_arguments_ask_for_is_named(data, rows, arguments, sentence):
    with pytest.raises(DataError) as caught:
        used(COUNTED, arguments, data(*rows).statistics)
    assert str(caught.value).endswith(sentence)
