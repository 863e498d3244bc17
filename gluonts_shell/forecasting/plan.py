"""A job's hyperparameters -> what will be trained, on what, and how: decided and checked before anything costs time.

It takes plain values; whose they are, and where a job's files lie, others know.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from gluonts.model.estimator import Estimator

from gluonts_shell.errors import ConfigurationError
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.channel import Channel, Data
from gluonts_shell.forecasting.data.frequency import period_alias
from gluonts_shell.forecasting.distributed import shards
from gluonts_shell.forecasting.distributed.ranks import Ranks, check_strategy, devices
from gluonts_shell.forecasting.forecaster import (
    catalog,
    constructors,
    deepar,
    features,
    names,
    savable,
)
from gluonts_shell.forecasting.forecaster.hyperparameters import arguments as routing
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options
from gluonts_shell.forecasting.lightning import checkpoints

log = logging.getLogger(__name__)

# Where nothing is trained with 0, the names under which a job may have given it.
COUNTS: Mapping[str, tuple[str, ...]] = {
    "batch_size": ("mini_batch_size", "batch_size"),
    "num_batches_per_epoch": ("num_batches_per_epoch",),
    "context_length": ("context_length",),
    "epochs": ("epochs",),
}
# The same of Lightning's trainer; -1 means without end there.
TRAINER_COUNTS: Mapping[str, tuple[str, ...]] = {
    "max_epochs": ("epochs", "max_epochs", "trainer_kwargs.max_epochs"),
    "max_steps": ("max_steps", "trainer_kwargs.max_steps"),
    "limit_train_batches": ("limit_train_batches", "trainer_kwargs.limit_train_batches"),
}


class Source(Protocol):
    """A channel as the job has it: where its files are, and of which type they are said to be."""

    @property
    def path(self) -> Path: ...

    @property
    def content_type(self) -> str | None: ...


@dataclass
class Datasets:
    """The channels, read; arguments and features are complete once the train channel has been seen.

    previous: the contract of the model that is trained further.
    """

    train: Data | None
    validation: Data | None
    test: Data | None
    arguments: dict[str, Any]
    features: Features
    forecaster: Any
    previous: Contract | None = None


@dataclass(frozen=True)
class Plan:
    """use: what the class uses of the data; dialect: what DeepAR's words said, where the class is DeepAR's."""

    kind: names.Forecaster
    arguments: dict[str, Any]
    options: Options
    freq: str
    channels: Mapping[str, Source]
    use: features.Use
    dialect: deepar.Translation | None = None

    @classmethod
    def of(
        cls,
        hyperparameters: Mapping[str, Any],
        channels: Mapping[str, Source],
        forecaster: str | None = None,
        code: Path | None = None,
        strangers: Sequence[str] = (),
    ) -> Plan:
        """forecaster: what the image or the command line asks for, before the hyperparameter. code: where the code
        channel was installed, for the sentence about a class that is not there. strangers: the job's channels that
        nobody reads.

        Raises ConfigurationError or ForecasterError for whatever can be known to be wrong without the data.
        """
        name = _forecaster_name(hyperparameters, forecaster)
        built_in = deepar.asked_for(name, hyperparameters)
        if name is None and not built_in:
            raise ConfigurationError(
                "no forecaster is named: give hyperparameter 'forecaster_name', GLUONTS_FORECASTER or --forecaster, "
                f"or DeepAR's hyperparameters ({', '.join(deepar.REQUIRED)})"
            )
        kind = names.resolve(deepar.ESTIMATOR if built_in else str(name), code)
        savable.check_savable(kind)
        parameters, _ = constructors.constructor_parameters(kind)
        dialect = _dialect(kind, hyperparameters, built_in)
        words, ignored = features.spoken(
            parameters, dialect.hyperparameters if dialect else hyperparameters
        )
        routed = routing.route(kind, words)
        _check_scores(routed.options, channels)
        freq = _freq(routed.options.freq, channels)
        arguments = constructors.with_frequency(kind, routed.arguments, freq)
        use = features.Use.of(kind, parameters, ignored | features.ignored_by(dialect))
        if not use.declared and not features.overrides_derivation(kind):
            constructors.check_complete(kind, arguments)
        _check_lengths(parameters, arguments)
        _check_learns(arguments, hyperparameters)
        _check_devices(kind, arguments)
        _check_channels(kind, channels, strangers)
        return cls(kind, arguments, routed.options, freq, channels, use, dialect)

    @property
    def trains(self) -> bool:
        return issubclass(self.kind, Estimator)

    @property
    def distributes(self) -> bool:
        """Whether several processes can train it together."""
        return _distributes(self.kind)

    @property
    def devices(self) -> int:
        """That this host uses: a process trains on each."""
        return devices(self.arguments.get("trainer_kwargs") or {}) if self.distributes else 1

    def check_together(self) -> None:
        """Raises ConfigurationError for what several processes cannot do."""
        check_strategy(self.arguments.get("trainer_kwargs") or {})

    def read(self, previous: Contract | None = None, ranks: Ranks = Ranks()) -> Datasets:  # noqa: B008 - it is read
        """Reads every channel that will be used, the test channel too: a bad line there should not cost a training.

        previous: the contract of the model that is trained further; its labels and cardinalities
        are the new one's. ranks: of the process; all hosts read at the same time, and only the
        first one scores.
        """
        horizon = int(self.arguments.get("prediction_length") or 0)
        arguments, train = dict(self.arguments), None
        if self._learns:
            train = self._first(previous, horizon if self.trains else 0, ranks)
            known = previous.features if previous else None
            arguments = features.derived(self.use, train, arguments, self.dialect, known)
        forecaster = constructors.construct(self.kind, arguments, train)
        if train is not None:
            features.check_dimensions(forecaster, train)
        wanted = self.use.features(arguments, train.statistics if train else None)
        validation = None
        if self._validates:
            validation = _of_all(self._channel("validation", wanted, horizon), ranks)
        found = Datasets(train, validation, None, arguments, wanted, forecaster, previous)
        if ranks.position:
            return found
        if "test" in self.channels:
            self._add_test(found)
        elif train is None and "train" in self.channels:
            # what is saved is tried on it, and what is wrong in it is told
            found.train = self._first_known("train", "Training", found)
        return found

    @property
    def _learns(self) -> bool:
        """Whether anything is taken from the channel train, if only arguments."""
        return self.trains or (
            features.overrides_derivation(self.kind) and "train" in self.channels
        )

    def _first(self, previous: Contract | None, shortest: int, ranks: Ranks) -> Data:
        known = previous.features if previous else Features()
        wanted = self.use.to_read(self.arguments, known)
        train = _of_all(self._channel("train", wanted, shortest), ranks)
        _log_statistics(train, "Training")
        self.use.tell_unused(train)
        return train

    def _add_test(self, found: Datasets) -> None:
        if found.train is None:
            found.test = self._first_known("test", "Test", found)
            return
        found.test = self._channel("test", found.features, 0)
        _log_statistics(found.test, "Test")

    def _first_known(self, name: str, title: str, found: Datasets) -> Data:
        """A channel which is the first of which anything is known, since nothing was learnt."""
        data = self._channel(name, replace(found.features, dimensions=0), 0)
        _log_statistics(data, title)
        self.use.tell_unused(data)
        features.check_dimensions(found.forecaster, data)
        statistics = data.statistics
        found.features = replace(found.features, labels=statistics.labels, **statistics.settled())
        return data

    def construct(self, data: Datasets) -> Any:
        """The estimator, or the predictor itself."""
        log.info("Final configuration: %s", self.call(data))
        return data.forecaster

    def call(self, data: Datasets) -> str:
        """The constructor's call, as Python would have it."""
        shown = ", ".join(f"{name}={value!r}" for name, value in data.arguments.items())
        return f"{catalog.class_path(self.kind)}({shown})"

    def contract(self, predictor: Any, data: Datasets, training_job_name: str | None) -> Contract:
        return Contract(
            freq=self.freq,
            prediction_length=artifact.horizon(predictor),
            forecaster=catalog.class_path(self.kind),
            arguments=data.arguments,
            features=replace(data.features, lead_time=int(getattr(predictor, "lead_time", 0) or 0)),
            versions=artifact.versions(),
            training_job_name=training_job_name,
            created=artifact.now(),
        )

    def fingerprint(self, data: Datasets) -> dict[str, str]:
        """What a checkpoint must agree with for the job to go on from it."""
        drawn = {name: getattr(self.options, name) for name in ("seed", "shuffle_buffer_length")}
        channels = {"train": data.train, "validation": data.validation}
        arguments = {**data.arguments, **drawn}
        if self.dialect and self.dialect.early_stopping_patience is not None:
            # Lightning goes on with the patience of the checkpoint, whatever is asked for
            arguments["early_stopping_patience"] = self.dialect.early_stopping_patience
        if data.previous is not None:
            arguments["channel 'model'"] = data.previous.created or "a model"
        return checkpoints.fingerprint(catalog.class_path(self.kind), arguments, channels)

    @property
    def lengths(self) -> dict[str, str]:
        """How long to train, which is no part of the fingerprint; processes that train together have to agree on it."""
        return checkpoints.lengths(self.arguments.get("trainer_kwargs") or {})

    @property
    def _validates(self) -> bool:
        return self.trains and "validation" in self.channels

    def channel(self, name: str, wanted: Features | None = None, shortest: int = 0) -> Channel:
        """What to read of it; without `wanted` as the train channel is read, of which nothing is known before."""
        source = self.channels[name]
        if wanted is None:
            wanted = self.use.to_read(self.arguments, Features())
        return Channel(name, source.path, self.freq, source.content_type, wanted, shortest)

    def _channel(self, name: str, wanted: Features, shortest: int) -> Data:
        return self.channel(name, wanted, shortest).read(self.options.listify_dataset)


def _of_all(data: Data, ranks: Ranks) -> Data:
    if data.channel.name not in ranks.sharded:
        return data
    return shards.of_all(data, ranks.gather)


def _distributes(kind: type) -> bool:
    """GluonTS's own way of training with Lightning; a class that has it has imported the module."""
    module = sys.modules.get("gluonts.torch.model.estimator")
    return (
        module is not None
        and issubclass(kind, module.PyTorchLightningEstimator)
        and "ckpt_path" in inspect.signature(getattr(kind, "train")).parameters  # noqa: B009 - Estimator's
    )


def _check_devices(kind: type, arguments: Mapping[str, Any]) -> None:
    given = (arguments.get("trainer_kwargs") or {}).get("devices")
    if given in (None, 1, "1", "auto") or _distributes(kind):
        return
    if not (isinstance(given, list) and len(given) == 1):
        raise ConfigurationError(
            f"hyperparameter 'devices' is {given}, but {kind.__name__} trains in one process; remove it"
        )


def _forecaster_name(hyperparameters: Mapping[str, Any], forecaster: str | None) -> str | None:
    """--forecaster and GLUONTS_FORECASTER before the hyperparameter; a difference is worth a line."""
    asked = hyperparameters.get("forecaster_name")
    if forecaster and asked and forecaster != asked:
        log.warning("hyperparameter 'forecaster_name' is %r, but --forecaster or GLUONTS_FORECASTER is %r, which wins",
                    asked, forecaster)  # fmt: skip
    if forecaster or not asked:
        return forecaster
    return str(asked)


def _dialect(
    kind: type, hyperparameters: Mapping[str, Any], built_in: bool
) -> deepar.Translation | None:
    if catalog.class_path(kind) != deepar.ESTIMATOR:
        return None
    given = dict(hyperparameters)
    given.pop("forecaster_name", None)
    dialect = deepar.translate(given, built_in)
    if dialect.notes:
        log.warning("not as in the built-in algorithm: %s", "; ".join(dialect.notes))
    return dialect


def _check_lengths(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    if "prediction_length" not in parameters:
        return
    length = arguments.get("prediction_length")
    found = f"hyperparameter 'prediction_length' is {'missing' if length is None else length}"
    ConfigurationError.expect((length or 0) >= 1, found, "a positive whole number")


def _check_learns(arguments: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for a count with which nothing would be learnt, by the name that the job has for it."""
    trainer = arguments.get("trainer_kwargs") or {}
    for group, counts, endless in ((arguments, COUNTS, None), (trainer, TRAINER_COUNTS, -1)):
        for name, synonyms in counts.items():
            value = group.get(name)
            if not isinstance(value, int | float) or value > 0 or value == endless:
                continue
            called = next((synonym for synonym in synonyms if synonym in hyperparameters), name)
            expected = "a positive number: nothing would be learnt"
            raise ConfigurationError(f"hyperparameter {called!r} is {value}, expected {expected}")


def _check_scores(options: Options, channels: Mapping[str, Source]) -> None:
    if options.evaluation == "required" and "test" not in channels:
        raise ConfigurationError(
            "hyperparameter 'evaluation' is 'required', but channel 'test', on which the model is scored, is missing"
        )


def _check_channels(kind: type, channels: Mapping[str, Source], strangers: Sequence[str]) -> None:
    if issubclass(kind, Estimator) and "train" not in channels:
        missing = f"channel 'train' is missing: {kind.__name__} is an estimator and learns from it"
        raise ConfigurationError(missing + _rename(strangers, "train"))
    if "model" in channels and not hasattr(kind, "train_from"):
        raise ConfigurationError(
            f"channel 'model' asks for incremental training, which {kind.__name__} cannot do; remove the channel"
        )


def _rename(strangers: Sequence[str], name: str) -> str:
    """What the job has in place of a channel: the SDK calls the first one `training`."""
    if not strangers:
        return ""
    if len(strangers) == 1:
        return f"; the job has channel {strangers[0]!r}; name it {name!r}"
    return f"; the job has channels {', '.join(map(repr, strangers))}; name one of them {name!r}"


def _freq(given: str | None, channels: Mapping[str, Source]) -> str:
    """From the hyperparameters, else from metadata.json in the channel `metadata`."""
    if given is None and "metadata" in channels:
        given = _freq_of_metadata(channels["metadata"].path)
    missing = "hyperparameter 'freq' (or DeepAR's 'time_freq') is missing"
    ConfigurationError.expect(given is not None, missing, "for example 'D' or '1h'")
    return period_alias(str(given))


def _freq_of_metadata(path: Path) -> str:
    if not path.is_file():
        path = min(path.rglob("metadata.json"), default=path / "metadata.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"channel 'metadata': metadata.json cannot be read: {error}"
        ) from None
    given = None
    if isinstance(found, dict):
        given = found.get("freq", found.get("time_granularity"))
    missing = f"channel 'metadata': {path.name} has no 'freq'"
    ConfigurationError.expect(isinstance(given, str), missing, 'for example {"freq": "D"}')
    return str(given)


def _log_statistics(data: Data, title: str) -> None:
    log.info("%s set statistics:", title)
    for line in data.statistics.lines():
        log.info("%s", line)
