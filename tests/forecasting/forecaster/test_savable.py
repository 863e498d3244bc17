"""A class that cannot be saved is refused before anything is done; one that may be is let through."""

import pytest
from gluonts.core.component import validated
from gluonts.core.serde import Stateful
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor, RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.errors import ForecasterError
from gluonts_shell.forecasting.forecaster.savable import check_savable


class Plain(RepresentablePredictor):
    def __init__(self, prediction_length: int):
        super().__init__(prediction_length=prediction_length)


class Bare(Predictor):
    def predict(self, dataset, **kwargs):
        yield from ()


class OnlyWrites(Bare):
    def serialize(self, path):
        super().serialize(path)


class Validated(RepresentablePredictor):
    @validated()
    def __init__(self, prediction_length: int):
        super().__init__(prediction_length=prediction_length)


class Below(Validated):
    def __init__(self, prediction_length: int):
        super().__init__(prediction_length=prediction_length)


class New(Plain):
    def __getnewargs_ex__(self):
        return (), {"prediction_length": self.prediction_length}


class State(Stateful, Plain):
    pass


class Itself(Bare):
    def serialize(self, path):
        super().serialize(path)

    @classmethod
    def deserialize(cls, path, **kwargs):
        return cls(prediction_length=1)


class Own(Estimator):
    """What an estimator trains is not known before it has trained."""


@pytest.mark.parametrize("kind", [Plain, Bare, OnlyWrites])
def test_a_class_that_cannot_be_saved_is_refused_with_what_it_lacks(kind):
    with pytest.raises(ForecasterError) as caught:
        check_savable(kind)
    assert str(caught.value) == (
        f"forecaster {f'{__name__}.{kind.__name__}'!r} cannot be saved: its class needs "
        "@gluonts.core.component.validated() on its constructor, or a method __getnewargs_ex__, "
        "or methods serialize(path) and deserialize(path) of its own"
    )


@pytest.mark.parametrize(
    "kind", [Validated, Below, New, State, Itself, Own, SeasonalNaivePredictor]
)
def test_a_class_that_may_be_saved_passes(kind):
    check_savable(kind)
