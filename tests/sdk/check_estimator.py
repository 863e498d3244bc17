"""An estimator of the SageMaker Python SDK, version 2, trains in its local mode with a source_dir, unmodified.

Run it like check_pipeline.py.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import container

container.stay_on_this_machine()

import boto3  # noqa: E402
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.local import LocalSession  # noqa: E402

DATA = container.ROOT / "gluonts_shell" / "data" / "monthly"
CODE = """\
from gluonts.model.seasonal_naive import SeasonalNaivePredictor


class Mine(SeasonalNaivePredictor):
    pass
"""
MINE = {
    "forecaster_name": "mine.Mine",
    "freq": "M",
    "prediction_length": 12,
    "season_length": 12,
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sdk-") as temporary:
        folder = Path(temporary)
        container.without_telemetry(folder)
        container.stand_in_for_docker(folder)
        container.answer(container.refuse)
        session = LocalSession(boto3.Session(region_name="eu-central-1"))
        # local_code: the folder is mounted instead of sent to S3
        session.config = {"local": {"container_root": str(folder), "local_code": True}}
        source = folder / "source"
        source.mkdir()
        (source / "mine.py").write_text(CODE)
        estimator = Estimator(
            image_uri="forecaster",
            role=container.ROLE,
            instance_count=1,
            instance_type="local",
            source_dir=str(source),
            entry_point="mine.py",
            hyperparameters=MINE,
            output_path=f"file://{folder / 'trained'}",
            sagemaker_session=session,
        )
        estimator.fit({name: f"file://{DATA / name}" for name in ("train", "test")})
        with tarfile.open(folder / "trained" / "model.tar.gz") as archive:
            names = set(archive.getnames())
        assert {"gluonts_shell.json", "code/mine.py"} <= names, names
        print("an estimator's source_dir is the code channel")


if __name__ == "__main__":
    main()
