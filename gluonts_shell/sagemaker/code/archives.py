"""Unpacks tar and zip files that nobody vouches for. It knows formats and the disk, not what the files are for.

Everything that could reach outside the target or exhaust the machine is refused with a sentence: absolute names, `..`,
links that lead out, devices, set-uid bits, names that occur twice, encrypted members, more members or bytes than the
budget allows. Bytes are counted while they are written, because a header may lie. Files are created, never opened, and
links come last, so that nothing is ever written through a link. The rules are those of PEP 706, which Pythons before
3.10.12 and 3.11.4 do not have; where Python has its data filter, that must agree as well.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from gluonts_shell.errors import CodeChannelError

# suffix -> what opens its decompressed bytes
TARS: dict[str, Callable[[Path], Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
    ".tar": partial(open, mode="rb"),
}
SUFFIXES = (*TARS, ".zip")

MAX_MEMBERS = 100_000
MAX_HEADER = 1024 * 1024  # tarfile reads an extended header as a whole; a real one has a few hundred bytes
MAX_LINK = 4096  # PATH_MAX on Linux
MAX_CHAIN = 40  # links to links that Linux follows
CHUNK = 256 * 1024

# all that the three modules are known to raise over damaged or hostile input
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError, OverflowError, KeyError, IndexError, MemoryError),
)


@dataclass
class Budget:
    """What may still be unpacked; shared by all archives of a channel, so that many small bombs are one bomb."""

    bytes_left: int
    members_left: int = MAX_MEMBERS


@dataclass(frozen=True)
class Member:
    """`kind` is file, folder, symlink, hardlink or special; `link` is where a link leads; `size` is only a claim."""

    name: str
    kind: str
    mode: int
    size: int
    link: str
    open: Callable[[], IO[bytes]]


def suffix(name: str) -> str:
    """The archive suffix that `name` ends in, or nothing."""
    return next((ending for ending in SUFFIXES if name.lower().endswith(ending)), "")


def unpack(archive: Path, target: Path, budget: Budget, label: str = "") -> None:
    """Unpack into the empty folder `target` and charge `budget`; `label` is the archive's name in messages.

    Raises CodeChannelError if the archive is damaged, hostile or too large. What was written by then stays in `target`.
    """
    label = label or archive.name
    members = _zip if archive.name.lower().endswith(".zip") else _tar
    target.mkdir(parents=True, exist_ok=True)
    try:
        _write(members(archive, target.resolve()), target.resolve(), budget)
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise CodeChannelError(f"archive {label!r} cannot be unpacked: {reason}") from error
    except CodeChannelError as error:
        raise CodeChannelError(f"archive {label!r} is refused: {error}") from error


def _write(members: Iterator[Member], root: Path, budget: Budget) -> None:
    links: dict[str, str] = {}
    for member in members:
        budget.members_left -= 1
        if budget.members_left < 0:
            raise CodeChannelError(
                f"there are more than {MAX_MEMBERS} members, counted over all archives of the channel"
            )
        name = posixpath.normpath(member.name)
        path = root / name
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or name in links:
            raise CodeChannelError(f"{member.name!r} is in it twice")
        if member.kind == "symlink":
            links[name] = _destination(member)
        elif member.kind == "hardlink":
            origin = root / _destination(member)
            if not origin.is_file():
                raise CodeChannelError(f"{member.name!r} is a link to {member.link!r}, which does not come before it")
            os.link(origin, path)
        else:
            _copy(member, path, budget)
    _link(links, root)


def _check(member: Member) -> None:
    """Refuse what needs no more than the member's own header to be refused."""
    name = member.name
    if name.startswith("/") or PureWindowsPath(name).drive or PureWindowsPath(name).root:
        raise CodeChannelError(f"{name!r} is an absolute path")
    if ".." in name.split("/"):
        raise CodeChannelError(f"{name!r} leads out of its folder; names must not contain '..'")
    if "\\" in name or "\0" in name:
        raise CodeChannelError(f"{name!r} contains a backslash or a NUL; folders are separated by '/'")
    if member.kind == "special":
        raise CodeChannelError(f"{name!r} is a device, a pipe or a socket; only files, folders and links are unpacked")
    if member.kind == "file" and member.mode & (stat.S_ISUID | stat.S_ISGID):
        raise CodeChannelError(f"{name!r} is set-uid or set-gid (mode {member.mode & 0o7777:04o})")
    if member.kind != "folder" and posixpath.normpath(name) == ".":
        raise CodeChannelError(f"one of its members, a {member.kind}, has no name")
    if member.kind in ("symlink", "hardlink"):
        _destination(member)


def _destination(member: Member) -> str:
    """Where a link leads, relative to the root; a symbolic link counts from its folder, a hard link from the root."""
    start = posixpath.dirname(member.name) if member.kind == "symlink" else ""
    plain = posixpath.normpath(posixpath.join(start, member.link))
    if posixpath.isabs(member.link) or plain.split("/")[0] == ".." or "\0" in member.link:
        raise CodeChannelError(f"{member.name!r} is a link to {member.link!r}, which is outside of the archive")
    return plain


def _copy(member: Member, path: Path, budget: Budget) -> None:
    too_large = "it unpacks to more than the limit; if that is meant, raise GLUONTS_SHELL_MAX_UNPACKED_BYTES"
    if member.size > budget.bytes_left:
        raise CodeChannelError(too_large)
    with member.open() as source, path.open("xb") as file:
        while chunk := source.read(CHUNK):
            budget.bytes_left -= len(chunk)
            if budget.bytes_left < 0:
                raise CodeChannelError(too_large)
            file.write(chunk)
    path.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


def _link(links: dict[str, str], root: Path) -> None:
    """Make the symbolic links. None exists yet, so a name without `..` that exists under `root` is really there."""
    ends = {}
    for name, destination in links.items():
        end = destination
        for _ in range(MAX_CHAIN):
            end = links.get(end, end)
        if not (root / end).exists():
            raise CodeChannelError(f"{name!r} is a link to {destination!r}, which is not in it")
        if (root / name).exists():
            raise CodeChannelError(f"{name!r} is in it twice")
        ends[name] = end
    for name, end in ends.items():
        (root / name).symlink_to(posixpath.relpath(end, posixpath.dirname(name) or "."))


class _Bounded:
    """A decompressed stream of which no single read may be huge: tarfile takes a header's size at its word."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise CodeChannelError(f"one of its headers claims {size} bytes")
        return self.file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _tar(archive: Path, root: Path) -> Iterator[Member]:
    kinds = {tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink", tarfile.DIRTYPE: "folder"}
    data_filter = getattr(tarfile, "data_filter", None)
    with TARS[suffix(archive.name)](archive) as stream:
        bounded: Any = _Bounded(stream)
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for info in tar:
                kind = "file" if info.isreg() else kinds.get(info.type, "special")
                member = Member(info.name, kind, info.mode, info.size, info.linkname, partial(_content, tar, info))
                _check(member)
                if data_filter is not None:
                    data_filter(info, str(root))
                yield member
                tar.members = []  # type: ignore[attr-defined]  # or tarfile keeps every header it has seen


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None
    return file


def _zip(archive: Path, _root: Path) -> Iterator[Member]:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink"}
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.flag_bits & 1:
                raise CodeChannelError(f"{info.filename!r} is encrypted")
            mode = info.external_attr >> 16
            kind = "folder" if info.is_dir() else kinds.get(stat.S_IFMT(mode) or stat.S_IFREG, "special")
            link = ""
            if kind == "symlink":
                with file.open(info) as content:
                    link = content.read(MAX_LINK).decode("utf-8", "surrogateescape")
            # orig_filename, because zipfile cuts a name at its first NUL
            member = Member(info.orig_filename, kind, mode, info.file_size, link, partial(file.open, info))
            _check(member)
            yield member
