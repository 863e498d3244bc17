"""`python -m gluonts_shell transform`, run as a person runs it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGEMAKER", "GLUONTS"))
    }
    config = {"INFERENCE_CONFIG": '{"output_types": ["mean"]}'}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **config, **variables}


@pytest.fixture(scope="session")
def ml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transform") / "ml"
    command = [sys.executable, str(ROOT / "tests" / "batch_toy.py"), str(folder / "model")]
    subprocess.run(command, env=environment(), check=True)
    return folder


def command(ml: Path, source: Path, target: Path, *more: str) -> list[str]:
    options = ["--input", str(source), "--output", str(target), "--data-path", str(ml), *more]
    return [sys.executable, "-m", "gluonts_shell", "transform", *options]


def transform(
    ml: Path, source: Path, target: Path, *more: str, status: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(ml, source, target, *more),
        env=environment(**variables),
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert status != 0 or not done.stderr
    assert "Traceback" not in done.stderr
    return done


def line(value: float, item_id: str | None = None) -> str:
    return json.dumps({"start": "2024-01-01", "target": [0.5, value], "item_id": item_id})


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(text + end for text in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def means(path: Path) -> list[float]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(text)["mean"][0] for text in text.splitlines()]


def wait_for(condition: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_folder_becomes_a_folder_of_the_same_shape(ml: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    write(source / "a.jsonl", [line(n) for n in range(100)])
    write(source / "deep" / "er" / "b.json", [line(1), "", line(2)], end="\r\n")
    write(source / "deep" / "c.jsonl.gz", [line(n) for n in range(50)])
    write(source / "empty.jsonl", [])
    write(source / ".hidden", ["garbage"])
    done = transform(ml, source, target, "--workers", "2")
    assert means(target / "a.jsonl.out") == [float(n) for n in range(100)]
    assert means(target / "deep" / "er" / "b.json.out") == [1.0, 2.0]
    assert means(target / "deep" / "c.jsonl.gz.out") == [float(n) for n in range(50)]
    assert (target / "empty.jsonl.out").read_bytes() == b""
    assert len(list(target.rglob("*.*"))) == 4 and not list(target.rglob(".*"))
    assert re.search(r"152 lines in .* 100% of the input", done.stdout)


def test_failed_files_are_named_and_the_others_complete(ml: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    write(
        source / "bad.jsonl",
        [line(n) for n in range(500)] + ["garbage"] + [line(n) for n in range(500)],
    )
    cut = write(source / "cut.jsonl.gz", [line(n) for n in range(500)])
    cut.write_bytes(gzip.compress(cut.read_bytes())[:-100])
    write(source / "dies.jsonl", [line(1, "die")])
    write(source / "good.jsonl", [line(n) for n in range(100)])
    write(source / "raises.jsonl", [line(1), line(2, "raise")])
    done = transform(ml, source, target, "--workers", "2", status=1)
    assert [path.name for path in target.iterdir()] == ["good.jsonl.out"]
    assert means(target / "good.jsonl.out") == [float(n) for n in range(100)]
    assert "4 of 5 files failed: bad.jsonl, cut.jsonl.gz, dies.jsonl, raises.jsonl" in done.stdout
    assert "bad.jsonl: line 501 is not JSON: Expecting value at column 1" in done.stdout
    assert "cut.jsonl.gz: it cannot be read" in done.stdout
    assert "dies.jsonl: the process that predicted it ended with exit status 3" in done.stdout
    assert "raises.jsonl: line 2 (item_id 'raise'): the model failed on this series" in done.stdout

    write(source / "bad.jsonl", [line(7)])
    os.utime(target / "good.jsonl.out", (4_000_000_000, 4_000_000_000))  # younger than any model
    done = transform(ml, source, target, status=1)
    assert "1 of 5 files are finished already" in done.stdout
    assert means(target / "bad.jsonl.out") == [7.0]
    assert (target / "good.jsonl.out").stat().st_mtime == 4_000_000_000, "not written again"


def test_nothing_to_do_needs_no_model(tmp_path: Path) -> None:
    write(tmp_path / "a", [line(1)])
    write(tmp_path / "a.out", ["done"])
    done = transform(tmp_path / "nothing", tmp_path / "a", tmp_path)
    assert "1 of 1 files are finished already" in done.stdout


def test_errors_can_be_lines_and_lines_can_carry_fields(ml: Path, tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.jsonl", [line(1, "x"), '{"item_id": 1.50}', line(3, "raise"), line(4)]
    )
    variables = {"GLUONTS_BATCH_SUPPRESS_ERRORS": "true", "GLUONTS_FORWARD_FIELDS": "item_id"}
    transform(ml, source, tmp_path, **variables)
    found = (tmp_path / "a.jsonl.out").read_text().splitlines()
    assert len(found) == 4
    assert found[0].endswith(',"item_id":"x"}') and found[1].endswith(',"item_id":1.50}')
    assert json.loads(found[2])["error"].startswith(
        "the model failed on this series: ZeroDivisionError"
    )
    assert json.loads(found[3])["mean"][0] == 4.0


def test_the_time_limit_is_for_each_line_as_with_single_records(ml: Path, tmp_path: Path) -> None:
    lines = [line(1), line(2, "hang"), line(3), line(4, "hang"), line(5)]
    transform(
        ml, write(tmp_path / "a", lines), tmp_path, "--workers", "2", GLUONTS_BATCH_TIMEOUT="0.7"
    )
    found = [json.loads(text) for text in (tmp_path / "a.out").read_text().splitlines()]
    label = "gluonts.model.trivial.mean.MeanPredictor"
    assert [one.get("fallback") for one in found] == [None, label, None, label, None]


def test_shards_share_the_files(ml: Path, tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "in" / f"{number}", [line(number)])
    transform(ml, tmp_path / "in", tmp_path / "out", "--shard", "2/2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.out", "3.out"]
    transform(ml, tmp_path / "in", tmp_path / "out", "--shard", "1/2")
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--shard", "3/2"], "--shard is '3/2', expected I/N"),
        (["--workers", "0"], "--workers is 0, expected 1 or more"),
        (
            ["--model", "/nowhere/model.tar.gz"],
            "does not exist, expected model.tar.gz or its folder",
        ),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    ml: Path, tmp_path: Path, more: list[str], sentence: str
) -> None:
    done = transform(ml, write(tmp_path / "a", [line(1)]), tmp_path, *more, status=1)
    assert sentence in done.stderr


def test_a_model_that_is_packed(ml: Path, tmp_path: Path) -> None:
    packed, scratch = tmp_path / "model.tar.gz", tmp_path / "scratch"
    scratch.mkdir()
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(ml / "model", ".")
    source = write(tmp_path / "a", [line(1)])
    transform(tmp_path, source, tmp_path, "--model", str(packed), TMPDIR=str(scratch))
    assert means(tmp_path / "a.out") == [1.0]
    assert not list(scratch.iterdir()), "what was unpacked is removed"


@pytest.mark.parametrize("packed", [True, False])
def test_a_model_that_brings_its_code(ml: Path, tmp_path: Path, packed: bool) -> None:
    model, scratch = tmp_path / "model", tmp_path / "scratch"
    scratch.mkdir()
    (model / "code").mkdir(parents=True)
    for path in (ml / "model").iterdir():
        (model / path.name).write_text(path.read_text().replace("batch_toy", "code_of_the_model"))
    code = (ROOT / "tests" / "batch_toy.py").read_text()
    (model / "code" / "code_of_the_model.py").write_text(code)
    given = model
    if packed:
        given = tmp_path / "model.tar.gz"
        with tarfile.open(given, "w:gz") as tar:
            tar.add(model, ".")
    source = write(tmp_path / "a", [line(1)])
    transform(tmp_path, source, tmp_path, f"--model={given}", TMPDIR=str(scratch))
    assert means(tmp_path / "a.out") == [1.0]
    assert not list(scratch.iterdir()), "what was unpacked and installed is removed"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_everything_and_leaves_no_partial_output(
    ml: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    source = write(
        tmp_path / "in", [line(n) for n in range(64)] + [line(1, "slow") for _ in range(2000)]
    )
    target = tmp_path / "out"
    process = subprocess.Popen(
        command(ml, source, target, "--workers", "2"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: target.exists() and list(target.iterdir()))
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert b"Traceback" not in errors
    assert list(target.iterdir()) == []
    assert not any(alive(worker) for worker in workers)


def test_a_worker_that_is_killed_fails_its_file_and_no_other(ml: Path, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", [line(1, "slow") for _ in range(300)])
    write(tmp_path / "in" / "b", [line(2)])
    process = subprocess.Popen(
        command(ml, tmp_path / "in", tmp_path / "out", "--workers", "1"),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    os.kill(wait_for(lambda: children(process.pid))[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a: the process that predicted it was killed by signal 9" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.out"]


def test_nobody_is_left_when_the_parent_is_killed(ml: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in", [line(1, "slow") for _ in range(300)])
    process = subprocess.Popen(
        command(ml, source, tmp_path / "out", "--workers", "2"),
        env=environment(GLUONTS_BATCH_TIMEOUT="60"),
        stdout=subprocess.DEVNULL,
    )
    workers = wait_for(lambda: len(found := children(process.pid)) == 2 and found)
    keepers = [wait_for(lambda worker=worker: children(worker)) for worker in workers]
    predictors = [wait_for(lambda keeper=keeper: children(keeper)) for (keeper,) in keepers]
    process.kill()
    process.wait(60)
    everybody = [*workers, *(pid for group in (*keepers, *predictors) for pid in group)]
    wait_for(lambda: not any(alive(pid) for pid in everybody))


def test_a_person_sees_a_bar(ml: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in", [line(1, "slow") for _ in range(32)])
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        command(ml, source, tmp_path / "out", "--workers", "1"),
        env=environment(),
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    assert process.wait(60) == 0
    assert b"\r[###############               ] 16 lines" in shown
    assert b"\r[##############################] 32 lines" in shown and b"100% of the input" in shown


def test_memory_does_not_grow_with_the_file(ml: Path, tmp_path: Path) -> None:
    most = []
    for count in (1_000, 100_000):
        source = write(tmp_path / f"{count}.jsonl", [line(count % 7)] * count)
        options = command(ml, source, tmp_path, "--workers", "2")
        process = subprocess.Popen(options, env=environment(), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0
        assert (tmp_path / f"{count}.jsonl.out").read_bytes().count(b"\n") == count
        most.append(usage.ru_maxrss)  # of the largest of its processes
    assert most[1] <= 1.2 * most[0], most


def test_outputs_of_a_model_before_this_one_are_made_again(ml: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.jsonl", [line(3)])
    transform(ml, tmp_path / "in", tmp_path / "out")
    old, new = (tmp_path / "out" / f"{name}.jsonl.out" for name in ("a", "b"))
    for output, age in ((old, -10), (new, 10)):
        output.write_text("an earlier run's\n")
        made = max(file.stat().st_mtime for file in (ml / "model").iterdir())
        os.utime(output, (made + age, made + age))
    done = transform(ml, tmp_path / "in", tmp_path / "out")
    assert "1 of 2 files are finished already" in done.stdout
    assert (means(old), new.read_text()) == ([3.0], "an earlier run's\n")
    transform(ml, tmp_path / "in", tmp_path / "out", "--overwrite")
    assert means(new) == [3.0]


def test_an_archive_that_brings_code_is_as_old_as_it_was(ml: Path, tmp_path: Path) -> None:
    """The second start, with the code, has the unpacked folder, whose files are of today."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        for path in (ml / "model").iterdir():
            archive.add(path, path.name)
        archive.add(tmp_path / "code", "code")
    os.utime(tmp_path / "model.tar.gz", (1_000_000_000, 1_000_000_000))
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.jsonl", [line(3)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jsonl.out").write_text("an earlier run's\n")
    os.utime(tmp_path / "out" / "a.jsonl.out", (1_000_000_100, 1_000_000_100))
    transform(ml, tmp_path / "in", tmp_path / "out", "--model", str(tmp_path / "model.tar.gz"))
    assert (tmp_path / "out" / "a.jsonl.out").read_text() == "an earlier run's\n"
    assert means(tmp_path / "out" / "b.jsonl.out") == [3.0]


def test_a_model_that_forecasts_something_else_than_it_did_makes_no_output(tmp_path):
    model = tmp_path / "ml" / "model"
    toy = [sys.executable, str(ROOT / "tests" / "batch_toy.py"), str(model)]
    subprocess.run(toy, env=environment(), check=True)
    target = {"dtype": "float32", "values": [1.0, 2.0]}
    entry = {"item_id": "a", "start": "2024-01-01 00:00:00", "target": target}
    rows = {"0.1": {"dtype": "float64", "values": [9.0, 9.0, 9.0]}}
    kept = {"entry": entry, "forecast": rows, "tolerance": 0.0}
    (model / "canary.jsonl").write_text(json.dumps(kept) + "\n")
    source = write(tmp_path / "in" / "a.json", [line(1.0)])
    output = tmp_path / "out"
    done = transform(tmp_path / "ml", source, output, status=1)
    assert (
        "the model does not forecast here what it did when it was trained: item_id 'a': its 0.1 was 9 at step 1 "
        "and is 2; GLUONTS_SHELL_CANARY=false serves it all the same"
    ) in done.stdout
    assert not (output / "a.json.out").exists()
    transform(tmp_path / "ml", source, output, GLUONTS_SHELL_CANARY="false")
    assert means(output / "a.json.out") == [1.0]
