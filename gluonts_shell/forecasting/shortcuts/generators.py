"""What GluonTS makes forecasts of a network's output with, for all series of a batch at once.

GluonTS makes a distribution for each series and inverts it for each quantile, by scipy, which writes the text of a
class each time. The distributions here are of one value each, whose mean and quantile depend on nothing beside it, so
that one distribution of the whole batch gives the same values, and only for what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gluonts.itertools import select
from gluonts.model import forecast_generator as gluonts
from gluonts.model.forecast import Quantile
from gluonts.torch import distributions
from gluonts.torch.model.forecast import DistributionForecast as OfOneSeries

ELEMENTWISE = (
    distributions.StudentTOutput,
    distributions.NormalOutput,
    distributions.LaplaceOutput,
    distributions.NegativeBinomialOutput,
)


def without_mxnet(original: Callable[..., Any]) -> Callable[..., Any]:
    """A `make_predictions` that does not look for MXNet, in vain, before each batch of a network of torch's."""

    def make_predictions(prediction_net: Any, inputs: dict[str, Any]) -> Any:
        if isinstance(prediction_net, torch.nn.Module):
            return prediction_net(**inputs)
        return original(prediction_net, inputs)

    make_predictions.__wrapped__ = original  # type: ignore[attr-defined]
    return make_predictions


def joined(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A `DistributionForecastGenerator.__call__`, which asks the original for distributions that are not known here."""

    def __call__(  # noqa: N807, PLR0917 - it becomes the class's, with its parameters
        self: Any,
        inference_data_loader: Any,
        prediction_net: Any,
        input_names: Sequence[str],
        output_transform: Any,
        num_samples: int | None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        given = (inference_data_loader, prediction_net, input_names, output_transform, num_samples)
        known = type(self) is gluonts.DistributionForecastGenerator
        if not known or type(self.distr_output) not in ELEMENTWISE:
            yield from original(self, *given, **kwargs)
            return
        for batch in inference_data_loader:
            inputs = select(input_names, batch, ignore_missing=True)
            outputs = gluonts.make_predictions(prediction_net, inputs)
            if output_transform:
                gluonts.log_once(gluonts.OUTPUT_TRANSFORM_NOT_SUPPORTED_MSG)
            if num_samples:
                gluonts.log_once(gluonts.NOT_SAMPLE_BASED_MSG)
            yield from forecasts(Together(self.distr_output, *outputs), batch)

    __call__.__wrapped__ = original  # type: ignore[attr-defined]
    return __call__


def forecasts(together: Together, batch: Mapping[str, Any]) -> Iterator[DistributionForecast]:
    starts = batch["forecast_start"]
    nothing = [None] * len(starts)
    labels = zip(starts, batch.get("item_id", nothing), batch.get("info", nothing), strict=True)
    assert together.shape[0] == len(starts), "a network gives as many forecasts as it gets series"
    for place, (start, item_id, info) in enumerate(labels):
        yield DistributionForecast(together, place, start, item_id, info)


class Together:
    """The distributions of all series of a batch, as one: (series, steps).

    Raises what GluonTS raises where the parameters of one are none.
    """

    def __init__(
        self, output: Any, parameters: Sequence[Any], location: Any = None, scale: Any = None
    ) -> None:
        self._output = output
        self._given = (parameters, location, scale)
        try:
            # copies, because some outputs scale parameters in their place
            copies = tuple(parameter.clone() for parameter in parameters)
            self._distribution = output.distribution(copies, location, scale)
        except ValueError:
            for place in range(len(parameters[0])):
                self.of(place)
            raise
        self.shape = self._distribution.batch_shape
        self._quantiles: dict[float | str, np.ndarray] = {}

    def of(self, place: int) -> Any:
        """One series' own distribution, as GluonTS makes it."""
        parameters, *others = self._given
        own = tuple(parameter[place].clone() for parameter in parameters)
        rest = (None if other is None else other[place] for other in others)
        return self._output.distribution(own, *rest)

    @cached_property
    def mean(self) -> np.ndarray:
        return self._distribution.mean.cpu().numpy()  # type: ignore[no-any-return]

    def quantile(self, level: float | str) -> np.ndarray:
        if level not in self._quantiles:
            value = torch.tensor([Quantile.parse(level).value], device=self._given[0][0].device)
            self._quantiles[level] = self._distribution.icdf(value).cpu().numpy()
        return self._quantiles[level]


class DistributionForecast(OfOneSeries):  # type: ignore[misc]
    """As GluonTS's, of whose name it is; its own distribution is made once somebody asks for more than numbers."""

    def __init__(
        self, together: Together, place: int, start_date: Any, item_id: Any, info: Any
    ) -> None:
        self._together, self._place = together, place
        self.shape = together.shape[1:]
        self.prediction_length = self.shape[0]
        self.start_date, self.item_id, self.info = start_date, item_id, info

    @cached_property
    def distribution(self) -> Any:
        return self._together.of(self._place)

    @property
    def mean(self) -> np.ndarray:
        return self._together.mean[self._place]  # type: ignore[no-any-return]

    def quantile(self, level: float | str) -> np.ndarray:
        return self._together.quantile(level)[self._place]  # type: ignore[no-any-return]
