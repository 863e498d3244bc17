"""Which arguments a class is given, and by which door: its constructor, its hooks, what stands behind **kwargs."""

from typing import Any

import pytest
from gluonts.core.component import validated
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import RepresentablePredictor

from gluonts_shell.errors import ConfigurationError, ForecasterError
from gluonts_shell.forecasting.forecaster.constructors import (
    construct,
    constructor_parameters,
    with_frequency,
)


class Tree(RepresentablePredictor):
    @validated()
    def __init__(self, freq: str, prediction_length: int, depth: int = 3):
        super().__init__(prediction_length=prediction_length)
        self.freq, self.depth = freq, depth

    def predict_item(self, item):
        raise AssertionError


class ThirdParty(Estimator):
    """As GluonTS's ThirdPartyEstimator is made."""

    @validated()
    def __init__(self, predictor_cls: type, **kwargs):
        self.predictor = predictor_cls(**kwargs)


class TreeEstimator(ThirdParty):
    @validated(Tree.__init__.Model)
    def __init__(self, **kwargs):
        super().__init__(predictor_cls=Tree, **kwargs)


class Reading(Estimator):
    def __init__(self, **kwargs):
        self.freq = kwargs.get("freq")


class Handing(Estimator):
    def __init__(self, prediction_length: int, **model_params):
        self.prediction_length, self.model_params = prediction_length, model_params


class Hooked(Estimator):
    """Constructed from names that its constructor does not have."""

    def __init__(self, made_of: dict):
        self.made_of = made_of

    @classmethod
    def from_hyperparameters(cls, depth: int, **more):
        return cls({"depth": depth, **more})


class FromInputs(Estimator):
    def __init__(self, size: int, prediction_length: int = 1):
        self.size, self.prediction_length = size, prediction_length

    @classmethod
    def from_inputs(cls, train_iter, **params):
        return cls(size=len(train_iter), **params)


class WantsClass(Estimator):
    def __init__(self, network: Tree = Tree, other: type = dict, plain: Any = 0):
        pass


def test_a_model_of_a_validated_constructor_names_what_its_signature_does_not():
    parameters, takes_more = constructor_parameters(TreeEstimator)
    assert parameters == {"freq": str, "prediction_length": int, "depth": int}
    assert not takes_more


@pytest.mark.parametrize(
    ("kind", "arguments", "wants"),
    [
        (Tree, {}, True),
        (TreeEstimator, {}, True),
        (ThirdParty, {"predictor_cls": Tree}, True),
        (ThirdParty, {}, False),
        (Reading, {}, True),
        (Handing, {}, False),
        (FromInputs, {}, False),
    ],
)
def test_the_frequency_reaches_the_classes_that_have_a_use_for_it(kind, arguments, wants):
    assert with_frequency(kind, arguments, "D") == {**arguments, **({"freq": "D"} if wants else {})}


def test_a_class_behind_open_arguments_is_constructed_with_them():
    made = construct(TreeEstimator, with_frequency(TreeEstimator, {"prediction_length": 2}, "D"))
    assert (made.predictor.freq, made.predictor.prediction_length) == ("D", 2)


def test_the_hooks_that_a_class_defines_itself_construct_it():
    parameters, takes_more = constructor_parameters(Hooked)
    assert parameters == {"made_of": dict, "depth": int}
    assert takes_more
    assert construct(Hooked, {"depth": 3, "width": 4}).made_of == {"depth": 3, "width": 4}
    assert construct(FromInputs, {"prediction_length": 2}, train=[1, 2, 3]).size == 3
    assert "train_iter" not in constructor_parameters(FromInputs)[0]


def test_without_data_a_class_is_constructed_without_from_inputs():
    assert construct(FromInputs, {"size": 5}).size == 5


def test_a_parameter_whose_default_is_a_class_wants_a_class():
    parameters, _ = constructor_parameters(WantsClass)
    assert parameters == {"network": type[Tree], "other": type, "plain": Any}


class Silent(RepresentablePredictor):
    @validated()
    def __init__(self, window: int = 3, length: Any = None):
        if length is not None:
            self.prediction_length = length


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, "has no prediction_length"),
        ({"length": 0}, "has the prediction_length 0"),
        ({"length": "7"}, "has the "),
    ],
)
def test_a_predictor_that_does_not_say_how_far_it_forecasts_is_refused(arguments, found):
    with pytest.raises(ForecasterError) as caught:
        construct(Silent, arguments)
    assert str(caught.value).startswith(f"Silent {found}")
    assert str(caught.value).endswith(
        "expected a positive whole number: its constructor must set it, "
        "for example by super().__init__(prediction_length=prediction_length)"
    )


@pytest.mark.torch
@pytest.mark.parametrize(
    ("given", "shown"),
    [({}, "missing"), ({"cardinality": [2, 3]}, "[2, 3]"), ({"cardinality": None}, "missing")],
)
def test_categories_without_their_number_of_values_are_refused(given, shown):
    from gluonts.torch.model.tide import TiDEEstimator

    with pytest.raises(ConfigurationError) as caught:
        construct(
            TiDEEstimator, {"freq": "D", "prediction_length": 2, "num_feat_static_cat": 1, **given}
        )
    assert str(caught.value) == (
        f"hyperparameter 'num_feat_static_cat' is 1, and 'cardinality' is {shown}: "
        "expected a list of 1, how many values each category has"
    )


class Mean:
    """As statsforecast's models without intervals of their own are made."""

    def __init__(self, prediction_intervals=None):
        self.prediction_intervals = prediction_intervals

    def forecast(self, y, h, level=None):
        if level is not None and self.prediction_intervals is None:
            raise Exception("You must pass `prediction_intervals` to compute them.")


class Sometimes(Mean):
    """The text is in its code too, but it has levels: MSTL of statsforecast."""

    def forecast(self, y, h, level=None):
        if len(y) < h:
            raise Exception("You must pass `prediction_intervals` to compute them.")


class Wrapping(RepresentablePredictor):
    Model = Mean

    @validated()
    def __init__(self, prediction_length: int, quantile_levels: Any = None, **model_params):
        super().__init__(prediction_length=prediction_length)
        self.model, self.config = self.Model(**model_params), self
        self.quantile_levels = quantile_levels


def test_levels_are_refused_where_the_model_forecasts_the_mean_alone():
    with pytest.raises(ConfigurationError) as caught:
        construct(Wrapping, {"prediction_length": 2, "quantile_levels": [0.1]})
    expected = "Wrapping forecasts the mean alone and cannot use hyperparameter 'quantile_levels'; remove it"
    assert str(caught.value) == expected
    assert construct(Wrapping, {"prediction_length": 2}).prediction_length == 2
    given = {"prediction_length": 2, "quantile_levels": [0.1], "prediction_intervals": object()}
    assert construct(Wrapping, given).quantile_levels == [0.1]


def test_levels_are_taken_where_the_model_has_them(monkeypatch):
    monkeypatch.setattr(Wrapping, "Model", Sometimes)
    assert construct(
        Wrapping, {"prediction_length": 2, "quantile_levels": [0.1]}
    ).quantile_levels == [0.1]
