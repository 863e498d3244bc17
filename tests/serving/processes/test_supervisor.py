"""The supervisor with real processes: `toy.py` in a child, its workers killed, stopped and drained."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from toy import Service, ask, children, cpu_seconds, eventually, state

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.serving.http import listener

NUMBERS = count()


class Load:
    """Closed-loop clients that count answers and failures until told to end."""

    def __init__(self, port: int, clients: int, document: dict) -> None:
        self.answers, self.failures, self.ended = 0, 0, False
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self._client, args=(port, document)) for _ in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def _client(self, port: int, document: dict) -> None:
        while not self.ended:
            try:
                status = ask(port, "/invocations", document)[0]
            except (OSError, http.client.HTTPException):
                status = 0
            with self.lock:
                self.answers += status == 200
                self.failures += status != 200

    def end(self) -> None:
        self.ended = True
        for thread in self.threads:
            thread.join()


def zombies(pid: int) -> list[int]:
    return [child for child in children(pid) if state(child) == "Z"]


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


# --- start


def test_all_workers_answer_and_a_signal_ends_it_with_status_0() -> None:
    with Service(workers=2) as service:
        seen = {ask(service.port, "/execution-parameters")[1]["pid"] for _ in range(60)}
        assert seen <= set(service.workers())
        assert len(service.workers()) == 2
        assert ask(service.port) == (200, None)
        assert service.end() == 0
        assert port_is_free(service.port)


def test_a_port_that_is_taken_is_one_sentence_before_the_model_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError,
            match=rf"cannot serve on 127\.0\.0\.1:{port}: Address already in use",
        ):
            listener.bind("127.0.0.1", port)


def test_of_two_servers_that_load_at_once_one_is_told() -> None:
    with listener.bind("127.0.0.1", 0) as quicker:
        port = quicker.getsockname()[1]
        with listener.bind("127.0.0.1", port) as slower:
            listener.listen(quicker)
            with pytest.raises(ConfigurationError, match="Address already in use"):
                listener.listen(slower)


def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"cannot serve on 192\.0\.2\.1:8080: Cannot assign requested address",
    ):
        listener.bind("192.0.2.1", 8080)


def test_nothing_is_accepted_while_the_model_loads_and_a_signal_then_ends_it_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Service(wait=False, port=port, load_seconds=60) as service:
        eventually(lambda: service.said("loading"))
        with pytest.raises(ConnectionRefusedError):
            ask(port)
        began = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - began < 10


def test_workers_that_die_at_start_end_it_with_status_1() -> None:
    with Service(wait=False, die_at_start=9) as service:
        assert service.process.wait(30) == 1
        eventually(lambda: service.said("giving up"))
        eventually(lambda: service.said("ended before it was ready (exit status 9)"))


def test_a_model_that_cannot_be_loaded_by_a_worker_is_not_tried_again() -> None:
    with Service(workers=1, wait=False, preload=0, fail_at_load=1) as service:
        assert service.process.wait(30) == 1
        eventually(lambda: service.said("giving up"))
        assert sum("loading" in line for line in service.output) == 1
        eventually(lambda: service.said("the model is broken"))


def test_without_preload_one_worker_loads_and_serves() -> None:
    with Service(workers=4, preload=0) as service:
        assert len(service.workers()) == 1
        assert ask(service.port)[0] == 200
        assert service.end() == 0


def begun(service: Service, document: dict, found: list[int] | None = None) -> threading.Thread:
    """A request that is being answered when this returns; its status is put into `found`, if there is an answer."""
    word = f"begun {next(NUMBERS)}."

    def client() -> None:
        with suppress(OSError, http.client.HTTPException):
            status, _ = ask(service.port, "/invocations", {**document, "begun": word})
            if found is not None:
                found.append(status)

    thread = threading.Thread(target=client)
    thread.start()
    eventually(lambda: service.said(word))
    return thread


# --- workers that die or hang


def test_killed_workers_cost_no_more_than_the_requests_in_flight_and_are_replaced() -> None:
    with Service(workers=2) as service:
        load = Load(service.port, clients=8, document={"sleep": 0.01})
        kills = 6
        for _ in range(kills):
            time.sleep(0.3)
            before = set(eventually(lambda: len(service.workers()) == 2 and service.workers()))
            victim = before.pop()
            os.kill(victim, signal.SIGKILL)
            eventually(
                lambda gone=victim: gone not in service.workers() and len(service.workers()) == 2,
                seconds=5,
            )
        time.sleep(0.3)
        load.end()
        assert load.answers > 100
        assert load.failures <= kills * 8
        assert zombies(service.process.pid) == []
        eventually(lambda: service.said("signal 9, perhaps out of memory"))
        assert service.end() == 0


def test_a_worker_that_never_gets_ready_is_replaced() -> None:
    with Service(workers=1, slow_restart=60, ready_seconds=1) as service:
        (first,) = service.workers()
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: [pid for pid in service.workers() if pid != first])
        assert ask(service.port) == (503, {"error": "no worker is ready; try again later"})
        eventually(lambda: service.said(f"worker {second[0]} is not ready after 2 s; killing it"))
        eventually(lambda: service.workers() not in (second, []))
        eventually(lambda: service.said(f"worker {second[0]} ended before it was ready (signal 9"))


def test_an_application_that_ends_the_process_is_replaced() -> None:
    with Service(workers=1) as service:
        (first,) = service.workers()
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(service.port, "/invocations", {"exit": 7})
        assert ask(service.port)[0] == 200  # waited in the backlog for the new worker
        assert service.workers() != [first]
        eventually(lambda: service.said("(exit status 7); starting another"))


def test_a_stopped_worker_does_not_keep_ping_waiting_and_is_killed_in_the_end() -> None:
    with Service(workers=2, drain_seconds=1.0) as service:
        stopped = service.workers()[0]
        os.kill(stopped, signal.SIGSTOP)
        eventually(lambda: state(stopped) == "T")
        for _ in range(100):
            began = time.monotonic()
            assert ask(service.port)[0] == 200
            assert time.monotonic() - began < 5
        began = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - began < 10
        assert state(stopped) == ""


def test_a_worker_that_holds_the_interpreter_does_not_keep_ping_waiting() -> None:
    with Service(workers=2) as service:
        wedge = begun(service, {"hold": 3.0})
        for _ in range(50):
            assert ask(service.port, timeout=2.5)[0] == 200
        wedge.join()


# --- no worker takes connections


def test_ping_is_answered_in_time_while_the_only_worker_holds_the_interpreter() -> None:
    with Service(workers=1) as service:
        (worker,) = service.workers()
        wedge = begun(service, {"hold": 5.0})
        found = []
        for _ in range(20):
            began = time.monotonic()
            found.append(ask(service.port, timeout=2.0)[0])
            assert time.monotonic() - began < 2.0
        assert found == [200] * 20
        assert wedge.is_alive()
        wedge.join()
        assert service.workers() == [worker]


def test_what_the_parent_accepted_is_answered_by_the_worker_when_it_is_back() -> None:
    with Service(workers=1) as service:
        (worker,) = service.workers()
        os.kill(worker, signal.SIGSTOP)
        eventually(lambda: ask(service.port, timeout=5)[0] == 200)  # by the parent
        whole, split, late = (
            socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(3)
        )
        post(whole, {"a": 1})
        split.sendall(b"GET /pi")
        time.sleep(0.3)
        split.sendall(b"ng HTTP/1.1\r\nHost: a\r\n\r\n")
        # the parent waits for the rest of a head
        assert split.recv(65536).startswith(b"HTTP/1.1 200 ")
        os.kill(worker, signal.SIGCONT)
        answer = json.loads(whole.recv(65536).split(b"\r\n\r\n", 1)[1])
        assert answer["pid"] == worker
        post(whole, {"a": 2})  # the connection is the worker's now
        assert whole.recv(65536).startswith(b"HTTP/1.1 200 ")
        late.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert late.recv(65536).startswith(b"HTTP/1.1 200 ")
        for client in (whole, split, late):
            client.close()
        assert service.end() == 0


def test_what_the_parent_accepted_is_refused_at_the_end() -> None:
    with Service(workers=1, drain_seconds=0.5) as service:
        os.kill(service.workers()[0], signal.SIGSTOP)
        eventually(lambda: ask(service.port, timeout=5)[0] == 200)
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            post(client, {"a": 1})
            time.sleep(0.6)
            service.process.send_signal(signal.SIGTERM)
            assert client.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert service.process.wait(20) == 0


def test_a_worker_that_was_silent_for_too_long_is_replaced_and_its_successor_answers_who_waited() -> (
    None
):
    with Service(workers=1, silent_seconds=2.0) as service:
        (worker,) = service.workers()
        os.kill(worker, signal.SIGSTOP)
        assert ask(service.port, "/invocations", {"a": 1})[1]["pid"] != worker
        eventually(lambda: service.said("silent for 3 s; killing it"))
        eventually(lambda: service.said(f"worker {worker} ended (signal 9); starting another"))
        assert state(worker) == ""


def test_a_request_that_never_ends_is_answered_500_and_its_worker_replaced() -> None:
    with Service(workers=2, overdue_seconds=0.5) as service:
        before = service.workers()
        status, answer = ask(service.port, "/invocations", {"stuck": 60})
        assert status == 500
        assert "took longer than any prediction may" in answer["error"]
        eventually(lambda: len(service.workers()) == 2 and service.workers() != before)
        assert len(set(service.workers()) & set(before)) == 1
        eventually(
            lambda: service.said(
                "a request has not ended within 0.5 s; this worker ends, and another one starts"
            )
        )
        assert ask(service.port)[0] == 200
        assert service.end() == 0


def test_ping_is_not_200_while_every_worker_hangs() -> None:
    with Service(workers=1, overdue_seconds=0.3, slow_restart=3) as service:
        begun(service, {"stuck": 60}).join()
        began = time.monotonic()
        assert ask(service.port) == (503, {"error": "no worker is ready; try again later"})
        assert time.monotonic() - began < 2.0
        eventually(lambda: ask(service.port)[0] == 200)


def test_a_worker_that_grows_is_replaced_between_two_requests() -> None:
    with Service(workers=1, max_bytes=150_000_000) as service:
        (worker,) = service.workers()
        assert ask(service.port, "/invocations", {"grow": 10})[1]["pid"] == worker
        assert ask(service.port, "/invocations", {"grow": 200, "sleep": 0.6})[1]["pid"] == worker
        eventually(lambda: service.workers() not in ([worker], []) and len(service.workers()) == 1)
        assert ask(service.port, "/invocations", {"a": 1})[1]["pid"] != worker
        eventually(lambda: service.said("and may have 1.5e+08: it ends, and another one starts"))


def test_a_worker_whose_listener_was_closed_is_replaced() -> None:
    with Service(workers=1) as service:
        (worker,) = service.workers()
        listening = [number for number, inode in sockets(worker) if inode in listeners()]
        assert ask(service.port, "/invocations", {"close": listening})[0] == 200
        eventually(lambda: service.workers() not in ([worker], []) and len(service.workers()) == 1)
        assert ask(service.port)[0] == 200
        eventually(lambda: service.said("closed the socket that this worker listens on: it ends"))
        assert service.end() == 0


def sockets(pid: int) -> list[tuple[int, str]]:
    """Numbers and inodes of a process's sockets."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(path)
        if target.startswith("socket:["):
            found.append((int(path.name), target[8:-1]))
    return found


def listeners() -> set[str]:
    """Inodes of all TCP sockets that listen (proc(5), /proc/net/tcp: state 0A)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}


def test_a_limit_below_what_a_worker_needs_anyway_is_told_and_not_kept() -> None:
    with Service(workers=1, max_bytes=1000) as service:
        (worker,) = service.workers()
        time.sleep(0.6)
        assert ask(service.port, "/invocations", {"a": 1})[1]["pid"] == worker
        eventually(
            lambda: service.said("before its first request, and may have 1000: it is not replaced")
        )


# --- the end


def test_a_signal_lets_requests_in_flight_end() -> None:
    with Service(workers=2) as service:
        found: list[int] = []
        clients = [begun(service, {"sleep": 1.5}, found) for _ in range(12)]
        assert service.end() == 0
        for thread in clients:
            thread.join()
        assert found == [200] * 12


def test_connections_in_the_backlog_are_answered_too() -> None:
    with Service(workers=1) as service:
        os.kill(service.workers()[0], signal.SIGSTOP)
        queued = [
            socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(5)
        ]
        for client in queued:
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        os.kill(service.workers()[0], signal.SIGCONT)
        for client in queued:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            client.close()
        assert service.process.wait(20) == 0


def test_a_second_signal_does_not_wait() -> None:
    with Service(workers=2) as service:
        begun(service, {"sleep": 20})
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.said("stopping"))
        began = time.monotonic()
        assert service.end(signal.SIGINT) == 128 + signal.SIGINT
        assert time.monotonic() - began < 5
        assert port_is_free(service.port)


def test_sigterm_twice_within_a_second_is_one_and_another_later_does_not_wait() -> None:
    with Service(workers=2) as service:
        begun(service, {"sleep": 20})
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.said("stopping"))
        service.process.send_signal(signal.SIGTERM)
        time.sleep(1.1)
        assert service.process.poll() is None
        assert service.end() == 128 + signal.SIGTERM


def test_requests_that_outlast_the_drain_are_cut_off() -> None:
    with Service(workers=2, drain_seconds=0.5) as service:
        begun(service, {"sleep": 20})
        assert service.end() == 0
        eventually(lambda: service.said("1 connections were cut off after 0.5 s"))


def test_workers_go_with_a_parent_that_was_killed_and_the_port_is_free() -> None:
    with Service(workers=2) as service:
        workers = service.workers()
        service.process.kill()
        service.process.wait()
        eventually(lambda: not any(state(pid) in ("R", "S", "D") for pid in workers), seconds=10)
        eventually(lambda: port_is_free(service.port), seconds=10)


# --- a poor environment


@pytest.mark.parametrize("how", ["closed", "full", "broken"])
def test_a_log_that_nobody_reads_stops_nothing(how: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader, writer = os.pipe()
    if how == "full":
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)
    if how == "broken":
        os.close(reader)
    streams = {"stdout": writer, "stderr": writer}
    if how == "closed":
        streams = {"stdout": None, "stderr": None, "preexec_fn": lambda: (os.close(1), os.close(2))}
    with Service(workers=2, wait=False, port=port, popen=streams, quiet=1) as service:
        eventually(lambda: answers_ping(port))
        for _ in range(300):
            assert ask(port, "/invocations", {"log": "x" * 500})[0] == 200
        os.kill(service.workers()[0], signal.SIGKILL)
        eventually(lambda: len(service.workers()) == 2)
        assert ask(port, "/invocations", {"print": 300_000, "printf": 300_000})[0] == 200
        assert ask(port, "/invocations", {"raise": "with a traceback"})[0] == 500
        assert service.end(seconds=40) == 0
    os.close(writer)
    if how != "broken":
        os.close(reader)


def answers_ping(port: int) -> bool:
    try:
        return ask(port)[0] == 200
    except OSError:
        return False


def test_few_descriptors_neither_stop_ping_nor_burn_the_processor() -> None:
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
    with Service(workers=1, popen=limited) as service:
        (worker,) = service.workers()
        held = [
            socket.create_connection(("127.0.0.1", service.port), timeout=20) for _ in range(300)
        ]
        for _ in range(20):
            assert ask(service.port)[0] == 200
        before = cpu_seconds(worker)
        time.sleep(1.0)
        assert cpu_seconds(worker) - before < 0.5
        for client in held:
            client.close()
        assert ask(service.port)[0] == 200


def test_no_descriptors_at_all_is_waited_out() -> None:
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
    with Service(workers=1, popen=limited) as service:
        (worker,) = service.workers()
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            post(client, {"open": 1000})
            taken = json.loads(client.recv(65536).split(b"\r\n\r\n", 1)[1])
            assert len(taken) > 10
            before = cpu_seconds(worker)
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as waiting:
                waiting.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
                # the silent connection made room for the one that waited
                assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
                time.sleep(0.5)
                assert cpu_seconds(worker) - before < 0.4
                post(waiting, {"close": taken})
                assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(5):
            assert ask(service.port)[0] == 200
        eventually(lambda: service.said("cannot take more than"))


def post(client: socket.socket, document: dict) -> None:
    body = json.dumps(document).encode()
    client.sendall(
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def test_as_process_1_it_reaps_the_orphans() -> None:
    # a child subreaper is to its orphans what process 1 is to all
    script = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if os.fork() == 0:
    if os.fork() == 0:
        import time; time.sleep(1.0); os._exit(0)
    os._exit(0)
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import toy
sys.exit(toy.main(["0", "1"]))
"""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert any("ready" in line for line in process.stdout)
        eventually(lambda: len(children(process.pid)) == 1, seconds=10)
        assert zombies(process.pid) == []
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()
