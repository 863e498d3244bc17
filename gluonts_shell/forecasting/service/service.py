"""What the server needs of a model: instances + configuration -> data entries -> predictor -> predictions.

It implements `messages.Service` for a trained model and for predictors that requests name. It knows
nothing of HTTP, and nothing here is cached under a key that a client can grow without bound.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from gluonts.exceptions import GluonTSDataError
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from gluonts_shell.errors import (
    AskedError,
    Cancelled,
    InstanceError,
    ModelError,
    RequestError,
    ShellError,
    counted,
    private,
)
from gluonts_shell.forecasting import memory
from gluonts_shell.forecasting.contract import Contract, Features
from gluonts_shell.forecasting.data.fields import moment
from gluonts_shell.forecasting.data.frequency import period_alias
from gluonts_shell.forecasting.data.instances import Reader
from gluonts_shell.forecasting.forecaster.catalog import class_path
from gluonts_shell.forecasting.forecaster.constructors import constructor_parameters
from gluonts_shell.forecasting.forecaster.faults import has_no_levels
from gluonts_shell.forecasting.service import configuration as configurations
from gluonts_shell.forecasting.service.allowed import Rule
from gluonts_shell.forecasting.service.named import build
from gluonts_shell.forecasting.service.outputs import prediction
from gluonts_shell.forecasting.shortcuts import patches
from gluonts_shell.messages import Call, Configuration, Prediction, Row, always

log = logging.getLogger(__name__)

# Numbers that a request may make us draw for a series, and answer: 10 million are about 100 MB of JSON. How many it may
# draw in all is bounded by its time: predicting stops when that is over.
MAX_DRAWN_AT_ONCE = 4_000_000
MAX_ANSWERED = 10_000_000
CONFIGURATIONS = 256
NAMED = 8  # predictors that requests named last
LIBRARIES = ("gluonts_shell", "gluonts", "torch", "numpy", "pandas")
# the arguments of a KeyError by a model that asks an entry for what it does not have, and what requests call that
FEATURES = {
    ("feat_static_cat",): "cat (or feat_static_cat)",
    ("feat_static_real",): "feat_static_real",
    ("feat_dynamic_real",): "dynamic_feat (or feat_dynamic_real)",
    ("past_feat_dynamic_real",): "past_feat_dynamic_real",
}


@dataclass(frozen=True)
class Model:
    """A predictor with what the server must know of it. freq is None where only a request can tell it.

    draws: whether it takes num_samples. batches: whether it runs many series at once. mode: around
    each predict. context: that in which it was loaded, because libraries keep state in
    `contextvars` (rpy2 does), which threads do not inherit.
    """

    predictor: Predictor
    freq: str | None
    reader: Reader
    draws: bool
    batches: bool
    mode: Callable[[], AbstractContextManager[object]]
    context: Context

    @classmethod
    def of(cls, predictor: Predictor, freq: str | None, features: Features) -> Model:
        # GluonTS's torch predictor runs whole batches and pads itself
        batches = hasattr(predictor, "prediction_net")
        reader = Reader(int(predictor.prediction_length), features, pads_empty=not batches)
        draws = "num_samples" in inspect.signature(predictor.predict).parameters
        return cls(
            predictor=predictor,
            freq=freq and period_alias(freq),
            reader=reader,
            draws=draws,
            batches=batches,
            mode=forward_only(predictor),
            context=copy_context(),
        )

    def predict(
        self,
        entries: list[dict[str, Any]],
        configuration: Configuration,
        wanted: Callable[[], bool] = always,
    ) -> list[Prediction]:
        """One prediction for each entry, in their order; in the context in which the model was loaded.

        Raises RequestError where a series or what was asked for is to blame, ModelError where the
        forecasts do not belong to the entries, Cancelled once it is not wanted any more, and
        whatever else the model raises.
        """
        predictions: list[Prediction] = []
        process = os.getpid()
        try:
            # a copy, because a context can be entered only once at a time
            self.context.copy().run(self._predict, entries, configuration, predictions, wanted)
        finally:
            if os.getpid() != process:
                _leave()
        return predictions

    def _predict(
        self,
        entries: list[dict[str, Any]],
        configuration: Configuration,
        predictions: list[Prediction],
        wanted: Callable[[], bool],
    ) -> None:
        options = {"num_samples": configuration.num_samples} if self.draws else {}
        count = len(entries)
        try:
            with self.mode():
                for position, forecast in enumerate(self.predictor.predict(entries, **options)):
                    if not wanted():
                        raise Cancelled(f"it was stopped after {position} of {count} series")
                    if position == count:
                        raise ModelError(
                            f"the model gave more forecasts than the {count} instances"
                        )
                    entry = entries[position]
                    check_item(forecast, entry, position)
                    found = prediction(forecast, configuration, self.quantile_hint)
                    rows = _rows(found, forecast)
                    check_shape(rows, self.reader.prediction_length, entry["target"])
                    predictions.append(found)
        except ShellError:
            raise
        except Exception as error:
            blamed = _blamed(error, self, entries, len(predictions))
            if blamed is None:
                raise
            raise blamed from error
        if len(predictions) != count:
            raise ModelError(f"the model gave {len(predictions)} forecasts for {count} instances")

    def quantile_hint(self) -> str:
        """Ends sentences about quantiles that the forecasts do not have: what gives them to a class that has none by
        default, as GluonTS's wrappers of statsforecast. It may try the model, so it is asked only for a sentence."""
        parameters, _ = constructor_parameters(type(self.predictor))
        if "quantile_levels" not in parameters or has_no_levels(self.predictor):
            return ""
        return "; hyperparameter 'quantile_levels' makes it forecast quantiles"


def check_item(forecast: Any, entry: dict[str, Any], position: int) -> None:
    """Forecasts belong to series by their position. Raises ModelError where one says that it belongs to another."""
    found, expected = getattr(forecast, "item_id", None), entry.get("item_id")
    if found == expected or None in (found, expected):
        return
    if str(found) != str(expected):
        raise ModelError(
            f"the model answered out of order: forecast {position} is for item_id {found!r}, expected {expected!r}"
        )


def check_shape(rows: Sequence[Row], steps: int, target: np.ndarray) -> None:
    """A client takes the values as those of the steps and dimensions that it knows.

    rows: of a prediction. target: of the series; (length,) or (dimensions, length). Raises ModelError where the
    forecast has others.
    """
    expected = 1 if target.ndim == 1 else len(target)
    for row in rows:
        several = len(row) > 0 and isinstance(row[0], list)
        found_steps = len(row[0]) if several else len(row)
        if found_steps != steps:
            raise ModelError(
                f"the model forecast {found_steps} steps, expected {steps}, its prediction_length"
            )
        dimensions = len(row) if several else 1
        if dimensions != expected:
            raise ModelError(
                f"the model forecast {counted(dimensions, 'dimensions')}, expected {expected}, as the target has"
            )


def _rows(found: Prediction, forecast: Any) -> list[Row]:
    """Those that may differ: samples are one array, and what is made of them has its shape."""
    rows = [] if found.mean is None else [found.mean]
    if rows and isinstance(forecast, SampleForecast):
        return rows
    rows += (found.quantiles or {}).values()
    if found.samples is not None and len(found.samples):
        rows.append(found.samples[0])
    return rows


def _leave() -> NoReturn:
    """Ends a process that the model forked, and that comes back as if it were ours.

    Its answer would be a second one on the same connection, which the client takes for that of its next request.
    """
    log.error("a process that the model forked came back from its predict, and is ended")
    os._exit(1)


def _blamed(
    error: Exception, model: Model, entries: list[dict[str, Any]], done: int
) -> RequestError | None:
    """The refusal of the request where the series that the model was at is to blame, else None.

    Which one that was is known of models that take series by series: the one after the last forecast.
    """
    at = None if model.batches else done
    reason = _fault_of_series(error) or _fault_of_absence(model, error, entries, at)
    if reason is None:
        return None
    if at is None:
        return RequestError(f"a series: {reason}")
    return InstanceError(f"instance {at}", reason, index=at)


def _fault_of_series(error: Exception) -> str | None:
    """By GluonTS's own account, or because a feature is not there that only a model without a contract may miss."""
    if isinstance(error, GluonTSDataError):
        return f"the model cannot forecast it: {private(one_line(error))}"
    if not isinstance(error, KeyError) or error.args[:1] not in FEATURES:
        return None
    return f"it has no {FEATURES[error.args[:1]]}: the model needs it"


def _fault_of_absence(
    model: Model, error: Exception, entries: list[dict[str, Any]], at: int | None
) -> str | None:
    """A series without a single value, which some models cannot forecast and say so in words of their own."""
    if at is None or at >= len(entries):
        return None
    if np.isfinite(entries[at]["target"]).any():
        return None
    name = type(model.predictor).__name__
    raised = f"{type(error).__name__}: {private(one_line(error))}"
    return f"the model cannot forecast it: its target has no value, and {name} needs some: {raised}"


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def forward_only(predictor: Predictor) -> Callable[[], AbstractContextManager[object]]:
    """What lets torch leave out what only gradients need, which is a tenth of the time of one series.

    Only for GluonTS's own networks, and not for the one of them that takes gradients in its forward
    pass: GluonTS's no_grad() lets a network switch them on again, and this does not.
    """
    home = type(getattr(predictor, "prediction_net", None)).__module__
    if not home.startswith("gluonts.torch.model.") or "mqf2" in home:
        return nullcontext
    import torch

    return torch.inference_mode  # type: ignore[no-any-return]


class Forecasting:
    """The service: a trained model, requests that name a predictor, or both.

    trained: the model and its contract. default: the forecaster of requests that name none, where
    there is no model; it is the operator's, but its parameters are the client's.
    """

    def __init__(
        self,
        trained: tuple[Predictor, Contract] | None,
        rule: Rule,
        default: type[Predictor] | None = None,
    ) -> None:
        self.contract = trained[1] if trained else None
        self.trained = (
            Model.of(trained[0], trained[1].freq, trained[1].features) if trained else None
        )
        self._rule = rule
        self._default = class_path(default) if default else None
        self._default_class = default
        # two threads may build the same at once: it takes long, and nobody else should wait for it
        self._named = functools.lru_cache(NAMED)(self._build)
        self._configurations: dict[str, Configuration] = {}

    @property
    def description(self) -> str:
        """For the log: what is served."""
        loaded = [
            (name, sys.modules[name].__version__) for name in LIBRARIES if name in sys.modules
        ]
        running = ", ".join(f"{name} {version}" for name, version in loaded)
        if self.contract is None:
            return (
                f"requests for {self._default or 'the forecasters that they name'}, with {running}"
            )
        freq, length = (
            self.contract.freq or "unknown (requests must tell it)",
            self.contract.prediction_length,
        )
        return (
            f"{self.contract.forecaster} (freq {freq}, prediction_length {length}), with {running}"
        )

    @property
    def joins(self) -> bool:
        return self.trained is not None and self.trained.batches

    def configure(self, configuration: Mapping[str, Any]) -> Configuration:
        """Check a request's configuration; the same one is checked once. Raises RequestError."""
        try:
            text = repr(configuration)
        except RecursionError:  # orjson reads deeper than Python's own functions go
            raise RequestError("configuration has too many levels of lists and objects") from None
        found = self._configurations.get(text)
        if found is None:
            found = self._checked(configuration)
            if len(self._configurations) >= CONFIGURATIONS:
                self._configurations.clear()
            if len(text) <= 4096:
                self._configurations[text] = found
        return found

    def _checked(self, configuration: Mapping[str, Any]) -> Configuration:
        found = configurations.parse(configuration, self._default)
        if found.forecaster is not None:
            if found.freq is None:
                raise AskedError("freq", "is missing: a forecaster named in the request needs it")
            self._model(found)
            return found
        if self.trained is None:
            raise RequestError(
                "configuration.forecaster_name is missing: this server has no trained model"
            )
        configurations.check_contract(configuration, self.trained.reader.decided())
        known = self.trained.freq
        if known is None and found.freq is None:
            raise AskedError(
                "freq", "is missing, and the model does not tell it; expected 'h', 'D' or the like"
            )
        if known is not None:
            configurations.check_freq(configuration, known)
        # one spelling, so that calls with and without it can join
        return replace(found, freq=known or found.freq)

    @property
    def horizon(self) -> int | None:
        return self.trained.reader.prediction_length if self.trained else None

    def first_moment(self, start: str, entry: Any, configuration: Configuration) -> str:
        """An entry's own start is where its target begins, also where a cold start was padded."""
        steps = entry["target"].shape[-1] + self._model(configuration).reader.features.lead_time
        return moment(start, entry["start"] + steps, configuration.freq or "")

    def prepare(self, instances: Sequence[Any], configuration: Configuration) -> Call:
        """Check instances and make them ready; nothing is predicted. Raises RequestError."""
        model = self._model(configuration)
        _bounded(len(instances), model, configuration)
        entries, lengths = model.reader.read(instances, configuration.freq or "")
        return Call(configuration, entries, lengths)

    def predict(
        self, calls: Sequence[Call], wanted: Callable[[], bool] = always
    ) -> list[list[Prediction]]:
        """Calls of one configuration -> their predictions. Called by one thread at a time."""
        configuration = calls[0].configuration
        entries = [entry for call in calls for entry in call.entries]
        if not entries:
            return [[] for _ in calls]
        predictions = iter(self._model(configuration).predict(entries, configuration, wanted))
        return [[next(predictions) for _ in call.entries] for call in calls]

    def _model(self, configuration: Configuration) -> Model:
        if configuration.forecaster is not None:
            return self._named(
                replace(configuration, output_types=(), quantiles=(), quantiles_given=False)
            )
        assert self.trained is not None, "configure() lets no other configuration pass"
        return self.trained

    def _build(self, configuration: Configuration) -> Model:
        name = configuration.forecaster or ""
        if self._default_class is not None and name == self._default:
            kind = self._default_class
        else:
            kind = self._rule.find(name)
        # of a class of the user's nothing is known: it gets every field, and a target of any dimensions
        own = not kind.__module__.startswith("gluonts.")
        features = Features(dimensions=0 if own else 1, own=own)
        return Model.of(build(kind, configuration), configuration.freq, features)


def _bounded(instances: int, model: Model, configuration: Configuration) -> None:
    """Raises RequestError where the answer, or the samples behind it, would not fit into memory."""
    wanted = configuration.output_types
    steps = model.reader.prediction_length * max(1, model.reader.features.dimensions)
    rows = ("mean" in wanted) + len(configuration.quantiles) * ("quantiles" in wanted)
    rows += configuration.num_samples * ("samples" in wanted)
    drawn = configuration.num_samples * (model.draws or configuration.forecaster is not None)
    for series, count, limit, what in (
        (instances, rows, MAX_ANSWERED, "values in the answer"),
        (1, drawn, MAX_DRAWN_AT_ONCE, "values to be drawn for a series"),
    ):
        if (found := series * steps * count) > limit:
            raise RequestError(
                f"the request asks for {found} {what} ({series} instances x {steps} steps x {count}), "
                f"expected at most {limit}; send fewer instances a request, or ask for less"
            )


def start_worker(threads: int) -> None:
    """Called in each worker after the fork: its memory, torch's own threads, and random numbers of its own."""
    memory.keep_freed()
    patches.take()
    seed = int.from_bytes(os.urandom(4), "little")
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(seed)
