"""Archives are unpacked whole and plain, or refused with a sentence, and never reach outside their folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import archives
from gluonts_shell.sagemaker.code.archives import Budget

MIB = 1024 * 1024
Tree = dict[str, tuple[str, str]]


def member(
    name: str,
    content: bytes = b"x = 1\n",
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    mode: int = 0o644,
):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo cuts it at a NUL
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return path


def deceitful_size(path: Path) -> Path:
    """A zip whose headers claim 10 bytes for a member that unpacks to 4 MiB."""
    zipped(path, ("big.py", bytes(4 * MIB), stat.S_IFREG | 0o644))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature)
        data[start + offset : start + offset + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    return path


def sparse(path: Path) -> Path:
    """An old GNU sparse member of 512 bytes that claims to be 8 TiB."""
    info, content = member("sparse.py", b"y" * 512)
    info.type = tarfile.GNUTYPE_SPARSE
    info.size = 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"%011o\0" % 0, b"%011o\0" % 512
    block[483:495] = b"\x80" + (8 << 40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(bytes(block) + content + bytes(1024))
    return path


def huge_header(path: Path) -> Path:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 64 * MIB
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            file.write(bytes(MIB))
    return path


def endless_headers(path: Path) -> Path:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    path.write_bytes((info.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 5000)
    return path


def encrypted(path: Path) -> Path:
    zipped(path, ("secret.py", b"x = 1\n", stat.S_IFREG | 0o644))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    return path


def truncated(path: Path) -> Path:
    tar(path, member("a.py", os.urandom(4096)))
    path.write_bytes(path.read_bytes()[:1000])
    return path


def rubbish(path: Path) -> Path:
    path.write_bytes(os.urandom(2048))
    return path


REGULAR, LINK = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE

# unpacked without harm: inside the target, within the budget, with a plain mode. A later Python may refuse some of them
HARMLESS = {
    "dots-that-stay.tar",  # refused by some versions of Python
    *(
        "absolute.tar",
        "absolute.zip",
        "drive.zip",
        "backslash.zip",
        "unc.tar",
        "nul.zip",
        "twice.tar",
        "twice.zip",
    ),
    *(
        "hardlink-to-symlink.tar",
        "write-through-symlink.tar",
        "symlink-through-symlink.tar",
        "symlink-to-itself.tar",
    ),
    *("overwriting-symlink.tar", "set-uid.tar", "set-gid.tar", "set-uid.zip"),
}

# what is made, and what the sentence has to say of it
HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute.tar": (lambda p: tar(p, member(f"{p.parent}/escaped.py")), "absolute path"),
    "absolute.zip": (
        lambda p: zipped(p, (f"{p.parent}/escaped.py", b"", REGULAR)),
        "absolute path",
    ),
    "dots.tar.gz": (lambda p: tar(p, member("../escaped.py")), "outside"),
    "dots.zip": (lambda p: zipped(p, ("../escaped.py", b"", REGULAR)), "outside"),
    "deep-dots.tar": (lambda p: tar(p, member("a/b/../../../escaped.py")), "outside"),
    "dots-that-stay.tar": (lambda p: tar(p, member("a/../b.py")), "cannot be unpacked"),
    "folder-dots.tar": (lambda p: tar(p, member("../escaped", kind=tarfile.DIRTYPE)), "outside"),
    "drive.zip": (lambda p: zipped(p, ("C:/escaped.py", b"", REGULAR)), "absolute path"),
    "backslash.zip": (lambda p: zipped(p, ("..\\escaped.py", b"", REGULAR)), "backslash"),
    "unc.tar": (lambda p: tar(p, member("\\\\host\\share\\escaped.py")), "absolute path"),
    "symlink-out.tar": (lambda p: tar(p, member("a", kind=SYM, link="../../escaped")), "outside"),
    "symlink-absolute.tar": (
        lambda p: tar(p, member("a", kind=SYM, link="/etc/passwd")),
        "absolute path",
    ),
    "symlink-out.zip": (lambda p: zipped(p, ("a", b"../escaped", LINK)), "outside"),
    "hardlink-out.tar": (
        lambda p: tar(p, member("a", kind=HARD, link="../outside.txt")),
        "outside",
    ),
    "hardlink-absolute.tar": (
        lambda p: tar(p, member("a", kind=HARD, link="/etc/passwd")),
        "absolute path",
    ),
    "hardlink-to-symlink.tar": (
        lambda p: tar(
            p, member("d/f"), member("s", kind=SYM, link="d"), member("h", kind=HARD, link="s")
        ),
        "does not come before",
    ),
    "write-through-symlink.tar": (
        lambda p: tar(p, member("d", kind=SYM, link="."), member("d/x.py"), member("x.py")),
        "twice",
    ),
    "write-through-outer-symlink.tar": (
        lambda p: tar(p, member("d", kind=SYM, link=str(p.parent)), member("d/escaped.py")),
        "absolute path",
    ),
    # each link alone stays inside; one after the other they lead out
    "chain-of-symlinks.tar": (
        lambda p: tar(
            p,
            member("deep/er", kind=tarfile.DIRTYPE),
            member("deep/er/up", kind=SYM, link="../.."),
            member("deep/er/out", kind=SYM, link="up/../.."),
            member("deep/er/out/escaped.py"),
        ),
        "outside",
    ),
    "symlink-through-symlink.tar": (
        lambda p: tar(
            p,
            member("d/f"),
            member("d/up", kind=SYM, link=".."),
            member("d/e", kind=SYM, link="up/d/f"),
        ),
        "not in it",
    ),
    "symlink-to-itself.tar": (lambda p: tar(p, member("a", kind=SYM, link="a")), "not in it"),
    "overwriting-symlink.tar": (
        lambda p: tar(p, member("f"), member("a", kind=SYM, link="f"), member("a")),
        "twice",
    ),
    "symlink-after-file.zip": (
        lambda p: zipped(p, ("f", b"", REGULAR), ("f", b"f", LINK)),
        "cannot be unpacked",
    ),
    "device.tar": (lambda p: tar(p, member("null", kind=tarfile.CHRTYPE)), "special file"),
    "disk.tar": (lambda p: tar(p, member("sda", kind=tarfile.BLKTYPE)), "special file"),
    "pipe.tar": (lambda p: tar(p, member("pipe", kind=tarfile.FIFOTYPE)), "special file"),
    "device.zip": (lambda p: zipped(p, ("null", b"", stat.S_IFCHR | 0o666)), "special file"),
    "set-uid.tar": (lambda p: tar(p, member("su", mode=0o4755)), "set-uid"),
    "set-gid.tar": (lambda p: tar(p, member("sg", mode=0o2755)), "set-gid"),
    "set-uid.zip": (lambda p: zipped(p, ("su", b"", stat.S_IFREG | 0o4755)), "set-uid"),
    "twice.tar": (lambda p: tar(p, member("a.py"), member("./a.py", b"evil = 1\n")), "twice"),
    "twice.zip": (
        lambda p: zipped(p, ("a/b.py", b"", REGULAR), ("a//b.py", b"", REGULAR)),
        "twice",
    ),
    "file-and-folder.tar": (lambda p: tar(p, member("a"), member("a/b.py")), "cannot be unpacked"),
    "nul.zip": (lambda p: zipped(p, ("a.py\0.txt", b"", REGULAR)), "NUL"),
    "nameless.tar": (lambda p: tar(p, member("./.")), "cannot be unpacked"),
    "long-name.tar": (lambda p: tar(p, member("a" * 5000 + ".py")), "too long"),
    "bomb.tar.gz": (lambda p: tar(p, member("bomb.py", bytes(4 * MIB))), "MAX_UNPACKED_BYTES"),
    "bomb.zip": (lambda p: zipped(p, ("bomb.py", bytes(4 * MIB), REGULAR)), "MAX_UNPACKED_BYTES"),
    "many-small.zip": (
        lambda p: zipped(p, *((f"{i}.py", bytes(MIB), REGULAR) for i in range(3))),
        "MAX_UNPACKED",
    ),
    "deceitful.zip": (deceitful_size, "cannot be unpacked"),
    "sparse.tar": (sparse, "MAX_UNPACKED_BYTES"),
    "huge-header.tar.gz": (huge_header, "headers claims"),
    "endless-headers.tar": (endless_headers, "cannot be unpacked"),
    "encrypted.zip": (encrypted, "encrypted"),
    "truncated.tar.gz": (truncated, "cannot be unpacked"),
    "rubbish.tar.gz": (rubbish, "cannot be unpacked"),
    "rubbish.tgz": (rubbish, "cannot be unpacked"),
    "rubbish.tar.bz2": (rubbish, "cannot be unpacked"),
    "rubbish.tar.xz": (rubbish, "cannot be unpacked"),
    "rubbish.tar": (rubbish, "cannot be unpacked"),
    "rubbish.zip": (rubbish, "cannot be unpacked"),
}


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in folder.rglob("*")
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_outside_of_the_target_or_beyond_the_budget(
    name: str, tmp_path: Path
) -> None:
    make, sentence = HOSTILE[name]
    (tmp_path / "outside.txt").write_text("mine")
    archive = make(tmp_path / name)
    before = everything(tmp_path)
    target = tmp_path / "parent" / "target"
    try:
        archives.unpack(archive, target, Budget(2 * MIB))
        refused = ""
    except CodeChannelError as error:
        refused = str(error)
    assert refused or name in HARMLESS
    assert (sentence in refused and repr(name) in refused) or name in HARMLESS
    outside = {k: v for k, v in everything(tmp_path).items() if not k.startswith("parent")}
    assert outside == before
    assert [path.name for path in (tmp_path / "parent").iterdir()] == ["target"]
    assert (tmp_path / "outside.txt").stat().st_nlink == 1
    written = [path for path in target.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in written) <= 2 * MIB
    assert not [path for path in written if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]


def test_there_are_at_least_twenty_of_them() -> None:
    assert len(HOSTILE) >= 20


def test_a_python_without_the_filter_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(
        CodeChannelError,
        match=r"'a.tar' is not unpacked: Python .* lacks .*; use 3.10.12, 3.11.4 or",
    ):
        archives.unpack(tar(tmp_path / "a.tar", member("a.py")), tmp_path / "target", Budget(MIB))


def test_hard_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    """Whether tarfile links, or writes once more what it cannot find."""
    big, gone = member("big.py", bytes(MIB)), member("big.py", kind=SYM, link="nothing")
    links = [member(f"{i}.py", kind=HARD, link="big.py") for i in range(50)]
    with pytest.raises(CodeChannelError, match=r"cannot be unpacked|MAX_UNPACKED_BYTES"):
        archives.unpack(
            tar(tmp_path / "a.tar.gz", big, gone, *links), tmp_path / "target", Budget(3 * MIB)
        )
    assert (
        sum(path.stat().st_size for path in (tmp_path / "target").rglob("*") if path.is_file())
        <= 3 * MIB
    )


def test_every_member_counts_over_all_archives_of_a_channel(tmp_path: Path) -> None:
    budget = Budget(MIB, members_left=5)
    first = tar(tmp_path / "first.tar", member("a.py"), member("b.py"), member("c.py"))
    archives.unpack(first, tmp_path / "1", budget)
    assert budget.members_left == 2
    assert budget.bytes_left == MIB - 3 * len(b"x = 1\n")
    with pytest.raises(CodeChannelError, match="more than 100000 members"):
        archives.unpack(first, tmp_path / "2", budget)


def test_too_many_members_are_refused_before_they_fill_the_disk(tmp_path: Path) -> None:
    assert Budget(MIB).members_left == 100_000
    path = tar(tmp_path / "many.tar.gz", *(member(f"{i}.py") for i in range(301)))
    with pytest.raises(CodeChannelError, match="more than 100000 members"):
        archives.unpack(path, tmp_path / "target", Budget(MIB, members_left=300))
    assert len(list((tmp_path / "target").iterdir())) == 300


def compressed(suffix: str, data: bytes) -> bytes:
    table = {
        ".tar.gz": gzip.compress,
        ".tgz": gzip.compress,
        ".tar.bz2": bz2.compress,
        ".tar.xz": lzma.compress,
    }
    return table.get(suffix, bytes)(data)


@pytest.mark.parametrize("suffix", [s for s in archives.SUFFIXES if s != ".zip"])
def test_a_plain_tar_is_unpacked_whole(suffix: str, tmp_path: Path) -> None:
    tar(
        tmp_path / "plain.tar",
        member("./", kind=tarfile.DIRTYPE, mode=0o2755),
        member("./pkg/__init__.py"),
        member("./pkg/run.sh", b"#!/bin/sh\n", mode=0o755),
        member("./pkg/secret.py", mode=0o600),
        member("./pkg/" + "n" * 150 + ".py"),
        member("./empty", kind=tarfile.DIRTYPE),
        member("./hard.py", kind=HARD, link="./pkg/__init__.py"),
        member("./linked", kind=SYM, link="pkg"),
        member("./pkg/up.py", kind=SYM, link="../hard.py"),
        member("./pkg/chain.py", kind=SYM, link="up.py"),
    )
    path = tmp_path / f"Plain{suffix.upper()}"
    path.write_bytes(compressed(suffix, (tmp_path / "plain.tar").read_bytes()))
    target = tmp_path / "target"
    archives.unpack(path, target, Budget(MIB))
    assert (target / "pkg" / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (target / "pkg" / "secret.py").stat().st_mode & 0o7777 == 0o644
    assert (target / "pkg" / ("n" * 150 + ".py")).is_file()
    assert (target / "empty").is_dir()
    assert (target / "linked" / "chain.py").resolve() == target.resolve() / "hard.py"
    assert (target / "pkg" / "up.py").read_text() == "x = 1\n"


def test_a_plain_zip_is_unpacked_whole(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip",
        ("pkg/", b"", stat.S_IFDIR | 0o755),
        ("pkg/__init__.py", b"x = 1\n", REGULAR),
        ("pkg/run.sh", b"#!/bin/sh\n", stat.S_IFREG | 0o755),
        ("Ünï.py", b"y = 2\n", 0),  # as Windows writes it: no mode at all
        ("linked.py", b"pkg/__init__.py", LINK),
    )
    archives.unpack(path, tmp_path / "target", Budget(MIB))
    assert (tmp_path / "target" / "Ünï.py").read_text() == "y = 2\n"
    assert (tmp_path / "target" / "linked.py").read_text() == "x = 1\n"
    assert os.access(tmp_path / "target" / "pkg" / "run.sh", os.X_OK)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tar.gz", ".tar.gz"), ("A.TGZ", ".tgz"), ("a.zip", ".zip"), ("a.gz", "")],
)
def test_the_suffix_tells_an_archive(name: str, expected: str) -> None:
    assert archives.suffix(name) == expected


def test_what_is_not_named_as_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"x")
    with pytest.raises(CodeChannelError, match=r"^'model.pkl' is not named as an archive is, exp"):
        archives.unpack(tmp_path / "model.pkl", tmp_path / "target", Budget(MIB))
