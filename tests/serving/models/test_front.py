"""A front, its fork server and the processes of many toys: loaded, unloaded, killed, hung and drained."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import children, eventually, state

from tests.serving.models.many import Many


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    with Many(tmp_path_factory.mktemp("many")) as many:
        yield many


class Asked(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        super().__init__(daemon=True)
        self.ask, self.arguments, self.options = ask, arguments, options
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        self.answer = self.ask(*self.arguments, **self.options)

    def answered(self) -> Any:
        self.join(20)
        assert self.answer is not None
        return self.answer


def exists(path: Path) -> Callable[[], bool]:
    return path.exists


def test_a_model_is_loaded_asked_and_unloaded(many: Many) -> None:
    assert many.get("/ping") == (200, None)
    assert many.get("/models") == (200, {"models": []})
    shown = {"modelName": "a", "modelUrl": str(many.folder / "a")}
    assert many.load("a") == (200, shown)
    status, answer = many.load("a")
    assert (status, answer["error"]) == (
        409,
        f"model 'a' is loaded already, from '{many.folder / 'a'}'",
    )
    assert many.get("/models/a") == (200, shown)
    assert many.get("/models") == (200, {"models": [shown]})
    status, answer = many.invoke("a", {"x": 1})
    assert status == 200 and [answer["pid"]] == many.toys()
    assert answer["headers"]["x-amzn-sagemaker-target-model"] == "a"
    assert many.invoke("a", {"bytes": 20_000_000}) == (200, None)
    assert many.unload("a") == 200
    assert many.toys() == []
    assert many.unload("a") == many.get("/models/a")[0] == many.invoke("a")[0] == 404
    assert many.get("/models") == (200, {"models": []})


def test_loading_one_does_not_delay_another(many: Many) -> None:
    many.load("quick")
    go = many.folder / "go"
    slow = Asked(many.load, "slow", wait=str(go))
    eventually(exists(many.folder / "go.waits"))
    assert many.invoke("quick")[0] == 200
    assert many.load("other")[0] == 200
    assert many.invoke("slow")[0] == 404
    assert [one["modelName"] for one in many.get("/models")[1]["models"]] == ["other", "quick"]
    again = Asked(many.load, "slow", wait=str(go))
    go.touch()
    # two that ask for the same: one of them is told that it is loaded already
    assert sorted((slow.answered()[0], again.answered()[0])) == [200, 409]
    assert many.invoke("slow")[0] == 200
    assert [many.unload(name) for name in ("slow", "quick", "other")] == [200] * 3


def test_two_models_compute_side_by_side(many: Many) -> None:
    one, other = many.folder / "one", many.folder / "other"
    many.load("a")
    many.load("b")
    first = Asked(many.invoke, "a", {"wait": str(one)})
    eventually(exists(many.folder / "one.waits"))
    second = Asked(many.invoke, "b", {"wait": str(other)})
    eventually(exists(many.folder / "other.waits"))
    other.touch()
    assert second.answered()[0] == 200 and first.answer is None
    one.touch()
    assert first.answered()[0] == 200
    assert many.unload("a") == many.unload("b") == 200


def test_unloading_lets_what_is_in_flight_be_answered(many: Many) -> None:
    many.load("a")
    go = many.folder / "answer"
    asked = Asked(many.invoke, "a", {"wait": str(go)})
    eventually(exists(many.folder / "answer.waits"))
    unloading = Asked(many.unload, "a")
    eventually(lambda: many.get("/models/a")[0] == 404)
    assert many.invoke("a")[0] == 404 and unloading.answer is None
    go.touch()
    assert asked.answered()[0] == 200
    assert unloading.answered() == 200 and many.toys() == []


def unloaded_while_it_computes(folder: Path, seconds: float) -> tuple[int, Any]:
    """What is told to whoever asked a model that never answers. seconds: that it has to end."""
    with Many(folder, drain_seconds=seconds) as many:
        many.load("a")
        asked = Asked(many.invoke, "a", {"wait": str(folder / "never")})
        eventually(exists(folder / "never.waits"))
        assert many.unload("a") == 200
        answer = asked.answered()
        assert many.toys() == []
        return answer


def test_unloading_does_not_wait_for_ever(tmp_path: Path) -> None:
    assert unloaded_while_it_computes(tmp_path, 0.2)[0] == 503


def test_what_is_not_answered_when_a_model_is_unloaded_is_a_503(tmp_path: Path) -> None:
    status, answer = unloaded_while_it_computes(tmp_path, 1.0)
    assert status == 503
    assert answer["error"] == "model 'a' was unloaded before the answer was there"


def test_a_model_that_dies_is_loaded_again_and_others_do_not_notice(many: Many) -> None:
    many.load("a")
    many.load("b")
    before, other = many.invoke("a")[1]["pid"], many.invoke("b")[1]["pid"]
    status, answer = many.invoke("a", {"exit": 7})
    assert (status, answer["error"]) == (
        500,
        "the model's process ended with exit status 7 while it computed the answer",
    )
    after = many.invoke("a")[1]["pid"]
    os.kill(after, signal.SIGKILL)
    third = many.invoke("a")[1]["pid"]
    assert len({before, after, third}) == 3
    assert many.invoke("b")[1]["pid"] == other
    again = "model 'a' is loaded again: its process was killed by signal 9"
    eventually(lambda: many.said(again))
    assert many.unload("a") == many.unload("b") == 200


def test_a_model_whose_code_ends_its_process_with_0_has_failed_all_the_same(many: Many) -> None:
    """A client that is told to try again would do so for ever."""
    many.load("a")
    status, answer = many.invoke("a", {"exit": 0})
    assert (status, answer["error"]) == (
        500,
        "the model's process ended with exit status 0 while it computed the answer",
    )
    assert many.unload("a") == 200


def test_a_model_whose_folder_is_gone_is_no_fault_of_the_clients(many: Many) -> None:
    many.load("a")
    many.invoke("a")
    (many.folder / "a" / "toy.json").unlink()
    many.invoke("a", {"exit": 7})
    for _ in range(2):
        status, answer = many.invoke("a")
        assert (status, answer["error"]) == (
            500,
            f"model 'a' cannot be loaded again: '{many.folder / 'a'}' is no toy",
        )
    many.toy("a")
    assert many.invoke("a")[0] == many.unload("a") == 200


def test_what_a_model_has_started_ends_with_it(many: Many) -> None:
    many.load("a")
    started = many.invoke("a", {"start": True})[1]["pid"]
    assert many.unload("a") == 200
    eventually(lambda: state(started) in ("", "Z"))


def test_a_model_that_does_not_load_is_told_why(many: Many) -> None:
    for faults, status, sentence in (
        ({"fail": "no luck"}, 500, "no luck"),
        ({"die": 5}, 500, "its process ended with exit status 5 while it was loaded"),
        ({"kill": signal.SIGKILL}, 507, "its process was killed by signal 9, perhaps it was out of memory while it was loaded"),
    ):  # fmt: skip
        found, answer = many.load("bad", **faults)
        assert (found, answer["error"]) == (status, sentence)
        assert many.get("/models/bad")[0] == 404
    (many.folder / "bad" / "toy.json").write_text("[")
    status, answer = many.post("/models", {"model_name": "bad", "url": str(many.folder / "bad")})
    assert status == 500 and answer["error"].startswith("it failed with JSONDecodeError: ")
    assert many.toys() == []
    assert many.load("bad")[0] == many.unload("bad") == 200


def test_a_client_that_goes_away_is_noticed_by_the_model(many: Many) -> None:
    import socket

    many.load("a")
    body = b'{"wait_gone": 20}'
    request = b"POST /models/a/invoke HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", many.port)) as connection:
        connection.sendall(request + body)
        eventually(lambda: many.invoke("a")[0] == 200)
    eventually(lambda: many.invoke("a")[1]["gone"] == 1)
    assert many.unload("a") == 200


def test_loads_and_unloads_leave_nothing_behind(many: Many) -> None:
    """The soak at a tenth of its size."""

    def round_(number: int) -> None:
        assert many.load("soak")[0] == 200
        assert many.invoke("soak")[0] == 200
        assert many.unload("soak") == 200

    def held() -> list[tuple[int, int]]:
        """Descriptors and KiB of the front and of the fork server."""
        return [_held(many.process.pid), _held(many.server)]

    for number in range(5):
        round_(number)
    before = held()
    for number in range(20):
        round_(number)
    after = held()
    for (descriptors, kibibytes), (descriptors_after, kibibytes_after) in zip(
        before, after, strict=True
    ):
        assert descriptors_after <= descriptors + 1
        assert kibibytes_after - kibibytes < 1024
    assert many.toys() == []
    assert list(many.folder.glob("gluonts-shell-models-*/*")) == []


def _held(pid: int) -> tuple[int, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(resident)


def test_ten_idle_models_do_nothing(many: Many) -> None:
    names = [f"idle-{number}" for number in range(10)]
    for name in names:
        assert many.load(name)[0] == 200
    pids = [many.invoke(name)[1]["pid"] for name in names]
    assert len(set(pids)) == 10

    def switches() -> list[int]:
        """How often each process went to sleep, since its beginning."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in (*pids, many.server)]
        return [int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for text in texts]

    def asleep() -> bool:
        before = switches()
        threading.Event().wait(0.6)  # more than two heartbeats of a worker that does not sleep
        return switches() == before

    eventually(asleep)
    for name in names:
        assert many.invoke(name)[0] == 200
        assert many.unload(name) == 200


def test_models_that_hang_are_ended_and_loaded_again(tmp_path: Path) -> None:
    """One computes for too long, the other lets no thread of its process run."""
    with Many(tmp_path, overdue_seconds=0.5, silent_seconds=2.0) as many:
        for name in ("a", "b", "c"):
            many.load(name)
        pids = {name: many.invoke(name)[1]["pid"] for name in ("a", "b", "c")}
        stuck = Asked(many.invoke, "a", {"stuck": 60})
        held = Asked(many.invoke, "b", {"hold": 60})
        assert many.invoke("c")[1]["pid"] == pids["c"]
        assert many.get("/ping") == (200, None)
        status, answer = stuck.answered()
        assert status == 500 and "took longer than any prediction may" in answer["error"]
        status, answer = held.answered()
        assert status == 500 and "gave no sign" in answer["error"]
        for name in ("a", "b"):
            assert many.invoke(name)[1]["pid"] != pids[name]
        assert many.invoke("c")[1]["pid"] == pids["c"]


def test_a_model_that_grows_is_replaced_and_nobody_is_refused(tmp_path: Path) -> None:
    with Many(tmp_path, resident_bytes=100 * 2**20) as many:
        many.load("a")
        before = many.invoke("a")[1]["pid"]
        assert many.invoke("a", {"grow": 100})[0] == 200
        eventually(lambda: many.said("this worker has"))

        def replaced() -> bool:
            # the line comes before the process has left, and until then it may well answer
            status, answer = many.invoke("a")
            assert status == 200, answer
            return answer["pid"] != before

        eventually(replaced)


def test_memory_that_does_not_suffice_is_a_507(tmp_path: Path) -> None:
    with Many(tmp_path, limit_mib=100) as many:
        assert many.load("large", eat=60)[0] == 200
        # before it is begun: what the first one took is the guess for the next
        status, answer = many.load("more")
        told = r"there is no memory for it: it takes about [67]\d MiB, and of 100 MiB [23]\d MiB are free, 5 MiB"
        assert status == 507 and re.match(told, answer["error"]), answer
        assert many.unload("large") == 200
        assert many.load("small")[0] == 200
        assert many.unload("small") == 200
        # while it is loaded
        status, answer = many.load("too-large", eat=120, slowly=True)
        assert (status, answer["error"]) == (507, "the memory was used up while it was loaded")
        assert many.toys() == []
        assert many.load("small")[0] == 200


def test_sigterm_lets_all_be_answered_and_leaves_no_process(tmp_path: Path) -> None:
    with Many(tmp_path) as many:
        many.load("a")
        many.load("b")
        go = tmp_path / "go"
        asked = Asked(many.invoke, "a", {"wait": str(go)})
        eventually(exists(tmp_path / "go.waits"))
        pids = [many.server, *many.toys()]
        many.process.send_signal(signal.SIGTERM)
        eventually(lambda: many.said("stopping"))
        assert asked.answer is None
        go.touch()
        assert asked.answered()[0] == 200
        assert many.process.wait(20) == 0
        assert len(pids) == 3 and [state(pid) for pid in pids] == [""] * 3
        assert list(tmp_path.glob("gluonts-shell-models-*")) == []


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with Many(tmp_path) as many:
        many.load("a")
        asked = Asked(many.refused, "a", {"wait": str(tmp_path / "never")})
        eventually(exists(tmp_path / "never.waits"))
        pids = [many.server, *many.toys()]
        many.process.send_signal(signal.SIGTERM)
        eventually(lambda: many.said("stopping"))
        many.process.send_signal(signal.SIGTERM)  # within a second it is the same one
        assert asked.answer is None
        many.process.send_signal(signal.SIGINT)
        assert many.process.wait(20) == 128 + signal.SIGINT
        assert asked.answered()
        eventually(lambda: [state(pid) for pid in pids] == ["", ""])


@pytest.mark.parametrize("victim", ["front", "fork server"])
def test_where_one_of_the_two_is_killed_nothing_is_left(tmp_path: Path, victim: str) -> None:
    with Many(tmp_path) as many:
        many.load("a")
        pids = [many.process.pid, many.server, *many.toys()]
        os.kill(pids[0] if victim == "front" else pids[1], signal.SIGKILL)
        assert many.process.wait(20) == (-9 if victim == "front" else 1)
        eventually(lambda: [state(pid) for pid in pids] == ["", "", ""])


def test_a_front_whose_libraries_cannot_be_imported_does_not_start(tmp_path: Path) -> None:
    from gluonts_shell.errors import ModelError
    from gluonts_shell.serving.models.forkserver import ForkServer

    def prepare() -> None:
        raise ImportError("no such library")

    server = ForkServer.start(prepare, lambda order, link: os._exit(0))
    with pytest.raises(ModelError, match="could not import"):
        server.wait_until_ready()
    server.close()
    assert server.pid not in children(os.getpid())
