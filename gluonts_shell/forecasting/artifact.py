"""The model folder <-> a predictor and the contract that it was trained under.

The contract is `gluonts_shell.json`: what a server must know of a model (frequency, horizon,
features) and what a person asks of it later (forecaster, arguments, versions, job). Models without
it, as `gluonts.shell` writes them, load too; then what the files do not tell is None.
"""

from __future__ import annotations

import inspect
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path

from gluonts.model.predictor import Predictor

import gluonts_shell
from gluonts_shell import atomic, staging
from gluonts_shell.errors import ForecasterError, ModelError, ShellError, stop_behind
from gluonts_shell.forecasting.contract import CONTRACT, Contract
from gluonts_shell.forecasting.shortcuts import compiler

# a folder without them holds no model; GluonTS before 0.8 wrote the second
HEADS = (
    "gluonts-config.json",
    "type.txt",
)
TORCH = "gluonts.torch."
NOT_SERIALIZABLE = (
    "its class {name} needs @gluonts.core.component.validated() on its constructor, or a method __getnewargs_ex__, "
    "or methods serialize(path) and deserialize(path) of its own"
)


def versions() -> dict[str, str]:
    """Of everything that a later reader may have to match."""
    found = {"gluonts_shell": gluonts_shell.__version__, "python": platform.python_version()}
    for name in ("gluonts", "numpy", "pandas", "torch", "lightning"):
        version = _version(name)
        if version is not None:
            found[name] = version
    return found


@cache
def _version(name: str) -> str | None:
    """A loaded module's own, for to look it up among what is installed takes a millisecond."""
    loaded = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(loaded, str):
        return loaded
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def differences(contract: Contract) -> Iterator[str]:
    """A sentence for each library that a model may depend on whose minor version is another than in training."""
    for name in ("gluonts", "torch"):
        trained = contract.versions.get(name)
        if trained is None:
            continue
        running = _version(name) or "none"
        if _minor(trained) != _minor(running):
            yield f"the model was trained with {name} {trained}, and here is {running}"


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def save(predictor: Predictor, contract: Contract, folder: Path) -> None:
    """Write model and contract, whole or not at all, and prove that they load again.

    Of what is in the folder, what an earlier save wrote is replaced, or removed if this model has
    no such file: the weights or scores of another model are not this one's. All else stays, under
    another name where it is in the way.

    Raises ForecasterError if the class cannot be serialized or read back, with the method that it lacks.
    """
    try:
        write(predictor, contract, folder)
        publish(folder)
    finally:
        staging.clear(folder)


def write(predictor: Predictor, contract: Contract, folder: Path) -> Path:
    """As `save`, but aside, where more may be added before all of it is published; returns where."""
    name = f"{type(predictor).__module__}.{type(predictor).__qualname__}"
    try:
        staged = staging.begin(folder)
        with _on_cpu(predictor):
            predictor.serialize(staged)
        atomic.write(staged / CONTRACT, contract.to_json())
        load(staged)
    except OSError as error:
        raise _unwritable(folder, error) from error
    except (Exception, RecursionError) as error:
        reason = _first_line(error)[:300]
        raise ForecasterError(
            f"the predictor cannot be saved and loaded again ({reason}); {NOT_SERIALIZABLE.format(name=name)}"
        ) from error
    return staged


def publish(folder: Path) -> None:
    """Put what was written aside in its place. Raises ModelError."""
    try:
        staging.publish(folder, HEADS)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> ModelError:
    return ModelError(f"the model cannot be written to {str(folder)!r}: {error.strerror or error}")


def present(folder: Path) -> bool:
    """Whether the folder holds a model, of today's GluonTS or of an old one."""
    return any((folder / name).exists() for name in HEADS)


@contextmanager
def _on_cpu(predictor: Predictor) -> Iterator[None]:
    """Weights remember the device that they are saved from, and a server without that device could not load them."""
    device = getattr(predictor, "device", None)
    if device is None or not hasattr(predictor, "prediction_net"):
        yield
        return
    predictor.to("cpu")
    try:
        yield
    finally:
        predictor.to(device)


def load(folder: Path, device: str = "auto") -> tuple[Predictor, Contract]:
    """The predictor, on the CPU where there is no accelerator, and its contract.

    Raises ModelError with a sentence if the folder holds no model or one that does not load; what a
    signal handler raises comes through, whatever is being imported or read then.
    """
    if not present(folder):
        raise ModelError(
            f"there is no model in {str(folder)!r}: neither gluonts-config.json nor type.txt is there"
        )
    try:
        name = _class_name(folder)
        if name.startswith(TORCH):
            compiler.import_lightning()
        predictor = Predictor.deserialize(folder, **_device(name, device))
        if not hasattr(predictor, "predict"):
            raise ModelError(
                f"the model in {str(folder)!r} cannot be loaded: its files describe a {type(predictor).__name__}, "
                "expected a Predictor"
            )
        contract = folder / CONTRACT
        if contract.exists():
            return predictor, Contract.parse(contract.read_text())
        return predictor, inferred(predictor)
    except ShellError:
        raise
    except (Exception, RecursionError) as error:
        stop = stop_behind(error)
        if stop is not None:
            raise stop from None
        reason = _broken_file(folder) or _first_line(error)[:500]
        raise ModelError(f"the model in {str(folder)!r} cannot be loaded: {reason}") from error


def _broken_file(folder: Path) -> str:
    """The first of a model's JSON files that is none, with what is wrong in it; nothing where all are."""
    for path in (folder / "gluonts-config.json", *sorted(folder.glob("*.json"))):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        except UnicodeDecodeError as error:
            return f"{path.name!r} is not JSON in UTF-8: {error}"
        except (ValueError, RecursionError) as error:
            return f"{path.name!r} is not JSON: {error}"
        if path.name == "gluonts-config.json" and not (
            isinstance(value, dict) and isinstance(value.get("type"), str)
        ):
            return f"{path.name!r} names no 'type', expected the class of the predictor"
    return ""


def _first_line(error: BaseException) -> str:
    """Of what an error says, or the error's kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _class_name(folder: Path) -> str:
    """Of the predictor that was saved, as GluonTS of today wrote it, or one of before 0.8."""
    config = folder / "gluonts-config.json"
    if config.exists():
        return str(json.loads(config.read_text())["type"])
    return (folder / "type.txt").read_text().strip()


def inferred(predictor: Predictor) -> Contract:
    """What a predictor without a contract tells of itself."""
    name = f"{type(predictor).__module__}.{type(predictor).__qualname__}"
    return Contract(getattr(predictor, "freq", None), horizon(predictor), name)


def horizon(predictor: Predictor) -> int:
    """How many steps it forecasts. Raises ForecasterError where it does not say."""
    length = getattr(predictor, "prediction_length", None)
    if length is None or int(length) < 1:
        raise ForecasterError(
            f"{type(predictor).__name__} has prediction_length {length!r}, expected a positive whole number; "
            "its constructor hands it on: super().__init__(prediction_length=prediction_length)"
        )
    return int(length)


def _device(name: str, device: str) -> dict[str, str]:
    """`device` for the predictors that take one: without it their weights ask for the device that trained them."""
    from pydoc import locate

    kind = locate(name)
    if kind is None or "device" not in inspect.signature(kind.deserialize).parameters:  # type: ignore[attr-defined]
        return {}
    return {"device": device}
