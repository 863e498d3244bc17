"""Puts the shortcuts in the place of GluonTS's functions, where these are known to be what a shortcut stands for.

A GluonTS that looks different there (the code channel may bring one) is left as it is: a function that is quick to
compare is known by its parameters, others by the digests of the files that they lie in.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gluonts.model.forecast import SampleForecast

DIGITS = 40
CONSTRUCTOR = ["self", "samples", "start_date", "item_id", "info"]
DISTRIBUTIONS = {
    "gluonts.torch.distributions.output": "c4e263b32cb54893d9e73b39d1746484f928126a",
    "gluonts.torch.distributions.distribution_output": "c82da9854e2910621157a135c5490537b4f2a95e",
    "gluonts.torch.distributions.affine_transformed": "77bf0afca8dff5afaef4c5d70e66090c7efe7a2b",
    "gluonts.torch.distributions.studentT": "3a37e4e39ffed2fbdb5c2a91698ea833150464da",
}
DEEPAR = {
    "gluonts.torch.model.deepar.module": "f45fba41eccce5047eea8376c1026ec2e6dcd83f",
    **DISTRIBUTIONS,
}
GENERATORS = {
    "gluonts.model.forecast_generator": "921735a63c9b319446b19af8bc12f60c2646d947",
    "gluonts.torch.model.forecast": "25add380e03212d9f385f9e933ce8754ca394749",
    "gluonts.torch.distributions.negative_binomial": "5a4192903bc4ff3e1211e36c4770c7eb25c5b8f0",
    **DISTRIBUTIONS,
}
"""Modules whose code a shortcut repeats -> the first digits of the SHA-256 of their files in GluonTS 0.17.0."""

_taken: set[str] = set()


def take() -> None:
    """For this process, in the modules that are loaded now; once is enough, and more does no harm."""
    checking = SampleForecast.__init__
    if hasattr(checking, "Model") and _parameters(checking) == CONSTRUCTOR:
        SampleForecast.__init__ = unchecked(checking.__wrapped__)
    for home, known, replace in (
        ("gluonts.torch.model.deepar.module", DEEPAR, _take_deepar),
        ("gluonts.torch.model.forecast", GENERATORS, _take_generators),
    ):
        if home in sys.modules and home not in _taken and unchanged(known):
            _taken.add(home)
            replace()


def _take_deepar() -> None:
    from gluonts.torch.model.deepar.module import DeepARModel

    from gluonts_shell.forecasting.shortcuts import deepar

    if deepar.draws_as_torch():
        DeepARModel.forward = deepar.quicker(DeepARModel.forward)


def _take_generators() -> None:
    from gluonts.model import forecast_generator

    from gluonts_shell.forecasting.shortcuts import generators

    kind = forecast_generator.DistributionForecastGenerator
    kind.__call__ = generators.joined(kind.__call__)
    plain = forecast_generator.make_predictions
    forecast_generator.make_predictions = generators.without_mxnet(plain)


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def unchanged(digests: Mapping[str, str]) -> bool:
    """Whether the loaded modules' files are those with these digests; False where one has no file."""
    return all(_digest(name) == digest for name, digest in digests.items())


def _digest(name: str) -> str | None:
    source = getattr(sys.modules.get(name), "__file__", None)
    try:
        return hashlib.sha256(Path(source or "").read_bytes()).hexdigest()[:DIGITS]
    except OSError:
        return None


def unchecked(plain: Callable[..., None]) -> Callable[..., None]:
    """A constructor of forecasts without the model; as with it, they can be shown and pickled by their arguments."""

    def __init__(  # noqa: N807 - it becomes the class's
        self: Any,
        samples: Any,
        start_date: Any,
        item_id: str | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        if "__init_args__" not in vars(self):  # those of a subclass count
            self.__init_args__ = {
                "info": info,
                "item_id": item_id,
                "samples": samples,
                "start_date": start_date,
            }
        plain(self, samples, start_date, item_id, info)

    return __init__
