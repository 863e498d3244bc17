import json

import pytest
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, DataError, ModelError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.channel import Channel
from gluonts_shell.forecasting.forecaster.deepar import Translation
from gluonts_shell.forecasting.forecaster.features import (
    Use,
    check_dimensions,
    derived,
    ignored_by,
    overrides_derivation,
    spoken,
    wants_several,
)

# the constructor parameters by which an estimator of GluonTS tells its features; the annotations do not matter here
COUNTED = dict.fromkeys(
    ("num_feat_static_cat", "cardinality", "num_feat_static_real", "num_feat_dynamic_real"), int
)
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
TFT = dict.fromkeys(
    (
        "static_cardinalities",
        "static_dims",
        "dynamic_dims",
        "past_dynamic_dims",
        "dynamic_cardinalities",
        "past_dynamic_cardinalities",
    ),
    list,
)
WAVENET = dict.fromkeys(
    ("num_feat_static_cat", "num_feat_dynamic_real", "num_feat_static_real", "cardinality"), int
)
NPTS = dict.fromkeys(("use_feat_static_cat", "cardinality", "num_feat_dynamic_real"), int)


class Deriving(Estimator):
    """Derives as DeepAR does: counts and cardinalities of what it sees."""

    @classmethod
    def derive_auto_fields(cls, train_iter):
        entries = list(train_iter)
        categories = [entry["feat_static_cat"] for entry in entries if "feat_static_cat" in entry]
        cardinality = [int(max(values)) + 1 for values in zip(*categories, strict=True)]
        dynamic = len(entries[0].get("feat_dynamic_real", ()))
        return {
            "num_feat_static_cat": len(cardinality),
            "cardinality": cardinality,
            "num_feat_dynamic_real": dynamic,
        }


class Plain(RepresentablePredictor):
    pass


class Theirs(Estimator):
    """As GluonTS's own classes, of which it is known what they use."""

    __module__ = "gluonts.toy"


NONE = {"past_dynamic_real": 0, "dynamic_cat": (), "past_dynamic_cat": ()}


@pytest.fixture
def data(tmp_path):
    def make(*rows, use=None):
        lines = [json.dumps({"start": "2020-01-01", "target": [1, 2], **row}) for row in rows]
        (tmp_path / "data.json").write_text("\n".join(lines))
        return Channel(
            "train", tmp_path, "D", features=(use or Use.of(Deriving, COUNTED)).to_read({})
        ).read()

    return make


def test_only_classes_that_derive_fields_themselves_are_asked():
    assert overrides_derivation(Deriving)
    assert not overrides_derivation(Plain)
    assert not overrides_derivation(Estimator)


def test_fields_are_derived_and_what_was_given_wins(data):
    channel = data({"cat": [0]}, {"cat": [2]})
    assert derived(Use.of(Deriving, {}), channel, {"lr": 0.1}, None) == {
        "lr": 0.1,
        "num_feat_static_cat": 1,
        "cardinality": [3],
        "num_feat_dynamic_real": 0,
    }
    assert derived(Use.of(Deriving, {}), channel, {"cardinality": [5]}, None)["cardinality"] == [5]
    assert derived(Use.of(Plain, {}), channel, {"lr": 0.1}, None) == {"lr": 0.1}


class TestDeepArsWays:
    """Of saying which features to use: auto, ignore, or a value that must agree with the data."""

    rows = ({"cat": [0, 1], "dynamic_feat": [[1, 2]]}, {"cat": [1, 0], "dynamic_feat": [[3, 4]]})

    def arguments(self, data, *rows, **dialect):
        dialect = Translation({}, **dialect)
        use = Use.of(Deriving, COUNTED, ignored_by(dialect))
        return derived(use, data(*(rows or self.rows), use=use), {}, dialect)

    def test_auto_takes_what_there_is(self, data):
        found = self.arguments(data, embedding_dimension=10)
        assert found["num_feat_static_cat"] == 2
        assert found["cardinality"] == [2, 2]
        assert found["embedding_dimension"] == [10, 10]
        assert found["num_feat_dynamic_real"] == 1

    def test_ignore_takes_nothing(self, data):
        found = self.arguments(data, cardinality="ignore", dynamic="ignore", embedding_dimension=10)
        assert (
            found["num_feat_static_cat"],
            found["cardinality"],
            found["num_feat_dynamic_real"],
        ) == (0, None, 0)
        assert "embedding_dimension" not in found

    def test_ignored_fields_may_hold_anything(self, data):
        rows = (
            {"cat": ["a", "b", "c"], "dynamic_feat": "none"},
            {"cat": {}, "dynamic_feat": [[1]]},
        )
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
    def test_explicit_values_that_contradict_the_data_are_named(
        self, data, dialect, error, sentence
    ):
        with pytest.raises(error) as caught:
            self.arguments(data, **dialect)
        assert str(caught.value) == sentence

    def test_a_category_without_an_example_is_named(self, data):
        with pytest.raises(
            DataError,
            match=r"^channel 'train': cat\[0\] must take every value from 0 to 3; missing: 1, 2$",
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
            DataError,
            match=r"data\.json line 2: it has 2 feat_static_cat \(or cat\), the series before it have 1$",
        ):
            self.arguments(data, {"cat": [0]}, {"cat": [0, 1]})


@pytest.mark.parametrize(
    ("parameters", "arguments", "features"),
    [
        ({}, {}, Features((), 0, 0, **NONE)),
        (COUNTED, {}, Features((), 0, 0, **NONE)),
        (
            COUNTED,
            {"num_feat_static_cat": 1, "cardinality": [3], "num_feat_dynamic_real": 2},
            Features((3,), 0, 2, **NONE),
        ),
        (COUNTED, {"num_feat_static_cat": 0, "cardinality": [1]}, Features((), 0, 0, **NONE)),
        (
            TIDE,
            {"num_feat_static_real": 2, "num_past_feat_dynamic_real": 1},
            Features((), 2, 0, 1, dynamic_cat=(), past_dynamic_cat=()),
        ),
        (
            TFT,
            {
                "static_cardinalities": [3, 4],
                "static_dims": [2],
                "dynamic_dims": [1, 3],
                "past_dynamic_dims": [1],
            },
            Features((3, 4), 2, 4, 1, dynamic_cat=(), past_dynamic_cat=()),
        ),
        (
            TFT,
            {"dynamic_cardinalities": [3], "past_dynamic_cardinalities": [2, 2]},
            Features((), 0, 0, 0, dynamic_cat=(3,), past_dynamic_cat=(2, 2)),
        ),
        (NPTS, {"use_feat_static_cat": True, "cardinality": [3]}, Features((3,), 0, 0, **NONE)),
        (NPTS, {"use_feat_static_cat": False, "cardinality": [3]}, Features((), 0, 0, **NONE)),
        (WAVENET, {"num_feat_static_cat": 1, "cardinality": [1]}, Features((1,), 0, 0, **NONE)),
    ],
)
def test_what_a_series_must_carry_follows_from_the_constructors_arguments(
    parameters, arguments, features
):
    assert Use.of(Theirs, parameters).features(arguments, None) == features


def test_labels_of_the_training_data_are_kept(data):
    channel = data({"cat": ["b"]}, {"cat": ["a"]})
    found = Use.of(Theirs, COUNTED).features(
        {"num_feat_static_cat": 1, "cardinality": [2]}, channel.statistics
    )
    assert found == Features((2,), 0, 0, **NONE, labels=(("a", "b"),))


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
def test_data_that_does_not_carry_what_the_arguments_ask_for_is_named(
    data, rows, arguments, sentence
):
    with pytest.raises(DataError) as caught:
        Use.of(Theirs, COUNTED).features(arguments, data(*rows).statistics)
    assert str(caught.value).endswith(sentence)


EVERYTHING = {
    "cat": ["a"],
    "feat_static_real": [1, 2],
    "dynamic_feat": [[1, 2]],
    "past_feat_dynamic_real": [[1, 2], [3, 4]],
    "feat_dynamic_cat": [[0, 2]],
    "past_feat_dynamic_cat": [[1, 0]],
}


class TestDerivation:
    """For every estimator: what the data carries and the constructor has a parameter for."""

    def derive(
        self,
        data,
        parameters,
        given=None,
        ignored=frozenset(),
        known=None,
        rows=(EVERYTHING, EVERYTHING),
    ):
        use = Use.of(Theirs, parameters, ignored)
        return derived(use, data(*rows, use=use), given or {}, None, known)

    def test_every_parameter_gets_what_the_data_carries(self, data):
        assert self.derive(data, TFT) == {
            "static_cardinalities": [1],
            "static_dims": [1, 1],
            "dynamic_dims": [1],
            "past_dynamic_dims": [1, 1],
            "dynamic_cardinalities": [3],
            "past_dynamic_cardinalities": [2],
        }
        assert self.derive(data, TIDE) == {
            "num_feat_static_cat": 1,
            "cardinality": [1],
            "num_feat_static_real": 2,
            "num_feat_dynamic_real": 1,
            "num_past_feat_dynamic_real": 2,
        }
        assert self.derive(data, NPTS) == {
            "use_feat_static_cat": True,
            "cardinality": [1],
            "num_feat_dynamic_real": 1,
        }

    def test_a_class_without_parameters_gets_nothing_and_reads_nothing(self, data):
        use = Use.of(Theirs, {})
        read = data(EVERYTHING, use=use)
        assert derived(use, read, {}, None) == {}
        assert set(next(iter(read))) == {"item_id", "start", "target"}

    def test_what_is_given_wins(self, data):
        assert self.derive(data, TFT, {"dynamic_dims": [1], "static_cardinalities": [9]})[
            "static_cardinalities"
        ] == [9]
        assert self.derive(data, TIDE, {"cardinality": [7]})["num_feat_static_cat"] == 1
        assert self.derive(data, TIDE, {"num_feat_static_cat": 1})["cardinality"] == [1]

    @pytest.mark.parametrize(
        "given", [{"dynamic_dims": []}, {"static_dims": []}, {"static_cardinalities": []}]
    )
    def test_nothing_given_turns_it_off(self, data, given):
        found = self.derive(data, TFT, given)
        assert [found[name] for name in given] == [[]]
        assert found.keys() == self.derive(data, TFT).keys()

    def test_ignored_fields_are_not_derived_and_not_read(self, data):
        use = Use.of(Theirs, TFT, frozenset({"dynamic_real", "static_cat"}))
        read = data(EVERYTHING, use=use)
        assert not {"dynamic_dims", "static_cardinalities"} & derived(use, read, {}, None).keys()
        assert not {"feat_dynamic_real", "feat_static_cat"} & set(next(iter(read)))

    def test_nothing_is_derived_where_the_data_carries_nothing(self, data):
        assert self.derive(data, TIDE, rows=({}, {})) == {}

    def test_uneven_series_are_named(self, data):
        with pytest.raises(
            DataError,
            match=r"line 2: it has 0 feat_dynamic_real \(or dynamic_feat\), the series before",
        ):
            self.derive(data, TFT, rows=({"dynamic_feat": [[1, 2]]}, {}))

    def test_a_model_that_is_trained_further_keeps_its_cardinalities(self, data):
        known = Features(static_cat=(5,), labels=(("a", "b", "c", "d", "e"),))
        assert self.derive(data, TIDE, known=known)["cardinality"] == [5]

    def test_what_cannot_be_used_is_one_line(self, data, caplog):
        use = Use.of(Theirs, NPTS, frozenset({"dynamic_real"}))
        use.tell_unused(data(EVERYTHING, use=use))
        assert caplog.messages == [
            f"channel 'train': Theirs cannot use {names} of the data and ignores it: it has no parameter for it"
            for names in [
                "feat_dynamic_cat, feat_static_real, past_feat_dynamic_cat, past_feat_dynamic_real"
            ]
        ]

    def test_a_derivation_of_ones_own_that_fails_is_a_sentence(self, data):
        class Broken(Deriving):
            @classmethod
            def derive_auto_fields(cls, train_iter):
                raise IndexError("list index\nout of range")

        with pytest.raises(ModelError) as caught:
            derived(Use.of(Broken, {}), data({}), {}, None)
        assert str(caught.value) == (
            "Broken.derive_auto_fields failed on channel 'train': IndexError: list index out of range"
        )


@pytest.mark.parametrize(
    ("parameters", "given", "kept", "ignored"),
    [
        (TFT, {"dynamic_dims": "ignore", "lr": "1"}, {"lr": "1"}, {"dynamic_real"}),
        (TFT, {"static_cardinalities": " Ignore ", "static_dims": "auto"}, {}, {"static_cat"}),
        (
            TIDE,
            {"cardinality": "auto", "num_past_feat_dynamic_real": "ignore"},
            {},
            {"past_dynamic_real"},
        ),
        (TIDE, {"dynamic_dims": "ignore"}, {"dynamic_dims": "ignore"}, set()),
        (TIDE, {"num_dynamic_feat": "2"}, {"num_feat_dynamic_real": "2"}, set()),
        (TFT, {"num_dynamic_feat": "2"}, {"dynamic_dims": [1, 1]}, set()),
        (TFT, {"num_dynamic_feat": "ignore"}, {}, {"dynamic_real"}),
        ({}, {"num_dynamic_feat": "2"}, {"num_dynamic_feat": "2"}, set()),
    ],
)
def test_auto_and_ignore_are_words_for_every_class(parameters, given, kept, ignored):
    assert spoken(parameters, given) == (kept, frozenset(ignored))


@pytest.mark.parametrize(("target", "found"), [([1, 2], 1), ([[1, 2], [3, 4]], 2)])
def test_a_class_of_the_users_takes_the_dimensions_that_there_are(data, target, found):
    read = data({"target": target})
    assert wants_several(Plain(prediction_length=1)) is None
    check_dimensions(Plain(prediction_length=1), read)
    assert Use.of(Plain, {}).features({}, read.statistics).dimensions == found


def test_a_class_of_one_dimension_refuses_several(data):
    from gluonts.model.trivial.mean import MeanPredictor

    with pytest.raises(DataError) as caught:
        check_dimensions(MeanPredictor(prediction_length=1), data({"target": [[1, 2], [3, 4]]}))
    assert str(caught.value) == (
        "channel 'train': the targets have 2 dimensions (they are lists of lists), but MeanPredictor forecasts one; "
        "make a series of each"
    )


@pytest.mark.torch
def test_an_estimator_says_by_its_transformation_how_many_dimensions_it_wants(data):
    from gluonts.torch.model.i_transformer import ITransformerEstimator
    from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

    assert wants_several(SimpleFeedForwardEstimator(prediction_length=1)) is False
    several = ITransformerEstimator(prediction_length=1)
    assert wants_several(several) is True
    check_dimensions(several, data({"target": [[1, 2], [3, 4]]}))
    with pytest.raises(DataError) as caught:
        check_dimensions(several, data({}))
    assert str(caught.value) == (
        "channel 'train': ITransformerEstimator needs targets of several dimensions, as a list of lists (dimension "
        "first), but the series have one"
    )
