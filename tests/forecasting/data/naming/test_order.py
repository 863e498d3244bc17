"""Covariates by name become the rows of dynamic features in the order of training, or one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.errors import DataError, InstanceError, shown
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.channel import Channel
from gluonts_shell.forecasting.data.instances import Reader

START = "2020-01-01"
USES = Features(
    (), 0, 2, 1, (), (), (), future_covariates=("price", "promo"), past_covariates=("rain",)
)
PAST = {"price": [1, 2], "promo": [0, 1], "rain": [5, 6]}
FUTURE = {"price": [3, 4, 5], "promo": [1, 0, 1]}


def reader(features: Features = USES, pads: bool = False) -> Reader:
    return Reader(3, features, pads_empty=pads)


def entry(features=USES, **instance):
    instance = {"start": START, "target": [7, 8], **instance}
    (found,), _ = reader(features).read([instance], "D")
    return found


def refused(features=USES, **instance) -> str:
    with pytest.raises(InstanceError) as caught:
        entry(features, **instance)
    assert caught.value.place == "instance 0"
    return shown(caught.value.reason)


def test_rows_have_the_order_of_training_whatever_that_of_the_request():
    reversed_past, reversed_future = (dict(reversed(group.items())) for group in (PAST, FUTURE))
    for past, future in ((PAST, FUTURE), (reversed_past, reversed_future)):
        found = entry(past_covariates=past, future_covariates=future)
        assert found["feat_dynamic_real"].tolist() == [[1, 2, 3, 4, 5], [0, 1, 1, 0, 1]]
        assert found["past_feat_dynamic_real"].tolist() == [[5, 6]]
        assert found["feat_dynamic_real"].dtype == np.float32


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_names_give_what_the_same_rows_give_without(names, ahead):
    features = Features((), 0, ahead, 4 - ahead, (), (), ())
    order = [*names[:ahead]], [*names[ahead:]]
    named = Features(
        (),
        0,
        ahead,
        4 - ahead,
        (),
        (),
        (),
        future_covariates=tuple(order[0]),
        past_covariates=tuple(order[1]),
    )
    past = {name: [float(ord(name)), 1.5] for name in "abcd"}
    future = {name: [2.5, 3.5, float(ord(name))] for name in order[0]}
    rows = {
        "dynamic_feat": [past[name] + future[name] for name in order[0]],
        "past_feat_dynamic_real": [past[name] for name in order[1]],
    }
    found = entry(named, past_covariates=past, future_covariates=future)
    expected = entry(features, **rows)
    assert found.keys() == expected.keys()
    for name in rows.keys() & found.keys():
        assert (found[name] == expected[name]).all()


def test_unnamed_rows_are_still_taken_by_a_model_that_knows_names():
    found = entry(dynamic_feat=[[1, 2, 3, 4, 5]] * 2, past_feat_dynamic_real=[[5, 6]])
    assert found["feat_dynamic_real"].shape == (2, 5)


@pytest.mark.parametrize("past", [{}, None, {"price": [], "promo": [], "rain": []}])
def test_a_cold_start_has_no_past(past):
    used = Features((), 0, 2, 0, (), (), (), future_covariates=("price", "promo"))
    names = past and {name: past[name] for name in ("price", "promo")}
    found = entry(used, target=[], past_covariates=names, future_covariates=FUTURE)
    assert found["feat_dynamic_real"].tolist() == [[3, 4, 5], [1, 0, 1]]
    assert entry(target=[], future_covariates=FUTURE)["past_feat_dynamic_real"].shape == (1, 0)


def test_what_the_model_does_not_use_need_not_come_and_is_not_looked_at():
    unused = Features((), 0, 2, 0, (), (), (), 1, 0, False, ("price", "promo"), ("rain",))
    past = {"price": [1, 2], "promo": [0, 1]}
    assert "past_feat_dynamic_real" not in entry(
        unused, past_covariates=past, future_covariates=FUTURE
    )
    odd = {**past, "rain": "never"}
    assert "past_feat_dynamic_real" not in entry(
        unused, past_covariates=odd, future_covariates=FUTURE
    )


def changed(group, **changes):
    return {name: value for name, value in {**group, **changes}.items() if value != "gone"}


@pytest.mark.parametrize(
    ("past", "future", "sentence"),
    [
        (
            [],
            FUTURE,
            "past_covariates is a list of 0, expected an object with a list for each name",
        ),
        (PAST, 3, "future_covariates is 3, expected an object with a list for each name"),
        (
            changed(PAST, rain="gone"),
            FUTURE,
            "past_covariates has no 'rain', expected it: the model was trained with it",
        ),
        (
            PAST,
            changed(FUTURE, promo="gone"),
            "future_covariates has no 'promo', expected it: the model was trained with it",
        ),
        (
            changed(PAST, prices=[1, 2]),
            FUTURE,
            "past_covariates has 'prices', expected names that the model was trained with; did you mean 'price'?",
        ),
        (
            changed(PAST, zz=[1, 2]),
            FUTURE,
            "past_covariates has 'zz', expected names that the model was trained with; there are price, promo, rain",
        ),
        (
            PAST,
            changed(FUTURE, zz=[1, 2, 3]),
            "future_covariates has 'zz', and past_covariates has not; expected it in both",
        ),
        (
            PAST,
            changed(FUTURE, rain=[1, 2, 3]),
            "future_covariates has 'rain', of which the model was trained with the past only; leave it out there",
        ),
        (
            changed(PAST, price=[1]),
            FUTURE,
            "past_covariates['price'] has 1 value, expected 2, as the target has",
        ),
        (
            PAST,
            changed(FUTURE, price=[1, 2]),
            "future_covariates['price'] has 2 values, expected 3, the model's prediction_length 3",
        ),
        (
            changed(PAST, promo=["a", "b"]),
            FUTURE,
            "past_covariates['promo'][0] is 'a', expected a number (none may be missing)",
        ),
        (
            PAST,
            changed(FUTURE, promo=[1, None, 1]),
            "future_covariates['promo'][1] is null, expected a number (none may be missing)",
        ),
        (
            changed(PAST, price=7),
            FUTURE,
            "past_covariates['price'] is 7, expected a list of values",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(past, future, sentence):
    assert refused(past_covariates=past, future_covariates=future) == sentence


def test_the_two_forms_are_not_mixed():
    assert refused(past_covariates=PAST, dynamic_feat=[[1, 2, 3, 4, 5]] * 2) == (
        "it has both dynamic_feat and covariates by name, which are the same; expected one of them"
    )


def test_categories_that_come_by_name_come_once():
    """Of the two one would not be looked at."""
    features = Features(
        (), 0, 1, 0, dynamic_cat=(2,), past_dynamic_cat=(), future_covariates=("price",),
        future_categories=("kind",), covariate_labels=(("a", "b"),),
    )  # fmt: skip
    both = {"price": [1, 2], "kind": ["a", "b"]}, {"price": [3, 4, 5], "kind": ["a", "b", "a"]}
    past, future = both
    assert entry(features, past_covariates=past, future_covariates=future)
    categories = [[0, 1, 0, 1, 0]]
    assert refused(
        features, past_covariates=past, future_covariates=future, feat_dynamic_cat=categories
    ) == (
        "it has both feat_dynamic_cat and covariates by name, which are the same; expected one of them"
    )


def test_categories_without_names_stand_beside_numbers_with_names():
    features = Features(
        (), 0, 1, 0, dynamic_cat=(2,), past_dynamic_cat=(), future_covariates=("price",)
    )
    found = entry(
        features,
        past_covariates={"price": [1, 2]},
        future_covariates={"price": [3, 4, 5]},
        feat_dynamic_cat=[[0, 1, 0, 1, 0]],
    )
    assert found["feat_dynamic_cat"].tolist() == [[0, 1, 0, 1, 0]]


@pytest.mark.parametrize("value", [1e39, -1e300, float("inf"), 10**400])
def test_a_number_that_is_too_large_is_told_as_that(value):
    sentence = refused(past_covariates=changed(PAST, rain=[1, value]), future_covariates=FUTURE)
    assert sentence.startswith("past_covariates['rain'][1] is ")
    assert sentence.endswith(", expected a finite number of at most 3.4e+38 (none may be missing)")


def test_a_model_without_names_says_so():
    for features in (Features((), 0, 2, 0), Features((), 0, 0, 0, (), (), ()), Features()):
        assert refused(features, past_covariates={"price": [1, 2]}) == (
            "past_covariates has 'price', but no names of covariates are known here; "
            "features without names are dynamic_feat"
        )


def test_a_missing_field_is_told_with_its_names():
    assert refused() == (
        "dynamic_feat (or feat_dynamic_real) is missing, expected 2 features "
        "(or covariates by name: price, promo): the model was trained with it"
    )


def test_a_class_of_ones_own_that_nobody_trained_gets_them_as_they_came():
    found = entry(Features(dimensions=0, own=True), past_covariates=PAST)
    assert found["past_covariates"] == PAST
    named = entry(
        Features(own=True, future_covariates=("price", "promo"), past_covariates=("rain",)),
        past_covariates=PAST,
        future_covariates=FUTURE,
    )
    assert "past_covariates" not in named
    assert named["feat_dynamic_real"].shape == (2, 5)


def channel(tmp_path, *rows, features=Features(dimensions=0), freq="D"):  # noqa: B008 - frozen
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    text = "".join(json.dumps({"start": START, **row}) + "\n" for row in rows)
    (folder / "data.json").write_text(text)
    return Channel("train", folder, freq, features=features)


A = {"target": [1, 2], "past_covariates": PAST, "future_covariates": {"promo": [], "price": []}}
B = {"target": [1], "past_covariates": {"rain": [9], "promo": [8], "price": [7]}}


def test_a_channel_learns_names_and_their_order_from_its_first_series(tmp_path):
    second = {**B, "future_covariates": {"price": [7, 8, 9], "promo": None}}
    data = channel(tmp_path, A, second).read()
    features = data.channel.features
    assert features.future_covariates == ("price", "promo")
    assert features.past_covariates == ("rain",)
    for entries in (list(data), list(data.channel.entries())):
        rows = [found["feat_dynamic_real"].tolist() for found in entries]
        assert rows == [[[1, 2], [0, 1]], [[7], [8]]]
        assert [found["past_feat_dynamic_real"].tolist() for found in entries] == [[[5, 6]], [[9]]]
    assert data.statistics.counts["feat_dynamic_real"] == 2


def test_a_class_that_uses_none_leaves_the_names_in_the_contract(tmp_path):
    unused = Features(dynamic_real=0, past_dynamic_real=0, dimensions=0)
    data = channel(tmp_path, A, features=unused).read()
    assert data.channel.features.future_covariates == ("price", "promo")
    assert data.unread == ("future_covariates", "past_covariates")
    assert "feat_dynamic_real" not in next(iter(data))


def test_a_series_that_differs_from_the_first_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        channel(tmp_path, A, {**B, "future_covariates": {"price": []}}).read()
    assert str(caught.value).startswith(
        "train/data.json line 2: field 'future_covariates': future_covariates has no 'promo', "
        "expected it: the first series has it"
    )


def test_the_contract_keeps_the_names():
    contract = Contract("D", 3, "x.Y", features=USES)
    assert Contract.parse(contract.to_json()) == contract
    assert json.loads(contract.to_json())["features"]["future_covariates"] == ["price", "promo"]


TEXT = {
    "target": [1, 2],
    "past_covariates": {"rain": [5, 6], "promo": ["b", "a"], "sky": ["x", "x"], "price": [1, 2]},
    "future_covariates": {"price": [], "promo": []},
}


def test_covariates_that_are_text_are_categories_numbered_as_they_come(tmp_path):
    second = json.loads(json.dumps(TEXT))
    second["past_covariates"]["promo"] = ["c", "a"]
    data = channel(tmp_path, TEXT, second).read()
    features = data.channel.features
    assert (features.future_covariates, features.past_covariates) == (("price",), ("rain",))
    assert (features.future_categories, features.past_categories) == (("promo",), ("sky",))
    assert features.covariate_labels == (("b", "a", "c"), ("x",))
    for entries in (list(data), list(data.channel.entries())):
        rows = [found["feat_dynamic_cat"].tolist() for found in entries]
        assert rows == [[[0, 1]], [[2, 1]]]
        assert [found["past_feat_dynamic_cat"].tolist() for found in entries] == [[[0, 0]]] * 2
    assert data.statistics.peaks == {"feat_dynamic_cat": [2], "past_feat_dynamic_cat": [0]}
    assert Contract.parse(Contract("D", 3, "x.Y", features=features).to_json()).features == features


CATEGORIES = Features(
    (),
    0,
    0,
    0,
    (),
    (2,),
    (),
    future_categories=("promo",),
    covariate_labels=(("no", "yes"),),
)


def test_a_request_sends_the_texts():
    found = entry(
        CATEGORIES,
        past_covariates={"promo": ["no", "yes"]},
        future_covariates={"promo": ["yes", "no", "no"]},
    )
    assert found["feat_dynamic_cat"].tolist() == [[0, 1, 1, 0, 0]]
    assert found["feat_dynamic_cat"].dtype == np.int64


@pytest.mark.parametrize("value", ["maybe", 1, None])
def test_a_text_that_training_did_not_see_is_named(value):
    sentence = refused(
        CATEGORIES,
        past_covariates={"promo": ["no", "yes"]},
        future_covariates={"promo": ["yes", value, "no"]},
    )
    shown_value = "null" if value is None else repr(value)
    assert sentence == (
        f"future_covariates['promo'][1] is {shown_value}, expected a category that the model was trained with, "
        "such as 'no', 'yes'"
    )


def test_categories_of_series_that_are_left_out_are_not_the_models(tmp_path):
    short = {**B, "past_covariates": {**TEXT["past_covariates"], "promo": ["z"], "sky": ["x"]}}
    short["past_covariates"] |= {"rain": [1], "price": [1]}
    short["future_covariates"] = TEXT["future_covariates"]
    both = channel(tmp_path, short, TEXT)
    data = Channel("train", both.path, "D", features=both.features, shortest=2).read()
    assert data.channel.features.covariate_labels == (("b", "a"), ("x",))


def test_what_was_numbers_is_not_text_in_the_next_series(tmp_path):
    other = json.loads(json.dumps(TEXT))
    other["past_covariates"]["price"] = ["dear", "cheap"]
    with pytest.raises(DataError) as caught:
        channel(tmp_path, TEXT, other).read()
    assert str(caught.value) == (
        "train/data.json line 2: field 'past_covariates': past_covariates['price'][0] is 'dear', "
        "expected a number (none may be missing)"
    )
