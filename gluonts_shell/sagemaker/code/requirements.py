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
from collections.abc import Iterable, Iterator, Mapping
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
SCHEME = re.compile(r"(?:^|[\s@=])\s*([a-z][a-z+.-]*)://", re.IGNORECASE)
# what pip takes for a path: it begins as one, has a slash in it, or ends as a wheel does
LOCAL = re.compile(
    r"(?P<path>(?=\.|[^\s;\[]*/|[^\[]*\.whl\s*(?:\[|;|--|$))[^\[;@$]*?)\s*(?P<extras>\[[^\]]*\])?\s*(?=;|--|$)"
)
PLAIN = re.compile(r"[\w-]+(\[|$)")  # what is editable is a path, though it looks like a name
FILE_ADDRESS = re.compile(r"file://(/\S+)")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # as pip has it
SHORTEST_SECRET = 4

PLACED = re.compile(r" line \d+\b")


@dataclass(frozen=True)
class Line:
    """`place` is where a person wrote it, as in `more/dev.txt line 4`."""

    text: str
    place: str

    @property
    def scheme(self) -> str:
        """Of the address that it is fetched from; nothing where there is none, or where it only says where to look."""
        if _says_where(self.text):
            return ""
        match = SCHEME.search(self.text)
        return match[1].lower() if match else ""


@dataclass(frozen=True)
class Local:
    """A line that names something in the code channel itself; `extras` as in `[dev]`, or nothing."""

    path: Path
    extras: str
    place: str


@dataclass
class Requirements:
    """All lines of some files and of what those include; `labels`: path -> what a person calls the file.

    local: what was left out of the lines, because it lies in the code channel.
    """

    lines: list[Line] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    local: list[Local] = field(default_factory=list)

    def read(self, path: Path, label: str, root: Path) -> None:
        """Add a file, whose relative paths are made absolute; `root` is the channel, or the archive that it came in.

        Raises CodeChannelError if it cannot be read, or names something by a path that is not there.
        """
        if str(path.resolve()) in self.labels:
            return
        self.labels[str(path.resolve())] = label
        for line in _lines(path, label):
            self._take(line, path.parent, label, root)

    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    def options(self) -> list[str]:
        """The lines that say where and how to look, as `--index-url` does, and not what to install."""
        return list(filter(_says_where, self.texts()))

    def secrets(self, environ: Mapping[str, str]) -> list[str]:
        """The values of variables in addresses (`https://${TOKEN}@...`), which pip puts in for their names."""
        found = []
        for line in self.lines:
            if "://" not in line.text:
                continue
            for name in VARIABLE.findall(line.text):
                if len(environ.get(name, "")) >= SHORTEST_SECRET:
                    found.append(environ[name])
        return found

    def wrong(self) -> Line | None:
        """The first line that is no requirement, if there is one: older pips take `x>>1` for a version."""
        return next((line for line in self.lines if _is_wrong(line.text)), None)

    def named(self, text: str, asked: Path, given: Path) -> str:
        """What pip says of `asked`, in which it was given these lines, said of the files that a person wrote.

        given: the file with what was built from the channel.
        """

        def place(match: re.Match[str]) -> str:
            number = int(match["number"])
            if match["path"] == str(asked):
                return self._written_at(number)
            if match["path"] == str(given):
                return "the code channel"
            label = self.labels.get(match["path"])
            return f"{label} line {number}" if label else match[0]

        for pattern in PLACES:
            text = pattern.sub(place, text)
        return text

    def _written_at(self, number: int) -> str:
        """Of the file for pip: a comment with the coding comes before these lines."""
        return self.lines[number - 2].place

    def blamed(self, sentence: str) -> str:
        """The sentence with the place of the line that it is about, unless it names one already."""
        if PLACED.search(sentence):
            return sentence
        blames = _is_wrong if "Invalid" in sentence else partial(_quoted, sentence=sentence)
        if sentence.startswith("a file could not"):
            blames = _includes
        for line in self.lines:
            if blames(line.text):
                return f"{sentence} ({line.place})"
        return sentence

    def _take(self, line: Line, folder: Path, label: str, root: Path) -> None:
        option, value = _option(line.text)
        if option not in FILES or "://" in line.text:
            named = f"./{value}" if option == "-e" and PLAIN.match(value) else value
            self._ask(line, named or line.text, folder, root)
            return
        path = folder / value
        if option == "-f":
            self._look_in(line, path)
            return
        if not path.is_file():
            raise CodeChannelError(f"{line.place} names {value!r}, which is not there")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(label), value))
        if option == "-r":
            self.read(path, name, root)
        else:
            self.labels[str(path.resolve())] = name
            self.lines.append(Line(f"-c {path.resolve()}", line.place))

    def _ask(self, line: Line, what: str, folder: Path, root: Path) -> None:
        local = _local(what)
        if local is None:
            self.lines.append(line)
            return
        name, extras = local
        path = folder / name
        if not path.exists():
            raise CodeChannelError(f"{line.place} names {name!r}, which is not there")
        if path.resolve().is_relative_to(root.resolve()):
            self.local.append(Local(path.resolve(), extras, line.place))
            log.info(
                "%r (%s) is left to the treatment of the code channel itself", line.text, line.place
            )
        else:  # of the image, for one
            self.lines.append(Line(f"{path.resolve()}{extras}", line.place))

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
    address = FILE_ADDRESS.search(text)
    if address and f"'{address[1]}'" in sentence:
        return True
    return f"'{text}'" in sentence or sentence.endswith(f": {text}")


def _includes(text: str) -> bool:
    return _option(text)[0] in ("-r", "-c") and "://" in text


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
    if b"\0" in data:
        raise CodeChannelError(
            f"{label!r} has zero bytes, expected text in UTF-8, or in UTF-16 that begins with its byte-order mark"
        )
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


def _local(text: str) -> tuple[str, str] | None:
    """The path that a requirement is, and its extras; None for what names no path, or names it with variables."""
    match = LOCAL.match(text)
    if match is None or ADDRESS.search(text):
        return None
    return match["path"], match["extras"] or ""
