"""A pipeline of the SageMaker Python SDK, version 2, trains, makes a model and transforms in its local mode, unmodified.

    SDK_ENVIRONMENT/bin/python tests/sdk/check_pipeline.py OUR_ENVIRONMENT/bin/python

The first environment has `sagemaker<3`; compose.py stands in for the command `docker`.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path

import container

container.stay_on_this_machine()

import boto3  # noqa: E402
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.model import Model  # noqa: E402
from sagemaker.transformer import Transformer  # noqa: E402
from sagemaker.workflow.model_step import ModelStep  # noqa: E402
from sagemaker.workflow.pipeline import Pipeline  # noqa: E402
from sagemaker.workflow.pipeline_context import LocalPipelineSession  # noqa: E402
from sagemaker.workflow.steps import TrainingStep, TransformStep  # noqa: E402

DATA = container.ROOT / "gluonts_shell" / "data" / "monthly"
NAIVE = {
    "forecaster_name": "SeasonalNaivePredictor",
    "freq": "M",
    "prediction_length": 12,
    "season_length": 12,
}


def pipeline(folder: Path) -> Pipeline:
    session = LocalPipelineSession(
        boto3.Session(region_name="eu-central-1"), default_bucket="my-forecasts"
    )
    session.config = {"local": {"container_root": str(folder)}}
    estimator = Estimator(
        image_uri="forecaster",
        role=container.ROLE,
        instance_count=1,
        instance_type="local",
        hyperparameters=NAIVE,
        output_path=f"file://{folder / 'trained'}",
        sagemaker_session=session,
    )
    channels = {name: f"file://{DATA / name}" for name in ("train", "test")}
    train = TrainingStep("train", step_args=estimator.fit(channels))
    model = Model(
        image_uri="forecaster",
        role=container.ROLE,
        model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
        sagemaker_session=session,
    )
    create = ModelStep("model", step_args=model.create(instance_type="local"))
    transformer = Transformer(
        model_name=create.properties.ModelName,
        instance_count=1,
        instance_type="local",
        strategy="SingleRecord",
        assemble_with="Line",
        accept="application/jsonlines",
        output_path=f"file://{folder / 'forecasts'}",
        env={"GLUONTS_FORWARD_FIELDS": "item_id"},
        sagemaker_session=session,
    )
    asked = transformer.transform(
        f"file://{DATA / 'train'}", content_type="application/jsonlines", split_type="Line"
    )
    transform = TransformStep("transform", step_args=asked)
    return Pipeline("demand", steps=[train, create, transform], sagemaker_session=session)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sdk-") as temporary:
        folder = Path(temporary)
        container.without_telemetry(folder)
        container.stand_in_for_docker(folder)
        container.answer(container.refuse)
        container.sleep_less()
        demand = pipeline(folder)
        demand.create(role_arn=container.ROLE, description="trains and forecasts")
        execution = demand.start()
        steps = execution.list_steps()["PipelineExecutionSteps"]
        states = {step["StepName"]: step["StepStatus"] for step in steps}
        assert set(states.values()) == {"Succeeded"} and len(states) == 3, steps
        with tarfile.open(folder / "trained" / "model.tar.gz") as archive:
            assert "gluonts_shell.json" in archive.getnames()
        asked = (DATA / "train" / "data.json").read_text().splitlines()
        answered = (folder / "forecasts" / "data.json.out").read_text().splitlines()
        for series, forecast in zip(map(json.loads, asked), map(json.loads, answered), strict=True):
            assert forecast["item_id"] == series["item_id"], forecast
            assert len(forecast["mean"]) == 12, forecast
        print(f"a pipeline trains, makes a model and forecasts {len(answered)} series")


if __name__ == "__main__":
    main()
