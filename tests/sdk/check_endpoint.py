"""boto3's runtime client and the SageMaker Python SDK's predictors talk to an endpoint of ours, unmodified.

Run it like check_transform.py.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import container

container.stay_on_this_machine()

import boto3  # noqa: E402
import sagemaker.local.local_session  # noqa: E402
from sagemaker.deserializers import BytesDeserializer, JSONDeserializer, JSONLinesDeserializer  # noqa: E402
from sagemaker.local import LocalSession  # noqa: E402
from sagemaker.predictor import Predictor  # noqa: E402
from sagemaker.serializers import IdentitySerializer, JSONLinesSerializer, JSONSerializer  # noqa: E402

INSTANCE = {"start": "2024-01-01 00:00:00", "target": [float(n) for n in range(48)]}
EXPECTED = [float(n) for n in range(24, 48)]
REQUEST = {
    "instances": [INSTANCE],
    "configuration": {"output_types": ["quantiles"], "quantiles": ["0.1", "0.5", "0.9"]},
}


def with_boto3(port: int) -> None:
    client = boto3.client("sagemaker-runtime", endpoint_url=f"http://127.0.0.1:{port}")
    answer = client.invoke_endpoint(
        EndpointName="any-name",
        ContentType="application/json",
        Body=json.dumps(REQUEST),
        CustomAttributes="trace=1",
    )
    assert (
        answer["ContentType"] == "application/json" and answer["CustomAttributes"] == "trace=1"
    ), answer
    (prediction,) = json.loads(answer["Body"].read())["predictions"]
    assert prediction == {"quantiles": dict.fromkeys(("0.1", "0.5", "0.9"), EXPECTED)}
    try:
        client.invoke_endpoint(
            EndpointName="any-name", ContentType="application/json", Body=b'{"instances": [{}]}'
        )
    except client.exceptions.ModelError as error:
        response = error.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 424, response
        assert response["OriginalStatusCode"] == 400, response
        assert "instance 0: target is missing" in response["OriginalMessage"], response
    else:
        raise AssertionError("a bad request was answered")


def with_the_sdk(port: int) -> None:
    session = LocalSession(
        boto3.Session(region_name="eu-central-1"), sagemaker_config=container.CONFIG
    )
    session.config = {"local": {"serving_port": port}}

    def predict(body: Any, serializer: Any, deserializer: Any) -> Any:
        return Predictor("any-name", session, serializer, deserializer).predict(body)

    means = {"predictions": [{"mean": EXPECTED}]}
    found = predict(
        {"instances": [INSTANCE], "configuration": {"output_types": ["mean"]}},
        JSONSerializer(),
        JSONDeserializer(),
    )
    assert found == means, found
    body = json.dumps(REQUEST).encode()
    answer = predict(body, IdentitySerializer(content_type="application/json"), BytesDeserializer())
    assert len(json.loads(answer)["predictions"][0]["quantiles"]["0.5"]) == 24
    lines = predict([INSTANCE, INSTANCE], JSONLinesSerializer(), JSONLinesDeserializer())
    assert [line["mean"] for line in lines] == [EXPECTED] * 2, lines


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sdk-") as temporary:
        folder, port = Path(temporary), container.free_port()
        container.run(
            str(container.ROOT / "tests" / "batch_toy.py"), str(folder / "model"), "hourly"
        )
        server = container.Container(folder, port)
        server.serve(None, {"GLUONTS_SHELL_LOCAL_ENDPOINTS": "true"})
        try:
            sagemaker.local.local_session.get_docker_host = lambda: "127.0.0.1"
            with_boto3(port)
            with_the_sdk(port)
        finally:
            server.stop_serving()
        print("boto3 and the SDK read our answers")


if __name__ == "__main__":
    main()
