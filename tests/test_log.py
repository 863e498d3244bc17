"""A server's lines: gathered for a moment, whole, in their order, never twice, and never waited for."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gluonts_shell import log


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The reading end of a pipe that the log is written into by a worker."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [log.Lines(os.fdopen(writer, "w"))])
    monkeypatch.setattr(root, "level", logging.INFO)
    logging.getLogger("x").manager._clear_cache()
    log.never_wait()
    log.gather()
    yield reader
    os.close(reader)
    root.handlers[0].stream.lines.clear()  # type: ignore[attr-defined]
    logging.getLogger("x").manager._clear_cache()


@pytest.fixture
def alone(written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other handler, such as pytest's, which it adds after the fixtures are made."""
    monkeypatch.setattr(log, "_lines", lambda: logging.root.handlers[0])


def read(reader: int) -> list[str]:
    try:
        return os.read(reader, 1 << 20).decode().splitlines()
    except BlockingIOError:
        return []


def test_lines_are_held_back_for_a_moment(written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    for number in range(3):
        logging.getLogger("x").info("line %d", number)
    assert read(written) == ["line 0"]
    now += log.PAUSE
    logging.getLogger("x").info("line 3")
    assert read(written) == ["line 1", "line 2", "line 3"]
    logging.getLogger("x").info("the last one")
    assert read(written) == []
    log.flush()
    assert read(written) == ["the last one"]


def test_warnings_are_written_at_once_and_what_came_before_them_too(written: int) -> None:
    logging.getLogger("x").info("one")
    logging.getLogger("x").info("two")
    logging.getLogger("x").warning("three")
    assert read(written) == ["one", "two", "three"]


def test_what_is_said_looks_like_a_record_and_comes_in_its_order(
    written: int, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.getLogger().handlers[0]
    handler.setFormatter(log.Stamped(log.FORMAT))
    monkeypatch.setattr(log.time, "time", lambda: 86400.0 * 365)
    # what a record asks for since Python 3.13
    monkeypatch.setattr(log.time, "time_ns", lambda: 86400 * 365 * 10**9)
    monkeypatch.setattr(log.time, "localtime", log.time.gmtime)
    log.stamp.cache_clear()
    log.beginning.cache_clear()
    logging.getLogger("x").info("%s", "one")
    log.say(logging.getLogger("x"), "two: 100 %")
    logging.getLogger("x").warning("three")
    expected = ["[01/01/1971 00:00:00 INFO] one", "[01/01/1971 00:00:00 INFO] two: 100 %"]
    assert read(written) == [*expected, "[01/01/1971 00:00:00 WARNING] three"]
    logging.getLogger().setLevel(logging.WARNING)
    log.say(logging.getLogger("x"), "not at this level")
    log.flush()
    assert read(written) == []


def test_lines_can_be_objects(written: int, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger().handlers[0].setFormatter(log.Objects())
    monkeypatch.setattr(log.time, "time", lambda: 0.25)
    # what logging reads since Python 3.13
    monkeypatch.setattr(log.time, "time_ns", lambda: 250_000_000)
    log.say(logging.getLogger("x"), 'one "\u00e9\n"', lambda: {"status": 200})
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("x").exception("two")
    log.tell(logging.getLogger("x"), logging.WARNING, "three", {"status": 400})
    one, two, three = map(json.loads, read(written))
    assert one == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "INFO",
        "message": 'one "\u00e9\n"',
        "status": 200,
    }
    assert (two["level"], two["message"]) == ("ERROR", "two") and two["traceback"].endswith(
        "ValueError: bad"
    )
    assert (three["level"], three["message"], three["status"]) == ("WARNING", "three", 400)


def test_a_line_of_text_computes_no_fields(written: int, alone: None) -> None:
    def never() -> dict[str, object]:
        raise AssertionError("computed for nothing")

    log.say(logging.getLogger("x"), "one", never)
    assert [line.endswith("INFO] one") for line in read(written)] == [True]


PRINTING = """
import logging, sys, threading, warnings
from gluonts_shell import log
log.configure("WARNING", "json")
log.catch_prints()
log.configure("WARNING", "json")  # once more does no harm
log.catch_prints()
print("two\\nlines")
print("a line", "in pieces", 3)
print()
print("\u00e9\\x1b[2J", file=sys.stderr)
sys.stderr.write("no end")
sys.stderr.flush()
sys.stdout.writelines(["not ", "yet"])
warnings.warn("deprecated")
logging.getLogger("x").error("an error\\nin two lines")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("the last word")
"""


def test_in_a_log_of_objects_prints_and_tracebacks_are_objects_too() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PRINTING], env=environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all({"time", "level", "message"} <= one.keys() for one in found)
    assert [one["message"] for one in found if one.get("stream") == "stdout"] == [
        "two",
        "lines",
        "a line in pieces 3",
        "not yet",
    ]
    assert [one["message"] for one in found if one.get("stream") == "stderr"] == [
        "\u00e9\x1b[2J",
        "no end",
    ]
    warned, error, thread, last = (one for one in found if "stream" not in one)
    assert "UserWarning: deprecated" in warned["message"]
    assert error["message"] == "an error\nin two lines"
    assert thread["traceback"].endswith("ZeroDivisionError: division by zero")
    assert (last["level"], last["message"]) == ("CRITICAL", "uncaught")
    assert last["traceback"].endswith("ValueError: the last word")


def test_a_forked_process_does_not_write_its_parents_lines(written: int) -> None:
    logging.getLogger("x").info("one")
    logging.getLogger("x").info("two")
    pid = os.fork()
    if pid == 0:
        log.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    log.flush()
    assert read(written) == ["one", "two"]


def test_a_full_pipe_takes_whole_lines_or_none(written: int) -> None:
    logging.getLogger("x").info("first")
    for number in range(5000):
        logging.getLogger("x").info("%06d %s", number, "x" * 60)
    log.flush()
    lines = read(written)
    assert lines[0] == "first"
    assert {len(line) for line in lines[1:]} == {67}
    assert [int(line[:6]) for line in lines[1:]] == list(range(len(lines) - 1))


def test_names_and_texts_from_outside_cannot_look_like_lines_of_ours():
    """A file's name may hold a line break and what a terminal takes for a command."""
    formatter = log.Stamped("%(message)s")

    def formatted(message, *arguments, name="gluonts_shell.x"):
        return formatter.format(
            logging.LogRecord(name, logging.INFO, "", 0, message, arguments, None)
        )

    evil = "a\n[ERROR] b\x1b[2J\x9b"
    assert (
        formatted("%s and %r, %d", Path(evil), evil, 3)
        == "a\\n[ERROR] b\\x1b[2J\\x9b and " + repr(evil) + ", 3"
    )
    assert formatted("%s", OSError(evil)) == "a\\n[ERROR] b\\x1b[2J\\x9b"
    assert formatted("it said:\n%s", "one\ntwo\x1b") == "it said:\none\ntwo\\x1b"
    assert (
        formatted("%s", "of a library\nin two lines", name="lightning")
        == "of a library\nin two lines"
    )
