"""Routes and the two kinds of invocation, without a socket and with a service that is a few lines of arithmetic."""

import json
import logging
import time

import pytest

from gluonts_shell.errors import (
    MethodNotAllowed,
    ModelError,
    NotAcceptable,
    NotFound,
    Overloaded,
    RequestError,
    TooLarge,
    UnsupportedMediaType,
)
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint.app import App, execution_parameters
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.invocations import Endpoint, Transform
from gluonts_shell.serving.endpoint.refusal import refuse
from gluonts_shell.serving.http.exchange import Request


class Doubling:
    """An instance is a number, its prediction has twice that as mean."""

    joins = False

    def configure(self, configuration):
        if "bad" in configuration:
            raise RequestError("configuration.bad is bad")
        return Configuration(num_samples=configuration.get("num_samples", 100))

    def prepare(self, instances, configuration):
        if "wrong" in instances:
            raise RequestError("instance 0: it is wrong")
        return Call(configuration, list(instances), [len(str(instance)) for instance in instances])

    def predict(self, calls, wanted=None):
        return [[Prediction(mean=[2.0 * entry]) for entry in call.entries] for call in calls]


def endpoint(service=None, **options):
    service = service or Doubling()
    return App(Endpoint(service, Batcher(service.predict, joins=service.joins)), {"BatchStrategy": "X"}, **options)


def ask(app, method="GET", path="/ping", body=b"", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return app(Request(method, path, headers, body, lambda: True, time.monotonic()))


def post(app, value, **headers):
    return ask(app, "POST", "/invocations", json.dumps(value).encode(), **headers)


def test_what_a_client_without_accept_is_taken_to_want():
    service = Doubling()
    app = App(Endpoint(service, Batcher(service.predict, joins=False), accept="application/jsonlines"), {})
    body = {"instances": [1, 2]}
    assert [json.loads(line) for line in post(app, body).body.splitlines()] == [{"mean": [2]}, {"mean": [4]}]
    assert ("Content-Type", "application/jsonlines") in post(app, body).headers
    assert ("Content-Type", "application/json") in post(app, body, accept="application/json").headers


def test_ping_is_200_with_an_empty_body():
    for method in ("GET", "HEAD"):
        response = ask(endpoint(), method)
        assert (response.status, response.body) == (200, b"")


def test_execution_parameters_are_json():
    response = ask(endpoint(), path="/execution-parameters")
    assert (response.status, json.loads(response.body)) == (200, {"BatchStrategy": "X"})
    assert ("Content-Type", "application/json") in response.headers


@pytest.mark.parametrize(
    ("given", "concurrent"),
    [
        ({"workers": 4, "joins": False, "max_payload_in_mb": 6, "most": None}, 4),
        ({"workers": 4, "joins": False, "max_payload_in_mb": 6, "most": 0}, 4),
        ({"workers": 4, "joins": False, "max_payload_in_mb": 6, "most": 3}, 3),
        ({"workers": 4, "joins": False, "max_payload_in_mb": 6, "most": 30}, 4),
        ({"workers": 2, "joins": True, "max_payload_in_mb": 6, "most": None}, 16),
        ({"workers": 2, "joins": True, "max_payload_in_mb": 20, "most": None}, 5),
        ({"workers": 2, "joins": True, "max_payload_in_mb": 100, "most": None}, 1),
        ({"workers": 64, "joins": True, "max_payload_in_mb": 0, "most": None}, 100),
    ],
)
def test_concurrent_transforms(given, concurrent):
    found = execution_parameters(strategy="MULTI_RECORD", **given)
    assert found == {
        "MaxConcurrentTransforms": concurrent,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": given["max_payload_in_mb"],
    }


@pytest.mark.parametrize("path", ["/", "/ping/", "/invocations/x", "/endpoints/x/invocations", "/PING"])
def test_unknown_paths_are_404(path):
    app = endpoint()
    with pytest.raises(NotFound, match=r"there are /ping, /execution-parameters, /invocations$"):
        app.check("GET", path, {})
    assert ask(app, path=path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/ping", "GET, HEAD"), ("DELETE", "/execution-parameters", "GET, HEAD"), ("GET", "/invocations", "POST")],
)
def test_other_methods_are_405_and_allow_says_which(method, path, allow):
    app = endpoint()
    with pytest.raises(MethodNotAllowed, match=f"^{path} does not take '{method}'; it takes {allow}$"):
        app.check(method, path, {})
    response = ask(app, method, path)
    assert response.status == 405
    assert ("Allow", allow) in response.headers


def test_types_are_checked_before_the_body():
    app = endpoint()
    app.check("POST", "/invocations", {"content-type": "application/json"})
    with pytest.raises(UnsupportedMediaType):
        app.check("POST", "/invocations", {"content-type": "text/csv"})
    with pytest.raises(NotAcceptable):
        app.check("POST", "/invocations", {"accept": "text/csv"})
    app.check("GET", "/ping", {"accept": "text/csv"})


def test_a_request_and_its_answer():
    response = post(endpoint(), {"instances": [1, 2]})
    assert response.status == 200
    assert ("Content-Type", "application/json") in response.headers
    assert json.loads(response.body) == {"predictions": [{"mean": [2.0]}, {"mean": [4.0]}]}
    assert json.loads(post(endpoint(), {"instances": []}).body) == {"predictions": []}


def test_json_lines_are_answered_in_kind():
    response = ask(endpoint(), "POST", "/invocations", b"1\n2\n", content_type="application/jsonlines")
    assert ("Content-Type", "application/jsonlines") in response.headers
    assert response.body == b'{"mean":[2.0]}\n{"mean":[4.0]}'
    response = ask(
        endpoint(), "POST", "/invocations", b"1\n", content_type="application/jsonlines", accept="application/json"
    )
    assert response.body == b'{"predictions":[{"mean":[2.0]}]}'


def test_errors_are_json_with_a_sentence():
    app = endpoint()
    for body, sentence in (
        ({"instances": ["wrong"]}, "instance 0: it is wrong"),
        ({"instances": [], "configuration": {"bad": 1}}, "configuration.bad is bad"),
        ([], 'the request is a list, expected an object {"instances": [...]}'),
    ):
        response = post(app, body)
        assert response.status == 400
        assert ("Content-Type", "application/json") in response.headers
        assert json.loads(response.body) == {"error": sentence}
    assert ask(app, "POST", "/invocations", b"").status == 400


def test_a_model_that_fails_is_500_with_an_id_and_the_log_has_the_traceback(caplog):
    class Broken(Doubling):
        def predict(self, calls, wanted=None):
            raise KeyError("a secret of the model")

    response = post(endpoint(Broken()), {"instances": [1]})
    sentence = json.loads(response.body)["error"]
    assert response.status == 500
    assert sentence.startswith("the model failed with KeyError; the log tells why under error id ")
    identity = sentence.split()[-1]
    (record,) = (record for record in caplog.records if identity in record.getMessage())
    assert record.exc_info is not None
    assert "secret" not in sentence


def test_a_model_that_exits_does_not_end_the_server():
    class Exits(Doubling):
        def predict(self, calls, wanted=None):
            raise SystemExit(1)

    response = post(endpoint(Exits()), {"instances": [1]})
    assert response.status == 500
    assert json.loads(response.body)["error"].startswith("the model failed with SystemExit; the log tells why under ")


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (TooLarge("large"), 413, None),
        (ModelError("the model gave 1 forecasts for 2 instances"), 500, None),
        (Overloaded("busy"), 503, ("Retry-After", "1")),
        (MethodNotAllowed("no", "GET"), 405, ("Allow", "GET")),
    ],
)
def test_our_own_errors_carry_their_status_and_sentence(error, status, header):
    response = refuse(error)
    assert response.status == status
    assert json.loads(response.body) == {"error": str(error)}
    assert header is None or header in response.headers


def test_custom_attributes_are_echoed_where_they_are_legal():
    name = "X-Amzn-SageMaker-Custom-Attributes"
    for value, echoed in (("trace=1; a b", True), ("x" * 1025, False), ("é", False), ("", False)):
        response = post(endpoint(), {"instances": [1]}, **{name.lower(): value})
        assert ((name, value) in response.headers) is echoed
    response = ask(endpoint(), "POST", "/invocations", b"", **{name.lower(): "on errors too"})
    assert (response.status, (name, "on errors too") in response.headers) == (400, True)


def test_local_endpoints_are_an_option():
    app = endpoint(local_endpoints=True)
    body = json.dumps({"instances": [1]}).encode()
    app.check("POST", "/endpoints/my-endpoint/invocations", {})
    assert ask(app, "POST", "/endpoints/my-endpoint/invocations", body).status == 200
    assert ask(app, "POST", "/endpoints/my/endpoint/invocations", body).status == 404
    assert ask(app, "GET", "/endpoints/my-endpoint/invocations").status == 405


def test_one_line_an_invocation_and_no_data_in_it(caplog):
    caplog.set_level(logging.INFO)
    app = endpoint()
    ask(app)
    assert caplog.records == []
    post(app, {"instances": [12345, 1]})
    post(app, {"instances": ["wrong"]})
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("invocation: status 200, 2 instances of 1 to 5 values, ")
    assert lines[0].endswith(" ms, 1 joined")
    assert lines[1].startswith("invocation: status 400, 1 instances, ")
    assert "12345" not in "".join(lines)
    assert "wrong" not in "".join(lines)


def test_a_batch_job_is_answered_in_lines_whatever_its_headers(caplog):
    caplog.set_level(logging.INFO)
    app = App(Transform(lambda body, wanted: body.upper() if wanted() else b""), {})
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/csv"}
    app.check("POST", "/invocations", headers)
    response = ask(app, "POST", "/invocations", b"a\nb\n", **headers)
    assert (response.status, response.body) == (200, b"A\nB\n")
    assert ("Content-Type", "application/jsonlines") in response.headers
    assert not caplog.records, "a job has too many requests for a line each"


def test_a_failed_request_of_a_batch_job_is_logged_without_its_data(caplog):
    def fail(body, wanted):
        raise RequestError("line 1 (item_id 'secret'): target is missing")

    response = ask(App(Transform(fail), {}), "POST", "/invocations", b"{}")
    assert response.status == 400 and b"line 1 (item_id" in response.body
    assert [record.getMessage() for record in caplog.records] == ["a request of 2 bytes failed with status 400"]
