"""Two places where GluonTS spends much that a forecast does not need. Taking a shortcut changes no value.

SampleForecast   a pydantic model checks the arguments of every forecast, a third of what a forecast by seasonal naive
                 takes; the constructor behind it asserts the same types.
lagged values    at each step of a forecast DeepAR copies the whole past of every sample path, to read a few values of
                 it: a third of the time of one series, a fifth of that of 32 together.

A GluonTS that looks different there (the code channel may bring one) is left as it is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gluonts.model.forecast import SampleForecast

if TYPE_CHECKING:
    import torch

Lagged = Callable[..., "torch.Tensor"]

CHECKED = "__init__"
LAGGED = "lagged_sequence_values"
PARAMETERS = {
    CHECKED: ["self", "samples", "start_date", "item_id", "info"],
    LAGGED: ["indices", "prior_sequence", "sequence", "dim"],
}


def take() -> None:
    """For this process, in the modules that are loaded now; once is enough, and more does no harm."""
    checking = SampleForecast.__init__
    if hasattr(checking, "Model") and _known(checking, CHECKED):
        SampleForecast.__init__ = unchecked(checking.__wrapped__)
    original = getattr(sys.modules.get("gluonts.torch.util"), LAGGED, None)
    if original is not None and not hasattr(original, "__wrapped__") and _known(original, LAGGED):
        quicker = lagged(original)
        for names in [getattr(module, "__dict__", {}) for module in list(sys.modules.values())]:
            if names.get(LAGGED) is original:
                names[LAGGED] = quicker


def _known(function: Callable[..., Any], name: str) -> bool:
    return list(inspect.signature(function).parameters) == PARAMETERS[name]


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


def lagged(original: Lagged) -> Lagged:
    """The same values as from `gluonts.torch.util.lagged_sequence_values`, which is still asked for all but one step.

    A step: sequence (paths, 1), prior_sequence (paths, length), lags of 0 at most in front -> (paths, 1, lags).
    """

    def lagged_sequence_values(
        indices: list[int], prior_sequence: torch.Tensor, sequence: torch.Tensor, dim: int
    ) -> torch.Tensor:
        import torch

        length = prior_sequence.shape[-1]
        past = indices[1:] if indices[0] == 0 else indices
        step = (
            sequence.dim() == prior_sequence.dim() == 2
            and sequence.shape[1] == 1
            and dim in (1, -1)
        )
        if not step or not past or min(past) < 1 or max(past) > length:
            return original(indices, prior_sequence, sequence, dim)
        places = torch.tensor([length - lag for lag in past], device=prior_sequence.device)
        values = prior_sequence.index_select(1, places)
        if len(past) < len(indices):
            values = torch.cat((sequence, values), dim=1)
        return values.unsqueeze(1)

    lagged_sequence_values.__wrapped__ = original  # type: ignore[attr-defined]
    return lagged_sequence_values
