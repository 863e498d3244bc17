"""`demo` shows the whole journey, and deletes and overwrites nothing that it did not write."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gluonts_shell.commands import demo
from gluonts_shell.errors import ConfigurationError
from gluonts_shell.written import RECORD

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def users_tree(folder: Path) -> Path:
    """As somebody makes it for a training job of their own."""
    for name in ("input/data/train/data.json", "input/data/code/mine.py", "model/weights"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    (folder / "input" / "config").mkdir()
    (folder / "input" / "config" / "hyperparameters.json").write_text('{"freq": "D"}')
    return folder


def test_a_tree_of_the_users_own_is_a_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    before = contents(users_tree(tmp_path / "ml"))
    command = [sys.executable, "-m", "gluonts_shell", "demo"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "gluonts-shell: 'ml' is not empty, and the demo did not make it; give another folder with --data-path\n"
    )
    assert contents(tmp_path / "ml") == before


@pytest.mark.parametrize("record", ["", "{}", '{"written_by": "gluonts_shell", "files": {}}'])
def test_a_record_that_is_not_the_demos_does_not_make_the_folder_its_own(
    tmp_path: Path, record: str
) -> None:
    (users_tree(tmp_path) / RECORD).write_text(record)
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match="the demo did not make it"):
        demo.run(tmp_path)
    assert contents(tmp_path) == before


def test_a_link_to_a_folder_of_the_users_is_refused(tmp_path: Path) -> None:
    before = contents(users_tree(tmp_path / "theirs"))
    (tmp_path / "ml").symlink_to("theirs")
    with pytest.raises(ConfigurationError, match="the demo did not make it"):
        demo.run(tmp_path / "ml")
    assert contents(tmp_path / "theirs") == before


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "ml").write_text("mine")
    else:
        (tmp_path / "ml").symlink_to("nowhere")
    with pytest.raises(
        ConfigurationError, match=r"'.*/ml' is not a folder; give another one with --data-path"
    ):
        demo.run(tmp_path / "ml")


FILES = {demo.JOB_FILE: b"{}", "input/data/train/data.json": b"1"}


@pytest.mark.parametrize("changed", [*FILES, "train.log"])
def test_what_the_user_changed_or_added_in_the_demos_folder_is_not_overwritten(
    tmp_path: Path, changed: str
) -> None:
    demo.write(tmp_path, FILES)
    (tmp_path / changed).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(
        ConfigurationError,
        match=rf"{changed}' was not written by the demo, or was changed since; give",
    ):
        demo.write(tmp_path, dict.fromkeys(FILES, b"2"))
    assert contents(tmp_path) == before


def test_a_folder_that_the_user_put_behind_a_link_is_not_written_to(tmp_path: Path) -> None:
    demo.write(tmp_path / "ml", FILES)
    (tmp_path / "ml" / "input" / "data").rename(tmp_path / "mine")
    (tmp_path / "ml" / "input" / "data").symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigurationError, match="input/data' was not written by the demo"):
        demo.write(tmp_path / "ml", dict.fromkeys(FILES, b"2"))
    assert (tmp_path / "mine" / "train" / "data.json").read_bytes() == b"1"


def test_only_what_the_demo_wrote_is_replaced(tmp_path: Path) -> None:
    demo.write(tmp_path, FILES)
    with demo.written_log(tmp_path / "train.log") as log:
        log.write("first")
    (tmp_path / "input" / "data" / "mine.txt").write_text("mine")
    demo.write(tmp_path, dict.fromkeys(FILES, b"2"))
    assert set(contents(tmp_path)) == {*FILES, "input/data/mine.txt", "train.log", RECORD}
    assert {(tmp_path / name).read_bytes() for name in FILES} == {b"2"}
    assert set(json.loads((tmp_path / RECORD).read_text())["files"]) == {*FILES, "train.log"}


def test_what_an_earlier_demo_needed_for_another_forecaster_goes(tmp_path: Path) -> None:
    demo.write(tmp_path, {**FILES, "input/data/code/own.py": b""})
    (tmp_path / "input" / "data" / "code" / "mine.py").write_text("")
    demo.write(tmp_path, FILES)
    assert [path.name for path in (tmp_path / "input" / "data" / "code").iterdir()] == ["mine.py"]


# --- what it shows


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder and the output of two demos in it, as where torch is not installed."""
    folder = tmp_path_factory.mktemp("demo") / "ml"
    found, said = demo.importlib.util.find_spec, list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            demo.importlib.util,
            "find_spec",
            lambda name: None if name == "lightning" else found(name),
        )
        patch.setattr(demo, "say", said.append)
        for _ in range(2):
            said.clear()
            assert demo.run(folder) == 0
    yield folder, "\n".join(said)


def test_it_beats_seasonal_naive_on_every_score_that_it_shows(shown: tuple[Path, str]) -> None:
    verdicts = re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +\d+ % (\w+)$", shown[1], re.MULTILINE)
    assert verdicts == [(score, "better") for score in demo.SCORES]


def test_its_quantiles_differ_in_every_month_and_the_actual_values_stand_beside_them(
    shown: tuple[Path, str],
) -> None:
    rows = re.findall(
        r"^(1960-\d\d) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", shown[1], re.MULTILINE
    )
    assert [row[0] for row in rows] == [f"1960-{month:02}" for month in range(1, 13)]
    for row in rows:
        low, middle, high = map(float, row[1:4])
        assert low < middle * 0.99 < middle < high * 0.99
    assert [float(row[4]) for row in rows] == [
        417,
        391,
        419,
        461,
        472,
        535,
        622,
        606,
        508,
        461,
        390,
        432,
    ]


def test_it_names_the_report(shown: tuple[Path, str]) -> None:
    found = re.search(r"^The report, to open in a browser: '(.+)'$", shown[1], re.MULTILINE)
    assert found is not None
    assert "better than seasonal naive" in Path(found[1]).read_text()


def test_a_second_demo_in_its_folder_leaves_one_of_everything(shown: tuple[Path, str]) -> None:
    assert [name for name in contents(shown[0]) if ".kept-" in name] == []
    assert (shown[0] / "code" / "seasonal_growth.py").exists()
    assert (shown[0] / "model" / "code" / "seasonal_growth.py").exists()


def test_a_score_that_is_worse_is_called_worse() -> None:
    table = demo.score_table("X", dict.fromkeys(demo.SCORES, 2.0), dict.fromkeys(demo.SCORES, 1.0))
    assert table.count("100 % worse") == 3


@pytest.mark.torch
def test_epochs_are_shown_as_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr(demo, "say", said.append)
    demo.train(
        tmp_path, {**demo.DEEPAR, "epochs": "2", "num_batches_per_epoch": "2", "hidden_size": "4"}
    )
    assert [re.sub(r"[\d.]+$", "N", line) for line in said] == [
        "epoch   1: train loss N",
        "epoch   2: train loss N",
    ]
    assert "#quality_metric" in (tmp_path / "train.log").read_text()


def test_the_readmes_picture_is_what_it_shows(shown: tuple[Path, str]) -> None:
    drawn = subprocess.run(
        [sys.executable, ROOT / "docs" / "forecast_fan.py", shown[0]],
        input=shown[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert drawn.stdout == (ROOT / "docs" / "forecast_fan.svg").read_text()
