"""One server in this process: deadlines, the cap of connections, and clients and applications that misbehave."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from toy import Toy, ask, eventually, serving

from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.http.server import Server

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def post(document: object, fields: str = "") -> bytes:
    body = json.dumps(document).encode()
    head = f"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    return head.encode("latin-1") + body


def status(data: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d\d\d) ", data)
    assert match, data
    return int(match[1])


# --- what the application sees and does


def test_the_application_sees_lower_case_names_and_joined_lists() -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(
            post({}, "X-Trace: a\r\nx-trace:  b \r\nX-Latin: \xe9\r\nConnection: close\r\n")
        )
        answer = json.loads(read_all(client).split(b"\r\n\r\n", 1)[1])
    assert answer["headers"]["x-trace"] == "a, b"
    assert answer["headers"]["x-latin"] == "\xe9"
    assert answer["length"] == 2


def test_the_application_is_asked_before_the_body_is_read() -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(
            b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        data = client.recv(65536)
    assert status(data) == 404
    assert b"Connection: close" in data


def test_a_client_that_waits_for_100_continue_gets_it_and_then_its_answer() -> None:
    with serving(Toy()) as port, connect(port) as client:
        head, body = post({"a": 1}, "Expect: 100-continue\r\n").split(b"\r\n\r\n")
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert status(client.recv(65536)) == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"raise": "out of luck"},
        {"leave": 3},
        {"raise_base": "KeyboardInterrupt"},
        {"raise_base": "GeneratorExit"},
        {"raise_base": "BaseException"},
    ],
)
def test_an_application_that_raises_gets_500_and_the_connection_goes_on(fault: dict) -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(post(fault))
        assert status(client.recv(65536)) == 500
        client.sendall(PING)
        assert status(client.recv(65536)) == 200


def test_an_application_that_cannot_even_refuse_gets_a_plain_500() -> None:
    class Broken(Toy):
        def refuse(self, error: Exception, path: str = "", headers: object = None) -> Response:
            raise ZeroDivisionError

    with serving(Broken()) as port, connect(port) as client:
        client.sendall(b"nonsense\r\n\r\n")
        data = read_all(client)
    assert status(data) == 500
    assert b"Traceback" not in data
    assert b"ZeroDivision" not in data


def test_what_is_echoed_cannot_end_a_header_line() -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(
            post(
                {"header": "a\r\nSet-Cookie: b\r\n\r\n<html>\x00\x7f\u20ac"},
                "Connection: close\r\n",
            )
        )
        head, body = read_all(client).split(b"\r\n\r\n", 1)
    assert b"X-Echo: a  Set-Cookie: b    <html>  ?" in head.split(b"\r\n")
    assert body == b""


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_content_has_neither_length_nor_body(code: int) -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(post({"status": code}) + PING)
        first, _, rest = client.recv(65536).partition(b"\r\n\r\n")
        assert status(first) == code
        assert b"Content-Length" not in first
        assert rest == b"" or status(rest) == 200


def test_an_answer_larger_than_all_buffers_arrives() -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(post({"bytes": 20_000_000}, "Connection: close\r\n"))
        time.sleep(0.2)
        assert len(read_all(client).split(b"\r\n\r\n", 1)[1]) == 20_000_000


def test_the_server_does_not_tell_what_it_is() -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        head = read_all(client)
    assert b"Server:" not in head
    assert b"Python" not in head


# --- the body


def test_a_body_over_the_limit_is_refused_readably_while_it_is_still_being_sent() -> None:
    with serving(Toy(), body=1000) as port, connect(port) as client:
        client.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n"
            + b"x" * 4_000_000
        )
        data = read_all(client)
    assert status(data) == 413
    assert b"4000000 bytes, expected at most 1000" in data


def test_a_chunked_body_over_the_limit_is_refused() -> None:
    with serving(Toy(), body=1000) as port, connect(port) as client:
        head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n")
        assert status(read_all(client)) == 413


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 70_000, 3_000_000])
def test_a_body_arrives_whole_whatever_its_size(size: int) -> None:
    with serving(Toy()) as port, connect(port) as client:
        client.sendall(post({"pad": "x" * size}, "Connection: close\r\n"))
        assert json.loads(read_all(client).split(b"\r\n\r\n", 1)[1])["length"] == size + len(
            '{"pad": ""}'
        )


def resident() -> int:
    """Megabytes of this process that are in memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


def test_a_claimed_length_costs_no_memory_before_the_bytes_come() -> None:
    with serving(Toy(), body=1 << 34) as port:
        before = resident()
        clients = [connect(port) for _ in range(10)]
        for client in clients:
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n"
                + b"x" * 10
            )
        eventually(lambda: threading.active_count() > 10)
        assert ask(port)[0] == 200
        assert resident() - before < 50
        for client in clients:
            client.close()


# --- deadlines


def test_a_head_that_drips_is_answered_408_at_its_deadline() -> None:
    with serving(Toy(), head_seconds=0.5) as port, connect(port) as client:
        began = time.monotonic()
        data = b""
        client.settimeout(0.05)
        client.sendall(b"GET /ping HTTP/1.1\r\nX: ")
        while not data and time.monotonic() - began < 20:
            client.sendall(b"y")
            try:
                data = client.recv(65536)
            except TimeoutError:
                pass
    assert status(data) == 408
    assert b"Connection: close" in data


def test_a_body_that_does_not_come_is_answered_408_at_its_deadline() -> None:
    with serving(Toy(), body_seconds=0.3) as port, connect(port) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        assert status(read_all(client)) == 408


def test_silent_connections_are_closed_without_a_word() -> None:
    with (
        serving(Toy(), head_seconds=0.3, idle_seconds=0.3) as port,
        connect(port) as fresh,
        connect(port) as used,
    ):
        used.sendall(PING)
        assert status(used.recv(65536)) == 200
        assert used.recv(65536) == b""
        assert fresh.recv(65536) == b""


def test_a_client_that_does_not_take_its_answer_is_cut_off() -> None:
    with serving(Toy(), answer_seconds=0.3) as port:
        before = threading.active_count()
        with connect(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(post({"bytes": 50_000_000}))
            eventually(lambda: threading.active_count() <= before)
            with pytest.raises(OSError):
                if len(read_all(client)) < 50_000_000:
                    raise ConnectionResetError


def test_no_deadline_runs_while_the_application_works() -> None:
    with serving(
        Toy(), head_seconds=0.2, body_seconds=0.2, idle_seconds=0.2, answer_seconds=0.2
    ) as port:
        assert ask(port, "/invocations", {"sleep": 1.2})[0] == 200


# --- the cap


def test_at_the_cap_the_longest_silent_makes_room_and_the_newcomer_is_served() -> None:
    with serving(Toy(), connections=20) as port:
        old = [connect(port) for _ in range(20)]
        for client in old[:10]:
            client.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\n")
        time.sleep(0.2)
        for _ in range(5):
            assert ask(port)[0] == 200
        gone = [client for client in old if is_closed(client)]
        assert 1 <= len(gone) <= 10
        assert old[0] in gone
        for client in old:
            client.close()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_connection_whose_request_is_being_computed_never_makes_room() -> None:
    with serving(Toy(), connections=4) as port:
        busy = [connect(port) for _ in range(3)]
        for client in busy:
            client.sendall(post({"sleep": 1.0}))
        time.sleep(0.2)
        for _ in range(20):
            with connect(port) as other:
                other.sendall(PING)
                assert status(other.recv(65536)) == 200
        for client in busy:
            assert status(client.recv(65536)) == 200
            client.close()


def test_a_thousand_half_sent_requests_neither_stop_ping_nor_stay() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    flood: list[socket.socket] = []
    try:
        with serving(Toy(), connections=100, head_seconds=2.0) as port:
            before = threading.active_count()
            for _ in range(1000):
                flood.append(connect(port))
                flood[-1].sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nX")
            for _ in range(50):
                assert ask(port)[0] == 200
            assert threading.active_count() <= before + 110
            eventually(lambda: threading.active_count() == before)
            assert all(read_end(client) for client in flood)
    finally:
        for client in flood:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read_end(client: socket.socket) -> bool:
    """Whether the server ended this connection, with 408 or without a word."""
    try:
        data = read_all(client)
    except ConnectionResetError:
        return True
    return data == b"" or status(data) == 408


def test_the_newcomer_gets_the_thread_of_the_connection_that_made_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = threading.Thread.start
    with serving(Toy()) as port, connect(port) as old, connect(port) as client:
        eventually(lambda: threading.active_count() > 3)
        few = threading.active_count()

        def start(thread: threading.Thread) -> None:
            if threading.active_count() >= few:
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        with connect(port) as newcomer:
            newcomer.sendall(PING)
            assert status(newcomer.recv(65536)) == 200
        assert is_closed(old) or is_closed(client)
        monkeypatch.undo()


def test_a_newcomer_for_whom_there_is_no_thread_at_all_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with serving(Toy()) as port:
        monkeypatch.setattr(threading.Thread, "start", start)
        with connect(port) as newcomer:
            newcomer.sendall(PING)
            data = read_all(newcomer)
        monkeypatch.undo()
    assert status(data) == 503
    assert b"no thread can be started" in data


# --- clients that leave


def test_a_client_that_broke_the_connection_is_gone_for_the_application() -> None:
    toy = Toy()
    with serving(toy) as port:
        client = connect(port)
        client.sendall(post({"wait_gone": 20}))
        time.sleep(0.1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
        eventually(lambda: toy.calls == 1, seconds=5)


def test_a_half_closed_client_is_alive_for_a_second_and_answered_even_after() -> None:
    toy = Toy()
    with serving(toy) as port, connect(port) as client:
        client.sendall(post({"wait_gone": 20}))
        client.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        assert status(read_all(client)) == 200
        assert 0.9 < time.monotonic() - began < 10
    assert toy.calls == 1


def test_a_client_that_pipelines_is_alive() -> None:
    class Asks(Toy):
        def __call__(self, request: Request) -> Response:
            return Response(200, str(request.alive()).encode())

        def check(self, method: str, path: str, headers: Mapping[str, str]) -> None: ...

    with serving(Asks()) as port, connect(port) as client:
        client.sendall(PING + PING)
        assert client.recv(65536).count(b"True") >= 1


def test_thousands_of_clients_that_leave_cost_nothing() -> None:
    toy = Toy()
    with serving(toy) as port:
        half = post({"a": 1})
        ask(port)
        threads, descriptors, memory = (
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
            resident(),
        )
        for i in range(2000):
            with connect(port) as client:
                client.sendall((half, half[:-3], half[:30], b"")[i % 4])
                if i % 3 == 0:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: threading.active_count() <= threads)
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
        assert resident() - memory < 30
        assert ask(port)[0] == 200


# --- the end


def test_draining_answers_what_is_in_flight_and_what_comes_at_the_last_moment() -> None:
    with serving(Toy(), parting_seconds=1.0) as port:
        idle, busy = connect(port), connect(port)
        idle.sendall(PING)
        assert b"Connection: close" not in idle.recv(65536)
        busy.sendall(post({"sleep": 1.0}))
        time.sleep(0.2)
        late = threading.Timer(0.3, lambda: idle.sendall(PING))
        late.start()
    for client in (idle, busy):  # the server is gone by now
        data = read_all(client)
        assert status(data) == 200
        assert b"Connection: close" in data
        client.close()
    late.join()


def test_a_server_that_sleeps_looks_at_nothing_until_a_connection_comes() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = Server(listener, Toy(), sleeps=True)
    stopped, stop = os.pipe()
    ticks: list[int] = []
    told = threading.Event()

    def tick() -> bool:
        ticks.append(len(server.connections))
        told.set()
        return True

    thread = threading.Thread(target=lambda: server.serve({stopped: lambda: False}, tick))
    thread.start()
    assert told.wait(10)
    time.sleep(0.6)  # two ticks of one that does not sleep
    assert ticks == [0]
    with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        eventually(lambda: ticks.count(1) >= 2)
    eventually(lambda: ticks[-1] == 0)
    count = len(ticks)
    time.sleep(0.6)
    assert len(ticks) <= count + 1
    os.close(stop)
    thread.join(10)
    server.drain(0)
    os.close(stopped)
