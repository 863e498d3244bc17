"""Every environment variable that the package reads, once: default, converter, meaning, names.

It knows text and nothing else: `Settings.from_environ` takes a mapping, checks, and returns a frozen value.

    python -m gluonts_shell.settings         the table of docs/operations.md
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from gluonts_shell.errors import ConfigurationError

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})
STRATEGIES = {"singlerecord": "SINGLE_RECORD", "multirecord": "MULTI_RECORD"}
DIGITS = re.compile(r"[0-9]+")
MEBIBYTE = 1024 * 1024
LONGEST_REQUEST = 3600.0  # seconds; of a batch transform job and of an asynchronous endpoint


def boolean(text: str) -> bool:
    """A variable that is set to nothing is off."""
    word = text.strip().lower()
    if word not in {"", *TRUE, *FALSE}:
        raise ValueError("true or false")
    return word in TRUE


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    expected, most = f"a whole number of at least {minimum}", math.inf
    if maximum is not None:
        expected, most = f"{expected} and at most {maximum}", maximum

    def convert(text: str) -> int:
        digits = text.strip()
        if not DIGITS.fullmatch(digits):
            raise ValueError(expected)
        number = int(digits[:20])
        if not minimum <= number <= most:
            raise ValueError(expected)
        return number

    return convert


def one_of(*choices: str) -> Callable[[str], str]:
    """In any case of letters."""
    *others, last = choices
    expected = f"{', '.join(others)} or {last}"

    def convert(text: str) -> str:
        name = text.strip().lower()
        if name not in choices:
            raise ValueError(expected)
        return name

    return convert


def port_of(text: str) -> int:
    """Of --port. Raises ConfigurationError."""
    try:
        return whole(0, 65535)(text)
    except ValueError as error:
        raise ConfigurationError(f"--port is {text[:100]!r}, expected {error}") from None


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ValueError("a number of seconds, 0 or more")
    return number


def names(text: str) -> tuple[str, ...]:
    """A JSON list of strings, or names separated by commas."""
    if not text.strip().startswith("["):
        return tuple(filter(None, map(str.strip, text.split(","))))
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a JSON list of strings, or names separated by commas")
    return tuple(value)


def strategy(text: str) -> str:
    """AWS writes SINGLE_RECORD to the container and SingleRecord in the API; both are taken."""
    name = text.strip().replace("_", "").lower()
    if name not in STRATEGIES:
        raise ValueError("SINGLE_RECORD or MULTI_RECORD")
    return STRATEGIES[name]


def level(text: str) -> str:
    """Of `logging`, by name or, as AWS's toolkits have it, by number."""
    name = text.strip().upper()
    if DIGITS.fullmatch(name):
        name = str(logging.getLevelName(int(name[:5])))
    if not isinstance(logging.getLevelName(name), int):
        raise ValueError("DEBUG, INFO, WARNING, ERROR or CRITICAL, or the number of one of them")
    return name


def setting(
    default: Any, convert: Callable[[str], Any], meaning: str, *variables: str, shown: str = ""
) -> Any:
    """A field of Settings. Of several variables the first that is set wins; `shown` is the default in words."""
    return field(
        default=default,
        metadata={"convert": convert, "meaning": meaning, "names": variables, "shown": shown},
    )


@dataclass(frozen=True)
class Settings:
    """The environment, checked. Times are in seconds, sizes in bytes unless the name says MB."""

    data_path: str = setting("/opt/ml", str, "the tree", "SAGEMAKER_DATA_PATH")
    forecaster: str | None = setting(
        None,
        str.strip,
        "the forecaster, `deepar` for the built-in algorithm's job",
        "GLUONTS_FORECASTER",
    )
    # its presence means that a log, not a person, reads the output
    training_job_name: str | None = setting(
        None, str.strip, "set by SageMaker: no progress bars", "TRAINING_JOB_NAME"
    )
    program: str | None = setting(
        None,
        str.strip,
        "a script for AWS's toolkits; not run here, which is told",
        "SAGEMAKER_PROGRAM",
    )
    log_level: str = setting(
        "INFO",
        level,
        "by name or number",
        "GLUONTS_SHELL_LOG_LEVEL",
        "SAGEMAKER_CONTAINER_LOG_LEVEL",
    )
    # lines for people, or objects for programs such as CloudWatch Logs Insights
    log_format: str = setting(
        "text",
        one_of("text", "json"),
        "`json` for a line that is one object: time, level, message, and what requests tell",
        "GLUONTS_SHELL_LOG_FORMAT",
    )
    # counting costs a request less than a microsecond, but who has not asked for a page shall have none
    metrics: str | None = setting(
        None,
        one_of("emf", "prometheus", "both"),
        "`emf` for a line of CloudWatch's embedded metric format each minute, `prometheus` for /metrics, `both`",
        "GLUONTS_SHELL_METRICS",
        shown="none",
    )
    # for an air-gapped image
    offline: bool = setting(False, boolean, "pip never asks an index", "GLUONTS_SHELL_OFFLINE")
    canary: bool = setting(
        True,
        boolean,
        "a saved model is tried in a process of its own, and by each worker before it is ready",
        "GLUONTS_SHELL_CANARY",
    )
    # the first host's, by which torch's processes find each other; the hosts themselves meet at the next one
    master_port: int = setting(
        29500,
        whole(1, 65534),
        "of the first of several hosts, which uses this port and the next one",
        "MASTER_PORT",
    )
    hosts_wait: float = setting(
        300.0,
        seconds,
        "seconds that the hosts of a job wait for each other at its start",
        "GLUONTS_SHELL_HOSTS_WAIT",
    )
    hosts_silence: float = setting(
        30.0,
        seconds,
        "seconds without a sign of life after which a host of the job counts as dead; at least 1",
        "GLUONTS_SHELL_HOSTS_SILENCE",
    )
    # an archive that unpacks to more is refused as a bomb
    max_unpacked_bytes: int = setting(
        10 * 1024 * MEBIBYTE,
        whole(1),
        "what archives may unpack to",
        "GLUONTS_SHELL_MAX_UNPACKED_BYTES",
        shown="10 GiB",
    )
    # SageMaker names the port in pipelines and multi-container endpoints
    port: int = setting(
        8080,
        whole(0, 65535),
        "the first one set wins",
        "SAGEMAKER_BIND_TO_PORT",
        "SAGEMAKER_SERVER_PORT",
    )
    # SageMaker reaches the container from outside
    address: str = setting("0.0.0.0", str.strip, "where to listen", "SAGEMAKER_SERVER_ADDRESS")  # noqa: S104
    # AWS documents MODEL_SERVER_WORKERS for DeepAR; the inference toolkit passes the longer name
    workers: int | None = setting(
        None,
        whole(1, 1024),
        "worker processes",
        "MODEL_SERVER_WORKERS",
        "SAGEMAKER_MODEL_SERVER_WORKERS",
        shown="the container's CPUs",
    )
    # SageMaker gives up on a request after 60 s
    timeout: float = setting(
        60.0,
        seconds,
        "seconds after its arrival at which a request is given up, waiting or half computed; "
        "60 or more is also what a body may take to arrive",
        "SAGEMAKER_SERVER_TIMEOUT",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    )
    # a predict that takes longer is taken for one that never returns
    max_predict_seconds: float | None = setting(
        None,
        seconds,
        "a longer predict is taken for one that never returns, and its worker is replaced; 0 for never",
        "GLUONTS_SHELL_MAX_PREDICT_SECONDS",
        shown="twice SAGEMAKER_SERVER_TIMEOUT; 3,600 in batch jobs",
    )
    max_worker_bytes: int | None = setting(
        None,
        whole(1),
        "a worker that has grown beyond it is replaced between two requests",
        "GLUONTS_SHELL_MAX_WORKER_BYTES",
        shown="none",
    )
    # asynchronous endpoints take up to 1 GB; the real-time limit is 6 MiB
    max_content_length: int | None = setting(
        None,
        whole(1),
        "bytes of a body, also once it is unpacked; in batch jobs SAGEMAKER_MAX_PAYLOAD_IN_MB, unless that is 0",
        "MAX_CONTENT_LENGTH",
        shown="6 MiB",
    )
    default_accept: str | None = setting(
        None,
        one_of("application/json", "application/jsonlines"),
        "the answer's format for clients that send no Accept",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
        shown="the request's",
    )
    force_static: bool = setting(
        False, boolean, "requests may not name a forecaster", "GLUONTS_FORCE_STATIC"
    )
    allowed_forecasters: tuple[str, ...] | None = setting(
        None,
        names,
        "class paths, or prefixes of them, that requests may name",
        "GLUONTS_ALLOWED_FORECASTERS",
        shown="the harmless ones and the code channel's",
    )
    local_endpoints: bool = setting(
        False,
        boolean,
        "also answer /endpoints/NAME/invocations, for SDKs on a laptop; errors are ModelErrors then",
        "GLUONTS_SHELL_LOCAL_ENDPOINTS",
    )
    # SageMaker sets it for an endpoint whose Mode is MultiModel
    multi_model: bool = setting(
        False, boolean, "many models on one endpoint, loaded by /models", "SAGEMAKER_MULTI_MODEL"
    )
    # SageMaker writes `true`, the SDK's local mode `True`
    batch: bool = setting(False, boolean, "batch transform", "SAGEMAKER_BATCH")
    batch_strategy: str = setting(
        "SINGLE_RECORD", strategy, "what /execution-parameters tells", "SAGEMAKER_BATCH_STRATEGY"
    )
    max_payload_in_mb: int = setting(
        6,
        whole(0, 100),
        "what /execution-parameters tells, and the limit of a body",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    )
    max_concurrent_transforms: int | None = setting(
        None,
        whole(0),
        "what /execution-parameters tells, at most",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    )
    inference_config: str | None = setting(
        None,
        str,
        "the configuration of a batch job",
        "INFERENCE_CONFIG",
        "DEEPAR_INFERENCE_CONFIG",
        shown="mean and deciles",
    )
    forward_fields: tuple[str, ...] = setting(
        (), names, "fields to copy from each instance to its answer", "GLUONTS_FORWARD_FIELDS"
    )
    suppress_errors: bool = setting(
        False,
        boolean,
        "a bad line becomes an error line instead of a failed request",
        "GLUONTS_BATCH_SUPPRESS_ERRORS",
    )
    batch_timeout: float = setting(
        0.0,
        seconds,
        "seconds for a request of a batch job; the fallback answers the rest",
        "GLUONTS_BATCH_TIMEOUT",
        shown="0 (off)",
    )
    fallback_predictor: str = setting(
        "gluonts.model.trivial.mean.MeanPredictor",
        str.strip,
        "who answers what takes too long",
        "GLUONTS_BATCH_FALLBACK_PREDICTOR",
        shown="MeanPredictor",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment. An empty variable counts as absent.

        Raises ConfigurationError with the variable's name, what was found and what was expected.
        """
        found: dict[str, Any] = {}
        for variable, name, convert in VARIABLES:
            text = environ.get(variable, "")
            if name in found or not text.strip():
                continue
            try:
                found[name] = convert(text)
            except ValueError as error:
                message = f"environment variable {variable} is {text[:100]!r}, expected {error}"
                raise ConfigurationError(message) from None
        return cls(**found)

    @property
    def body_limit(self) -> int:
        """Bytes that a request body may have.

        In a batch job what /execution-parameters tells is what holds, whatever MAX_CONTENT_LENGTH says.
        """
        if self.batch and self.max_payload_in_mb:
            return self.max_payload_in_mb * MEBIBYTE
        # AWS, CreateTransformJob: a MaxPayloadInMB of 0 sends whole files, of any size, in chunks
        otherwise = 1024 * MEBIBYTE if self.batch else 6 * MEBIBYTE
        return self.max_content_length or otherwise

    @property
    def body_seconds(self) -> float:
        """That a body may take to arrive, and one more for each megabyte of it."""
        return max(60.0, self.timeout or 3600.0)

    @property
    def predict_limit(self) -> float:
        """Seconds after which a predict counts as one that never returns; 0 for never.

        SageMaker gives up on a request of an endpoint after 60 s, and on one of a batch transform
        job after an hour at most (CreateTransformJob, InvocationsTimeoutInSeconds).
        """
        if self.max_predict_seconds is not None:
            return self.max_predict_seconds
        if self.batch or not self.timeout:
            return LONGEST_REQUEST
        return 2 * self.timeout


def _variables() -> tuple[tuple[str, str, Callable[[str], Any]], ...]:
    found = []
    for one in fields(Settings):
        for variable in one.metadata["names"]:
            found.append((variable, one.name, one.metadata["convert"]))
    return tuple(found)


# (variable, field of Settings, converter)
VARIABLES = _variables()


def table() -> str:
    """What docs/operations.md tells of the settings, in Markdown."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for one in fields(Settings):
        variables = "`, `".join(one.metadata["names"])
        row = f"| `{variables}` | {_default(one)} | {one.metadata['meaning']} |"
        rows.append(row.replace("|  |", "| |"))
    return "\n".join(rows)


def _default(one: Field[Any]) -> str:
    if one.metadata["shown"]:
        return str(one.metadata["shown"])
    if isinstance(one.default, bool):
        return str(one.default).lower()
    if one.default in (None, ()):
        return ""
    if isinstance(one.default, float):
        return f"{one.default:g}"
    return str(one.default)


if __name__ == "__main__":
    print(table())  # noqa: T201
