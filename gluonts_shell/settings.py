"""Every environment variable that the package reads, once: name, converter, default, and why it exists.

It knows text and nothing else: `Settings.from_environ` takes a mapping, checks, and returns a frozen value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gluonts_shell.errors import ConfigurationError

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off", ""})
MEBIBYTE = 1024 * 1024


def boolean(text: str) -> bool:
    if text.strip().lower() in TRUE:
        return True
    if text.strip().lower() in FALSE:
        return False
    raise ValueError("true or false")


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    def convert(text: str) -> int:
        expected = f"a whole number of at least {minimum}" + (f" and at most {maximum}" if maximum else "")
        if not text.strip().isascii() or not text.strip().isdigit():
            raise ValueError(expected)
        number = int(text.strip()[:20])
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(expected)
        return number

    return convert


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
        return tuple(name.strip() for name in text.split(",") if name.strip())
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
    if name not in ("singlerecord", "multirecord"):
        raise ValueError("SINGLE_RECORD or MULTI_RECORD")
    return "SINGLE_RECORD" if name == "singlerecord" else "MULTI_RECORD"


@dataclass(frozen=True)
class Settings:
    """The environment, checked. Times are in seconds, sizes in bytes unless the name says MB."""

    data_path: str = "/opt/ml"
    forecaster: str | None = None
    training_job_name: str | None = None
    log_level: str = "INFO"
    offline: bool = False
    canary: bool = True
    max_unpacked_bytes: int = 10 * 1024 * MEBIBYTE
    port: int = 8080
    address: str = "0.0.0.0"  # noqa: S104 - SageMaker reaches the container from outside
    workers: int | None = None
    timeout: float = 60.0
    max_content_length: int | None = None
    force_static: bool = False
    allowed_forecasters: tuple[str, ...] | None = None
    local_endpoints: bool = False
    batch: bool = False
    batch_strategy: str = "SINGLE_RECORD"
    max_payload_in_mb: int = 6
    max_concurrent_transforms: int | None = None
    inference_config: str | None = None
    suppress_errors: bool = False
    forward_fields: tuple[str, ...] = ()
    batch_timeout: float = 0.0
    fallback_predictor: str = "gluonts.model.trivial.mean.MeanPredictor"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment. An empty variable counts as absent.

        Raises ConfigurationError with the variable's name, what was found and what was expected.
        """
        found: dict[str, Any] = {}
        for variable, field, convert in VARIABLES:
            text = environ.get(variable, "")
            if field in found or not text.strip():
                continue
            try:
                found[field] = convert(text)
            except ValueError as error:
                message = f"environment variable {variable} is {text[:100]!r}, expected {error}"
                raise ConfigurationError(message) from None
        return cls(**found)

    @property
    def body_limit(self) -> int:
        """Bytes that a request body may have: MAX_CONTENT_LENGTH, else what this kind of job needs."""
        if self.max_content_length is not None:
            return self.max_content_length
        # AWS, CreateTransformJob: a MaxPayloadInMB of 0 sends whole files, of any size, in chunks
        return (self.max_payload_in_mb or 1024) * MEBIBYTE if self.batch else 6 * MEBIBYTE


# (variable, field of Settings, converter). Of several variables for one field the first that is set wins.
VARIABLES: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    # where the /opt/ml tree is; for tests and for running outside SageMaker
    ("SAGEMAKER_DATA_PATH", "data_path", str),
    # the forecaster of this image: a class path, a short name, or `deepar`
    ("GLUONTS_FORECASTER", "forecaster", str.strip),
    # set by SageMaker in training jobs; its presence means that a log, not a person, reads the output
    ("TRAINING_JOB_NAME", "training_job_name", str.strip),
    ("GLUONTS_SHELL_LOG_LEVEL", "log_level", lambda text: text.strip().upper()),
    # air-gapped image: pip never asks an index
    ("GLUONTS_SHELL_OFFLINE", "offline", boolean),
    # false: the saved model is not tried in a process of its own, and workers do not try it before they are ready
    ("GLUONTS_SHELL_CANARY", "canary", boolean),
    # a code archive that unpacks to more is refused as a bomb
    ("GLUONTS_SHELL_MAX_UNPACKED_BYTES", "max_unpacked_bytes", whole(1)),
    # SageMaker names the port in pipelines and multi-container endpoints
    ("SAGEMAKER_BIND_TO_PORT", "port", whole(0, 65535)),
    ("SAGEMAKER_SERVER_PORT", "port", whole(0, 65535)),
    ("SAGEMAKER_SERVER_ADDRESS", "address", str.strip),
    # AWS documents MODEL_SERVER_WORKERS for DeepAR; the inference toolkit passes the longer name
    ("MODEL_SERVER_WORKERS", "workers", whole(1, 1024)),
    ("SAGEMAKER_MODEL_SERVER_WORKERS", "workers", whole(1, 1024)),
    # a request that waited longer is not computed any more: SageMaker gave up on it (60 s)
    ("SAGEMAKER_SERVER_TIMEOUT", "timeout", seconds),
    # asynchronous endpoints take up to 1 GB; the real-time limit is 6 MiB
    ("MAX_CONTENT_LENGTH", "max_content_length", whole(1)),
    # requests may not name a forecaster
    ("GLUONTS_FORCE_STATIC", "force_static", boolean),
    # prefixes of class paths that requests may name, instead of `gluonts.` and the code channel
    ("GLUONTS_ALLOWED_FORECASTERS", "allowed_forecasters", names),
    # answer /endpoints/<name>/invocations too, for the SDK's clients on a laptop
    ("GLUONTS_SHELL_LOCAL_ENDPOINTS", "local_endpoints", boolean),
    # SageMaker writes `true`, the SDK's local mode `True`
    ("SAGEMAKER_BATCH", "batch", boolean),
    ("SAGEMAKER_BATCH_STRATEGY", "batch_strategy", strategy),
    ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "max_payload_in_mb", whole(0, 100)),
    ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "max_concurrent_transforms", whole(0)),
    ("INFERENCE_CONFIG", "inference_config", str),
    ("DEEPAR_INFERENCE_CONFIG", "inference_config", str),
    ("GLUONTS_BATCH_SUPPRESS_ERRORS", "suppress_errors", boolean),
    ("GLUONTS_FORWARD_FIELDS", "forward_fields", names),
    ("GLUONTS_BATCH_TIMEOUT", "batch_timeout", seconds),
    ("GLUONTS_BATCH_FALLBACK_PREDICTOR", "fallback_predictor", str.strip),
)
