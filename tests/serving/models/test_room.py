"""Whether one more model has room: what is guessed, what is kept, and what is learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from gluonts_shell.errors import NoRoom
from gluonts_shell.serving.models.room import FIRST_GUESS, MEBIBYTE, Room, size
from gluonts_shell.serving.processes.memory import Memory


class Measured:
    """A container of 1000 MiB, of which 50 are kept."""

    def __init__(self) -> None:
        self.used = 0

    def __call__(self) -> Memory:
        return Memory(1000 * MEBIBYTE, self.used * MEBIBYTE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 30 MiB."""
    (tmp_path / "weights").mkdir()
    with (tmp_path / "weights" / "w.bin").open("wb") as file:
        file.truncate(30 * MEBIBYTE)
    return tmp_path


def test_files_and_a_guess_must_fit_beside_what_is_kept(folder: Path) -> None:
    measured = Measured()
    room = Room(measured)
    guess = FIRST_GUESS // MEBIBYTE
    measured.used = 1000 - 50 - 30 - guess
    with room.claimed(folder):
        pass
    measured.used += 1
    with pytest.raises(NoRoom) as raised, room.claimed(folder):
        raise AssertionError("it was begun")
    assert str(raised.value) == (
        f"there is no memory for it: it takes about {30 + guess} MiB, and of 1000 MiB {50 + 30 + guess - 1} MiB "
        "are free, 50 MiB of which are kept for predictions"
    )
    assert raised.value.status == 507


def test_loads_at_the_same_time_do_not_count_on_the_same_memory(folder: Path) -> None:
    measured = Measured()
    measured.used = 1000 - 50 - 100
    room = Room(measured)
    with room.claimed(folder), room.claimed(folder), pytest.raises(NoRoom), room.claimed(folder):
        pass
    with room.claimed(folder), room.claimed(folder):
        pass


def test_what_models_took_is_the_next_guess(folder: Path) -> None:
    measured = Measured()
    room = Room(measured)
    for took_mib in (130, 230):
        with room.claimed(folder) as took:
            took(took_mib * MEBIBYTE)
    measured.used = 1000 - 50 - 30 - 150
    with room.claimed(folder):
        pass
    measured.used += 1
    with pytest.raises(NoRoom), room.claimed(folder):
        pass


def test_memory_is_scarce_where_what_is_kept_is_touched() -> None:
    measured = Measured()
    measured.used = 950
    assert not Room(measured).scarce()
    measured.used = 951
    assert Room(measured).scarce()


def test_where_nothing_can_be_measured_everything_fits(folder: Path) -> None:
    room = Room(lambda: None)
    with room.claimed(folder):
        assert not room.scarce()


def test_the_size_of_a_folder_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert size(tmp_path / "no") == 0
