"""Every Python block for SageMaker in docs/ runs, in their order; each call fits the API's model, and none leaves here.

    SDK_ENVIRONMENT/bin/python tests/sdk/check_docs.py OUR_ENVIRONMENT/bin/python

The blocks below a heading "SDK v2" or "SDK v3" run where that version is installed, those below "boto3" in the
environment of version 2. botocore itself checks types and required members; lengths, enumerations and patterns, which
only the service would refuse, are checked here, in the steps of a pipeline too.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import container

container.stay_on_this_machine()

from botocore.validate import ParamValidator  # noqa: E402

DOCUMENT = container.ROOT / "docs" / "sagemaker.md"
# the pages that are written for one of the dialects as a whole, with the names of the first page
WHOLE = {
    "SDK v2": (container.ROOT / "docs" / "training-at-scale.md",),
    "boto3": (container.ROOT / "docs" / "multi-model.md",),
}
SHARED = "What the snippets share"
DIALECTS = {"2": ("SDK v2", "boto3"), "3": ("SDK v3",)}
EXPECTED = {
    "boto3": {
        "CreateTrainingJob": 2,
        "CreateModel": 2,
        "CreateEndpointConfig": 3,
        "CreateEndpoint": 1,
        "InvokeEndpoint": 2,
        "CreateTransformJob": 1,
        "CreateHyperParameterTuningJob": 1,
    },
    "SDK v3": {
        "CreateTrainingJob": 4,  # one of them in the pipeline, and so below
        "CreateModel": 4,
        "CreateEndpointConfig": 3,
        "CreateEndpoint": 3,
        "InvokeEndpoint": 1,
        "CreateTransformJob": 2,
        "CreateHyperParameterTuningJob": 1,
        "CreatePipeline": 1,
        "StartPipelineExecution": 1,
    },
}
EXPECTED["SDK v2"] = {**EXPECTED["SDK v3"], "CreateTrainingJob": 6}
STEPS = {"Training": "CreateTrainingJob", "Model": "CreateModel", "Transform": "CreateTransformJob"}
ARTIFACT = "s3://my-forecasts/output/demand-1/output/model.tar.gz"
ANSWERS: dict[str, Any] = {
    "DescribeEndpoint": {"EndpointStatus": "InService"},
    "DescribeTrainingJob": {"ModelArtifacts": {"S3ModelArtifacts": ARTIFACT}},
    "InvokeEndpoint": {"ContentType": "application/json"},
    "CreatePipeline": {
        "PipelineArn": "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/demand"
    },
    "StartPipelineExecution": {
        "PipelineExecutionArn": "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/demand/execution/1"
    },
}


def blocks(document: Path, dialect: str) -> Iterator[tuple[int, str]]:
    """The blocks that all dialects share, and those of one, each with the document's line that it begins at."""
    text, heading = document.read_text(), ""
    for found in re.finditer(
        r"^#+ ([^\n]*)$|^```python\n(.*?)^```$|^```.*?^```$", text, re.MULTILINE | re.DOTALL
    ):
        if found[1]:
            heading = found[1]
        elif found[2] and (document != DOCUMENT or heading in (dialect, SHARED)):
            yield text.count("\n", 0, found.start()) + 1, found[2]


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


def resolved(value: Any) -> Any:
    """A step's arguments with something of the right form for what an earlier step will have made."""
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            return ARTIFACT if value["Get"].endswith("S3ModelArtifacts") else "from-a-step"
        return {name: resolved(inner) for name, inner in value.items()}
    return [resolved(inner) for inner in value] if isinstance(value, list) else value


class Service:
    """Counts what it is asked, and keeps what is wrong with it: the SDK swallows some of what is raised here."""

    def __init__(self) -> None:
        self.called: Counter[str] = Counter()
        self.wrong: list[str] = []

    def __call__(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        self.check(client, operation, parameters)
        if operation == "CreatePipeline":
            for step in json.loads(parameters["PipelineDefinition"])["Steps"]:
                asked = STEPS[step["Type"]]
                name = asked.removeprefix("Create") + "Name"
                self.check(client, asked, {name: step["Name"], **resolved(step["Arguments"])})
        answer = dict(parameters) if operation.startswith("Describe") else {}
        if operation == "InvokeEndpoint":
            answer["Body"] = io.BytesIO(b'{"predictions": []}')
        return answer | ANSWERS.get(operation, {})

    def check(self, client: Any, operation: str, parameters: dict[str, Any]) -> None:
        shape = client.meta.service_model.operation_model(operation).input_shape
        tokens = [name for name, of in shape.members.items() if of.metadata.get("idempotencyToken")]
        parameters = dict.fromkeys(tokens, "0" * 32) | parameters  # as botocore fills them in
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            self.wrong.append(f"{operation}: {report.generate_report()}")
        else:
            self.wrong += faults(parameters, shape, operation)
        self.called[operation] += 1


def run(dialect: str) -> None:
    service = Service()
    container.answer(service)
    namespace: dict[str, Any] = {}
    for document in (DOCUMENT, *WHOLE.get(dialect, ())):
        for line, code in blocks(document, dialect):
            padded = "\n" * line + code  # so that a traceback names the line of the document
            exec(compile(padded, str(document), "exec"), namespace)
    if service.wrong:
        raise SystemExit("\n".join(service.wrong))
    expected = EXPECTED[dialect]
    assert {name: service.called[name] for name in expected} == expected, (dialect, service.called)
    print(f"{DOCUMENT.name}, {dialect}: {sum(expected.values())} calls fit the API")


def main() -> None:
    command = [container.PYTHON, "-m", "gluonts_shell", "metrics"]
    definitions = subprocess.run(
        command, env=container.environment(), capture_output=True, check=True
    ).stdout
    container.sleep_less()
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        os.chdir(folder)
        Path("metrics.json").write_bytes(definitions)
        container.without_telemetry(Path(folder))
        for dialect in DIALECTS[version("sagemaker").partition(".")[0]]:
            run(dialect)
        os.chdir(container.ROOT)


if __name__ == "__main__":
    main()
