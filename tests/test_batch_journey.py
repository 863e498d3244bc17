"""Batch transform jobs against a real server process."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
FALLBACK = "gluonts.model.trivial.mean.MeanPredictor"


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGEMAKER", "GLUONTS"))
    }
    return {
        **kept,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "SAGEMAKER_BATCH": "true",
        **variables,
    }


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data path with the toy model of batch_toy.py."""
    folder = tmp_path_factory.mktemp("batch") / "ml"
    command = [sys.executable, str(ROOT / "tests" / "batch_toy.py"), str(folder / "model")]
    subprocess.run(command, env=environment(), check=True)
    return folder


class Server:
    def __init__(self, data_path: Path, **variables: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        variables = {
            "SAGEMAKER_DATA_PATH": str(data_path),
            "SAGEMAKER_SERVER_ADDRESS": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "MODEL_SERVER_WORKERS": "1",
            **variables,
        }
        command = [sys.executable, "-m", "gluonts_shell", "serve"]
        self.process = subprocess.Popen(
            command,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ready(self) -> Server:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.request("GET", "/ping")[0] == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError(f"the server does not start: {self.stop()}")

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, body: bytes, **headers: str) -> bytes:
        status, found, answer = self.request("POST", "/invocations", body, **headers)
        assert status == 200, answer
        assert found["Content-Type"] == "application/jsonlines"
        return answer

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=60)[0]


@contextlib.contextmanager
def serving(data_path: Path, **variables: str) -> Iterator[Server]:
    server = Server(data_path, **variables)
    try:
        yield server.ready()
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    """One worker with the default configuration: errors fail the request."""
    with serving(model) as server:
        yield server


@pytest.fixture(scope="module")
def lenient(model: Path) -> Iterator[Server]:
    variables = {
        "SAGEMAKER_BATCH": "True",  # as the SDK's local mode writes it
        "GLUONTS_BATCH_SUPPRESS_ERRORS": "true",
        "GLUONTS_FORWARD_FIELDS": '["item_id", "tag"]',
        "DEEPAR_INFERENCE_CONFIG": '{"output_types": ["mean"], "DEBUG": true}',
    }
    with serving(model, **variables) as server:
        yield server


def line(value: float, item_id: Any = None, **fields: Any) -> bytes:
    given_id = {} if item_id is None else {"item_id": item_id}
    return json.dumps(
        {"start": "2024-01-01", "target": [0.5, value], **given_id, **fields}
    ).encode()


def medians(answer: bytes) -> list[float]:
    return [json.loads(text)["quantiles"]["0.5"][0] for text in answer.split(b"\n")]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/jsonlines",
        "application/x-ndjson",
        "text/csv",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "nonsense",
    ],
)
def test_lines_are_lines_whatever_the_content_type_says(
    server: Server, content_type: str | None
) -> None:
    headers = {"Content_Type": content_type} if content_type else {}
    assert medians(
        server.post(line(1) + b"\n" + line(2) + b"\n", Accept="application/csv", **headers)
    ) == [1.0, 2.0]


@pytest.mark.parametrize(
    "body",
    [
        line(1) + b"\n" + line(2),
        line(1) + b"\r\n" + line(2) + b"\r\n",
        b"\xef\xbb\xbf" + line(1) + b"\n\n  \r\n" + line(2) + b"\n\n",
        b'{"instances": [' + line(1) + b"," + line(2) + b"]}",
        b'{\n "instances": [\n' + line(1) + b",\n" + line(2) + b"\n]\n}\n",
    ],
)
def test_one_line_out_for_each_line_in_and_no_line_end_after_the_last(
    server: Server, body: bytes
) -> None:
    answer = server.post(body)
    assert medians(answer) == [1.0, 2.0]
    assert not answer.endswith(b"\n")


def test_the_default_output_is_the_mean_and_the_deciles(server: Server) -> None:
    found = json.loads(server.post(line(7)))
    assert set(found) == {"mean", "quantiles"} and len(found["mean"]) == 3
    assert list(found["quantiles"]) == [f"0.{n}" for n in range(1, 10)]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\r\n"])
def test_nothing_in_nothing_out(server: Server, body: bytes) -> None:
    assert server.post(body) == b""


@pytest.mark.parametrize(
    ("bad", "status", "sentence"),
    [
        (b"garbage", 400, "line 3 is not JSON: Expecting value at column 1"),
        (line(1, "SKU-7", dynamic_feat=3), 400, "line 3 (item_id 'SKU-7'): dynamic_feat"),
        (
            b'{"start": "2024-01-01", "item_id": "SKU-8"}',
            400,
            "line 3 (item_id 'SKU-8'): target is missing",
        ),
        (line(1, "raise"), 500, "line 3 (item_id 'raise'): the model failed"),
    ],
)
def test_a_bad_line_fails_the_request_with_line_item_and_field(
    server: Server, bad: bytes, status: int, sentence: str
) -> None:
    found, headers, answer = server.request(
        "POST", "/invocations", line(1) + b"\n\n" + bad + b"\n" + line(2)
    )
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert json.loads(answer)["error"].startswith(sentence)
    assert b"Traceback" not in answer and b"secret" not in answer
    assert medians(server.post(line(3))) == [3.0]


def test_execution_parameters_have_the_names_that_the_platform_reads(server: Server) -> None:
    status, _, answer = server.request("GET", "/execution-parameters")
    assert (status, json.loads(answer)) == (
        200,
        {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6},
    )


def test_every_bad_line_has_a_line_of_its_own(lenient: Server) -> None:
    bad = [b'{"item_id": 1.50, "tag": "\\u00e9"}', b"\xff", line(1, "raise"), b"[1]"]
    answer = lenient.post(b"\n".join([line(1, "a"), *bad, line(2, tag=[1.0])])).split(b"\n")
    assert len(answer) == 6
    assert json.loads(answer[0])["mean"] == [1.0] * 3 and answer[0].endswith(
        b',"item_id":"a","tag":null}'
    )
    assert (
        answer[1].endswith(b',"item_id":1.50,"tag":"\\u00e9"}')
        and b"target is missing" in answer[1]
    )
    assert json.loads(answer[2]) == {
        "error": "the line is not UTF-8: byte 0xff at offset 0",
        "item_id": None,
        "tag": None,
    }
    assert json.loads(answer[3])["error"].startswith("the model failed on this series")
    assert json.loads(answer[4])["error"]
    assert json.loads(answer[5])["mean"] == [2.0] * 3 and answer[5].endswith(
        b',"item_id":null,"tag":[1.0]}'
    )
    assert b"Traceback" not in b"".join(answer) and b"secret" not in b"".join(answer)


def test_debug_adds_the_seconds_of_a_line(lenient: Server) -> None:
    assert 0.1 <= json.loads(lenient.post(line(1, "slow")))["debug"]["timing"] < 30


LINES = st.one_of(
    st.sampled_from(
        [
            b"",
            b" ",
            b"\r",
            b"{}",
            b"null",
            b"[]",
            b"3",
            b"{",
            b"\xff\xfe",
            b'{"item_id": NaN, "tag": 1.0}',
        ]
    ),
    st.just(line(1, "raise")),
    st.integers(0, 9).map(lambda n: line(n, f"item {n}", tag=n)),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(LINES, max_size=10), end=st.sampled_from([b"\n", b"\r\n"]))
def test_as_many_lines_out_as_lines_in_whatever_they_are(
    lenient: Server, lines: list[bytes], end: bytes
) -> None:
    answer = lenient.post(end.join(lines) + end)
    real = [text for text in lines if text.strip()]
    found = [json.loads(text) for text in answer.split(b"\n")] if answer else []
    assert len(found) == len(real)
    for text, result in zip(real, found, strict=True):
        assert {"item_id", "tag"} <= set(result)
        if b"item " in text:
            assert result["mean"][0] == result["tag"] == json.loads(text)["tag"]
        else:
            assert result["error"]


def test_a_time_out_leaves_the_rest_to_the_fallback_and_says_so(model: Path) -> None:
    with serving(model, GLUONTS_BATCH_TIMEOUT="1.5", GLUONTS_BATCH_SUPPRESS_ERRORS="1") as server:
        body = b"\n".join(line(n, i) for n, i in enumerate(["a", "b", "hang", "c"]))
        answer = [json.loads(text) for text in server.post(body).split(b"\n")]
        assert [found.get("fallback") for found in answer] == [None, None, FALLBACK, FALLBACK]
        assert [found["mean"][0] for found in answer[:2]] == [0.0, 1.0]
        started = time.monotonic()
        answer = [
            json.loads(text) for text in server.post(body.replace(b"hang", b"die")).split(b"\n")
        ]
        assert [found.get("error") for found in answer] == [
            None,
            None,
            "the predictor's process ended with exit status 3 while it was at this series",
            None,
        ]
        answer = [
            json.loads(text) for text in server.post(body.replace(b"hang", b"raise")).split(b"\n")
        ]
        assert ["error" in found for found in answer] == [False, False, True, False]
        assert "fallback" not in answer[2]
        assert time.monotonic() - started < 1.5 * 2, "errors do not wait for the time to be up"
        processes = descendants(server.process.pid)
        assert len(processes) == 3, "worker, keeper and the predictor that is kept"
        log = server.stop()
        assert server.process.returncode == 0, log
        give_up = time.monotonic() + 30
        while (
            any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < give_up
        ):
            time.sleep(0.05)
        assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_an_error_of_the_killable_predictor_fails_the_request_by_default(model: Path) -> None:
    with serving(
        model, GLUONTS_BATCH_TIMEOUT="30", GLUONTS_BATCH_FALLBACK_PREDICTOR="NPTSPredictor"
    ) as server:
        for item, how in (
            ("die", "the predictor's process ended"),
            ("raise", "the model failed on this series"),
        ):
            status, _, answer = server.request(
                "POST", "/invocations", line(1) + b"\n" + line(2, item)
            )
            assert status == 500
            assert json.loads(answer)["error"].startswith(f"line 2 (item_id '{item}'): {how}")
        assert medians(server.post(line(3))) == [3.0]


def descendants(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def test_a_forecaster_named_in_the_configuration_needs_no_model(tmp_path: Path) -> None:
    config = {
        "forecaster_name": "gluonts.model.trivial.constant.ConstantValuePredictor",
        "freq": "D",
        "prediction_length": 2,
        "value": 4.5,
        "output_types": ["mean"],
    }
    variables = {
        "SAGEMAKER_BATCH": "1",
        "INFERENCE_CONFIG": json.dumps(config),
        "DEEPAR_INFERENCE_CONFIG": "is not read",
        "MODEL_SERVER_WORKERS": "2",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "60",
    }
    with serving(tmp_path, **variables) as server:
        assert server.post(line(1)) == b'{"mean":[4.5,4.5]}'
        assert json.loads(server.request("GET", "/execution-parameters")[2]) == {
            "MaxConcurrentTransforms": 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": 60,
        }


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"INFERENCE_CONFIG": "{"}, "INFERENCE_CONFIG (or DEEPAR_INFERENCE_CONFIG) is not JSON"),
        ({"DEEPAR_INFERENCE_CONFIG": '{"num_samples": 0}'}, "configuration.num_samples is 0"),
        ({"GLUONTS_FORWARD_FIELDS": "item_id,mean"}, "GLUONTS_FORWARD_FIELDS names 'mean'"),
        (
            {"GLUONTS_BATCH_FALLBACK_PREDICTOR": "my.Predictor"},
            "GLUONTS_BATCH_FALLBACK_PREDICTOR: there is no forecaster",
        ),
    ],
)
def test_a_broken_job_ends_at_start_with_a_sentence(
    model: Path, variables: dict[str, str], sentence: str
) -> None:
    server = Server(model, **variables)
    output, _ = server.process.communicate(timeout=60)
    assert server.process.returncode == 1
    assert sentence in output and "Traceback" not in output


def test_sigterm_lets_a_line_that_is_being_predicted_finish(model: Path) -> None:
    with serving(model, GLUONTS_BATCH_TIMEOUT="30") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/invocations", b"\n".join(line(n, "slow") for n in range(10)))
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert medians(connection.getresponse().read()) == [float(n) for n in range(10)]
        connection.close()
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("timeout", ["0", "30"])
def test_the_transform_command_gives_what_is_assembled_from_the_answers(
    model: Path, tmp_path: Path, timeout: str
) -> None:
    lines = [line(n, f"item {n}", tag=[1.0, {"a": "\u00e9"}]) for n in range(40)]
    lines[7:7] = [
        b"garbage",
        b"",
        b'{"item_id": 1e3, "tag": NaN}',
        b'{"instances": [' + line(1) + b"," + line(2) + b"]}",
    ]
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\r\n".join(lines) + b"\r\n")
    variables = {
        "GLUONTS_BATCH_SUPPRESS_ERRORS": "true",
        "GLUONTS_FORWARD_FIELDS": "tag,item_id",
        "GLUONTS_BATCH_TIMEOUT": timeout,
    }
    command = [
        sys.executable,
        "-m",
        "gluonts_shell",
        "transform",
        "--input",
        source,
        "--output",
        tmp_path / "out",
    ]
    subprocess.run(
        [*command, "--data-path", model, "--workers", "2"], env=environment(**variables), check=True
    )
    found = (tmp_path / "out" / "in.jsonl.out").read_bytes()
    assert found.count(b"\n") == 44
    with serving(model, **variables) as server:
        one_by_one = [server.post(text + b"\r\n") for text in lines]
        at_once = server.post(source.read_bytes())
    # AssembleWith: Line ends each answer; an empty one is of a blank line
    assert b"".join(text + b"\n" for text in one_by_one if text) == found == at_once + b"\n"
