"""Covariates that come by name -> the rows of dynamic features, in the order in which training saw the names.

`past_covariates` has a list as long as the target for each name, and `future_covariates` goes on with those that are
known in advance. What both have is a dynamic feature, what only the first has is one of the past; what is text is a
category.

Source of the form: Chronos on SageMaker JumpStart, "Endpoint API". A channel's lines have it too; there the lists of
`future_covariates` may be empty, since nothing beyond the target is learnt from.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts_shell import nearby
from gluonts_shell.errors import counted, private
from gluonts_shell.forecasting.contract import Features, numbered
from gluonts_shell.forecasting.data.fields import FieldError, brief, quoted

PAST, FUTURE = "past_covariates", "future_covariates"
# attribute of Features that counts rows -> the attribute that has their names; text makes categories
GROUPS = {
    "dynamic_real": "future_covariates",
    "past_dynamic_real": "past_covariates",
    "dynamic_cat": "future_categories",
    "past_dynamic_cat": "past_categories",
}
AHEAD = ("dynamic_real", "dynamic_cat")
CATEGORIES = ("dynamic_cat", "past_dynamic_cat")
# what the rows are called where they come without names
UNNAMED = ("dynamic_feat", "feat_dynamic_real", "past_feat_dynamic_real")
UNNAMED_CATEGORIES = {
    "dynamic_cat": "feat_dynamic_cat",
    "past_dynamic_cat": "past_feat_dynamic_cat",
}


@dataclass
class Names:
    """groups: of GROUPS, the names in the order of their rows. labels: of each that is text its categories.

    learns: nothing is known yet, and the first series that has some tells them; numbers: categories are numbered as
    they come. teacher: who told the names, for sentences.
    """

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    learns: bool = False
    numbers: bool = False
    teacher: str = "the model was trained with"

    @classmethod
    def of(cls, features: Features) -> Names:
        found = cls({wanted: getattr(features, names) for wanted, names in GROUPS.items()})
        found.labels = dict(
            zip(found.of_groups(CATEGORIES), map(numbered, features.covariate_labels), strict=False)
        )
        return found

    def of_groups(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """The names in some of the groups."""
        return tuple(itertools.chain.from_iterable(self.groups.get(one, ()) for one in wanted))

    def settled(self) -> dict[str, Any]:
        """The attributes of Features that keep them."""
        labels = tuple(tuple(self.labels.get(name, ())) for name in self.of_groups(CATEGORIES))
        found = {names: self.groups.get(wanted, ()) for wanted, names in GROUPS.items()}
        return {**found, "covariate_labels": labels}

    def __bool__(self) -> bool:
        return any(self.groups.values())

    @property
    def known(self) -> tuple[str, ...]:
        return self.of_groups(self.groups)

    @property
    def ahead(self) -> tuple[str, ...]:
        """Those that are known in advance."""
        return self.of_groups(AHEAD)

    def learn(self, past: Mapping[str, Any], future: Collection[str]) -> None:
        """From the first series: the order of `past` counts, since it has all of them."""
        for wanted in GROUPS:
            names = [name for name in past if _group(name, past[name], future) == wanted]
            self.groups[wanted] = tuple(names)
        self.learns, self.numbers, self.teacher = False, True, "the first series has"

    def codes(self, name: str, place: str, values: list[Any]) -> list[int]:
        """The categories of one list as numbers. Raises FieldError about PAST or FUTURE, with which place begins."""
        known = self.labels.setdefault(name, {})
        found = []
        for index, value in enumerate(values):
            if type(value) is str and self.numbers:
                known.setdefault(value, len(known))
            if type(value) is not str or value not in known:
                some = private(", ".join(map(repr, list(known)[:5])))
                expected = f"expected a category that {self.teacher}, such as {some}"
                about = place.partition("[")[0]
                raise FieldError(f"{place}[{index}] is {quoted(value)}, {expected}", about)
            found.append(known[value])
        return found


def _group(name: str, values: Any, future: Collection[str]) -> str:
    kind = "dynamic_real"
    if type(values) is list and str in map(type, values):
        kind = "dynamic_cat"
    if name in future:
        return kind
    return f"past_{kind}"


@dataclass(frozen=True)
class Covariates:
    """Of one series, as they were sent, with names that fit each other and the model."""

    past: dict[str, Any]
    future: dict[str, Any]
    names: Names

    @classmethod
    def sent(cls, instance: dict[str, Any], names: Names, length: int) -> Covariates:
        """names: taken from this series where they are still to be learnt. length: of the target. Raises FieldError."""
        _check_one_form(instance, UNNAMED)
        past, future = _object(instance, PAST), _object(instance, FUTURE)
        if not length:  # a cold start has no past
            past = {**{name: [] for name in (*future, *names.known)}, **past}
        for name in future:
            if name not in past:
                reason = f"{FUTURE} has {_quoted(name)}, and {PAST} has not; expected it in both"
                raise FieldError(reason, FUTURE)
        if names.learns and past:
            names.learn(past, future)
        # categories without names may stand beside names of numbers
        named = [name for wanted, name in UNNAMED_CATEGORIES.items() if names.groups.get(wanted)]
        _check_one_form(instance, named)
        found = cls(past, future, names)
        found._check_known()
        return found

    def _side(self, field: str) -> dict[str, Any]:
        return self.past if field == PAST else self.future

    def _check_known(self) -> None:
        known, ahead = self.names.known, self.names.ahead
        for name in self.past:
            if name not in known:
                raise FieldError(f"{PAST} has {_quoted(name)}, {self._unknown(name)}", PAST)
        for name in self.future:
            if name not in ahead:
                reason = (
                    f"{FUTURE} has {_quoted(name)}, of which {self.names.teacher} the past only"
                )
                raise FieldError(f"{reason}; leave it out there", FUTURE)

    def _unknown(self, name: str) -> str:
        known = self.names.known
        if not known:
            return (
                "but no names of covariates are known here; features without names are dynamic_feat"
            )
        hint = nearby.did_you_mean(name, known) or f"; there are {', '.join(known[:10])}"
        return f"expected names that {self.names.teacher}{hint}"

    def check_there(self, field: str, name: str) -> None:
        """Raises FieldError where one of the two fields lacks a name."""
        if name not in self._side(field):
            expected = f"expected it: {self.names.teacher} it"
            raise FieldError(f"{field} has no {name!r}, {expected}", field)

    def row(self, field: str, name: str, length: int, expected: str) -> tuple[str, list[Any]]:
        """The place of one list, and the list, which has this length. Raises FieldError."""
        self.check_there(field, name)
        values = self._side(field)[name]
        place = f"{field}[{name!r}]"
        if type(values) is not list:
            raise FieldError(f"{place} is {quoted(values)}, expected a list of values", field)
        if len(values) != length:
            count = counted(len(values), "values")
            raise FieldError(f"{place} has {count}, expected {length}, {expected}", field)
        return place, values


def _check_one_form(instance: dict[str, Any], unnamed: Collection[str]) -> None:
    for name in unnamed:
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
