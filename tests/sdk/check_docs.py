"""Every Python block for SageMaker in docs/ runs, in their order; each call fits the API's model, and none leaves here.

    SDK_ENVIRONMENT/bin/python tests/sdk/check_docs.py OUR_ENVIRONMENT/bin/python

botocore itself checks types and required members; lengths, enumerations and patterns, which only the service would
refuse, are checked here.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import container

container.stay_on_this_machine()

import botocore.client  # noqa: E402
from botocore.validate import validate_parameters  # noqa: E402

# the others take their names from the first
DOCUMENTS = [
    container.ROOT / "docs" / name
    for name in ("sagemaker.md", "training-at-scale.md", "multi-model.md")
]
EXPECTED = {
    "CreateTrainingJob": 3,
    "CreateModel": 2,
    "CreateEndpointConfig": 3,
    "CreateEndpoint": 1,
    "InvokeEndpoint": 2,
    "CreateTransformJob": 1,
    "CreateHyperParameterTuningJob": 2,
}
ANSWERS: dict[str, Any] = {
    "DescribeEndpoint": {"EndpointStatus": "InService"},
    "DescribeTrainingJob": {
        "ModelArtifacts": {"S3ModelArtifacts": "s3://my-forecasts/output/demand-1/model.tar.gz"}
    },
    "InvokeEndpoint": {"Body": io.BytesIO(b'{"predictions": []}')},
}


def blocks(document: Path) -> Iterator[tuple[int, str]]:
    """The line of the document that each Python block begins at, and the block."""
    text = document.read_text()
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def faults(value: Any, shape: Any, place: str) -> Iterator[str]:
    """What the service would refuse of a value that botocore takes."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from faults(inner, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for position, inner in enumerate(value):
            yield from faults(inner, shape.member, f"{place}[{position}]")
    elif shape.type_name == "map":
        for name, inner in value.items():
            yield from faults(name, shape.key, f"the key {name!r} of {place}")
            yield from faults(inner, shape.value, f"{place}[{name!r}]")
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"{place} is {value!r}, expected one of {shape.enum}"
        pattern = shape.metadata.get("pattern")
        # Java's classes such as \\p{L} are not Python's
        if pattern and "\\p" not in pattern and not re.fullmatch(pattern, value):
            yield f"{place} is {value!r}, expected {pattern}"
    size = len(value) if hasattr(value, "__len__") else value
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{place} is longer or larger than {most}"


def main() -> None:
    called: dict[str, int] = {}

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        model = client.meta.service_model.operation_model(operation)
        validate_parameters(parameters, model.input_shape)
        wrong = list(faults(parameters, model.input_shape, operation))
        if wrong:
            raise SystemExit("\n".join(wrong))
        called[operation] = called.get(operation, 0) + 1
        return ANSWERS.get(operation, {})

    botocore.client.BaseClient._make_api_call = call
    command = [container.PYTHON, "-m", "gluonts_shell", "metrics"]
    definitions = subprocess.run(
        command, env=container.environment(), capture_output=True, check=True
    ).stdout
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        os.chdir(folder)
        Path("metrics.json").write_bytes(definitions)
        Path("config.yaml").write_text(json.dumps(container.CONFIG))  # JSON is YAML
        os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(Path("config.yaml").resolve())
        namespace: dict[str, Any] = {}
        for document in DOCUMENTS:
            for line, code in blocks(document):
                padded = "\n" * line + code  # so that a traceback names the line of the document
                exec(compile(padded, str(document), "exec"), namespace)
        os.chdir(container.ROOT)
    assert {name: called.get(name) for name in EXPECTED} == EXPECTED, called
    print(f"{len(DOCUMENTS)} pages: {sum(EXPECTED.values())} calls fit the API")


if __name__ == "__main__":
    main()
