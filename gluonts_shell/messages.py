"""The vocabulary that both sides of the server speak, as plain data; standard library only.

`serving` turns bytes into these, `forecasting` turns these into forecasts, and neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

DECILES = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")
OUTPUT_TYPES = ("mean", "quantiles", "samples")
CONFIGURATION_KEYS = frozenset(
    {
        "num_samples",
        "num_eval_samples",
        "output_types",
        "quantiles",
        "freq",
        "forecaster_name",
    }
)
"""Keys of a configuration that say what to answer; a forecaster that the request names may have others."""
DECIDED_KEYS = frozenset({"prediction_length", "time_freq", "cardinality", "num_dynamic_feat"})
"""Keys of a configuration that say what training has decided: they are compared with what it did."""
SYNONYMS = {"quantile_levels": "quantiles"}
"""What Chronos's dialect calls a key -> what a configuration calls it, where no resemblance tells it."""
Row: TypeAlias = Sequence[Any]
"""Floats that may be NaN or infinite, or lists of such floats, one for each dimension of the target."""


def always() -> bool:
    """That an answer is wanted, where nobody can go away."""
    return True


@dataclass(frozen=True)
class Configuration:
    """What a request asks for, checked. Equal configurations may join one predict call, so it is hashable.

    quantiles: the text that the client sent, which is the key of the answer, paired with its level
    in (0, 1). quantiles_given: whether the client listed them; those of the default are answered
    only where the forecast has them. parameters: of a forecaster named in the request, as sorted
    JSON text; None for the trained model.
    """

    num_samples: int = 100
    output_types: tuple[str, ...] = ("mean", "quantiles")
    quantiles: tuple[tuple[str, float], ...] = tuple(zip(DECILES, map(float, DECILES), strict=True))
    freq: str | None = None
    forecaster: str | None = None
    parameters: str | None = None
    debug: bool = False
    quantiles_given: bool = False


@dataclass(slots=True)
class Prediction:
    """One forecast, ready to be encoded. None means not asked for, or not there.

    mean: prediction_length; quantiles: text of the request -> prediction_length; samples:
    num_samples x prediction_length. Of a target of several dimensions each of these rows is a list
    of `dimensions` rows, as in the target: the mean dimensions x prediction_length, and so on.
    """

    mean: Row | None = None
    quantiles: Mapping[str, Row] | None = None
    samples: Sequence[Row] | None = None


@dataclass(slots=True)
class Call:
    """Instances that were checked and made ready for one forecaster, with the configuration they share.

    lengths: how many values each instance's target has; all that a log may tell of them.
    """

    configuration: Configuration
    entries: list[Any] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)


class Service(Protocol):
    """What the server needs of a model. `forecasting.service.service` implements it; tests have fakes."""

    @property
    def joins(self) -> bool:
        """Whether calls with equal configuration gain by joining one predict (torch models do)."""
        ...

    def configure(self, configuration: Mapping[str, Any]) -> Configuration:
        """Check a request's configuration object. Raises RequestError."""
        ...

    def prepare(self, instances: Sequence[Any], configuration: Configuration) -> Call:
        """Check every instance, before any waiting; nothing is predicted. Raises RequestError."""
        ...

    @property
    def horizon(self) -> int | None:
        """How many steps the trained model forecasts; None where there is none, and requests say it."""
        ...

    def first_moment(self, start: str, entry: Any, configuration: Configuration) -> str:
        """When the forecast of an entry begins, in ISO 8601. start: of the instance that the entry was made of."""
        ...

    def predict(
        self, calls: Sequence[Call], wanted: Callable[[], bool] = always
    ) -> list[list[Prediction]]:
        """One list for each call, one prediction for each entry. Called by one thread at a time.

        wanted: asked after each series, or after each batch of a model that batches; Cancelled is
        raised once it says no.

        Raises RequestError where the forecast cannot give what was asked for, anything else if the model fails.
        """
        ...
