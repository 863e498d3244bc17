"""Bodies with `inputs`: how they are read, placed and answered, with a service that is a few lines of arithmetic."""

from __future__ import annotations

import json
import logging
import time

import pytest

from gluonts_shell.errors import AskedError, InstanceError
from gluonts_shell.messages import Call, Configuration, Prediction
from gluonts_shell.serving.endpoint import codec, records
from gluonts_shell.serving.endpoint.app import App
from gluonts_shell.serving.endpoint.batching import Batcher
from gluonts_shell.serving.endpoint.chronos.dialect import START
from gluonts_shell.serving.endpoint.invocations import Endpoint
from gluonts_shell.serving.http.exchange import Request


class Last:
    """Forecasts three steps of the last value; a mean alone for the item `mean`. A level is added to it."""

    joins = False
    horizon = 3

    def configure(self, configuration):
        quantiles = configuration.get("quantiles")
        if quantiles is None:
            return Configuration()
        levels = tuple((str(level), float(level)) for level in quantiles)
        return Configuration(quantiles=levels, quantiles_given=True)

    def prepare(self, instances, configuration):
        for index, instance in enumerate(instances):
            if not isinstance(instance.get("target"), list):
                item = instance.get("item_id") and repr(instance["item_id"])
                raise InstanceError(f"instance {index}", "target is missing", item, index, "target")
        return Call(configuration, list(instances))

    def first_moment(self, start, entry, configuration):
        return f"{start} + {len(entry['target'])}"

    def predict(self, calls, wanted=None):
        return [[self._one(entry, call.configuration) for entry in call.entries] for call in calls]

    def _one(self, entry, configuration):
        value = entry["target"][-1]
        if entry.get("item_id") == "mean":
            if configuration.quantiles_given:
                raise AskedError("quantiles", "asks for 0.5, but there is only a mean")
            return Prediction(mean=[value] * 3)
        if entry.get("item_id") == "several":
            rows = [[value, 1.0, 2.0], [value, 3.0, 4.0]]
            return Prediction(mean=rows, quantiles={"0.5": rows})
        quantiles = {
            name: [value + level, value + level, value + level]
            for name, level in configuration.quantiles
        }
        return Prediction(mean=[value, value + 1, value + 2], quantiles=quantiles)


def app(forward=()):
    service = Last()
    return App(Endpoint(service, Batcher(service.predict, joins=False), forward), {})


def post(body, forward=(), **headers):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("POST", "/invocations", headers, text, lambda: True, time.monotonic())
    response = app(forward)(request)
    return response.status, response.body.decode()


def answered(inputs, parameters=None, **options):
    body = {"inputs": inputs} | ({} if parameters is None else {"parameters": parameters})
    status, text = post(body, **options)
    assert status == 200, text
    return json.loads(text)["predictions"]


def refused(body, **headers):
    status, text = post(body, **headers)
    assert status == 400, text
    return json.loads(text)["error"]


A = {"target": [1.0, 5.0], "item_id": "A", "start": "2024-01-01T01:00:00"}


def test_an_answer_has_a_member_for_the_mean_and_each_level():
    (found,) = answered([{"target": [5.0]}])
    assert found == {
        "mean": [5, 6, 7],
        "0.1": [5.1] * 3,
        "0.5": [5.5] * 3,
        "0.9": [5.9] * 3,
    }
    (found,) = answered([{"target": [5.0]}], {"quantile_levels": [0.25]})
    assert list(found) == ["mean", "0.25"]
    assert list(answered([{"target": [5.0]}], {"quantile_levels": []})[0]) == ["mean"]


def test_item_id_and_start_come_back_where_they_were_sent():
    first, second = answered([A, {"target": [2.0], "item_id": 7, "start": None}])
    assert list(first) == ["mean", "0.1", "0.5", "0.9", "item_id", "start"]
    assert (first["item_id"], first["start"]) == ("A", "2024-01-01T01:00:00 + 2")
    assert (second["item_id"], "start" in second) == (7, False)


def test_a_series_without_start_begins_at_a_fixed_moment_and_it_is_told_once(caplog):
    caplog.set_level(logging.INFO)
    records.tell_once.cache_clear()
    seen = []
    service = Last()
    service.prepare = lambda instances, configuration: (
        seen.extend(instances),
        Call(configuration, list(instances)),
    )[1]
    endpoint = App(Endpoint(service, Batcher(service.predict, joins=False)), {})
    body = json.dumps({"inputs": [{"target": [1.0]}, A]}).encode()
    for _ in range(2):
        endpoint(Request("POST", "/invocations", {}, body, lambda: True, time.monotonic()))
    assert [instance["start"] for instance in seen[:2]] == [START, A["start"]]
    told = [message for message in caplog.messages if "told once" in message]
    assert told == [
        "an input has no start, and is taken to begin at 1970-01-01 00:00:00 (told once)"
    ]


def test_a_shorter_prediction_length_cuts_every_row():
    (found,) = answered([A], {"prediction_length": 2})
    rows = {name: len(found[name]) for name in ("mean", "0.1", "0.5", "0.9")}
    assert set(rows.values()) == {2}
    (several,) = answered([{**A, "item_id": "several"}], {"prediction_length": 1})
    assert several["mean"] == several["0.5"] == [[5.0], [5.0]]


def test_a_mean_alone_is_answered_unless_levels_were_asked_for():
    (found,) = answered([{**A, "item_id": "mean"}])
    assert found == {"mean": [5, 5, 5], "item_id": "mean", "start": "2024-01-01T01:00:00 + 2"}
    body = {"inputs": [{**A, "item_id": "mean"}], "parameters": {"quantile_levels": [0.5]}}
    assert refused(body) == ("parameters.quantile_levels asks for 0.5, but there is only a mean")


def test_no_inputs_have_no_predictions():
    assert answered([]) == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"inputs": [], "instances": []},
            "'inputs' stands beside 'instances'; send one of them, since they are answered differently",
        ),
        (
            {"instances": [], "configuration": {}, "inputs": []},
            "'inputs' stands beside 'instances'; send one of them, since they are answered differently",
        ),
        (
            {"inputs": [], "configuration": {}},
            "'configuration' stands beside 'inputs', which is configured by 'parameters'",
        ),
        ({"inputs": {"target": []}}, "'inputs' is an object, expected a list of instances"),
        ({"inputs": [], "parameters": []}, "'parameters' is a list, expected an object"),
        (
            {"inputs": [], "prediction_length": 3},
            "'prediction_length' stands beside 'inputs', where it has no effect; "
            "put 'prediction_length' into 'parameters'",
        ),
        (
            {"inputs": [], "parameter": {}},
            "'parameter' stands beside 'inputs' and is not known; did you mean 'parameters'?",
        ),
        (
            {"input": [], "parameters": {}},
            "the request has no field 'instances', expected a list of instances; "
            "did you mean 'inputs', not 'input'?",
        ),
        (
            {"inputs": [A, A, A, {"item_id": "B"}]},
            "inputs[3].target is missing (item_id 'B')",
        ),
        ({"inputs": [A, None]}, "inputs[1]: it is null, expected an object with 'target'"),
        ({"inputs": [[1.0, 2.0]]}, "inputs[0]: it is a list, expected an object with 'target'"),
        (
            {"inputs": [A], "parameters": {"prediction_length": 4}},
            "parameters.prediction_length is 4, expected a whole number from 1 to 3: "
            "the model forecasts 3 steps",
        ),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_dialect(body, sentence):
    assert refused(body) == sentence
    if isinstance(body.get("inputs"), list) and "input" not in body:
        lines = refused(body, content_type=codec.JSON_LINES)
        assert lines in (sentence, f"line 1: {sentence}", f"line 1, {sentence}")


def test_forwarded_fields_are_added_to_what_the_answer_has_by_itself():
    body = b'{"inputs": [{"target": [1.0], "start": "s", "shop": 1.50}, {"target": [2.0]}]}'
    status, text = post(body, forward=("item_id", "start", "shop"))
    assert status == 200
    first, second = json.loads(text)["predictions"]
    assert '"shop":1.50' in text
    assert (first["start"], first["shop"], "item_id" in first) == ("s + 1", 1.5, False)
    assert (second["shop"], "start" in second) == (None, False)


def test_lines_are_answered_by_lines():
    line = json.dumps({"inputs": [A, A], "parameters": {"prediction_length": 1}})
    status, text = post(f"{line}\n\n{line}".encode(), content_type=codec.JSON_LINES)
    assert status == 200
    found = [json.loads(each) for each in text.splitlines()]
    assert len(found) == 4
    assert found[0] == answered([A], {"prediction_length": 1})[0]
    empty = json.dumps({"inputs": []}).encode()
    assert post(empty, content_type=codec.JSON_LINES) == (200, '{"predictions":[]}')
    status, text = post(line.encode(), content_type=codec.JSON_LINES, accept=codec.JSON)
    assert json.loads(text)["predictions"] == found[:2]


@pytest.mark.parametrize(
    "other", [{"instances": [A]}, A, {"inputs": [A], "parameters": {"prediction_length": 1}}]
)
def test_lines_of_one_body_are_asked_for_in_one_way(other):
    body = f"{json.dumps({'inputs': [A]})}\n{json.dumps(other)}".encode()
    assert "line 2" in (sentence := refused(body, content_type=codec.JSON_LINES))
    assert "it is not asked for in the way of line 1, inputs[0], expected one dialect" in sentence
