"""Routes and the two kinds of invocation, without a socket and with a service that is a few lines of arithmetic."""

import gzip
import json
import logging
import re
import time

import pytest

from gluonts_shell.errors import (
    InstanceError,
    MethodNotAllowed,
    ModelError,
    NotAcceptable,
    NotFound,
    Overloaded,
    RequestError,
    RequestTimeout,
    TooLarge,
    UnsupportedMediaType,
    private,
)
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint import journal
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
            raise InstanceError("instance 0", f"it is {private(repr('wrong'))}", repr("SKU-7"))
        return Call(configuration, list(instances), [len(str(instance)) for instance in instances])

    def predict(self, calls, wanted=None):
        return [[Prediction(mean=[2.0 * entry]) for entry in call.entries] for call in calls]


def endpoint(service=None, **options):
    service = service or Doubling()
    return App(
        Endpoint(service, Batcher(service.predict, joins=service.joins)),
        {"BatchStrategy": "X"},
        **options,
    )


def ask(app, method="GET", path="/ping", body=b"", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return app(Request(method, path, headers, body, lambda: True, time.monotonic()))


def post(app, value, **headers):
    return ask(app, "POST", "/invocations", json.dumps(value).encode(), **headers)


def test_what_a_client_without_accept_is_taken_to_want():
    service = Doubling()
    app = App(
        Endpoint(service, Batcher(service.predict, joins=False), accept="application/jsonlines"), {}
    )
    body = {"instances": [1, 2]}
    assert [json.loads(line) for line in post(app, body).body.splitlines()] == [
        {"mean": [2]},
        {"mean": [4]},
    ]
    assert ("Content-Type", "application/jsonlines") in post(app, body).headers
    assert ("Content-Type", "application/json") in post(
        app, body, accept="application/json"
    ).headers


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


@pytest.mark.parametrize(
    "path", ["/", "/ping/", "/invocations/x", "/endpoints/x/invocations", "/PING"]
)
def test_unknown_paths_are_404(path):
    app = endpoint()
    with pytest.raises(NotFound, match=r"there are /ping, /execution-parameters, /invocations$"):
        app.check("GET", path, {})
    assert ask(app, path=path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/ping", "GET, HEAD"),
        ("DELETE", "/execution-parameters", "GET, HEAD"),
        ("GET", "/invocations", "POST"),
    ],
)
def test_other_methods_are_405_and_allow_says_which(method, path, allow):
    app = endpoint()
    with pytest.raises(
        MethodNotAllowed, match=f"^{path} does not take '{method}'; it takes {allow}$"
    ):
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
    response = ask(
        endpoint(), "POST", "/invocations", b"1\n2\n", content_type="application/jsonlines"
    )
    assert ("Content-Type", "application/jsonlines") in response.headers
    assert response.body == b'{"mean":[2.0]}\n{"mean":[4.0]}'
    response = ask(
        endpoint(),
        "POST",
        "/invocations",
        b"1\n",
        content_type="application/jsonlines",
        accept="application/json",
    )
    assert response.body == b'{"predictions":[{"mean":[2.0]}]}'


def test_errors_are_json_with_a_sentence():
    app = endpoint()
    for body, sentence in (
        ({"instances": ["wrong"]}, "instance 0 (item_id 'SKU-7'): it is 'wrong'"),
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
    traceback, line = (record for record in caplog.records if identity in record.getMessage())
    assert traceback.exc_info is not None
    assert line.getMessage().startswith("invocation: status 500, 1 instances of 1 to 1 values, ")
    assert "secret" not in sentence


def test_a_model_that_exits_does_not_end_the_server():
    class Exits(Doubling):
        def predict(self, calls, wanted=None):
            raise SystemExit(1)

    response = post(endpoint(Exits()), {"instances": [1]})
    assert response.status == 500
    assert json.loads(response.body)["error"].startswith(
        "the model failed with SystemExit; the log tells why under "
    )


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
    response, sentence = refuse(error)
    assert (response.status, sentence) == (status, str(error))
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
    assert re.fullmatch(
        r"invocation: status 400, 1 instances, \d+\.\d ms: instance 0...: it is ...", lines[1]
    )
    assert "12345" not in "".join(lines)
    assert "wrong" not in "".join(lines) and "SKU" not in "".join(lines)


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
        raise InstanceError("line 1", "target is missing", repr("secret"))

    response = ask(App(Transform(fail), {}), "POST", "/invocations", b"{}")
    assert (
        response.status == 400 and b"line 1 (item_id 'secret'): target is missing" in response.body
    )
    (line,) = (record.getMessage() for record in caplog.records)
    assert re.fullmatch(
        r"invocation: status 400, 0 instances, \d+\.\d ms: line 1\.\.\.: target is missing", line
    )


def test_a_line_has_the_requests_id(caplog):
    caplog.set_level(logging.INFO)
    for identity, expected in (
        ("inf-7", ", 1 joined, id inf-7"),
        ("x ~" * 21 + "!", ", 1 joined, id " + "x ~" * 21 + "!"),
        ("x" * 65, ", 1 joined"),
        ("caf\u00e9", ", 1 joined"),
        ("", ", 1 joined"),
        ("\t", ", 1 joined"),
    ):
        caplog.clear()
        post(endpoint(), {"instances": [1]}, **{"x-amzn-sagemaker-inference-id": identity})
        (line,) = (record.getMessage() for record in caplog.records)
        assert line.endswith(expected)


@pytest.mark.parametrize(
    "app", [endpoint(), App(Transform(lambda body, wanted: b""), {})], ids=["endpoint", "batch"]
)
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("there is no '/x'"), 404),
        (MethodNotAllowed("no", "GET"), 405),
        (NotAcceptable("no"), 406),
        (RequestTimeout("late"), 408),
        (TooLarge("large"), 413),
        (UnsupportedMediaType("Content-Type 'text/csv' is not supported"), 415),
    ],
)
def test_what_is_refused_before_it_is_read_has_its_line_and_its_attributes(
    caplog, app, error, status
):
    headers = {
        "x-amzn-sagemaker-inference-id": "inf-7",
        "x-amzn-sagemaker-custom-attributes": "trace=1",
    }
    response = app.refuse(error, "/invocations", headers)
    assert response.status == status
    assert ("X-Amzn-SageMaker-Custom-Attributes", "trace=1") in response.headers
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"invocation: status {status}, 0 instances, 0.0 ms, id inf-7: {error}"


def test_refusals_have_a_few_lines_a_second_and_the_number_of_the_rest(caplog, monkeypatch):
    monkeypatch.setattr(journal, "SECOND", 0.2)
    app = endpoint()
    for _ in range(journal.MOST + 7):
        app.refuse(NotFound("there is no '/x'"))
    end = time.monotonic() + 60
    while "7 more requests were refused, and have no line here" not in caplog.text:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert len(caplog.records) <= journal.MOST + 1
    app.refuse(NotFound("there is no '/y'"))
    assert "'/y'" in caplog.text


def test_sentences_about_limits_end_with_what_raises_them():
    app = endpoint(advice={TooLarge: "; MAX_CONTENT_LENGTH sets this limit"})
    response = app.refuse(TooLarge("the body has 7 bytes, expected at most 6"))
    sentence = "the body has 7 bytes, expected at most 6; MAX_CONTENT_LENGTH sets this limit"
    assert json.loads(response.body) == {"error": sentence}


def test_a_packed_body_is_unpacked_for_endpoint_and_batch():
    body = json.dumps({"instances": [1]}).encode()
    for coding in ("gzip", "x-gzip", "identity", "GZIP", "identity, gzip"):
        sent = body if coding == "identity" else gzip.compress(body)
        endpoint().check("POST", "/invocations", {"content-encoding": coding})
        response = ask(endpoint(), "POST", "/invocations", sent, content_encoding=coding)
        assert json.loads(response.body) == {"predictions": [{"mean": [2.0]}]}
    app = App(Transform(lambda body, wanted: body.upper()), {})
    assert (
        ask(app, "POST", "/invocations", gzip.compress(b"a"), content_encoding="gzip").body == b"A"
    )


def test_a_body_that_is_packed_twice_says_so():
    body = gzip.compress(gzip.compress(b"{}"))
    response = ask(endpoint(), "POST", "/invocations", body, content_encoding="gzip")
    assert response.status == 400
    assert json.loads(response.body) == {
        "error": "the body is packed with gzip twice, expected once"
    }


def test_other_codings_are_415_and_accept_encoding_says_what_is_taken():
    for app in (endpoint(), App(Transform(lambda body, wanted: b""), {})):
        for coding in ("br", "deflate", "gzip, gzip", "gzip, br"):
            with pytest.raises(
                UnsupportedMediaType, match=rf"^Content-Encoding '{coding}' is not supported"
            ) as caught:
                app.check("POST", "/invocations", {"content-encoding": coding})
            response = app.refuse(caught.value)
            assert response.status == 415
            assert ("Accept-Encoding", "gzip, identity") in response.headers


def test_the_limit_holds_for_what_a_body_unpacks_to():
    app = endpoint(limit=1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    response = ask(app, "POST", "/invocations", bomb, content_encoding="gzip")
    assert response.status == 413
    assert json.loads(response.body) == {"error": "the body unpacks to more than 1000000 bytes"}
    whole = b'{"instances":[]}'.ljust(1_000_000)
    assert (
        ask(app, "POST", "/invocations", gzip.compress(whole), content_encoding="gzip").status
        == 200
    )
    for broken in (b"{}", gzip.compress(whole)[:-9]):
        response = ask(app, "POST", "/invocations", broken, content_encoding="gzip")
        assert (
            response.status == 400
            and b"the body is not the gzip that Content-Encoding says" in response.body
        )


def test_fields_of_the_instances_can_stand_in_the_answers():
    class Anything(Doubling):
        def prepare(self, instances, configuration):
            return Call(
                configuration, [instance["n"] for instance in instances], [1] * len(instances)
            )

    service = Anything()
    app = App(
        Endpoint(service, Batcher(service.predict, joins=False), forward=("item_id", "start")), {}
    )
    body = b'{"instances": [{"n": 1, "item_id": "a", "start": "2024-01-01"}, {"n": 2, "item_id": 1.50}]}'
    first = b'{"mean":[2.0],"item_id":"a","start":"2024-01-01"}'
    second = b'{"mean":[4.0],"item_id":1.50,"start":null}'
    response = ask(app, "POST", "/invocations", body)
    assert response.body == b'{"predictions":[' + first + b"," + second + b"]}"
    lines = b'{"n": 1, "item_id": "a", "start": "2024-01-01"}\n{"instances": []}\n{"n": 2, "item_id": 1.50}'
    response = ask(app, "POST", "/invocations", lines, content_type="application/jsonlines")
    assert response.body == first + b'\n{"predictions":[]}\n' + second
    response = ask(
        app,
        "POST",
        "/invocations",
        lines,
        content_type="application/jsonlines",
        accept="application/json",
    )
    assert response.body == b'{"predictions":[' + first + b"," + second + b"]}"


def test_a_bad_instance_is_named_by_its_line():
    class Second(Doubling):
        def prepare(self, instances, configuration):
            raise InstanceError("instance 1", "target is missing", None, 1)

    lines = b'{"instances": []}\n1\n{"instances": [2]}'
    response = ask(
        endpoint(Second()), "POST", "/invocations", lines, content_type="application/jsonlines"
    )
    assert json.loads(response.body) == {"error": "line 3, instance 0: target is missing"}


def test_an_error_reaches_a_local_client_as_sagemaker_sends_it():
    app = endpoint(local_endpoints=True)
    path = "/endpoints/here/invocations"
    attributes = {"x-amzn-sagemaker-custom-attributes": "trace=1"}
    response = ask(app, "POST", path, b'{"instances": ["wrong"]}', **attributes)
    assert response.status == 424
    assert ("x-amzn-errortype", "ModelError") in response.headers
    assert ("X-Amzn-SageMaker-Custom-Attributes", "trace=1") in response.headers
    found = json.loads(response.body)
    original = "{\"error\": \"instance 0 (item_id 'SKU-7'): it is 'wrong'\"}"
    assert found == {
        "Message": f'Received client error (400) from primary with message "{original}"',
        "OriginalMessage": original,
        "OriginalStatusCode": 400,
        "LogStreamArn": "",
    }
    response = app.refuse(TooLarge("large"), path, {})
    assert (response.status, json.loads(response.body)["OriginalStatusCode"]) == (424, 413)
    assert ask(app, "POST", "/invocations", b'{"instances": ["wrong"]}').status == 400
    assert endpoint().refuse(TooLarge("large"), path, {}).status == 413


@pytest.mark.parametrize("name", ["async-invocations", "invocations-response-stream"])
def test_other_ways_to_invoke_are_said_not_to_be_there(name):
    path = f"/endpoints/here/{name}"
    response = ask(endpoint(local_endpoints=True), "POST", path)
    assert response.status == 404
    assert ("x-amzn-errortype", "ValidationError") in response.headers
    found = json.loads(response.body)
    assert found["Message"].startswith("this server has no ")
    assert found["Message"].endswith("; there is /endpoints/NAME/invocations")
    assert b"there is no" in ask(endpoint(), "POST", path).body
