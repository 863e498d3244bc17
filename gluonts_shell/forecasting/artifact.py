"""The model folder <-> a predictor and the contract that it was trained under.

The contract is `gluonts_shell.json`: what a server must know of a model (frequency, horizon, features) and what a
person asks of it later (forecaster, arguments, versions, job). Models without it, as `gluonts.shell` writes them,
load too; then what the files do not tell is None.
"""

from __future__ import annotations

import inspect
import json
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from gluonts.model.predictor import Predictor

import gluonts_shell
from gluonts_shell.errors import ForecasterError, ModelError, ShellError
from gluonts_shell.forecasting.contract import CONTRACT, Contract
from gluonts_shell.written import Written

NOT_SERIALIZABLE = (
    "its class {name} needs @gluonts.core.component.validated() on its constructor, or a method __getnewargs_ex__, "
    "or methods serialize(path) and deserialize(path) of its own"
)


def versions() -> dict[str, str]:
    """Of everything that a later reader may have to match."""
    found = {"gluonts_shell": gluonts_shell.__version__, "python": platform.python_version()}
    for name in ("gluonts", "numpy", "pandas", "torch", "lightning"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def save(predictor: Predictor, contract: Contract, folder: Path) -> None:
    """Write model and contract, whole or not at all, and prove that they load again.

    Of what is in the folder, what an earlier save wrote is replaced, or removed if this model has no such file: the
    weights or scores of another model are not this one's. All else stays, under another name where it is in the way.

    Raises ForecasterError if the class cannot be serialized or read back, with the method that it lacks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as aside:
        staged = Path(aside)
        name = f"{type(predictor).__module__}.{type(predictor).__qualname__}"
        try:
            with _on_cpu(predictor):
                predictor.serialize(staged)
            (staged / CONTRACT).write_text(contract.to_json())
            load(staged)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModelError(f"the model cannot be written to {str(folder)!r}: {reason}") from error
        except (Exception, RecursionError) as error:
            reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise ForecasterError(
                f"the predictor cannot be saved and loaded again ({reason}); {NOT_SERIALIZABLE.format(name=name)}"
            ) from error
        _put(staged, folder)


def _put(staged: Path, folder: Path) -> None:
    written = Written.read(folder)
    for name in written.files:
        if not (staged / name).exists():
            written.remove(name)
    # the contract goes last: a folder that has it is complete
    files = sorted(staged.iterdir(), key=lambda file: file.name == CONTRACT)
    targets = [folder / file.name for file in files]
    for file, target in zip(files, targets, strict=True):
        written.make_room(target)
        file.replace(target)
    Written(folder, {}).add(*targets)


def present(folder: Path) -> bool:
    """Whether the folder holds a model, of today's GluonTS or of an old one."""
    return (folder / "gluonts-config.json").exists() or (folder / "type.txt").exists()


@contextmanager
def _on_cpu(predictor: Predictor) -> Iterator[None]:
    """Weights remember the device that they are saved from, and a server without that device could not load them."""
    device = getattr(predictor, "device", None) if hasattr(predictor, "prediction_net") else None
    if device is None:
        yield
        return
    predictor.to("cpu")
    try:
        yield
    finally:
        predictor.to(device)


def load(folder: Path) -> tuple[Predictor, Contract]:
    """The predictor, on the CPU where there is no accelerator, and its contract.

    Raises ModelError with a sentence if the folder holds no model or one that does not load.
    """
    config = folder / "gluonts-config.json"
    if not present(folder):
        raise ModelError(f"there is no model in {str(folder)!r}: neither gluonts-config.json nor type.txt is there")
    try:
        name = json.loads(config.read_text())["type"] if config.exists() else (folder / "type.txt").read_text().strip()
        predictor = Predictor.deserialize(folder, **_device(name))
        contract = folder / CONTRACT
        return predictor, Contract.parse(contract.read_text()) if contract.exists() else inferred(predictor)
    except ShellError:
        raise
    except (Exception, RecursionError) as error:
        reason = str(error).splitlines()[0][:500] if str(error) else type(error).__name__
        raise ModelError(f"the model in {str(folder)!r} cannot be loaded: {reason}") from error


def inferred(predictor: Predictor) -> Contract:
    """What a predictor without a contract tells of itself."""
    name = f"{type(predictor).__module__}.{type(predictor).__qualname__}"
    return Contract(getattr(predictor, "freq", None), int(predictor.prediction_length), name)


def _device(name: str) -> dict[str, str]:
    """`device` for the predictors that take one: without it their weights ask for the device that trained them."""
    from pydoc import locate

    kind = locate(name)
    if kind is None or "device" not in inspect.signature(kind.deserialize).parameters:  # type: ignore[attr-defined]
        return {}
    return {"device": "auto"}
