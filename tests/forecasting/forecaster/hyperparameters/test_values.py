# ruff: noqa: UP006, UP007, UP035, UP045 - constructors of GluonTS spell their annotations in all of these ways

import enum
import json
import math
from collections import OrderedDict
from typing import Any, Callable, Dict, List, Literal, Optional, Tuple, Type, Union

import numpy as np
import pytest
from gluonts.pydantic import PositiveInt
from gluonts.time_feature import day_of_week, get_seasonality, hour_of_day
from gluonts.transform import MissingValueImputation
from gluonts.transform.sampler import ExpectedNumInstanceSampler, InstanceSampler
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.forecasting.forecaster.hyperparameters.annotations import Unfit
from gluonts_shell.forecasting.forecaster.hyperparameters.values import fit, literal
from gluonts_shell.forecasting.forecaster.objects import plain_name


class Aggregation(enum.Enum):
    MEAN = "mean"
    MEDIAN = "median"


class Output:
    pass


class NegativeBinomialOutput(Output):
    pass


class BinnedOutput(Output):
    def __init__(self, bins):
        self.bins = bins


@pytest.mark.parametrize(
    ("wire", "annotation", "value"),
    [
        ("7", int, 7),
        ("5.0", int, 5),
        ("1e1", int, 10),
        (" 7 ", int, 7),
        ("-3", int, -3),
        (7.0, int, 7),
        ("9007199254740993", int, 9007199254740993),
        ("3", PositiveInt, 3),
        ("5E-4", float, 0.0005),
        ("1", float, 1.0),
        (1, float, 1.0),
        ("D", str, "D"),
        ("7", str, "7"),
        (7, str, "7"),
        ("null", Optional[int], None),
        ("None", Optional[int], None),
        ("", Optional[int], None),
        (None, Optional[int], None),
        ("7.0", Optional[int], 7),
        ("null", Optional[List[int]], None),
        *((text, bool, True) for text in ("true", "True", "1", "yes", "on", "TRUE", True, 1)),
        *((text, bool, False) for text in ("false", "False", "0", "no", "off", False, 0)),
        ("[3, 4]", List[int], [3, 4]),
        ("3,4", List[int], [3, 4]),
        ("3, 4", list, [3, 4]),
        ("(3, 4)", List[int], [3, 4]),
        ("3", List[int], [3]),
        ('["3", 4.0]', List[int], [3, 4]),
        ("[]", List[int], []),
        ([1], List[float], [1.0]),
        ("a,b", List[str], ["a", "b"]),
        ("0.1,0.5,0.9", List[float], [0.1, 0.5, 0.9]),
        ("[0.1, 0.9]", List[float], [0.1, 0.9]),
        ("[1, 2]", Tuple[int, ...], (1, 2)),
        ('{"a": 1}', Dict[str, Any], {"a": 1}),
        ("{'a': None, 'b': True}", Dict[str, Any], {"a": None, "b": True}),
        ({"a": 1}, dict, {"a": 1}),
        ("auto", Union[List[int], str, int], "auto"),
        ("2", Union[List[int], str, int], 2),
        ("[0, 1]", Union[List[int], str, int], [0, 1]),
        ("0.5", Union[int, float, None], 0.5),
        ("1", Union[int, float, None], 1),
        ("1.0", Union[int, float, None], 1.0),
        ("32", Union[Literal[64, 32, 16], Literal["bf16-mixed", "32"], None], 32),
        ("bf16-mixed", Union[Literal[64, 32, 16], Literal["bf16-mixed"], None], "bf16-mixed"),
        ("mean", Literal["mean", "std"], "mean"),
        ("MEDIAN", Aggregation, Aggregation.MEDIAN),
        ("mean", Aggregation, Aggregation.MEAN),
        ("7", Any, 7),
        ("text", Any, "text"),
        ("True", Any, True),
        ("None", Any, None),
        ('"7"', Any, "7"),
        ("null", Optional[Callable], None),
    ],
)
def test_text_becomes_what_the_annotation_asks_for(wire, annotation, value):
    found = fit(wire, annotation)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("wire", "annotation", "expected"),
    [
        ("seven", int, "a whole number"),
        ("5.7", int, "a whole number"),
        ("inf", int, "a whole number"),
        ("", int, "a whole number"),
        ("null", int, "a whole number"),
        ("true", int, "a whole number"),
        ("[1]", int, "a whole number"),
        ("much", float, "a number"),
        ("nan", float, "a number"),
        ("inf", float, "a number"),
        ("maybe", bool, "true or false"),
        ("null", bool, "true or false"),
        ("", bool, "true or false"),
        ("2", bool, "true or false"),
        ("maybe", Optional[bool], "true or false or null"),
        ("auto", List[int], "a list in which each item is a whole number"),
        ("[1, 2.5]", List[int], "a list in which each item is a whole number"),
        ("{}", List[int], "a list"),
        ("3", Dict[str, Any], "a JSON object"),
        ("{a: 1}", Dict[str, Any], "a JSON object"),
        ("max", Literal["mean", "std"], "one of 'mean', 'std'"),
        ("max", Aggregation, "one of 'MEAN', 'MEDIAN', 'mean', 'median'"),
        (
            "a",
            Union[int, List[int]],
            "a whole number or a list in which each item is a whole number",
        ),
        ("print", Callable, "the dotted path of a function"),
        ("[", np.ndarray, "a list of numbers"),
        (None, str, "text"),
    ],
)
def test_what_does_not_fit_says_what_would(wire, annotation, expected):
    with pytest.raises(Unfit) as caught:
        fit(wire, annotation)
    assert str(caught.value) == expected


def test_arrays_are_lists_of_numbers():
    np.testing.assert_array_equal(fit("[1, 2.5]", np.ndarray), [1.0, 2.5])


@pytest.mark.parametrize(
    "name",
    [
        "NegativeBinomialOutput",
        "NegativeBinomial",
        "negative-binomial",
        "negative_binomial",
        f"{__name__}.NegativeBinomialOutput",
        "gluonts.mx.distribution.NegativeBinomialOutput",
    ],
)
def test_an_object_is_made_from_the_name_of_its_class(name):
    assert type(fit(name, Output)) is NegativeBinomialOutput
    assert type(fit(name, Optional[Output])) is NegativeBinomialOutput


def test_an_object_that_is_one_already_is_left():
    made = BinnedOutput(3)
    assert fit(made, Output) is made


def test_a_name_of_no_class_lists_those_that_there_are():
    with pytest.raises(
        Unfit,
        match=r"^the name of a Output: BinnedOutput, NegativeBinomialOutput, Output, or the dotted path of another$",
    ):
        fit("poisson", Output)


def test_a_class_that_needs_arguments_says_so_and_takes_them():
    with pytest.raises(
        Unfit, match=r"^arguments that BinnedOutput takes; it says: .*missing 1 required .* 'bins'"
    ):
        fit("binned", Output)
    assert fit({"()": "binned", "bins": "[1, 2]"}, Output).bins == [1, 2]


def test_gluonts_own_notation_makes_objects_with_arguments():
    sampler = {
        "__kind__": "instance",
        "class": "gluonts.transform.sampler.ExpectedNumInstanceSampler",
        "args": [],
        "kwargs": {"num_instances": 2.0, "min_future": 3},
    }

    for wire in (sampler, json.dumps(sampler)):
        made = fit(wire, Optional[InstanceSampler])
        assert type(made) is ExpectedNumInstanceSampler
        assert (made.num_instances, made.min_future) == (2.0, 3)


def test_gluonts_notation_makes_no_object_that_gluonts_does_not_allow():
    wire = '{"__kind__": "instance", "class": "subprocess.Popen", "args": [["true"]], "kwargs": {}}'
    with pytest.raises(Unfit, match=r"^an object in GluonTS's notation, which says: "):
        fit(wire, Any)


def test_an_annotation_that_is_unknown_takes_what_the_text_says():
    assert fit("[1]", "a name that could not be resolved") == [1]


@pytest.mark.parametrize(
    "name", ["a.module.NegativeBinomialOutput", "collections.OrderedDict", "os.path"]
)
def test_a_path_that_leads_to_no_such_class_means_no_other_of_that_name(name):
    with pytest.raises(Unfit, match=r"^the name of a Output: "):
        fit(name, Output)


@pytest.mark.parametrize(
    ("wire", "annotation", "expected"),
    [
        ("numpy.nanmedian", Callable, np.nanmedian),
        ("nanmedian", Callable, np.nanmedian),
        (
            '["gluonts.time_feature.day_of_week", "hour_of_day"]',
            List[Callable],
            [day_of_week, hour_of_day],
        ),
        ("gluonts.time_feature.get_seasonality", Union[int, Callable], get_seasonality),
        ("12", Union[int, Callable], 12),
        ("mean", Union[Callable, str, None], "mean"),
        ("numpy.mean", Union[Callable, str, None], np.mean),
        ("min_max", Union[Callable, str, None], "min_max"),
        ("collections.OrderedDict", type, OrderedDict),
        ("collections.OrderedDict", Type[dict], OrderedDict),
        ("negative-binomial", Type[Output], NegativeBinomialOutput),
        ("collections.OrderedDict", Any, OrderedDict),
        ("collections", Any, "collections"),
        ("no.such.thing", Any, "no.such.thing"),
        ("os.path", Any, "os.path"),
        ({"__kind__": "type", "class": "collections.OrderedDict"}, Any, OrderedDict),
    ],
)
def test_a_class_or_a_function_is_given_by_its_path_or_by_its_name(wire, annotation, expected):
    assert fit(wire, annotation) == expected


@pytest.mark.parametrize(
    ("wire", "annotation", "sentence"),
    [
        ("numpy.no_such_thing", Callable, "the dotted path of a function"),
        ("numpy.pi", Callable, "the dotted path of a function"),
        ("collections.OrderedDict", Type[int], "the name of a int: "),
        ("numpy.nanmedian", type, "the dotted path of a class"),
        ("NoSuch", type, "the dotted path of a class"),
        ({"()": "no.such.Thing"}, Any, "the dotted path of a class below '()'"),
        ({"()": 3}, Any, "the dotted path of a class below '()'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(wire, annotation, sentence):
    with pytest.raises(Unfit) as caught:
        fit(wire, annotation)
    assert str(caught.value).startswith(sentence)


def test_a_module_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_broken_value.py").write_text("import not_there_at_all\n")
    with pytest.raises(
        Unfit,
        match=r"^a name that can be imported; 'mine_broken_value' raised ModuleNotFoundError: ",
    ):
        fit("mine_broken_value.function", Callable)


def test_json_text_makes_objects_at_any_depth_and_types_their_arguments():
    models = json.dumps([{"()": f"{__name__}.BinnedOutput", "bins": 3}])
    made = fit(f'{{"models": {models}, "n": "3"}}', Dict[str, Any])
    assert type(made["models"][0]) is BinnedOutput
    assert (made["models"][0].bins, made["n"]) == (3, "3")
    assert fit('{"()": "BinnedOutput", "bins": 4}', Output).bins == 4


def test_abstract_classes_are_no_choices():
    with pytest.raises(Unfit) as caught:
        fit("nothing", MissingValueImputation)
    assert "LastValueImputation" in str(caught.value)
    assert "MissingValueImputation" not in str(caught.value).partition(": ")[2]
    with pytest.raises(Unfit, match=r"^the name of a MissingValueImputation: "):
        fit("MissingValueImputation", MissingValueImputation)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_literals_of_json_and_of_python_are_the_same(value):

    assert literal(json.dumps(value)) == value
    if not isinstance(value, str):
        assert literal(repr(value)) == value


@given(
    st.text() | st.integers() | st.none(),
    st.sampled_from(
        [int, float, bool, str, List[int], Optional[float], Dict[str, Any], Aggregation, Output]
    ),
)
def test_anything_fits_or_is_refused_with_a_sentence(wire, annotation):
    try:
        found = fit(wire, annotation)
    except Unfit as error:
        assert str(error)
    else:
        assert not (isinstance(found, float) and math.isnan(found))


def test_deep_text_does_not_end_the_process():
    assert literal("[" * 100_000) == "[" * 100_000


@pytest.mark.parametrize(
    ("one", "other"), [("student-T", "StudentTOutput"), ("Negative_Binomial", "negative-binomial")]
)
def test_names_of_outputs_are_compared_by_their_letters(one, other):
    assert plain_name(one) == plain_name(other)
