"""Covariates that come by name -> the rows of dynamic features, in the order in which training saw the names.

`past_covariates` has a list as long as the target for each name, and `future_covariates` goes on with those that are
known in advance. What both have is a dynamic feature, what only the first has is one of the past.

Source of the form: Chronos on SageMaker JumpStart, "Endpoint API". A channel's lines have it too; there the lists of
`future_covariates` may be empty, since nothing beyond the target is learnt from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import private
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.fields import FieldError, brief, quoted

PAST, FUTURE = "past_covariates", "future_covariates"
# each with the attribute of Features that counts its rows, past_covariates those that are in no other
BY_NAME = {FUTURE: "dynamic_real", PAST: "past_dynamic_real"}
# what the rows are called where they come without names
UNNAMED = ("dynamic_feat", "feat_dynamic_real", "past_feat_dynamic_real")


@dataclass
class Names:
    """In the order of their rows. future: of what is known in advance; past: of what is not.

    learns: nothing is known yet, and the first series that has some tells them. teacher: who told them, for sentences.
    """

    future: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    learns: bool = False
    teacher: str = "the model was trained with"

    @classmethod
    def of(cls, features: Features) -> Names:
        return cls(features.future_covariates, features.past_covariates)

    def __bool__(self) -> bool:
        return bool(self.future or self.past)

    def learn(self, past: Iterable[str], future: Collection[str]) -> None:
        """From the first series: the order of `past` counts, since it has all of them."""
        self.future = tuple(name for name in past if name in future)
        self.past = tuple(name for name in past if name not in future)
        self.learns, self.teacher = False, "the first series has"


@dataclass(frozen=True)
class Covariates:
    """Of one series, as they were sent, with names that fit each other and the model."""

    past: dict[str, Any]
    future: dict[str, Any]
    names: Names

    @classmethod
    def sent(cls, instance: dict[str, Any], names: Names, length: int) -> Covariates:
        """names: taken from this series where they are still to be learnt. length: of the target. Raises FieldError."""
        _check_one_form(instance)
        past, future = _object(instance, PAST), _object(instance, FUTURE)
        if not length:  # a cold start has no past
            past = {**{name: [] for name in (*future, *names.past)}, **past}
        for name in future:
            if name not in past:
                reason = f"{FUTURE} has {_quoted(name)}, and {PAST} has not; expected it in both"
                raise FieldError(reason, FUTURE)
        if names.learns and past:
            names.learn(past, future)
        found = cls(past, future, names)
        found._check_known()
        return found

    def _check_known(self) -> None:
        for name in self.past:
            if name not in (*self.names.future, *self.names.past):
                raise FieldError(f"{PAST} has {_quoted(name)}, {self._unknown(name)}", PAST)
        for name in self.future:
            if name not in self.names.future:
                reason = (
                    f"{FUTURE} has {_quoted(name)}, of which {self.names.teacher} the past only"
                )
                raise FieldError(f"{reason}; leave it out there", FUTURE)

    def _unknown(self, name: str) -> str:
        known = (*self.names.future, *self.names.past)
        if not known:
            return (
                "but no names of covariates are known here; features without names are dynamic_feat"
            )
        hint = nearby.did_you_mean(name, known) or f"; there are {', '.join(known[:10])}"
        return f"expected names that {self.names.teacher}{hint}"

    def check_there(self, field: str, name: str) -> None:
        """Raises FieldError where one of the two fields lacks a name."""
        if name not in (self.past if field == PAST else self.future):
            expected = f"expected it: {self.names.teacher} it"
            raise FieldError(f"{field} has no {name!r}, {expected}", field)

    def row(self, field: str, name: str, length: int, expected: str) -> tuple[str, list[Any]]:
        """The place of one list, and the list, which has this length. Raises FieldError."""
        self.check_there(field, name)
        values = (self.past if field == PAST else self.future)[name]
        place = f"{field}[{name!r}]"
        if type(values) is not list:
            raise FieldError(f"{place} is {quoted(values)}, expected a list of numbers", field)
        if len(values) != length:
            count = "1 value" if len(values) == 1 else f"{len(values)} values"
            raise FieldError(f"{place} has {count}, expected {length}, {expected}", field)
        return place, values


def _check_one_form(instance: dict[str, Any]) -> None:
    for name in UNNAMED:
        if instance.get(name):
            both = f"it has both {name} and covariates by name"
            raise FieldError(f"{both}, which are the same; expected one of them", name)


def _object(instance: dict[str, Any], field: str) -> dict[str, Any]:
    value = instance.get(field)
    if value is None:
        return {}
    if type(value) is not dict:
        raise FieldError(
            f"{field} is {quoted(value)}, expected an object with a list for each name", field
        )
    return value


def _quoted(name: str) -> str:
    return private(brief(name))
