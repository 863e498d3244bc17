# ruff: noqa: UP006, UP007, UP035, UP045 - constructors of GluonTS spell their annotations in all of these ways
"""Values from requests: plain JSON against an annotation. What is a text stays one."""

import enum
import math
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Callable,
    Dict,
    List,
    Literal,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

import numpy as np
import pytest
from gluonts.model.npts import KernelType
from gluonts.pydantic import PositiveInt
from gluonts.transform.feature import MissingValueImputation
from hypothesis import given
from hypothesis import strategies as st

from gluonts_shell.forecasting.service.plain import Unfit, bounded, check


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@pytest.mark.parametrize(
    ("sent", "annotation", "value"),
    [
        (7, int, 7),
        (7.0, int, 7),
        (3, PositiveInt, 3),
        (1, float, 1.0),
        (2e6, float, 2e6),
        ("D", str, "D"),
        ("1e12", str, "1e12"),
        (True, bool, True),
        (None, Optional[int], None),
        (7, Optional[int], 7),
        (1, Union[int, float], 1),
        (1.0, Union[int, float], 1.0),
        (0.5, Union[int, float], 0.5),
        (1, Union[float, List[float]], 1.0),
        ([1, 2.5], Union[float, List[float]], [1.0, 2.5]),
        (3, Union[int, Callable], 3),
        ("a", Union[str, Callable], "a"),
        ("7", Union[str, int], "7"),
        (7, int | None, 7),
        ([1, 2.0], List[int], [1, 2]),
        ([1, "a"], list, [1, "a"]),
        ([1], Sequence[int], [1]),
        ([1, 2], Tuple[int, ...], (1, 2)),
        ([1, "a"], Tuple[int, str], (1, "a")),
        ({"a": 1}, Dict[str, Any], {"a": 1}),
        ({"a": 1.0}, Dict[str, int], {"a": 1}),
        ({"a": [None, {"b": True}]}, dict, {"a": [None, {"b": True}]}),
        ("a", Literal["a", 1], "a"),
        (1, Literal["a", 1], 1),
        ("RED", Colour, Colour.RED),
        ("red", Colour, Colour.RED),
        (2, Colour, Colour.TWO),
        ("TWO", Colour, Colour.TWO),
        ("uniform", KernelType, KernelType.uniform),
        (7, Annotated[int, "at least 0"], 7),
        ("[1]", Any, "[1]"),
        (3, TypeVar("T"), 3),
        ("os", "a name that could not be resolved", "os"),
    ],
)
def test_what_fits_is_taken(sent, annotation, value):
    found = check(sent, annotation)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("sent", "annotation", "expected"),
    [
        ("7", int, "a whole number"),
        ("\uff17", int, "a whole number"),
        ("1_0", int, "a whole number"),
        (True, int, "a whole number"),
        (7.5, int, "a whole number"),
        (math.inf, int, "a whole number"),
        ([7], int, "a whole number"),
        (1_000_001, int, "at most 1000000"),
        (-1e12, int, "at most 1000000"),
        (10**400, float, "a number"),
        (math.nan, float, "a number"),
        ("2.5", float, "a number"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        ("true", bool, "true or false"),
        (7, str, "text"),
        ("null", Optional[int], "a whole number or null"),
        ("[1]", List[int], "a list"),
        ("1,2", List[int], "a list"),
        (["1"], List[int], "a list in which each item is a whole number"),
        ([10**7], List[int], "a list in which each item is at most 1000000"),
        ([1], Tuple[int, str], "a list of 2"),
        ('{"a": 1}', dict, "an object"),
        ({"a": "x"}, Dict[str, int], "an object in which each entry is a whole number"),
        ({"1": 1}, Dict[int, int], "an object in which each entry is a whole number"),
        ("1", Literal["a", 1], "one of 'a', 1"),
        ("Colour.RED", Colour, "one of 'RED', 'TWO', 'red', '2'"),
        ("2", KernelType, "one of 'exponential', 'uniform'"),
        ("numpy.mean", Callable, "a function, which a request cannot give"),
        ("daily", Union[int, Callable], "a whole number or a function, which a request cannot give"),
        ("int", Type[int], "a class, which a request cannot give"),
        ("int", type, "a class, which a request cannot give"),
        ("/etc", Path, "an object of class Path, which a request cannot give"),
        ("LastValueImputation", MissingValueImputation,
         "an object of class MissingValueImputation, which a request cannot give"),
        ({"()": "x"}, MissingValueImputation, "plain JSON values, without the key '()'"),
        ({"a": [{"__kind__": "type", "class": "os.mkdir"}]}, Any, "plain JSON values, without the key '__kind__'"),
        ([[1e12]], Any, "at most 1000000"),
        (math.nan, Any, "at most 1000000"),
        (0, None, "null"),
        ("a", np.ndarray, "a list of numbers"),
        ([1, "2"], np.ndarray, "a list of numbers"),
        ([1, [2]], np.ndarray, "a list of numbers, or of lists of one length"),
        ([[1], 2], np.ndarray, "a list of numbers, or of lists of one length"),
        ([[1, 2], [3]], np.ndarray, "a list of numbers, or of lists of one length"),
        ([math.inf], np.ndarray, "a list of numbers"),
        (["x" * 1001], list, "at most 1000 characters"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_would(sent, annotation, expected):
    with pytest.raises(Unfit) as caught:
        check(sent, annotation)
    assert str(caught.value) == expected


def test_arrays_are_lists_of_numbers():
    np.testing.assert_array_equal(check([[1, 2.5], [3, 2e9]], np.ndarray), [[1.0, 2.5], [3.0, 2e9]])


def test_depth_and_size_have_an_end():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, [[0] * 1000] * 1000, {str(number): 0 for number in range(100_000)}):
        with pytest.raises(Unfit, match=r"^at most \d+ (levels|values)"):
            bounded(value)
    while deep:  # Python's own destructor of such a list may be deep, too
        deep = deep.pop()
    bounded([[[[[[[0]]]]]]])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    PLAIN,
    st.sampled_from(
        [Any, int, float, str, Dict[str, Any], List[float], Optional[bool], np.ndarray, Colour]
    ),
)
def test_anything_fits_or_is_refused_and_no_text_becomes_anything_else(sent, annotation):
    try:
        found = check(sent, annotation)
    except Unfit as refusal:
        assert str(refusal)
        return
    assert isinstance(found, str | int | float | list | dict | np.ndarray | Colour) or found is None
    if isinstance(sent, str):
        assert found == sent or isinstance(found, Colour)
