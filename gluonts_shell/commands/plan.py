"""A job's hyperparameters -> what will be trained, on what, and how: decided and checked before anything costs time."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from gluonts.model.estimator import Estimator

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.channel import Channel, Data
from gluonts_shell.forecasting.data.frequency import period_alias
from gluonts_shell.forecasting.forecaster import arguments as routing
from gluonts_shell.forecasting.forecaster import catalog, constructors, deepar, features, names
from gluonts_shell.forecasting.lightning import checkpoints
from gluonts_shell.sagemaker.job import TrainingJob
from gluonts_shell.settings import Settings

log = logging.getLogger(__name__)


@dataclass
class Datasets:
    """The channels, read; arguments and features are complete once the train channel has been seen."""

    train: Data | None
    validation: Data | None
    test: Data | None
    arguments: dict[str, Any]
    features: Features


@dataclass(frozen=True)
class Plan:
    kind: names.Forecaster
    arguments: dict[str, Any]
    options: routing.Options
    freq: str
    job: TrainingJob
    dialect: deepar.Translation | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, job: TrainingJob, settings: Settings) -> Plan:
        """Raises ConfigurationError or ForecasterError for whatever can be known to be wrong without the data."""
        name = _forecaster_name(job, settings)
        built_in = deepar.asked_for(name, job.hyperparameters)
        if name is None and not built_in:
            raise ConfigurationError(
                "no forecaster is named: give hyperparameter 'forecaster_name', GLUONTS_FORECASTER or --forecaster, "
                f"or DeepAR's hyperparameters ({', '.join(deepar.REQUIRED)})"
            )
        kind = names.resolve(deepar.ESTIMATOR if built_in else str(name))
        hyperparameters, dialect = job.hyperparameters, None
        if catalog.class_path(kind) == deepar.ESTIMATOR:
            hyperparameters = {n: v for n, v in job.hyperparameters.items() if n != "forecaster_name"}
            dialect = deepar.translate(hyperparameters, built_in)
            hyperparameters = dialect.hyperparameters
            if dialect.notes:
                log.warning("not as in the built-in algorithm: %s", "; ".join(dialect.notes))
        routed = routing.route(kind, hyperparameters)
        parameters, _ = constructors.constructor_parameters(kind)
        freq = _freq(routed.options.freq, job)
        arguments = {**routed.arguments, "freq": freq} if "freq" in parameters else dict(routed.arguments)
        if not features.overrides_derivation(kind):
            constructors.check_complete(kind, arguments)
        length = arguments.get("prediction_length")
        if "prediction_length" in parameters and (length is None or length < 1):
            found = "missing" if length is None else f"{length}"
            raise ConfigurationError(f"hyperparameter 'prediction_length' is {found}, expected a positive whole number")
        if issubclass(kind, Estimator) and "train" not in job.channels:
            raise ConfigurationError(f"channel 'train' is missing: {kind.__name__} is an estimator and learns from it")
        if "model" in job.channels and not hasattr(kind, "train_from"):
            raise ConfigurationError(
                f"channel 'model' asks for incremental training, which {kind.__name__} cannot do; remove the channel"
            )
        return cls(kind, arguments, routed.options, freq, job, dialect, parameters)

    @property
    def trains(self) -> bool:
        return issubclass(self.kind, Estimator)

    def read(self) -> Datasets:
        """Reads every channel that will be used, the test channel too: a bad line there should not cost a training."""
        horizon = int(self.arguments.get("prediction_length") or 0)
        train = validation = test = None
        arguments = dict(self.arguments)
        if self.trains or (features.overrides_derivation(self.kind) and "train" in self.job.channels):
            train = self._channel("train", features.to_read(self.dialect), horizon if self.trains else 0)
            _log_statistics(train, "Training")
            arguments = features.derived(self.kind, train, arguments, self.dialect)
        statistics = train.statistics if train else None
        wanted = features.used(self.parameters, arguments, statistics)
        if self.trains and "validation" in self.job.channels:
            validation = self._channel("validation", wanted, horizon)
        if "test" in self.job.channels:
            test = self._channel("test", wanted, 0)
            _log_statistics(test, "Test")
        return Datasets(train, validation, test, arguments, wanted)

    def construct(self, data: Datasets) -> Any:
        """The estimator, or the predictor itself."""
        log.info("Final configuration: %s", self.call(data))
        return constructors.construct(self.kind, data.arguments)

    def call(self, data: Datasets) -> str:
        """The constructor's call, as Python would have it."""
        shown = ", ".join(f"{name}={value!r}" for name, value in data.arguments.items())
        return f"{catalog.class_path(self.kind)}({shown})"

    def contract(self, predictor: Any, data: Datasets, settings: Settings) -> Contract:
        return Contract(
            freq=self.freq,
            prediction_length=int(predictor.prediction_length),
            forecaster=catalog.class_path(self.kind),
            arguments=data.arguments,
            features=data.features,
            versions=artifact.versions(),
            training_job_name=settings.training_job_name,
            created=artifact.now(),
        )

    def fingerprint(self, data: Datasets) -> dict[str, str]:
        """What a checkpoint must agree with for the job to go on from it."""
        drawn = {name: getattr(self.options, name) for name in ("seed", "shuffle_buffer_length")}
        channels = {"train": data.train, "validation": data.validation}
        arguments = {**data.arguments, **drawn}
        return checkpoints.fingerprint(catalog.class_path(self.kind), arguments, channels)

    def channel(self, name: str, wanted: Features | None = None, shortest: int = 0) -> Channel:
        """What to read of it; without `wanted` as the train channel is read, of which nothing is known before."""
        source = self.job.channels[name]
        if wanted is None:
            wanted = features.to_read(self.dialect)
        return Channel(name, source.path, self.freq, source.content_type, wanted, shortest)

    def _channel(self, name: str, wanted: Features, shortest: int) -> Data:
        return self.channel(name, wanted, shortest).read(self.options.listify_dataset)


def _forecaster_name(job: TrainingJob, settings: Settings) -> str | None:
    """--forecaster and GLUONTS_FORECASTER before the hyperparameter; a difference is worth a line."""
    asked = job.hyperparameters.get("forecaster_name")
    if settings.forecaster and asked and settings.forecaster != asked:
        log.warning("hyperparameter 'forecaster_name' is %r, but --forecaster or GLUONTS_FORECASTER is %r, which wins",
                    asked, settings.forecaster)  # fmt: skip
    return settings.forecaster or (str(asked) if asked else None)


def _freq(given: str | None, job: TrainingJob) -> str:
    """From the hyperparameters, else from metadata.json in the channel `metadata`."""
    if given is None and "metadata" in job.channels:
        path = job.channels["metadata"].path
        file = path if path.is_file() else next(iter(sorted(path.rglob("metadata.json"))), path / "metadata.json")
        try:
            found = json.loads(file.read_text(encoding="utf-8-sig"))
            given = found.get("freq", found.get("time_granularity")) if isinstance(found, dict) else None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"channel 'metadata': metadata.json cannot be read: {error}") from None
        if not isinstance(given, str):
            raise ConfigurationError(
                f"channel 'metadata': {file.name} has no 'freq', expected for example {json.dumps({'freq': 'D'})}"
            )
    if given is None:
        raise ConfigurationError(
            "hyperparameter 'freq' (or DeepAR's 'time_freq') is missing, expected for example 'D' or '1h'"
        )
    return period_alias(given)


def _log_statistics(data: Data, title: str) -> None:
    log.info("%s set statistics:", title)
    for line in data.statistics.lines():
        log.info("%s", line)
