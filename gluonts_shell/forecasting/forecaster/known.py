"""What the owner brought and chose: the classes of the code channel and of the image, and the operator's forecaster.

This is where modules are imported by name. What a client names gets here only after `allowed.Rule`
has let it pass, and only a module whose file lies where the owner's code was installed is imported
for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from gluonts_shell.errors import ConfigurationError, ForecasterError, RequestError
from gluonts_shell.forecasting.forecaster.names import resolve

log = logging.getLogger(__name__)
NEVER = ("gluonts", "gluonts_shell")


@dataclass(frozen=True)
class Installed:
    """Finds classes in the folder that the code channel was installed to, and in packages that the operator allows.

    prefixes: GLUONTS_ALLOWED_FORECASTERS; the packages of the image that they begin with are searched too.
    """

    code: Path | None = None
    prefixes: tuple[str, ...] = ()

    def __call__(self, path: str) -> type | None:
        """The Estimator or Predictor at this exact path, if it is defined in the owner's modules; else None.

        What a module of theirs only imported (`mine.os.mkdir`, `mine.json.JSONDecoder`) is not
        theirs to name. Raises RequestError where the module's import fails; the reason goes to the
        log.
        """
        parts = path.split(".")
        folder = self._folder(parts[0])
        if folder is None:
            return None
        length = _module_length(folder, parts)
        if length == 0 or length == len(parts):
            return None
        found: Any = _imported(".".join(parts[:length]))
        for name in parts[length:]:
            if not isinstance(found, ModuleType | type):
                return None
            found = vars(found).get(name)
        if not isinstance(found, type) or not issubclass(found, Estimator | Predictor):
            return None
        home = found.__module__.partition(".")[0]
        if self._folder(home) is None:
            return None
        return found

    def _folder(self, top: str) -> Path | None:
        """Where a top-level module of the owner's lies, without importing it."""
        if top in NEVER:
            return None
        if self.code is not None and _module_length(self.code, [top]):
            return self.code
        if top not in {prefix.partition(".")[0] for prefix in self.prefixes}:
            return None
        spec = importlib.util.find_spec(top)
        if spec is None or not spec.has_location or spec.origin is None:
            return None
        file = Path(spec.origin)
        return file.parent.parent if spec.submodule_search_locations else file.parent


def _module_length(folder: Path, parts: list[str]) -> int:
    """How many parts, from the left, are packages and modules on disk."""
    place = folder
    for length, part in enumerate(parts):
        place = place / part
        if _there(place.is_dir):
            continue
        return length + any(
            _there(place.with_name(part + suffix).is_file) for suffix in all_suffixes()
        )
    return len(parts)


def _there(test: Callable[[], bool]) -> bool:
    """A name that is longer than a file's name may be is no file's."""
    try:
        return test()
    except OSError:
        return False


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        log.exception("the module %r cannot be imported", name)
        reason = f"{type(error).__name__}: {error}"[:300]
        raise RequestError(
            f"configuration.forecaster_name: {name!r} cannot be imported: {reason}"
        ) from error


def default_forecaster(name: str) -> type[Predictor]:
    """The class that predicts without training, by the operator's name. Raises ConfigurationError for an Estimator."""
    kind = resolve(name)
    if not issubclass(kind, Predictor):
        raise ConfigurationError(
            f"forecaster {name!r} is an Estimator, which needs training, and there is no model; "
            "put the trained model into the model folder, or name a Predictor"
        )
    return kind


def of_the_job(inference_config: str | None) -> tuple[str, type[Predictor]] | None:
    """The Predictor that a batch job's own configuration names; None where it names none.

    What is wrong with the rest of the text is said when the configuration is checked. Raises
    ConfigurationError where the name leads to no forecaster.
    """
    try:
        given = json.loads(inference_config or "{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    name = given.get("forecaster_name")
    if not isinstance(name, str):
        return None
    try:
        kind = resolve(name)
    except ForecasterError as error:
        raise ConfigurationError(
            f"INFERENCE_CONFIG (or DEEPAR_INFERENCE_CONFIG): {error}"
        ) from error
    if not issubclass(kind, Predictor):
        return None
    return name, kind
