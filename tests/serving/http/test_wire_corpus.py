"""The folder `wire`: the bytes that a client sends beside the answer that they deserve.

NAME.http is sent as it is. NAME.answer has one line with the statuses of the answers in their order, `open` or
`closed` for what becomes of the connection, `eof` if the client ends its side after sending, `nobody` if the last
answer comes without its body; and a line that says why.
"""

from __future__ import annotations

import logging
import random
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy import Toy, serving

from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint import journal
from gluonts_shell.serving.endpoint.app import App
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint
from gluonts_shell.serving.http.connection import Connection, Host
from gluonts_shell.serving.http.exchange import Request, Response
from gluonts_shell.serving.http.limits import Limits

FOLDER = Path(__file__).with_name("wire")


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    answer: str

    @property
    def words(self) -> list[str]:
        return self.answer.split("\n")[0].split()

    @property
    def statuses(self) -> list[int]:
        return [int(word) for word in self.words if word.isdigit()]

    @property
    def eof(self) -> bool:
        return "eof" in self.words


CASES = [
    Case(path.stem, path.read_bytes(), path.with_suffix(".answer").read_text())
    for path in sorted(FOLDER.glob("*.http"))
]


class Waiting(BaseException):
    """The connection wants more bytes and the script has none: it is open."""


class Script:
    """A client without a network: hands out its pieces one recv at a time and keeps what is sent."""

    def __init__(self, pieces: list[bytes], eof: bool) -> None:
        self.pieces, self.eof, self.sent, self.shut = pieces, eof, b"", False

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            if self.eof or self.shut:
                return b""
            raise Waiting
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def sendall(self, data: bytes) -> None:
        assert not self.shut, "sent after the end"
        self.sent += data

    def shutdown(self, how: int) -> None:
        self.shut = True

    def setblocking(self, flag: bool) -> None: ...

    def setsockopt(self, *option: int) -> None: ...


@pytest.fixture(scope="module")
def host() -> Host:
    return Host(Toy(), Limits())


def converse(host: Host, pieces: list[bytes], eof: bool) -> tuple[bytes, str]:
    """What was answered, and whether the connection is then open or closed."""
    script = Script(list(pieces), eof)
    try:
        Connection(script, host).run()  # type: ignore[arg-type]
    except Waiting:
        return script.sent, "open"
    return script.sent, "closed"


def answers(data: bytes, nobody: bool = False) -> list[int]:
    """The statuses in a stream of answers. Fails on anything that is not exactly heads and bodies."""
    found, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n\r\n", at) + 4
        head = data[at:end].decode("latin-1")
        match = re.match(r"HTTP/1\.1 (\d\d\d) [A-Z]", head)
        assert match, head
        found.append(int(match[1]))
        at = end
        if found[-1] >= 200:
            length = re.search(r"(?m)^Content-Length: (\d+)\r$", head)
            assert length and re.search(
                r"(?m)^Date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r$", head
            ), head
            assert "Server:" not in head
            at += 0 if nobody and end == len(data) else int(length[1])
    assert at == len(data)
    return found


def cuts(case: Case) -> Iterator[list[bytes]]:
    """Whole, in two at every byte (at some where it is long), and byte by byte."""
    raw = case.raw
    yield [raw]
    step = 1 if len(raw) <= 400 else len(raw) // 40
    yield from ([raw[:at], raw[at:]] for at in range(1, len(raw), step))
    if len(raw) < 2000:
        yield [raw[at : at + 1] for at in range(len(raw))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_the_same_wherever_the_bytes_are_cut(case: Case, host: Host) -> None:
    for pieces in cuts(case):
        sent, end = converse(host, pieces, case.eof)
        where = (case.answer, [len(piece) for piece in pieces][:2], sent)
        assert answers(sent, "nobody" in case.words) == case.statuses, where
        assert end == ("open" if "open" in case.words else "closed"), where


def test_the_corpus_gets_the_same_answers_over_a_socket() -> None:
    with serving(Toy()) as port, ThreadPoolExecutor(8) as pool:
        jobs = [(case, cut) for case in CASES for cut in (0, len(case.raw) // 2)]
        faults = list(pool.map(lambda job: over_socket(port, *job), jobs))
    assert [fault for fault in faults if fault] == []


def over_socket(port: int, case: Case, cut: int) -> str:
    """Empty if right. After an open end, one more request must get one more answer and nothing else."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            for piece in (case.raw[:cut], case.raw[cut:]):
                client.sendall(piece)
            if "open" in case.words:
                client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            if case.eof:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # answered and closed before all was sent
        data = b""
        while part := client.recv(65536):
            data += part
    expected = [*case.statuses, 200] if "open" in case.words else case.statuses
    found = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", data)]
    return "" if found == expected else f"{case.name} cut at {cut}: {found}, expected {expected}"


class Echo:
    """A service that forecasts nothing, behind the routes of an endpoint."""

    def configure(self, configuration: object) -> Configuration:
        return Configuration()

    def prepare(self, instances: object, configuration: Configuration) -> Call:
        return Call(configuration)

    def predict(self, calls: list[Call], *_: object) -> list[list[Prediction]]:
        return [[] for _ in calls]


class Watched(App):
    """The real application; it counts the answers that need no line: those to health checks and the like."""

    silent = 0

    def __call__(self, request: Request) -> Response:
        response = super().__call__(request)
        self.silent += request.method != "POST" and response.status == 200
        return response


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_complete_head_has_exactly_one_line_in_the_log(
    case: Case, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every invocation and every refusal, answered or not; what can never become a head is refused, and has one too."""
    caplog.set_level(logging.INFO, journal.__name__)
    monkeypatch.setattr(journal, "MOST", 1000)
    half = len(case.raw) // 2
    for pieces in ([case.raw], [case.raw[:half], case.raw[half:]]):
        caplog.clear()
        app = Watched(Endpoint(Echo(), Batcher(Echo().predict, joins=False)), {})
        sent, _ = converse(Host(app, Limits()), pieces, case.eof)
        final = [status for status in answers(sent, "nobody" in case.words) if status >= 200]
        about_the_server = case.raw.startswith(b"OPTIONS * ")
        # a head whose body never came: nobody waits for an answer
        cut_short = b"\r\n\r\n" in case.raw and not final
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == len(final) - app.silent - about_the_server + cut_short, lines
        told = [int(line.split()[2].rstrip(",")) for line in lines]
        assert [status for status in told if status >= 400] == [
            status for status in [*final, *([400] if cut_short else [])] if status >= 400
        ]


def test_mutated_requests_never_break_the_server(host: Host) -> None:
    chance = random.Random(20240607)
    for _ in range(6000):
        case = chance.choice(CASES)
        raw = mutated(bytearray(case.raw[:3000]), chance)
        at = chance.randrange(len(raw) + 1)
        sent, _ = converse(
            host, [piece for piece in (raw[:at], raw[at:]) if piece], eof=chance.random() < 0.5
        )
        assert b"Traceback" not in sent
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", sent)]
        assert all(status < 500 or status in (501, 505) for status in statuses), (raw, sent)


def test_mutated_requests_over_a_socket_leave_ping_alone() -> None:
    chance = random.Random(7)
    with serving(Toy()) as port:
        for _ in range(300):
            raw = mutated(bytearray(chance.choice(CASES).raw[:3000]), chance)
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(raw)
        assert (
            over_socket(port, Case("ping", b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", "200 open"), 0)
            == ""
        )
        assert threading.active_count() < 100


def mutated(raw: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(raw) or 1)
        kind = chance.randrange(5)
        if kind == 0:
            raw[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del raw[at : at + chance.randint(1, 8)]
        elif kind == 2:
            raw[at:at] = chance.choice(
                [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"Content-Length: 3\r\n", b"0\r\n\r\n"]
            )
        elif kind == 3:
            raw[at:at] = raw[at : at + chance.randint(1, 40)]
        else:
            raw[at : at + 2] = raw[at : at + 2][::-1]
    return bytes(raw)
