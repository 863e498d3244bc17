"""The SageMaker Python SDK's local transform job, with a child process for a container, gives what `transform` gives.

    SDK_ENVIRONMENT/bin/python tests/sdk/check_transform.py OUR_ENVIRONMENT/bin/python

The first environment has `sagemaker<3`, the second what gluonts_shell needs.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import container

container.stay_on_this_machine()

import boto3  # noqa: E402
import sagemaker.local.entities  # noqa: E402
import sagemaker.local.local_session  # noqa: E402
from sagemaker.local import LocalSession  # noqa: E402
from sagemaker.transformer import Transformer  # noqa: E402

SERIES = 1000
VARIABLES = {"GLUONTS_FORWARD_FIELDS": "item_id", "GLUONTS_BATCH_SUPPRESS_ERRORS": "true"}


def write_input(path: Path) -> None:
    """Lengths from 0 to 399, gaps in each spelling, and a few lines that cannot be predicted."""
    with path.open("w") as file:
        for number in range(SERIES):
            target = [
                round(50 + 50 * math.sin(number + step / 4), 3) for step in range(number * 7 % 400)
            ]
            target[5:6] = [None] if number % 3 else ["NaN"]
            series = {
                "start": "2024-01-01 00:00:00",
                "target": target,
                "item_id": f"series {number}",
            }
            file.write("not JSON\n" if number % 250 == 77 else json.dumps(series) + "\n")


def local_job(folder: Path, port: int, strategy: str) -> bytes:
    session = LocalSession(
        boto3.Session(region_name="eu-central-1"), sagemaker_config=container.CONFIG
    )
    session.config = {"local": {"serving_port": port}}
    session.sagemaker_client.create_model(
        "model", {"Image": "none", "ModelDataUrl": None, "Environment": {}}
    )
    transformer = Transformer(
        model_name="model",
        instance_count=1,
        instance_type="local",
        strategy=strategy,
        assemble_with="Line",
        accept="application/jsonlines",
        output_path=f"file://{folder / strategy}",
        max_payload=1,
        env=VARIABLES,
        sagemaker_session=session,
    )
    transformer.transform(
        f"file://{folder / 'in'}",
        content_type="application/jsonlines",
        split_type="Line",
        wait=False,
    )
    (output,) = (folder / strategy).rglob("*.out")
    return output.read_bytes()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sdk-") as temporary:
        folder, port = Path(temporary), container.free_port()
        container.run(
            str(container.ROOT / "tests" / "batch_toy.py"), str(folder / "ml" / "model"), "hourly"
        )
        (folder / "in").mkdir()
        write_input(folder / "in" / "series.jsonl")
        files = [
            "--input",
            str(folder / "in"),
            "--output",
            str(folder / "out"),
            "--data-path",
            str(folder / "ml"),
        ]
        container.run("-m", "gluonts_shell", "transform", *files, **VARIABLES)
        expected = (folder / "out" / "series.jsonl.out").read_bytes()
        assert expected.count(b"\n") == SERIES and expected.count(b'{"error":') == SERIES // 250

        sagemaker.local.entities._SageMakerContainer = lambda *_: container.Container(
            folder / "ml", port
        )
        for module in (sagemaker.local.entities, sagemaker.local.local_session):
            module.get_docker_host = lambda: "127.0.0.1"
        for strategy in ("SingleRecord", "MultiRecord"):
            found = local_job(folder, port, strategy)
            assert found == expected, f"{strategy}: the SDK's job and `transform` differ"
            print(f"{strategy}: {found.count(chr(10).encode())} lines, equal to transform's")


if __name__ == "__main__":
    main()
