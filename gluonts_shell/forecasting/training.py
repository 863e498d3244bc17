"""An estimator and data sets -> a trained predictor, with a log that says how it went.

Knows GluonTS's estimators and Lightning's callbacks; knows no files and no contract.
"""

from __future__ import annotations

import inspect
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, DataError, ModelError, ShellError
from gluonts_shell.forecasting.distributed.ranks import Ranks, Share
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options
from gluonts_shell.forecasting.forecaster.hyperparameters.values import literal
from gluonts_shell.forecasting.lightning.checkpoints import Checkpoints

log = logging.getLogger(__name__)

# GluonTS's estimators compute the time features of a whole series anew for each window that they draw from it, which
# takes three quarters of the time where series are long. Kept, the features are about 60 bytes a value of the target.
KEPT_VALUES = 5_000_000


@dataclass
class Stop:
    """The wish that training ends at its next batch. Who has it sets `wished`, if it is `awaited`.

    awaited: from now on a wish is heard, until somebody says otherwise. early: it was heard before training was over.
    insist: ends training in the middle of a batch, wherever that is, by raising; None where nothing is being trained.
    """

    wished: bool = False
    awaited: bool = False
    early: bool = False
    insist: Callable[[], None] | None = None


@dataclass(frozen=True)
class Watch:
    """Who watches: the host that the metric lines name, and whether a person sees a progress bar.

    checkpoints: where they go and are looked for; None where nobody wants any. losses: `train` and `validation` of each
    epoch, once the training is over. ranks: which process this is.
    """

    host: str
    progress_bar: bool
    early_stopping_patience: int | None = None
    checkpoints: Checkpoints | None = None
    stop: Stop = field(default_factory=Stop)
    losses: dict[str, list[float]] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks)


def set_environment(values: Mapping[str, Any], quiet: bool) -> None:
    """Set `gluonts.env`, for the whole process. Raises ConfigurationError for a name that it does not have."""
    from gluonts.env import env

    for name, value in {"use_tqdm": not quiet, **values}.items():
        if name not in env:
            raise ConfigurationError(
                f"hyperparameter '$env.{name}' sets nothing: gluonts.env has no {name!r}"
            )
        try:
            env._push(**{name: literal(value)})
        except Exception as error:
            raise ConfigurationError(
                f"hyperparameter '$env.{name}' is {value!r}: {error}"
            ) from None


def fit(
    estimator: Estimator,
    train: Any,
    validation: Any | None,
    *,
    options: Options,
    watch: Watch,
    start_from: Predictor | None = None,
) -> Predictor:
    """Train, and fail if anything inside failed: GluonTS itself would go on with the weights of an earlier epoch.

    train and validation are sized and can be iterated again and again; start_from needs an estimator with train_from.
    Raises ModelError, DataError, or ConfigurationError where start_from is no model of this estimator.
    """
    name = type(estimator).__name__
    if (
        start_from is not None
        and hasattr(estimator, "create_lightning_module")
        and not hasattr(start_from, "network")
    ):
        found = type(start_from).__name__
        raise ConfigurationError(
            f"channel 'model' holds a {found}, expected a model that {name} trained"
        )
    if watch.ranks.count > 1:
        train = Share(train, watch.ranks)
    method: Callable[..., Predictor] = (
        estimator.train if start_from is None else estimator.train_from
    )
    arguments = [train] if start_from is None else [start_from, train]
    extra = _taken(method, estimator, train, validation, options)
    with (
        _lightning(estimator, watch, name) as (witness, run),
        _idle_limit(train),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of Lightning and pandas, about choices that are GluonTS's
        try:
            predictor = run(method, *arguments, **extra)
        except ShellError:
            raise
        except Exception as error:
            witness.failures.append(error)
    if witness.failures:
        raise _sentence(witness.failures[0], name, witness, train) from witness.failures[0]
    _check_learnt(predictor, witness, train)
    watch.losses.update(train=witness.losses, validation=witness.validation)
    return predictor


def _taken(
    method: Callable[..., Predictor],
    estimator: Estimator,
    train: Any,
    validation: Any | None,
    options: Options,
) -> dict[str, Any]:
    """Of what the job says, the arguments that this `train` takes; a line for the others."""
    name = type(estimator).__name__
    wanted: dict[str, Any] = {
        "num_workers": options.num_workers,
        "num_prefetch": options.num_prefetch,
        "shuffle_buffer_length": options.shuffle_buffer_length,
        "cache_data": options.cache_data,
    }
    takes = inspect.signature(method).parameters
    if options.cache_data is None and "cache_data" in takes and _keeps(estimator, train):
        wanted["cache_data"] = True
    given = {key: value for key, value in wanted.items() if value is not None}
    for key in given.keys() - takes.keys():
        log.warning("hyperparameter %r is not used: %s has no use for it", key, name)
    extra = {key: value for key, value in given.items() if key in takes}
    if "validation_data" in takes:
        extra["validation_data"] = validation
    elif validation is not None:
        log.warning("channel 'validation' is not used: %s takes no validation data", name)
    return extra


@contextmanager
def _idle_limit(train: Any) -> Iterator[None]:
    """GluonTS gives up after 100 series in a row that are too short for a window; its Lightning estimators raise that
    to the number of series, and what is right for them is right for the others."""
    from gluonts.env import env

    with env._let(max_idle_transforms=max(len(train), env.max_idle_transforms)):
        yield


def _check_learnt(predictor: Predictor, witness: Witness, train: Any) -> None:
    """A training without a single finite loss, or with weights that are no numbers, is no success."""
    losses = witness.losses
    lost = [epoch for epoch, loss in enumerate(losses) if not math.isfinite(loss)]
    if losses and len(lost) == len(losses):
        epochs = f"all {len(losses)} epochs" if len(losses) > 1 else "the only epoch"
        raise ModelError(f"train loss was {losses[-1]:g} in {epochs}; {_likely_cause(train)}")
    if not _finite_weights(predictor):
        raise ModelError(f"the trained weights are no finite numbers; {_likely_cause(train)}")
    if lost:
        log.warning("train loss was %s in epoch %d; the best weights of the other epochs are kept. %s",
                    f"{losses[lost[0]]:g}", lost[0], _likely_cause(train))  # fmt: skip


def _likely_cause(train: Any) -> str:
    statistics = getattr(train, "statistics", None)
    if statistics is None or not statistics.observations:
        return "a lower learning rate (lr) may help"
    return f"{statistics.extreme}: fill values? or lower lr"


def _finite_weights(predictor: Predictor) -> bool:
    network: Any = getattr(predictor, "prediction_net", None)
    if not hasattr(network, "parameters"):
        return True
    return all(bool(weights.isfinite().all()) for weights in network.parameters())


def _keeps(estimator: Estimator, train: Any) -> bool:
    """Only for GluonTS's own classes, whose transformations give the same each time; others may draw at random."""
    statistics = getattr(train, "statistics", None)
    small = statistics is not None and statistics.observations + statistics.missing <= KEPT_VALUES
    return small and type(estimator).__module__.startswith("gluonts.")


def _sentence(error: BaseException, name: str, witness: Witness, train: Any) -> ShellError:
    reason = " ".join(str(error).split())
    if "idle transformation calls" in reason:
        return DataError(
            f"channel 'train': {name} finds no window to train on; series must be longer, "
            "or context_length and prediction_length shorter"
        )
    if "Error(s) in loading state_dict" in reason:
        return ConfigurationError(
            f"channel 'model': that model has another architecture than {name} with these hyperparameters; "
            f"give those that it was trained with: {reason[:400]}"
        )
    if "invalid values" in reason and "nan" in reason:
        return ModelError(
            f"{name}: the loss became NaN in epoch {witness.epoch}; {_likely_cause(train)}"
        )
    if isinstance(error, OverflowError) and "infinity" in reason:
        return DataError(
            f"channel 'train': {name} computes with values that become infinite; {_likely_cause(train)}"
        )
    if isinstance(error, AssertionError) and not reason:
        reason = "an assertion without a message; the traceback says where"
    return ModelError(f"{name} failed in training: {type(error).__name__}: {reason[:700]}")


@dataclass
class Witness:
    """What was seen inside a training: what went wrong, the losses of each epoch that ended, and the epoch it is in."""

    failures: list[BaseException] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    epoch: int = 0


Run = Callable[..., Predictor]


def _directly(method: Run, *arguments: Any, **named: Any) -> Predictor:
    return method(*arguments, **named)


def _say_that_nothing_is_kept(name: str, watch: Watch) -> None:
    """At the start, where it can still be thought about."""
    level = logging.INFO if watch.checkpoints is None else logging.WARNING
    log.log(
        level,
        "%s writes no checkpoints: if the job is stopped in training, what it has learnt is lost",
        name,
    )


def _kept(estimator: Any, watch: Watch, folder: str, lines: Any) -> tuple[list[Any], Run]:
    """Callbacks that keep the best weights and what is needed to go on, and how to train with them."""
    from gluonts_shell.forecasting import memory
    from gluonts_shell.forecasting.lightning import epochs

    memory.keep_freed()  # a tenth of the time of a DeepAR batch
    ranks = watch.ranks
    keeper = epochs.Keeper(watch.stop, watch.checkpoints, Path(folder), ranks)

    def run(method: Run, *arguments: Any, **named: Any) -> Predictor:
        epochs_wanted = estimator.trainer_kwargs.get("max_epochs", -1)
        path = keeper.resume(epochs_wanted, estimator.create_lightning_module)
        more = {} if path is None else {"ckpt_path": path}
        predictor: Predictor = ranks.run(
            lambda: epochs.run(estimator, keeper, method, *arguments, **named, **more)
        )
        # Lightning calls no hook where nothing is left to do
        if path is not None and not keeper.trained:
            lines.on_train_end()
        return predictor

    return [keeper], run


def _can_be_kept(estimator: Estimator) -> bool:
    """Whether it is GluonTS's own way of training with Lightning, in which it can be stopped and gone on with."""
    from gluonts_shell.forecasting.lightning import epochs

    return (
        epochs.can_be_kept(estimator)
        and "ckpt_path" in inspect.signature(estimator.train).parameters
    )


@contextmanager
def _lightning(estimator: Estimator, watch: Watch, name: str) -> Iterator[tuple[Witness, Run]]:
    """Equips an estimator that trains with Lightning; yields what sees what happens inside fit, and how to train."""
    witness = Witness()
    trainer_kwargs = getattr(estimator, "trainer_kwargs", None)
    if not isinstance(trainer_kwargs, dict):
        if watch.early_stopping_patience is not None:
            raise ConfigurationError(
                f"hyperparameter 'early_stopping_patience' is not known to {name}"
            )
        _say_that_nothing_is_kept(name, watch)
        yield witness, _directly
        return
    from lightning.pytorch.callbacks import Callback, EarlyStopping

    for noisy in ("lightning.pytorch", "lightning.fabric", "lightning", "lightning_fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    lines, run = epoch_log(Callback, watch.host, watch.ranks.devices), _directly
    callbacks = [_reporting(Callback, witness), lines]
    if watch.early_stopping_patience is not None:
        log.info("Using early stopping with patience %d", watch.early_stopping_patience)
        patience = watch.early_stopping_patience
        callbacks.append(
            EarlyStopping("train_loss", patience=patience, check_on_train_epoch_end=True)
        )
    with tempfile.TemporaryDirectory(prefix="lightning-") as folder:
        defaults = {
            "default_root_dir": folder,
            "logger": False,
            "enable_progress_bar": watch.progress_bar,
            "enable_model_summary": watch.progress_bar,
        }
        batches = getattr(estimator, "num_batches_per_epoch", None)
        if batches:
            batches = estimator.num_batches_per_epoch = watch.ranks.batches(batches)
        if watch.progress_bar and batches:
            # the loader itself has no length, without which the bar shows 7/?
            defaults["limit_train_batches"] = batches
        if _can_be_kept(estimator):
            keepers, run = _kept(estimator, watch, folder, lines)
            callbacks += keepers
        else:
            _say_that_nothing_is_kept(name, watch)
        own = trainer_kwargs.get("callbacks") or []
        callbacks += own if isinstance(own, list) else [own]
        estimator.trainer_kwargs = {
            **defaults,
            **trainer_kwargs,
            **watch.ranks.trainer(trainer_kwargs),
            "callbacks": callbacks,
        }
        yield witness, run


def _reporting(base: type, witness: Witness) -> Any:
    """A Lightning callback that tells the witness what happens."""

    class Reporting(base):  # type: ignore[misc]
        def state_dict(self) -> dict[str, Any]:
            return {"losses": witness.losses, "validation": witness.validation}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            witness.losses = list(state_dict["losses"])
            witness.validation = list(state_dict.get("validation", ()))

        def on_exception(self, *seen: Any) -> None:
            if isinstance(seen[-1], Exception):  # others are wishes to end
                witness.failures.append(seen[-1])

        def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
            witness.epoch = trainer.current_epoch

        def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
            for name, losses in (
                ("train_loss", witness.losses),
                ("val_loss", witness.validation),
            ):
                loss = trainer.callback_metrics.get(name)
                if loss is not None:
                    losses.append(float(loss))

    return Reporting()


def epoch_log(base: type, host: str, devices: int = 1) -> Any:
    """A Lightning callback that writes DeepAR's lines: loss, progress and throughput of each epoch, and the best loss.

    devices: of the host, whose throughput is told. The lines are what DeepAR's log has, since tuning jobs and
    CloudWatch find numbers in it by regular expression.
    """

    class EpochLog(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.started, self.records, self.best, self.best_epoch = 0.0, 0, float("inf"), 0

        def state_dict(self) -> dict[str, Any]:
            return {"best": self.best, "best_epoch": self.best_epoch}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

        def on_train_epoch_start(self, *_: Any) -> None:
            self.started, self.records = time.monotonic(), 0

        def on_train_batch_end(self, *seen: Any) -> None:
            batch = seen[3]  # trainer, module, outputs, batch, its index
            first = next(iter(batch.values())) if isinstance(batch, dict) else batch
            self.records += len(first) * devices

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            epoch, seconds = trainer.current_epoch, time.monotonic() - self.started
            losses = {key: float(value) for key, value in trainer.callback_metrics.items()}
            train, validation = losses.get("train_loss"), losses.get("val_loss")
            log.info(
                "Epoch[%d] train loss %s, validation loss %s, %.1f seconds",
                epoch,
                _plain(train),
                _plain(validation),
                seconds,
            )
            if train is not None:
                log.info(
                    "#quality_metric: host=%s, epoch=%d, train loss <loss>=%s",
                    host,
                    epoch,
                    _plain(train),
                )
                if train < self.best:
                    self.best, self.best_epoch = train, epoch
            if validation is not None:
                loss = _plain(validation)
                log.info(
                    "#quality_metric: host=%s, epoch=%d, validation loss <loss>=%s",
                    host,
                    epoch,
                    loss,
                )
            if (trainer.max_epochs or 0) > 0:
                done = 100 * (epoch + 1) / trainer.max_epochs
                log.info(
                    "#progress_metric: host=%s, completed %s %% of epochs",
                    host,
                    _plain(round(done, 2)),
                )
            rate = self.records / max(seconds, 1e-9)
            log.info(
                "#throughput_metric: host=%s, train throughput=%s records/second",
                host,
                _plain(round(rate, 2)),
            )

        def on_train_end(self, *_: Any) -> None:
            if self.best < float("inf"):
                log.info(
                    "Final loss: %s (occurred at epoch %d)", _plain(self.best), self.best_epoch
                )
                log.info(
                    "#quality_metric: host=%s, train final_loss <loss>=%s", host, _plain(self.best)
                )

    return EpochLog()


def _plain(value: float | None) -> str:
    """Plain decimal notation: users' regular expressions read `1e-05` as 1."""
    return "none" if value is None else np.format_float_positional(value, trim="0")
