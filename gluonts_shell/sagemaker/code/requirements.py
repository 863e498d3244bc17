"""Requirement files as lines, each with the place where a person wrote it. Not what a requirement means: pip decides.

A file is read as pip reads it (pip documentation, "Requirements File Format"): byte-order marks and
coding comments, continuation lines, comments, `-r`. What it names by a path within the code channel
is left out, because everything in the channel is installed anyway, from a copy.
"""

from __future__ import annotations

import codecs
import locale
import logging
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gluonts_shell.errors import CodeChannelError

log = logging.getLogger(__name__)

OPTION = re.compile(
    r"(?P<name>-r|--requirement|-c|--constraint|-f|--find-links|-e|--editable)(?:\s*=\s*|\s*)(?P<value>\S.*)"
)
FILES = ("-r", "-c", "-f")  # the options whose value is a path beside the file
SHORT = {"--requirement": "-r", "--constraint": "-c", "--find-links": "-f", "--editable": "-e"}
COMMENT = re.compile(r"(^|\s+)#.*$")
CODING = re.compile(rb"^#.*coding[:=]\s*([-\w.]+)")  # PEP 263, which pip follows
# the longer ones first: UTF-32's mark begins with that of UTF-16. PowerShell's `>` writes UTF-16
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


# the three ways in which pip names a line of a file
PLACES = (
    re.compile(r"line (?P<number>\d+) of (?P<path>/[^\n]*?\.\w+)(?=\)|$)", re.MULTILINE),
    re.compile(r"-r (?P<path>/[^\n]*?) \(line (?P<number>\d+)\)"),
    re.compile(r"(?P<path>/[^\s\n]*?\.\w+) line (?P<number>\d+)"),
)
ADDRESS = re.compile(r"://| @ ")
LOCAL = re.compile(r"\.|[^\[]*/|[^\[]*\.whl\s*(\[|$)")

PLACED = re.compile(r" line \d+\b")


@dataclass(frozen=True)
class Line:
    """`place` is where a person wrote it, as in `more/dev.txt line 4`."""

    text: str
    place: str


@dataclass
class Requirements:
    """All lines of some files and of what those include; `labels`: path -> what a person calls the file."""

    lines: list[Line] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def read(self, path: Path, label: str) -> None:
        """Add a file, whose relative paths are made absolute. Raises CodeChannelError if it cannot be read."""
        if str(path.resolve()) in self.labels:
            return
        self.labels[str(path.resolve())] = label
        for line in _lines(path, label):
            self._take(line, path.parent, label)

    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    def options(self) -> list[str]:
        """The lines that say where and how to look, as `--index-url` does, and not what to install."""
        return list(filter(_says_where, self.texts()))

    def named(self, text: str, asked: Path) -> str:
        """What pip says of `asked`, in which it was given these lines, said of the files that a person wrote."""

        def place(match: re.Match[str]) -> str:
            number = int(match["number"])
            if match["path"] == str(asked):
                return self._written_at(number)
            label = self.labels.get(match["path"])
            return f"{label} line {number}" if label else match[0]

        for pattern in PLACES:
            text = pattern.sub(place, text)
        return text

    def _written_at(self, number: int) -> str:
        """Of the file for pip: a comment with the coding comes before these lines, wheels of the channel after."""
        index = number - 2
        if index >= len(self.lines):
            return "the code channel"
        return self.lines[index].place

    def blamed(self, sentence: str) -> str:
        """The sentence with the place of the line that it is about, unless it names one already."""
        if PLACED.search(sentence):
            return sentence
        blames = _is_wrong if "Invalid" in sentence else partial(_quoted, sentence=sentence)
        for line in self.lines:
            if blames(line.text):
                return f"{sentence} ({line.place})"
        return sentence

    def _take(self, line: Line, folder: Path, label: str) -> None:
        option, value = _option(line.text)
        if option not in FILES or "://" in line.text:
            self._ask(line, value or line.text, folder)
            return
        path = folder / value
        if option == "-f":
            self._look_in(line, path)
            return
        if not path.is_file():
            raise CodeChannelError(f"{line.place} names {value!r}, which is not there")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(label), value))
        if option == "-r":
            self.read(path, name)
        else:
            self.labels[str(path.resolve())] = name
            self.lines.append(Line(f"-c {path.resolve()}", line.place))

    def _ask(self, line: Line, what: str, folder: Path) -> None:
        if _is_local(what, folder):
            log.info(
                "%r (%s) is left to the treatment of the code channel itself", line.text, line.place
            )
        else:
            self.lines.append(line)

    def _look_in(self, line: Line, path: Path) -> None:
        """pip takes a path that is not there as it stands."""
        if path.exists():
            line = Line(f"--find-links {path}", line.place)
        self.lines.append(line)


def included(path: Path) -> list[str]:
    """What the file itself names with -r or -c, as it is written there."""
    found = []
    for line in _lines(path, path.name):
        option, value = _option(line.text)
        if option in ("-r", "-c"):
            found.append(value)
    return found


def written(lines: Iterable[str]) -> bytes:
    """A file for pip, whatever the locale is; the first of `lines` is its second."""
    return "\n".join(["# coding: utf-8", *lines, ""]).encode()


def _says_where(text: str) -> bool:
    if not text.startswith("-"):
        return False
    option, _ = _option(text)
    return option in ("", "-f")


def _quoted(text: str, sentence: str) -> bool:
    """Whether a sentence quotes that line; of an option pip repeats only the name."""
    if text.startswith("--"):
        return sentence.endswith(text.split(maxsplit=1)[0].partition("=")[0])
    return f"'{text}'" in sentence or sentence.endswith(f": {text}")


def _is_wrong(text: str) -> bool:
    """Whether a line that names no option, path or address is no requirement (PEP 508)."""
    from packaging.requirements import InvalidRequirement, Requirement

    if "://" in text or text[0] in "-./":
        return False
    try:
        Requirement(text.partition(" --")[0])
    except InvalidRequirement:
        return True
    return False


def _option(text: str) -> tuple[str, str]:
    """The short name of an option that takes a path, and that path; two empty texts for any other line."""
    match = OPTION.match(text)
    if not match:
        return "", ""
    name = match["name"]
    value = match["value"].strip()
    return SHORT.get(name, name), value.strip("'\"")


def _lines(path: Path, label: str) -> Iterator[Line]:
    """Lines that are continued come as one, with the number of the first; none is empty or a comment."""
    begun, number = "", 0
    for current, row in enumerate([*_text(path, label).splitlines(), ""], 1):
        if not begun:
            number = current
        if row.endswith("\\") and not COMMENT.match(row):
            begun += row.strip("\\")
            continue
        # pip puts a space before a comment, so that it ends what is continued into it
        whole = f"{begun} {row}" if COMMENT.match(row) else begun + row
        begun = ""
        plain = COMMENT.sub("", whole).strip()
        if plain:
            yield Line(plain, f"{label} line {number}")


def _text(path: Path, label: str) -> str:
    data = path.read_bytes()
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding, label)
    for row in data.split(b"\n")[:2]:
        coding = CODING.match(row)
        if coding:
            return _decoded(data, coding[1].decode(), label)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _decoded(data, locale.getpreferredencoding(False), label)


def _decoded(data: bytes, encoding: str, label: str) -> str:
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeDecodeError) as error:
        raise CodeChannelError(
            f"{label!r} cannot be read as {encoding}: {error}; write it in UTF-8"
        ) from None


def _is_local(text: str, folder: Path) -> bool:
    if ADDRESS.search(text) or not LOCAL.match(text):
        return False
    name = text.partition("[")[0].strip()
    return (folder / name).exists()
