"""What an annotation asks for: a sum of cases, one of them for each parameter. It converts no value.

What a job's owner writes and what a request holds are made to fit by two modules of different
trust, `forecaster/hyperparameters/values` and `service/plain`; both begin here, and say in the same
words what does not fit.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Unfit(Exception):
    """The value does not fit; the message completes "expected ..."."""

    @classmethod
    def unless(cls, fits: object, expected: str) -> None:
        """Raises it where the value does not fit."""
        if not fits:
            raise cls(expected)


class Form(enum.Enum):
    """ANYTHING is also a type variable, no annotation, and a name that could not be resolved; VALUE is a class."""

    UNION = "one of several annotations"
    CHOICE = "one of several values"
    NULL = "null"
    FUNCTION = "a function"
    CLASS = "a class"
    ANYTHING = "anything"
    VALUE = "an object of a class"


FORMS: Mapping[Any, Form] = {
    typing.Union: Form.UNION,
    types.UnionType: Form.UNION,
    typing.Literal: Form.CHOICE,
    None: Form.NULL,
    type(None): Form.NULL,
    collections.abc.Callable: Form.FUNCTION,
    type: Form.CLASS,
    Any: Form.ANYTHING,
    object: Form.ANYTHING,
}


@dataclass(frozen=True)
class Wanted:
    """kind: without its arguments, `list` of `list[int]`."""

    form: Form
    kind: Any
    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, annotation: Any) -> Wanted:
        kind, arguments = bare(annotation), typing.get_args(annotation)
        if kind is typing.Annotated:
            return cls.of(arguments[0])
        if not isinstance(kind, type):
            return cls(FORMS.get(kind, Form.ANYTHING), kind, arguments)
        otherwise = Form.CHOICE if issubclass(kind, enum.Enum) else Form.VALUE
        return cls(FORMS.get(kind, otherwise), kind, arguments)

    @property
    def takes_null(self) -> bool:
        return type(None) in self.arguments

    def first_fit(self, value: Any, members: list[Any], fit: Callable[[Any, Any], Any]) -> Any:
        """Of a UNION: the value as the first of `members` wants it by fit(value, member).

        Raises Unfit, with what each of them expected.
        """
        expectations: dict[str, None] = {}
        for member in members:
            try:
                return fit(value, member)
            except Unfit as error:
                expectations[str(error)] = None
        if self.takes_null:
            expectations["null"] = None
        raise Unfit(" or ".join(expectations))

    @property
    def choices(self) -> dict[str, Any]:
        """Of a CHOICE: what may be written -> what it means. A member of an enum has its name and its value."""
        if self.kind is typing.Literal:
            return {str(choice): choice for choice in self.arguments}
        return {
            **{member.name: member for member in self.kind},
            **{str(member.value): member for member in self.kind},
        }

    def members(self, own: type) -> list[Any]:
        """Of a UNION, in the order in which to try them, without null: that of the value's `own` type, then the others.

        Text takes everything, so it is last. `1` and `1.0` differ where a trainer counts batches by
        the one and takes shares by the other.
        """
        others = [member for member in self.arguments if member is not type(None)]
        return sorted(others, key=lambda member: (member is str, bare(member) is not own))


def bare(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation
