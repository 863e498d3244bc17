"""A file is there whole, with the mode of any other, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gluonts_shell import atomic


def test_a_file_is_there_once_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with atomic.whole(target) as file:
        file.write(b"1\n")
        file.flush()
        assert not target.exists()
    assert target.read_bytes() == b"1\n"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_is_respected_and_left_as_it_was(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with atomic.whole(tmp_path / "x") as file:
            file.write(b"1")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(error), atomic.whole(tmp_path / "x") as file:
        file.write(b"new")
        raise error
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_name_as_long_as_the_disk_takes_it(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    with atomic.whole(target) as file:
        file.write(b"1")
    assert target.read_bytes() == b"1"


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.whole(tmp_path / "nowhere" / "x"):
        pytest.fail("the block is not entered")


def test_a_text_is_written_in_one_step_and_what_is_no_unicode_does_not_stop_it(tmp_path):
    file = tmp_path / "failure"
    atomic.write(file, "caf\u00e9 \udcff\n")
    assert file.read_bytes() == "caf\u00e9 ?\n".encode()
    atomic.write(file, b"\xff")
    assert file.read_bytes() == b"\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["failure"]
