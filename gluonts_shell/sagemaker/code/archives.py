"""Unpacks tar and zip files. The promise: nothing outside the target, nothing beyond the budget.

What is unpacked is executed a second later, so mistakes are what is left to defend against, not
malice. Where a member may go is decided by tarfile's data filter (PEP 706), for both kinds; the
budget stands in front of it. Bytes of a zip are counted while they are written, because its headers
may lie; a tar is read by the sizes that its headers claim.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import platform
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
# tarfile reads an extended header as a whole; a real one has a few hundred bytes
MAX_HEADER = 1024 * 1024
MAX_LINK = 4096  # PATH_MAX on Linux
CHUNK = 256 * 1024

# all that the modules are known to raise over damaged input
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        OverflowError,
        KeyError,
        IndexError,
        MemoryError,
    ),
)


@dataclass
class Budget:
    """What may still be written; shared by all archives of a channel, so that many small bombs are one bomb."""

    bytes_left: int
    members_left: int = MAX_MEMBERS

    def charge(self, size: int = 0, members: int = 0) -> None:
        """Raises CodeChannelError where there is not so much left."""
        self.bytes_left -= size
        self.members_left -= members
        if self.members_left < 0:
            raise CodeChannelError(
                f"there are more than {MAX_MEMBERS} members, counted over all of the channel"
            )
        if self.bytes_left < 0:
            raise CodeChannelError(
                "more is unpacked or copied than the limit allows; if that is meant, "
                "raise GLUONTS_SHELL_MAX_UNPACKED_BYTES"
            )


def suffix(name: str) -> str:
    """The archive suffix that `name` ends in, or nothing."""
    for ending in SUFFIXES:
        if name.lower().endswith(ending):
            return ending
    return ""


def unpack(archive: Path, target: Path, budget: Budget, label: str = "") -> None:
    """Unpack into the empty folder `target` and charge `budget`; `label` is the archive's name in messages.

    Raises CodeChannelError if the archive is damaged, hostile or too large. What was written by then stays in `target`.
    """
    label = label or archive.name
    if not hasattr(tarfile, "data_filter"):
        raise CodeChannelError(
            f"archive {label!r} is not unpacked: Python {platform.python_version()} lacks tarfile's data filter, which "
            "keeps a member from leaving its folder; use 3.10.12, 3.11.4 or a later one"
        )
    if not suffix(archive.name):
        raise CodeChannelError(
            f"{label!r} is not named as an archive is, expected one of {', '.join(SUFFIXES)}"
        )
    target.mkdir(parents=True, exist_ok=True)
    write = _zip if suffix(archive.name) == ".zip" else _tar
    try:
        write(archive, target.resolve(), budget)
    except (tarfile.FilterError, CodeChannelError) as error:
        raise CodeChannelError(f"archive {label!r} is refused: {error}") from error
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise CodeChannelError(f"archive {label!r} cannot be unpacked: {reason}") from error


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


def _tar(archive: Path, root: Path, budget: Budget) -> None:
    sizes: dict[str, int] = {}
    with TARS[suffix(archive.name)](archive) as stream:
        bounded: Any = _Bounded(stream)
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for member in tar:
                # tarfile may write what a hard link leads to once more
                size = sizes.get(member.linkname, 0) if member.islnk() else member.size
                sizes[member.name] = max(size, sizes.get(member.name, 0))
                budget.charge(size, members=1)
                _plain_mode(member)
                tar.extract(member, root, filter="data")


def _plain_mode(member: tarfile.TarInfo) -> None:
    """Readable by whoever runs it, not only by the user who packed it."""
    if member.isreg():
        member.mode = 0o755 if member.mode & stat.S_IXUSR else 0o644


def _zip(archive: Path, root: Path, budget: Budget) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            budget.charge(members=1)
            member = tarfile.data_filter(_as_in_a_tar(file, info), str(root))
            path = root / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                path.mkdir(exist_ok=True)
            elif member.issym():
                path.symlink_to(member.linkname)
            else:
                with file.open(info) as source:
                    _copy(source, path, budget)
                path.chmod(member.mode or 0o644)


def _as_in_a_tar(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tarfile.TarInfo:
    """What the data filter judges. A zip from Windows has no mode at all."""
    member = tarfile.TarInfo(info.filename)
    mode = info.external_attr >> 16
    member.mode = mode & 0o777
    if info.is_dir():
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(mode):
        member.type = tarfile.SYMTYPE
        with file.open(info) as content:
            member.linkname = content.read(MAX_LINK).decode("utf-8", "surrogateescape")
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        member.type = tarfile.CHRTYPE
    _plain_mode(member)
    return member


def _copy(source: IO[bytes], path: Path, budget: Budget) -> None:
    with path.open("wb") as file:
        while chunk := source.read(CHUNK):
            budget.charge(len(chunk))
            file.write(chunk)
