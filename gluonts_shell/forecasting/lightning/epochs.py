"""What happens around the epochs of a Lightning training: best weights, checkpoints, stopping, going on.

GluonTS writes its best weights to a file, reads it back after training, and by that goes on when an epoch failed.
Here the best weights are kept in memory and put back where the predictor is made, so that exceptions come through,
and that a training that was stopped ends with a model. Checkpoints hold everything that the next epoch depends on.
"""

from __future__ import annotations

import logging
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gluonts_shell.forecasting.distributed.ranks import Ranks
from gluonts_shell.forecasting.lightning.checkpoints import OURS, Checkpoints
from gluonts_shell.forecasting.lightning.windows import Windows, straight, with_calendar

log = logging.getLogger(__name__)

# What Lightning goes on with, and what the keeper does.
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")
STATE = ("best", "score", "best_epoch", "flags", "draws")
HYPERPARAMETERS = ("hparams_name", "hyper_parameters", "hparams_type")


class Halted(BaseException):
    """Training was asked to stop. No Exception, because GluonTS goes on after those."""


class Keeper(Callback):  # type: ignore[misc]
    """Keeps the best weights over the whole job, saves checkpoints, and stops at the next batch when asked to.

    stop: has `wished`, which somebody sets, and what is set here. folder: for what is saved
    at the start of each epoch; what is there becomes a checkpoint when it is time for one, or at the stop. ranks: the
    processes that train together. They have the same weights, so that each keeps the best ones; the first writes the
    checkpoints, which hold how far the draws of each are, and all stop at the same batch.
    """

    def __init__(
        self, stop: Any, checkpoints: Checkpoints | None, folder: Path, ranks: Ranks
    ) -> None:
        self.stop, self.checkpoints, self.ranks = stop, checkpoints, ranks
        self.saved = folder / "epoch.ckpt"
        self.saved_epoch: int | None = None
        self.written_at = time.monotonic()
        self.content: dict[str, Any] | None = None
        self.best: dict[str, torch.Tensor] | None = None
        self.score, self.best_epoch, self.monitor = math.inf, -1, "train_loss"
        self.module: LightningModule | None = None
        self.windows: Windows | None = None
        # GluonTS's transformation, which goes into the model, and the quick one
        self.original: Any = None
        self.quick: Any = None
        self.resumes = self.resumed = self.trained = False
        self.handler: Any = None
        self.files = _Files(self.saved, None)

    def resume(self, epochs: int, module: Callable[[], LightningModule]) -> Path | None:
        """Looks for a checkpoint of the first host's to go on from; returns what GluonTS wants as `ckpt_path`.

        module: makes one such as will be trained.
        """
        if self.checkpoints and not self.ranks.position:
            self.content = self.checkpoints.newest(epochs, lambda content: _unfit(content, module))
        done = self.ranks.gather(None if self.content is None else int(self.content["epoch"]))[0]
        self.resumes = done is not None
        if not self.resumes:
            return None
        if done == epochs:
            log.info("all %d epochs are in the checkpoint: nothing is left to train", epochs)
        else:
            log.info("resuming at epoch %d%s", done + 1, f" of {epochs}" if epochs >= 0 else "")
        return self.saved

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        self.module, self.handler = pl_module, signal.getsignal(signal.SIGTERM)
        own = next(
            callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)
        )
        own.save_top_k, self.monitor = 0, own.monitor or self.monitor
        if self.ranks.count > 1:
            # else schedulers and early stopping decide on each process by its own losses, and the processes part
            pl_module.log = _averaging(pl_module.log)
            if self.resumes:
                self.content = trainer.strategy.broadcast(self.content)
        trainer.strategy.checkpoint_io = self.files = _Files(self.saved, self.content)

    def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
        """A training that early stopping ended, in a life before this one, stays so."""
        self.content = self.files.content = None
        stopped = [stopper for stopper in trainer.early_stopping_callbacks if stopper.stopped_epoch]
        trainer.should_stop = trainer.should_stop or bool(stopped)

    def on_sanity_check_start(self, *_: Any) -> None:
        self._hear_signals()

    def on_train_start(self, *_: Any) -> None:
        self._hear_signals()
        self.trained = self.stop.awaited = True
        # others would wait for what this process has of the batch
        if self.ranks.count == 1:
            self.stop.insist = self._halt

    def _halt(self) -> None:
        self.stop.insist = None
        raise Halted

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Not at the end of an epoch: Lightning steps the plateau scheduler after the hooks of that."""
        resumed, self.resumed = self.resumed, False
        # Else the plateau scheduler leaves out the first epoch of a resumed job. Where there are max_steps the outer
        # loop's setter says that it restarts whatever it is given, and no batch would be drawn any more.
        trainer.fit_loop._restarting = False
        trainer.fit_loop.epoch_loop.restarting = False
        if resumed or trainer.current_epoch == 0:
            return
        self._save(trainer)
        if self.checkpoints and time.monotonic() - self.written_at >= self.checkpoints.every:
            self._write()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.ranks.count > 1:
            self.stop.wished = _any(self.stop.wished, trainer)
        if self.stop.wished:
            self._halt()

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.ranks.count > 1:
            _count_exactly(trainer)
        # shares of different sizes have different numbers of batches, and nothing can be agreed on between them
        if "validation" not in self.ranks.sharded:
            self.on_train_batch_end(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        vars(pl_module).pop("log", None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor == "val_loss" and not trainer.sanity_checking:
            self._keep(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor != "val_loss":
            self._keep(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self.stop.insist = None
        self._save(trainer)
        self._write()

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """The module's arguments may be objects, which nothing that reads plain values could make again."""
        for name in HYPERPARAMETERS:
            checkpoint.pop(name, None)
        if self.checkpoints:
            checkpoint[OURS] = {"fingerprint": dict(self.checkpoints.fingerprint)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "score": self.score,
            "best_epoch": self.best_epoch,
            "flags": _flags(self.module),
            "draws": self._of_all_processes(
                {
                    "windows": self.windows.state() if self.windows else None,
                    "generators": _generators(),
                }
            ),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.resumed = True
        self.best, self.score = state_dict["best"], state_dict["score"]
        self.best_epoch = state_dict["best_epoch"]
        _set_flags(self.module, state_dict["flags"])
        if len(state_dict["draws"]) != self.ranks.count:
            return  # it has the draws of another number of processes; those of these begin anew
        draws = state_dict["draws"][self.ranks.rank]
        if self.windows is not None and draws["windows"] is not None:
            self.windows.restore(draws["windows"])
        _restore(draws["generators"])

    def halted(self) -> None:
        """After a stop: what was saved at the start of the epoch becomes the checkpoint."""
        self.stop.early = True
        self._write()
        which = (
            f"those of epoch {self.best_epoch}"
            if self.best is not None
            else "those of this moment, in epoch 0"
        )
        log.warning("training is stopped: the model has the best weights so far, %s", which)

    def put_back(self, module: Any) -> None:
        if self.best is None:
            return
        module.load_state_dict(self.best)
        if math.isfinite(self.score):
            log.info(
                "the model has the weights of epoch %d, whose %s was the lowest",
                self.best_epoch,
                self.monitor,
            )

    def _keep(self, trainer: Trainer, module: LightningModule) -> None:
        """As GluonTS: the first weights are kept in any case, later ones if they are better."""
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        score = math.inf if math.isnan(score) else score
        if self.best is None or score < self.score:
            weights = module.state_dict()
            self.best = {name: values.detach().cpu().clone() for name, values in weights.items()}
            self.score, self.best_epoch = score, trainer.current_epoch

    def _of_all_processes(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        states = [state] * self.ranks.count
        if self.ranks.count > 1:
            torch.distributed.all_gather_object(states, state)
        return states

    def _hear_signals(self) -> None:
        """Lightning's handler would begin a collective operation in the midst of another."""
        if self.ranks.count > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def _save(self, trainer: Trainer) -> None:
        if self.checkpoints:
            trainer.save_checkpoint(self.saved, weights_only=False)
            if self.files.written:
                self.saved_epoch = trainer.current_epoch

    def _write(self) -> None:
        if self.checkpoints and self.saved_epoch is not None and not self.ranks.rank:
            self.checkpoints.write(self.saved, self.saved_epoch)
            self.saved_epoch, self.written_at = None, time.monotonic()


class _Files(TorchCheckpointIO):  # type: ignore[misc]
    """Gives Lightning the content that was read already, with plain values only. A disk that has no room for what is
    saved at the start of an epoch ends no training: `written` tells, and what was saved before stays.
    """

    def __init__(self, saved: Path, content: dict[str, Any] | None) -> None:
        self.saved, self.content, self.written = saved, content, True

    def load_checkpoint(self, *_: Any, **__: Any) -> dict[str, Any]:
        assert self.content is not None
        return self.content

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        try:
            super().save_checkpoint(checkpoint, path, storage_options)
            self.written = True
        except OSError as error:
            if Path(path) != self.saved:
                raise
            self.written = False
            log.warning("no checkpoint of epoch %d, because %s cannot be written: %s",
                        checkpoint["epoch"], path, error.strerror or error)  # fmt: skip


def _unfit(content: Mapping[str, Any], module: Callable[[], LightningModule]) -> str | None:
    """Why a training cannot go on from it; None if it can. The fingerprint knows the job, not the code that runs it."""
    absent = [name for name in PARTS if name not in content]
    if absent:
        return f"it has no {', '.join(absent)}"
    own = content["callbacks"].get(Keeper.__qualname__) or {}
    if not own.keys() >= set(STATE):
        return "it is of another version of this program"
    generators = _generators()
    try:
        module().load_state_dict(content["state_dict"])
    except Exception as error:
        return " ".join(str(error).split())[:300]
    finally:
        _restore(generators)
    return None


def _averaging(log: Callable[..., None]) -> Callable[..., None]:
    """A module's `log` that averages over the processes."""

    def averaging(*arguments: Any, **named: Any) -> None:
        log(*arguments, **{**named, "sync_dist": True})

    return averaging


def _count_exactly(trainer: Trainer) -> None:
    """Lightning divides numbers of windows, which are whole, by that of the processes, and drops what is left."""
    for metric in trainer._results.values():
        if hasattr(metric, "cumulated_batch_size"):
            metric.cumulated_batch_size = metric.cumulated_batch_size.float()


def _any(wished: bool, trainer: Trainer) -> bool:
    """Whether any of the processes wishes it."""
    wishes = torch.tensor(int(wished), device=trainer.strategy.root_device)
    torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
    return bool(wishes.item())


def _flags(module: Any) -> dict[str, dict[str, bool]]:
    """What layers know of themselves besides their weights: those of MQF2, that their first batch is behind them."""
    return {name: _own_flags(layer) for name, layer in module.named_modules()}


def _own_flags(layer: Any) -> dict[str, bool]:
    """Not torch's, which are private, or say whether it trains right now."""
    found = {name: value for name, value in vars(layer).items() if isinstance(value, bool)}
    return {name: found[name] for name in found if name != "training" and name[0] != "_"}


def _set_flags(module: Any, flags: Mapping[str, Mapping[str, bool]]) -> None:
    for name, layer in module.named_modules():
        for flag in _own_flags(layer).keys() & flags.get(name, {}).keys():
            setattr(layer, flag, bool(flags[name][flag]))


def _generators() -> dict[str, Any]:
    """Where python's, numpy's and torch's random numbers are, in plain values and tensors."""
    version, numbers, following = random.getstate()
    kind, keys, *rest = np.random.get_state()
    return {
        "python": [version, list(numbers), following],
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        # of the device that this process uses; those of the others belong to others
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _restore(generators: Mapping[str, Any]) -> None:
    version, numbers, following = generators["python"]
    random.setstate((version, tuple(numbers), following))
    kind, keys, *rest = generators["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(generators["torch"])
    if generators["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(generators["cuda"])


def can_be_kept(estimator: Any) -> bool:
    return isinstance(estimator, PyTorchLightningEstimator)


@contextmanager
def equipped(estimator: Any, keeper: Keeper) -> Iterator[None]:
    """Inside, the estimator's transformation and batches are quicker, and its predictor gets the keeper's weights."""
    transformation = estimator.create_transformation
    loader, predictor = estimator.create_training_data_loader, estimator.create_predictor

    def create_transformation() -> Any:
        keeper.original = transformation()
        keeper.quick = with_calendar(keeper.original)
        return keeper.quick

    def create_training_data_loader(data: Any, module: Any, **options: Any) -> Any:
        found = straight(loader(data, module, **options), data)
        keeper.windows = found if isinstance(found, Windows) else None
        return found

    def create_predictor(used: Any, module: Any) -> Any:
        keeper.put_back(module)
        return predictor(keeper.original if used is keeper.quick else used, module)

    patches = [create_transformation, create_training_data_loader, create_predictor]
    for function in patches:
        setattr(estimator, function.__name__, function)
    try:
        yield
    finally:
        for function in patches:
            delattr(estimator, function.__name__)


def run(
    estimator: Any, keeper: Keeper, method: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """The predictor that the method trains, or where it was stopped, that of the best weights so far."""
    with equipped(estimator, keeper):
        try:
            return method(*arguments, **named)
        except (Halted, SIGTERMException):
            if not keeper.stop.wished or not keeper.trained:
                raise
            keeper.halted()
            return estimator.create_predictor(keeper.quick, keeper.module)
