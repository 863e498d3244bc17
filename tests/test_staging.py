"""A folder is replaced whole: whenever a process is killed, what is there is the old model whole, none, or the new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gluonts_shell import staging
from gluonts_shell.written import RECORD, Written

HEADS = ("gluonts-config.json", "type.txt")
OLD = {
    "gluonts-config.json": "old",
    "type.txt": "old",
    "weights": "old",
    "scores": "old",
    "code/mine.py": "old",
}
NEW = {
    "gluonts-config.json": "new",
    "type.txt": "new",
    "weights": "new",
    "canary": "new",
    "code/mine.py": "new",
}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def published(folder: Path, files: dict[str, str]) -> None:
    fill(staging.begin(folder), files)
    staging.publish(folder, HEADS)


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    names = {path.relative_to(folder).as_posix(): path.read_text() for path in files}
    return {name: text for name, text in names.items() if not name.startswith(staging.NAME)}


def test_the_new_files_take_the_place_of_the_old(tmp_path: Path) -> None:
    published(tmp_path, OLD)
    assert content(tmp_path) == OLD
    published(tmp_path, NEW)
    assert content(tmp_path) == NEW
    assert not (tmp_path / staging.NAME).exists()
    assert Written.read(tmp_path).foreign(tmp_path) is None, "all that is there is known to be ours"


def test_what_is_not_ours_stays_and_is_renamed_where_it_is_in_the_way(tmp_path: Path) -> None:
    fill(tmp_path, {"notes": "mine", "weights": "mine", "type.txt": "mine"})
    published(tmp_path, NEW)
    assert content(tmp_path) == {
        **NEW,
        "notes": "mine",
        "weights.kept-1": "mine",
        "type.txt.kept-1": "mine",
    }


def test_what_was_begun_and_not_published_is_cleared_away(tmp_path: Path) -> None:
    published(tmp_path, OLD)
    fill(staging.begin(tmp_path), NEW)
    staging.clear(tmp_path)
    assert content(tmp_path) == OLD
    assert not (tmp_path / staging.NAME).exists()


class Killed(BaseException):
    """As SIGKILL: nothing after it runs."""


CHANGES = ("replace", "unlink", "rename", "rmdir", "write_text")


@pytest.mark.parametrize("moment", range(16))
def test_every_moment_is_the_old_model_whole_or_none_or_the_new_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    published(tmp_path, OLD)
    fill(staging.begin(tmp_path), NEW)
    done = 0
    for name in CHANGES:
        original = getattr(Path, name)

        def counted(
            self: Path, *given: object, original: object = original, **more: object
        ) -> object:
            nonlocal done
            if done == moment:
                raise Killed
            done += 1
            return original(self, *given, **more)  # type: ignore[operator]

        monkeypatch.setattr(Path, name, counted)
    try:
        staging.publish(tmp_path, HEADS)
        assert done <= moment
    except Killed:
        assert done == moment
    monkeypatch.undo()
    found = {
        name: text for name, text in content(tmp_path).items() if not name.endswith(".partial")
    }
    if any(name in found for name in HEADS):
        heads = {name: found.pop(name) for name in HEADS if name in found}
        whole = OLD if "old" in heads.values() else NEW
        assert set(heads.values()) == {whole["type.txt"]}
        assert found == {name: text for name, text in whole.items() if name not in HEADS}
    # the next run mends it, and leaves nothing under another name
    staging.clear(tmp_path)
    published(tmp_path, NEW)
    assert content(tmp_path) == NEW


def test_a_record_is_json_that_names_the_published_files(tmp_path: Path) -> None:
    published(tmp_path, NEW)
    record = json.loads((tmp_path / RECORD).read_text())
    assert sorted(record["files"]) == sorted(NEW)
