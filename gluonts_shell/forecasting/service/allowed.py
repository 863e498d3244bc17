"""Which forecasters a request may name, and the class behind a name. A client's text is looked up, never imported.

GluonTS's own are a table of import statements. Other classes are found by whoever knows what the
owner installed, who is handed in (`known.Installed`), so that nothing here can import by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gluonts.model.predictor import Predictor

from gluonts_shell import nearby
from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.data.fields import quoted
from gluonts_shell.forecasting.forecaster.catalog import (
    ESTIMATORS,
    EXTRAS,
    HARMLESS,
    PREDICTORS,
    today,
)

DEFAULT = (
    "GluonTS's trivial, seasonal, NPTS and statsforecast predictors, and those of the code channel"
)
LONGEST = 200


@dataclass(frozen=True)
class Rule:
    """Which forecasters a request may name: those under `prefixes` if given, else the harmless and the code channel's.

    installed: path -> the class of that path in what the owner installed, or None. chosen: what the
    operator named himself. refused: why none may be named, if so.
    """

    prefixes: tuple[str, ...] | None = None
    installed: Callable[[str], type | None] | None = None
    chosen: Mapping[str, type[Predictor]] = field(default_factory=dict)
    refused: str | None = None

    def find(self, name: str) -> type[Predictor]:
        """Raises RequestError, before anything is imported where the name is enough to tell."""
        if self.refused:
            raise RequestError(
                f"configuration.forecaster_name is {quoted(name)}, but {self.refused}"
            )
        if name in self.chosen:
            return self.chosen[name]
        path = today(name)
        if not _is_path(path):
            raise RequestError(
                f"configuration.forecaster_name is {quoted(name)}, expected a class path such as "
                "'gluonts.model.trivial.constant.ConstantValuePredictor'"
            )
        if path in ESTIMATORS:
            raise RequestError(_estimator(name))
        found = (
            self._gluonts(name, path)
            if path.partition(".")[0] == "gluonts"
            else self._installed(name, path)
        )
        if (
            not isinstance(found, type)
            or not issubclass(found, Predictor)
            or inspect.isabstract(found)
        ):
            raise RequestError(
                f"configuration.forecaster_name is {quoted(name)}, expected a Predictor"
            )
        return found

    def _gluonts(self, name: str, path: str) -> Any:
        if path not in PREDICTORS:
            allowed = [
                known for known in sorted(PREDICTORS) if self._allows(known, known in HARMLESS)
            ]
            hint = nearby.did_you_mean(path, allowed, cutoff=0.8) or f"; {self._only()}"
            raise RequestError(
                f"configuration.forecaster_name: there is no predictor {quoted(name)} in GluonTS that requests may name"
                + hint
            )
        if not self._allows(path, path in HARMLESS):
            raise RequestError(self._not_allowed(name))
        module, _, short = path.rpartition(".")
        try:
            return vars(MODULES[module]())[short]
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            remedy = f": install {EXTRAS[package]}" if package in EXTRAS else ""
            raise RequestError(
                f"configuration.forecaster_name: forecaster {path!r} needs {package or 'a package'}, "
                f"which is not installed{remedy}"
            ) from error

    def _installed(self, name: str, path: str) -> Any:
        found = self.installed(path) if self.installed and self._allows(path, True) else None
        if found is None:
            raise RequestError(self._not_allowed(name))
        home = f"{found.__module__}.{found.__qualname__}"
        if home.partition(".")[0] != path.partition(".")[0] and not self._allows(home, True):
            raise RequestError(self._not_allowed(name))
        if not issubclass(found, Predictor):
            raise RequestError(_estimator(name))
        return found

    def _allows(self, path: str, otherwise: bool) -> bool:
        """By the prefixes, if there are any; whole parts of a path count."""
        if self.prefixes is None:
            return otherwise
        return any(f"{path}.".startswith(prefix.rstrip(".") + ".") for prefix in self.prefixes)

    def _only(self) -> str:
        return "only " + (
            DEFAULT if self.prefixes is None else ", ".join(map(repr, self.prefixes)) or "none"
        )

    def _not_allowed(self, name: str) -> str:
        remedy = " (GLUONTS_ALLOWED_FORECASTERS allows others)" if self.prefixes is None else ""
        return f"configuration.forecaster_name is {quoted(name)}, which is not allowed: {self._only()}{remedy}"


def _is_path(path: str) -> bool:
    """A `pkg.__main__` is a program, so nobody's private dunder is on a path."""
    parts = path.split(".")
    named = all(part.isidentifier() and not part.startswith("__") for part in parts)
    return len(path) <= LONGEST and len(parts) > 1 and named


def _estimator(name: str) -> str:
    return f"configuration.forecaster_name is {quoted(name)}, an Estimator, which needs training; expected a Predictor"


def _npts() -> Any:
    import gluonts.model.npts as module

    return module


def _seasonal_agg() -> Any:
    import gluonts.model.seasonal_agg as module

    return module


def _seasonal_naive() -> Any:
    import gluonts.model.seasonal_naive as module

    return module


def _constant() -> Any:
    import gluonts.model.trivial.constant as module

    return module


def _identity() -> Any:
    import gluonts.model.trivial.identity as module

    return module


def _mean() -> Any:
    import gluonts.model.trivial.mean as module

    return module


def _statsforecast() -> Any:
    import gluonts.ext.statsforecast as module

    return module


def _hierarchicalforecast() -> Any:
    import gluonts.ext.hierarchicalforecast as module

    return module


def _naive_2() -> Any:
    import gluonts.ext.naive_2 as module

    return module


def _prophet() -> Any:
    import gluonts.ext.prophet as module

    return module


def _r_forecast() -> Any:
    import gluonts.ext.r_forecast as module

    return module


def _rotbaum() -> Any:
    import gluonts.ext.rotbaum as module

    return module


# Import statements, not import by name: this list is all that a request can cause to be imported of GluonTS.
MODULES: dict[str, Callable[[], Any]] = {
    "gluonts.model.npts": _npts,
    "gluonts.model.seasonal_agg": _seasonal_agg,
    "gluonts.model.seasonal_naive": _seasonal_naive,
    "gluonts.model.trivial.constant": _constant,
    "gluonts.model.trivial.identity": _identity,
    "gluonts.model.trivial.mean": _mean,
    "gluonts.ext.hierarchicalforecast": _hierarchicalforecast,
    "gluonts.ext.naive_2": _naive_2,
    "gluonts.ext.prophet": _prophet,
    "gluonts.ext.r_forecast": _r_forecast,
    "gluonts.ext.rotbaum": _rotbaum,
    "gluonts.ext.statsforecast": _statsforecast,
}
