"""The list of models, a page at a time, and the slots in which their requests are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.errors import NoRoom, RequestError
from gluonts_shell.serving.metrics.counters import Counters
from gluonts_shell.serving.models.registry import FORK_SERVER, Model, Registry
from gluonts_shell.serving.models.room import Room
from gluonts_shell.serving.processes.worker import Terms


def check(folder: Path) -> None:
    raise RequestError(f"{folder} is no model")


def registry(tmp_path: Path, slots: int = 10, fork_server: Any = None) -> Registry:
    return Registry(
        fork_server,
        check,
        room=Room(lambda: None),
        terms=Terms(),
        places=tmp_path,
        counters=Counters(slots),
    )


def names(models: list[Model]) -> list[str]:
    return [model.name for model in models]


def test_pages_follow_each_other_also_where_models_come_and_go(tmp_path: Path) -> None:
    many = registry(tmp_path)
    for name in ("d", "b", "a", "e", "c"):
        many._models[name] = Model(name, f"/{name}", tmp_path, 1)
    found, after = many.page("", 2)
    assert (names(found), after) == (["a", "b"], "b")
    del many._models["b"]
    found, after = many.page(after or "", 2)
    assert (names(found), after) == (["c", "d"], "d")
    found, after = many.page(after or "", 2)
    assert (names(found), after) == (["e"], None)
    assert many.page("zzz", 2) == ([], None)


def test_where_all_slots_are_taken_there_is_no_room_and_they_come_back(tmp_path: Path) -> None:
    many = registry(tmp_path, slots=FORK_SERVER + 2)
    only = many._new("a", "/a")
    with pytest.raises(NoRoom, match="models already"):
        many._new("b", "/b")
    many._forget(only)
    assert many._new("b", "/b").slot == FORK_SERVER + 1


def test_a_folder_that_is_no_model_starts_nothing(tmp_path: Path) -> None:
    """There is no fork server to ask."""
    with pytest.raises(RequestError, match="is no model"):
        registry(tmp_path).load("a", "/a")
