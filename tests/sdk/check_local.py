"""The SageMaker Python SDK, version 3, trains, serves, transforms and builds a model in its local mode, unmodified.

    SDK_ENVIRONMENT/bin/python tests/sdk/check_local.py OUR_ENVIRONMENT/bin/python

The first environment has `sagemaker>=3,<4`, the second what gluonts_shell needs. Stood in for are the command
`docker` (compose.py), docker's own client, which ModelBuilder uses, and answers of AWS's API.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import container

container.stay_on_this_machine()

import boto3  # noqa: E402
import yaml  # noqa: E402
from sagemaker.core.local.local_session import LocalSession  # noqa: E402
from sagemaker.core.transformer import Transformer  # noqa: E402
from sagemaker.serve import InferenceSpec, ModelBuilder  # noqa: E402
from sagemaker.serve.builder.schema_builder import SchemaBuilder  # noqa: E402
from sagemaker.serve.mode import function_pointers, local_container_mode  # noqa: E402
from sagemaker.serve.utils.types import ModelServer  # noqa: E402
from sagemaker.train import ModelTrainer  # noqa: E402
from sagemaker.train.configs import Compute, InputData, SourceCode  # noqa: E402
from sagemaker.train.model_trainer import Mode  # noqa: E402

DATA = container.ROOT / "gluonts_shell" / "data" / "monthly"
NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": 12,
    "season_length": 12,
}
MINE = "from gluonts.model.seasonal_naive import SeasonalNaivePredictor\n\n\nclass Mine(SeasonalNaivePredictor):\n    pass\n"
INSTANCE = {"start": "2024-01-01 00:00:00", "target": [float(n) for n in range(48)]}
EXPECTED = [float(n) for n in range(24, 48)]


def train(
    folder: Path,
    hyperparameters: dict[str, Any],
    source_code: SourceCode | None = None,
    hosts: int = 1,
) -> str:
    """Trains below `folder`; the sentence of output/failure, empty after a success."""
    folder.mkdir()
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image="forecaster",
        compute=Compute(instance_type="local", instance_count=hosts),
        hyperparameters=hyperparameters,
        source_code=source_code,
        input_data_config=[
            InputData(channel_name=name, data_source=str(DATA / name)) for name in ("train", "test")
        ],
        local_container_root=str(folder),
    )
    failure = folder / "artifacts" / "output" / "failure"
    try:
        trainer.train()
    except RuntimeError as error:
        assert "Process exited with code: 1" in str(error), error
        return failure.read_text().partition("\n")[0]
    assert not failure.exists(), failure.read_text()
    return ""


def packed(folder: Path) -> set[str]:
    """The names in the model.tar.gz that the SDK made."""
    with tarfile.open(folder / "compressed_artifacts" / "model.tar.gz") as archive:
        return set(archive.getnames())


def check_trainer(folder: Path) -> None:
    assert train(folder / "plain", NAIVE) == ""
    assert {"gluonts_shell.json", "agg_metrics.json"} <= packed(folder / "plain")

    # docker compose stops the others once one host has ended
    assert train(folder / "two", NAIVE, hosts=2) == ""
    assert "gluonts_shell.json" in packed(folder / "two")

    source = folder / "source"
    source.mkdir()
    (source / "mine.py").write_text(MINE)
    code = SourceCode(source_dir=str(source), command="exec python -m gluonts_shell train")
    mine = {**NAIVE, "forecaster_name": "mine.Mine"}
    assert train(folder / "code", mine, code) == ""
    assert {"gluonts_shell.json", "code/mine.py", "code-installed.json"} <= packed(folder / "code")

    code = SourceCode(source_dir=str(source), command="python -m gluonts_shell train")
    for name, given in (("misspelt", None), ("misspelt-code", code)):
        sentence = train(folder / name, {**NAIVE, "seson_length": 3}, given)
        assert sentence == (
            "hyperparameter 'seson_length' is not known to SeasonalNaivePredictor; did you mean 'season_length'?"
        ), sentence
        assert "gluonts_shell.json" not in packed(folder / name)
    print(
        "ModelTrainer trains, with and without source code, on two hosts too, and a failure's sentence arrives"
    )


def local_session(folder: Path, model: Path) -> LocalSession:
    session = LocalSession(boto3.Session(region_name="eu-central-1"))
    session.config = {"local": {"container_root": str(folder)}}
    place = folder / "packed" / "model.tar.gz"
    place.parent.mkdir()
    with tarfile.open(place, "w:gz") as archive:
        archive.add(model, ".")
    description = {"Image": "forecaster", "ModelDataUrl": f"file://{place}", "Environment": {}}
    session.sagemaker_client.create_model("model", description)
    return session


def check_endpoint(session: LocalSession) -> None:
    variant = {
        "VariantName": "all",
        "ModelName": "model",
        "InstanceType": "local",
        "InitialInstanceCount": 1,
    }
    client = session.sagemaker_client
    client.create_endpoint_config("endpoint", [variant])
    client.create_endpoint("endpoint", "endpoint")
    body = json.dumps({"instances": [INSTANCE], "configuration": {"output_types": ["mean"]}})
    answer = session.sagemaker_runtime_client.invoke_endpoint(body, "endpoint", "application/json")
    found = json.loads(answer["Body"].read())
    client.delete_endpoint("endpoint")
    assert answer["ContentType"] == "application/json", answer
    assert found == {"predictions": [{"mean": EXPECTED}]}, found
    print("a local endpoint answers")


def check_batch(folder: Path, session: LocalSession) -> None:
    series = [{**INSTANCE, "item_id": f"series {number}"} for number in range(40)]
    (folder / "in").mkdir()
    (folder / "in" / "series.jsonl").write_text("\n".join(map(json.dumps, series)) + "\n")
    for strategy in ("SingleRecord", "MultiRecord"):
        transformer = Transformer(
            model_name="model",
            instance_count=1,
            instance_type="local",
            strategy=strategy,
            assemble_with="Line",
            accept="application/jsonlines",
            output_path=f"file://{folder / strategy}",
            max_payload=1,
            env={"GLUONTS_FORWARD_FIELDS": "item_id"},
            base_transform_job_name="series",
            sagemaker_session=session,
        )
        transformer.transform(
            f"file://{folder / 'in'}",
            content_type="application/jsonlines",
            split_type="Line",
            wait=False,
        )
        (output,) = (folder / strategy).rglob("*.out")
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert [line["item_id"] for line in found] == [line["item_id"] for line in series], found
        assert all(line["mean"] == EXPECTED for line in found), found
        print(f"{strategy}: {len(found)} lines")


class Docker:
    """What ModelBuilder calls of docker's own client; `compose.py` runs the container."""

    def __init__(self) -> None:
        self.containers = self.images = self

    def ping(self) -> bool:
        return True

    def pull(self, _image: str) -> None:
        return

    def run(self, image: str, command: str, **options: Any) -> Container:
        service = {
            "image": image,
            "command": command,
            "ports": [f"{port}:8080" for port in options["ports"].values()],
            "volumes": [
                f"{place}:{volume['bind']}" for place, volume in options["volumes"].items()
            ],
            "environment": [f"{name}={value}" for name, value in options["environment"].items()],
        }
        file = Path(tempfile.mkdtemp()) / "compose.yaml"
        file.write_text(yaml.safe_dump({"services": {"model": service}}))
        return Container(
            subprocess.Popen(["docker", "compose", "-f", file, "up"], stdout=subprocess.PIPE)
        )


class Container:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def logs(self, **_: Any) -> Iterator[bytes]:
        assert self.process.stdout
        yield from self.process.stdout

    def kill(self) -> None:
        self.process.terminate()
        self.process.wait()


class Nothing(InferenceSpec):
    """ModelBuilder demands one for an image of one's own; our image does not call it."""

    def load(self, model_dir: str) -> None: ...

    def invoke(self, input_object: object, model: object) -> None: ...


def check_builder(folder: Path, model: Path) -> None:
    # the folder `code` of model_path is what ModelBuilder mounts at /opt/ml/model for this model server
    shutil.copytree(model, folder / "built" / "code")
    local_container_mode._get_docker_client = Docker
    request = {"instances": [INSTANCE], "configuration": {"output_types": ["mean"]}}
    builder = ModelBuilder(
        inference_spec=Nothing(),
        schema_builder=SchemaBuilder(
            sample_input=request, sample_output={"predictions": [{"mean": [1.0]}]}
        ),
        model_path=str(folder / "built"),
        image_uri="forecaster",
        model_server=ModelServer.MMS,
        mode=function_pointers.Mode.LOCAL_CONTAINER,
        role_arn=container.ROLE,
        dependencies={"auto": False},
    )
    builder.build()
    endpoint = builder.deploy_local(endpoint_name="built")
    try:
        (found,) = json.loads(endpoint.invoke(body=request).body.read())
    finally:
        endpoint.delete()
        endpoint.local_container_mode_obj.destroy_server()
    assert found == {"predictions": [{"mean": EXPECTED}]}, found
    print("ModelBuilder's local container answers")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sdk-") as temporary:
        folder = Path(temporary)
        container.without_telemetry(folder)
        container.stand_in_for_docker(folder)
        container.answer(container.refuse)
        container.sleep_less()
        check_trainer(folder)
        model = folder / "ml" / "model"
        container.run(str(container.ROOT / "tests" / "batch_toy.py"), str(model), "hourly")
        session = local_session(folder, model)
        check_endpoint(session)
        check_batch(folder, session)
        check_builder(folder, model)


if __name__ == "__main__":
    main()
