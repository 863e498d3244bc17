"""The record of what was written: what is ours, and that nothing else is deleted or overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gluonts_shell.written import RECORD, Written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a/ours and ours, which are recorded, and mine, which is not."""
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    for name in ("a/ours", "ours", "mine"):
        (folder / name).write_text(name)
    Written.read(folder).add(folder / "a", folder / "ours")
    return folder


def test_what_was_recorded_and_not_changed_is_ours(folder: Path) -> None:
    written = Written.read(folder)
    assert sorted(written.files) == ["a/ours", "ours"]
    assert written.foreign(folder / "a") is None
    assert written.foreign(folder / "absent") is None
    assert written.foreign(folder / "mine") == folder / "mine"
    assert written.foreign(folder) == folder / "mine"


@pytest.mark.parametrize("change", ["content", "link", "added", "linked folder"])
def test_what_somebody_changed_is_not_ours(folder: Path, change: str) -> None:
    path = folder / "a" / "ours"
    if change == "content":
        path.write_text("changed")
    elif change == "link":
        path.rename(folder / "elsewhere")
        path.symlink_to(folder / "elsewhere")
    elif change == "added":
        path = folder / "a" / "added"
        path.write_text("")
    else:
        path = folder / "a"
        path.rename(folder / "b")
        path.symlink_to("b")
        assert Written.read(folder).foreign(path / "new") == path
    assert Written.read(folder).foreign(folder / "a") == path


def test_what_python_caches_is_nobodys(folder: Path) -> None:
    (folder / "a" / "__pycache__").mkdir()
    (folder / "a" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert Written.read(folder).foreign(folder / "a") is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"written_by": "me", "files": {}}', '{"written_by": "gluonts_shell"}']
)
def test_without_a_valid_record_nothing_is_ours(folder: Path, text: str) -> None:
    (folder / RECORD).write_text(text)
    assert not Written.read(folder).marked
    assert Written.read(folder).foreign(folder / "ours") == folder / "ours"


def test_a_record_of_no_files_is_a_record(tmp_path: Path) -> None:
    Written.read(tmp_path).add()
    assert Written.read(tmp_path).marked
    assert Written.read(tmp_path).foreign(tmp_path) is None


def test_a_record_speaks_of_nothing_outside_its_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_text("ours")
    record = json.loads((folder / RECORD).read_text())
    names = ["../outside", str(outside), "a/../../outside"]
    (folder / RECORD).write_text(
        json.dumps({**record, "files": dict.fromkeys(names, record["files"]["ours"])})
    )
    written = Written.read(folder)
    assert written.files == {}
    for name in names:
        written.remove(name)
    assert outside.read_text() == "ours"


def test_room_is_made_without_losing_what_is_not_ours(folder: Path) -> None:
    written = Written.read(folder)
    (folder / "mine.kept-1").write_text("first")
    for name in ("mine", "ours", "a", "absent"):
        written.make_room(folder / name)
    assert (folder / "mine.kept-2").read_text() == "mine"
    assert (folder / "ours").exists()  # a file is replaced by renaming another one over it
    assert sorted(path.name for path in folder.iterdir()) == [
        RECORD,
        "mine.kept-1",
        "mine.kept-2",
        "ours",
    ]


def test_removing_leaves_no_empty_folders_and_takes_only_what_is_ours(folder: Path) -> None:
    written = Written.read(folder)
    for name in ("a/ours", "mine", "absent"):
        written.remove(name)
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "mine", "ours"]


def test_a_file_of_ours_is_replaced_and_one_of_somebody_else_keeps_a_name(tmp_path):
    (tmp_path / "page").write_text("mine")
    Written.replace(tmp_path / "page", b"first")
    Written.replace(tmp_path / "page", b"second")
    assert (tmp_path / "page").read_bytes() == b"second"
    assert (tmp_path / "page.kept-1").read_text() == "mine"
    assert list(Written.read(tmp_path).files) == ["page"]
