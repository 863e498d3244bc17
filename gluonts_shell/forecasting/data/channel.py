"""A channel's folder and a frequency -> a data set of GluonTS entries, with its statistics.

Every series is checked while it is read, and what is wrong is named by file, line and item. Files and formats are
`files`' business, the fields of one series `instances`'.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gluonts_shell.errors import DataError
from gluonts_shell.forecasting.contract import Features
from gluonts_shell.forecasting.data.covariates import NAMES
from gluonts_shell.forecasting.data.fields import FieldError, brief
from gluonts_shell.forecasting.data.files import data_files, partition, rows, short
from gluonts_shell.forecasting.data.instances import Reader, slip
from gluonts_shell.forecasting.data.naming.labels import Numbering, Settled
from gluonts_shell.forecasting.data.naming.order import FUTURE, PAST, Names
from gluonts_shell.forecasting.data.statistics import Statistics

log = logging.getLogger(__name__)

# Series are held as float32, about a third of their size as JSON; larger channels are read anew in each pass.
HELD_BYTES = 2 * 1024**3
# attribute of Features -> what a sentence calls covariates by name that are not read
UNREAD = {
    "dynamic_real": FUTURE,
    "past_dynamic_real": PAST,
    "dynamic_cat": "feat_dynamic_cat",
    "past_dynamic_cat": "past_feat_dynamic_cat",
}


@dataclass(frozen=True)
class Data:
    """A data set: sized, and to be iterated again and again. Held in memory, or read anew in each pass.

    unread: fields of features that series have and that were not to be read. here: how many series this is, where it is
    a share of the channel and the statistics are those of all of it.
    """

    channel: Channel
    statistics: Statistics
    held: list[dict[str, Any]] | None
    unread: tuple[str, ...] = ()
    here: int | None = None

    def __len__(self) -> int:
        return self.statistics.series if self.here is None else self.here

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.held is None:
            return self.channel.entries()
        return iter(self.held)


@dataclass(slots=True)
class Row:
    """As a file has it. noun: what the file's rows are called."""

    file: Path
    noun: str
    number: int
    value: Any

    def where(self) -> str:
        """`train/data.json line 3 (item_id 'SKU-7')`"""
        place = f"{short(self.file)} {self.noun} {self.number}"
        item_id = self._field("item_id")
        if item_id is None:
            return place
        return f"{place} (item_id {brief(item_id)})"

    @property
    def length(self) -> int:
        """Of the target, where it is one, else 0; it is not checked yet."""
        target = self._field("target")
        if isinstance(target, list) and target and isinstance(target[0], list):
            target = target[0]
        return len(target) if isinstance(target, list) else 0

    def _field(self, name: str) -> Any:
        return self.value.get(name) if isinstance(self.value, dict) else None


@dataclass(frozen=True)
class Channel:
    """What to read, and how. features: what the series must have, as `instances.Reader` takes it.

    shortest: series with fewer values are skipped.
    """

    name: str
    path: Path
    freq: str
    content_type: str | None = None
    features: Features = Features()  # noqa: RUF009 - it is frozen
    shortest: int = 0

    def read(self, hold: bool | None = None) -> Data:
        """Read and check the whole channel. hold: in memory or not; None decides by its size.

        Raises DataError naming file, line and item of the first series that is wrong, or if there is no series left.
        """
        if hold is None:
            hold = sum(file.stat().st_size for file, _ in self.files) <= HELD_BYTES
        held: list[dict[str, Any]] | None = [] if hold else None
        statistics, unread = Statistics(), set[str]()
        numbering, longest = Numbering(), 0
        ignored, names = self._ignored, self._names
        reader = self._reader(numbering, names=names)
        # a series that is left out may have labels that no other has: they are not the model's, and no fault
        lenient = self._reader(
            numbering,
            replace(
                self.features,
                static_cat=self._of_short_series,
                labels=(),
                dynamic_cat=(),
                past_dynamic_cat=(),
            ),
            names,
        )
        for row in self._rows():
            left_out = row.length < self.shortest
            entry = self._entry(row, lenient if left_out else reader)
            longest = max(longest, entry["target"].shape[-1])
            if left_out:
                statistics.add_left_out(entry)
                continue
            statistics.add(entry, row.where)
            if ignored:
                unread |= row.value.keys() & ignored
            if held is not None:
                held.append(entry)
        self._check_left(statistics, longest)
        for warning in statistics.warnings(self.name):
            log.warning("%s", warning)
        statistics.names = names
        unread |= self._unread(names)
        channel = self._settled(numbering, statistics, held or [])
        return Data(channel, statistics, held, tuple(sorted(unread)))

    @functools.cached_property
    def files(self) -> list[tuple[Path, str]]:
        return data_files(self.path, self.content_type)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Each series that is long enough, once the channel has been read."""
        reader = self._reader(None)
        for row in self._rows():
            if row.length >= self.shortest:
                yield self._entry(row, reader)

    def faults(self) -> Iterator[str]:
        """A sentence for each series that `read` would refuse, and for each file that cannot be read on from a line."""
        reader, statistics = self._reader(Numbering(), names=self._names), Statistics()
        for file, kind in self.files:
            try:
                for row in self._rows_of(file, kind):
                    yield from self._faults_of(row, reader, statistics)
            except DataError as error:
                yield str(error)

    def _faults_of(self, row: Row, reader: Reader, statistics: Statistics) -> Iterator[str]:
        try:
            statistics.add(self._entry(row, reader), row.where)
        except DataError as error:
            yield str(error)

    def _rows(self) -> Iterator[Row]:
        for file, kind in self.files:
            yield from self._rows_of(file, kind)

    def _rows_of(self, file: Path, kind: str) -> Iterator[Row]:
        noun = "line" if kind == "json lines" else "row"
        fields = partition(file, self.path)
        for number, value in rows(file, kind):
            filled = {**fields, **value} if fields and isinstance(value, dict) else value
            yield Row(file, noun, number, filled)

    def _entry(self, row: Row, reader: Reader) -> dict[str, Any]:
        try:
            entry = reader.entry(row.value, self.freq)
        except FieldError as fault:
            field = f"field {fault.field!r}: " if fault.field else ""
            hint = slip(row.value, fault.field)
            raise DataError(f"{row.where()}: {field}{fault}{hint}") from None
        if entry["item_id"] is None:
            entry["item_id"] = f"{row.file.name}:{row.number}"
        return entry

    def _reader(
        self,
        numbering: Numbering | None,
        features: Features | None = None,
        names: Names | None = None,
    ) -> Reader:
        """Texts are numbered where nothing is known of the categories; else they are known, or a fault."""
        features = features or self.features
        known = features.static_cat is not None
        return Reader(
            0, features, pads_empty=False, numbering=None if known else numbering, learnt=names
        )

    @property
    def _names(self) -> Names:
        """Of covariates. Of the first channel, whose dimensions are not known either, they are learnt."""
        found = Names.of(self.features)
        found.learns = not found and self.features.dimensions == 0
        return found

    def _unread(self, names: Names) -> set[str]:
        """What of the covariates by name is not read: the field of those that are numbers, or what text would be."""
        return {
            UNREAD[wanted]
            for wanted, found in names.groups.items()
            if found and getattr(self.features, wanted) in (0, ())
        }

    @property
    def _of_short_series(self) -> tuple[int, ...] | None:
        """Nothing is wanted of their categories, but where none are read at all."""
        return () if self.features.static_cat == () or self.features.labels else None

    @functools.cached_property
    def _ignored(self) -> frozenset[str]:
        """Names of fields that are not read."""
        return frozenset(
            name for name, kind in NAMES.items() if getattr(self.features, kind.wanted) in (0, ())
        )

    def _check_left(self, statistics: Statistics, longest: int) -> None:
        short, left = statistics.too_short, statistics.series
        if not left and not short:
            raise DataError(f"channel {self.name!r}: its files hold no series")
        if not left:
            lengths = f"the longest has {longest} values, and at least {self.shortest} are needed"
            raise DataError(f"channel {self.name!r}: no series is long enough: {lengths}")
        if short:
            log.warning("channel %r: %d of %d series have fewer than %d values and are left out",
                        self.name, short, short + left, self.shortest)  # fmt: skip

    def _settled(
        self, numbering: Numbering, statistics: Statistics, held: list[dict[str, Any]]
    ) -> Channel:
        """This channel with the labels and dimensions that were found; series and statistics are renumbered."""
        dimensions = replace(self.features, **statistics.settled())
        settled = Settled(numbering, statistics.categories)
        if not settled.labels:
            return replace(self, features=dimensions)
        self._tell_left_out(numbering, statistics)
        statistics.labels = settled.labels
        statistics.categories = settled.renumbered(statistics.categories)
        statistics.left_out = []
        for entry in held:
            if "feat_static_cat" in entry:
                settled.renumber(entry["feat_static_cat"])
        return replace(self, features=replace(dimensions, labels=settled.labels))

    def _tell_left_out(self, numbering: Numbering, statistics: Statistics) -> None:
        for position, (codes, others) in enumerate(
            zip(statistics.categories, statistics.left_out, strict=False)
        ):
            known = set(numbering.names(position, codes).values())
            lost = sorted(set(numbering.names(position, others).values()) - known)
            if lost:
                some = ", ".join(map(repr, lost[:5])) + (", ..." if len(lost) > 5 else "")
                log.warning("channel %r: cat[%d] is %s only in series that are left out; the model will not know it",
                            self.name, position, some)  # fmt: skip
