import logging

import pytest
from gluonts.core.component import validated
from gluonts.ext.prophet import ProphetPredictor
from gluonts.model.estimator import Estimator
from gluonts.model.npts import NPTSPredictor
from gluonts.model.predictor import RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.constant import ConstantValuePredictor
from gluonts.model.trivial.mean import MeanEstimator, MeanPredictor

from gluonts_shell.errors import ConfigurationError, ForecasterError
from gluonts_shell.forecasting.forecaster.constructors import (
    construct,
    constructor_parameters,
    required_parameters,
)
from gluonts_shell.forecasting.forecaster.hyperparameters.arguments import route
from gluonts_shell.forecasting.forecaster.hyperparameters.options import Options


class Plain(RepresentablePredictor):
    """Not @validated, as people write them."""

    def __init__(self, prediction_length: int, window=3, scale: float = 1.0):
        super().__init__(prediction_length=prediction_length)
        self.window, self.scale = window, scale


class Open(RepresentablePredictor):
    """Takes anything, as the predictors of statsforecast do."""

    @validated()
    def __init__(
        self, prediction_length: int, quantile_levels: list[float] | None = None, **model_params
    ) -> None:
        super().__init__(prediction_length=prediction_length)
        self.quantile_levels, self.model_params = quantile_levels, model_params


class Handing(Plain):
    """Hands on what it does not know."""

    def __init__(self, *args, depth: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.depth = depth


class Bare(RepresentablePredictor):
    pass


class Refusing(Plain):
    def __init__(self, prediction_length: int):
        raise AssertionError


def test_everything_is_passed_flat_and_typed_by_the_constructors_annotations():
    routed = route(
        NPTSPredictor,
        {
            "prediction_length": "12.0",
            "context_length": "null",
            "use_seasonal_model": "no",
            "kernel_type": "uniform",
        },
    )
    assert routed.arguments["prediction_length"] == 12
    assert routed.arguments["context_length"] is None
    assert routed.arguments["use_seasonal_model"] is False
    assert routed.options == Options()


def test_the_shells_own_are_taken_out_where_the_class_does_not_want_them():
    given = {
        "forecaster_name": "SeasonalNaivePredictor",
        "prediction_length": "12",
        "season_length": "12",
        "freq": "M",
        "seed": "7",
        "test_quantiles": "0.1,0.9",
        "num_eval_samples": "50",
        "evaluation": "required",
        "listify_dataset": "yes",
        "num_workers": "0",
        "num_prefetch": "2",
        "shuffle_buffer_length": "100",
        "cache_data": "true",
        "unknown_hyperparameters": "error",
    }
    routed = route(SeasonalNaivePredictor, given)
    assert routed.arguments == {"prediction_length": 12, "season_length": 12}
    assert routed.options == Options(
        freq="M",
        test_quantiles=["0.1", "0.9"],
        num_eval_samples=50,
        evaluation="required",
        seed=7,
        listify_dataset=True,
        num_workers=0,
        num_prefetch=2,
        shuffle_buffer_length=100,
        cache_data=True,
    )


def test_what_nobody_takes_is_an_error_that_suggests_a_name():
    with pytest.raises(ConfigurationError) as caught:
        route(
            SeasonalNaivePredictor, {"prediction_length": "1", "seasonlength": "12", "flavour": "x"}
        )
    assert str(caught.value) == (
        "hyperparameter 'seasonlength' is not known to SeasonalNaivePredictor; did you mean 'season_length'?; "
        "hyperparameter 'flavour' is not known to SeasonalNaivePredictor"
    )


def test_what_nobody_takes_may_be_ignored_with_a_warning(caplog):
    given = {"prediction_length": "1", "flavour": "x", "unknown_hyperparameters": "ignore"}
    assert route(SeasonalNaivePredictor, given).arguments == {"prediction_length": 1}
    assert caplog.record_tuples == [
        (
            "gluonts_shell.forecasting.forecaster.hyperparameters.arguments",
            logging.WARNING,
            "ignored, because unknown_hyperparameters is 'ignore': "
            "hyperparameter 'flavour' is not known to SeasonalNaivePredictor",
        )
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"prediction_length": "seven"},
            "hyperparameter 'prediction_length' is 'seven', expected a whole number",
        ),
        (
            {"prediction_length": "5.7"},
            "hyperparameter 'prediction_length' is '5.7', expected a whole number",
        ),
        (
            {"listify_dataset": "maybe"},
            "hyperparameter 'listify_dataset' is 'maybe', expected true or false or null",
        ),
        (
            {"test_quantiles": "mean"},
            "hyperparameter 'test_quantiles': quantile 'mean' is none: expected a level such as 0.1, '0.1' or 'p10'",
        ),
        (
            {"test_quantiles": '["mean"]'},
            "hyperparameter 'test_quantiles': quantile 'mean' is none: expected ",
        ),
        (
            {"test_quantiles": "[0.1, 1.5]"},
            "hyperparameter 'test_quantiles': quantile '1.5' is none: expected ",
        ),
        (
            {"test_quantiles": "[]"},
            "hyperparameter 'test_quantiles': the list of quantiles to evaluate is empty: expected ",
        ),
        (
            {"num_eval_samples": "0"},
            "hyperparameter 'num_eval_samples' is 0, expected a whole number of at least 1",
        ),
        (
            {"num_workers": "-1"},
            "hyperparameter 'num_workers' is -1, expected a whole number of at least 0",
        ),
        (
            {"checkpoint_every": "-1"},
            "hyperparameter 'checkpoint_every' is -1.0, expected a number of seconds, at least 0",
        ),
        (
            {"checkpoint_every": "often"},
            "hyperparameter 'checkpoint_every' is 'often', expected a number or null",
        ),
        ({"seed": "-1"}, "hyperparameter 'seed' is -1, expected a whole number of at least 0"),
        (
            {"seed": "4294967296"},
            "hyperparameter 'seed' is 4294967296, expected a whole number below 2**32",
        ),
        (
            {"evaluation": "please"},
            "hyperparameter 'evaluation' is 'please', expected one of 'optional', 'required'",
        ),
        (
            {"time_freq": "D", "freq": "h"},
            "hyperparameters 'time_freq' and 'freq' are the same; give one of them",
        ),
        (
            {"trainer_kwargs": "{}"},
            "hyperparameter 'trainer_kwargs' is not known to SeasonalNaivePredictor",
        ),
        (
            {"$trainer_kwargs.max_epochs": "1"},
            "hyperparameter '$trainer_kwargs' is not known to SeasonalNaivePredictor",
        ),
        ({"epochs": "1"}, "hyperparameter 'epochs' is not known to SeasonalNaivePredictor"),
        (
            {"a": "1", "a.b": "2"},
            "hyperparameter 'a' is '1', expected a JSON object because of 'a.b'",
        ),
    ],
)
def test_a_hyperparameter_that_is_wrong_is_named(given, sentence):
    with pytest.raises(ConfigurationError) as caught:
        route(SeasonalNaivePredictor, given)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "quantiles"),
    [
        ("[0.1, 0.9]", ["0.1", "0.9"]),
        ("0.1,0.9", ["0.1", "0.9"]),
        ("0.5", ["0.5"]),
        ('["p10", "0.90"]', ["p10", "0.90"]),
        ("p10, p90", ["p10", "p90"]),
        ([0.1, "p90"], ["0.1", "p90"]),
    ],
)
def test_quantiles_to_test_come_in_all_the_spellings_of_gluonts(text, quantiles):
    assert (
        route(SeasonalNaivePredictor, {"test_quantiles": text}).options.test_quantiles == quantiles
    )


def test_the_name_of_deepar_for_the_frequency_is_taken_for_every_class():
    assert route(SeasonalNaivePredictor, {"time_freq": "D"}).options.freq == "D"
    assert route(SeasonalNaivePredictor, {"time_freq": "D", "freq": "D"}).options.freq == "D"


def test_a_class_that_takes_anything_gets_the_rest_but_not_what_is_the_shells():
    given = {
        "prediction_length": "3",
        "season_length": "12",
        "quantile_levels": "0.1,0.9",
        "freq": "M",
        "seed": "1",
        "alias": "AutoETS",
    }
    routed = route(Open, given)
    assert routed.arguments == {
        "prediction_length": 3,
        "season_length": 12,
        "quantile_levels": [0.1, 0.9],
        "alias": "AutoETS",
    }
    made = construct(Open, routed.arguments)
    assert made.model_params == {"season_length": 12, "alias": "AutoETS"}


def test_a_class_that_hands_on_what_it_does_not_know_has_the_parameters_of_its_base():
    parameters, takes_more = constructor_parameters(Handing)
    assert list(parameters) == ["depth", "prediction_length", "window", "scale"]
    assert takes_more
    routed = route(Handing, {"prediction_length": "3", "scale": "2", "depth": "2", "freq": "D"})
    assert routed.arguments == {"prediction_length": 3, "scale": 2.0, "depth": 2}
    assert construct(Handing, routed.arguments).scale == 2.0


def test_a_class_without_a_constructor_has_that_of_its_base():
    assert constructor_parameters(Bare)[1] is False
    assert list(constructor_parameters(Bare)[0]) == ["prediction_length", "lead_time"]
    assert route(Bare, {"prediction_length": "3"}).arguments == {"prediction_length": 3}


def test_a_class_that_is_not_validated_gets_only_what_it_declares():
    routed = route(
        Plain,
        {
            "forecaster_name": "x.Plain",
            "freq": "D",
            "prediction_length": "3",
            "window": "[1, 2]",
            "scale": "2",
        },
    )
    assert routed.arguments == {"prediction_length": 3, "window": [1, 2], "scale": 2.0}
    assert construct(Plain, routed.arguments).window == [1, 2]


def test_dotted_names_nest_and_win_over_the_json_of_the_same_name():
    given = {
        "options": '{"a": 1, "b": {"c": 2}}',
        "options.a": "3",
        "options.b.d": "4",
        "other.x": "y",
    }
    assert route(Open, given).arguments == {
        "options": {"a": 3, "b": {"c": 2, "d": 4}},
        "other": {"x": "y"},
    }


def test_what_is_missing_is_named():
    assert required_parameters(SeasonalNaivePredictor) == ["prediction_length", "season_length"]
    with pytest.raises(
        ConfigurationError, match=r"^SeasonalNaivePredictor needs hyperparameter 'season_length'$"
    ):
        construct(SeasonalNaivePredictor, {"prediction_length": 1})
    with pytest.raises(
        ConfigurationError,
        match=r"^MeanEstimator needs hyperparameter 'prediction_length', 'num_samples'$",
    ):
        construct(MeanEstimator, {})


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        (
            ConstantValuePredictor,
            {"prediction_length": 0},
            "ConstantValuePredictor refuses its arguments: ",
        ),
        (
            Refusing,
            {"prediction_length": 1},
            "Refusing refuses its arguments: an assertion in its constructor fails",
        ),
        (
            Plain,
            {"prediction_length": 1, "colour": 1},
            "Plain refuses its arguments: Plain.__init__() got an unexpected keyword argument 'colour'",
        ),
    ],
)
def test_what_a_class_refuses_comes_with_its_reason(kind, arguments, sentence):
    with pytest.raises(ForecasterError) as caught:
        construct(kind, arguments)
    assert str(caught.value).startswith(sentence)


def test_a_package_that_is_missed_only_by_the_constructor_is_named():
    with pytest.raises(ForecasterError) as caught:
        construct(ProphetPredictor, {"prediction_length": 1})
    path = "gluonts.ext.prophet.ProphetPredictor"
    needs = "needs prophet, which is not installed: install gluonts[prophet]"
    assert str(caught.value) == f"forecaster {path!r} {needs}"


def test_estimators_of_our_users_are_routed_like_those_of_gluonts():
    class Own(Estimator):
        def __init__(self, prediction_length: int, lr: float = 0.1, batch_size: int = 3):
            super().__init__()
            self.lr, self.batch_size = lr, batch_size

    routed = route(Own, {"prediction_length": "1", "learning_rate": "5E-4", "mini_batch_size": "8"})
    assert routed.arguments == {"prediction_length": 1, "lr": 0.0005, "batch_size": 8}
    assert route(MeanPredictor, {"prediction_length": "1"}).arguments == {"prediction_length": 1}


@pytest.mark.torch
class TestTrainers:
    """Estimators that train with Lightning: what is its Trainer's goes into trainer_kwargs."""

    @staticmethod
    def trainer(given, name="DeepAREstimator"):
        from gluonts_shell.forecasting.forecaster.names import resolve

        return route(resolve(name), given).arguments.get("trainer_kwargs")

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"epochs": "2"}, {"max_epochs": 2}),
            ({"max_epochs": "2"}, {"max_epochs": 2}),
            ({"epochs": "2.0"}, {"max_epochs": 2}),
            ({"trainer_kwargs": '{"max_epochs": 2}'}, {"max_epochs": 2}),
            ({"trainer_kwargs": '{"max_epochs": "2"}'}, {"max_epochs": 2}),
            ({"trainer_kwargs": '{"max_epochs": 3.0}'}, {"max_epochs": 3}),
            ({"trainer_kwargs": "{'max_epochs': 2}"}, {"max_epochs": 2}),
            ({"trainer_kwargs": '{"epochs": 2}'}, {"max_epochs": 2}),
            ({"trainer_kwargs": {"max_epochs": 2}}, {"max_epochs": 2}),
            ({"trainer_kwargs.max_epochs": "3"}, {"max_epochs": 3}),
            (
                {
                    "trainer_kwargs.max_epochs": "3",
                    "trainer_kwargs": '{"max_epochs": 2, "devices": 1}',
                },
                {"max_epochs": 3, "devices": 1},
            ),
            ({"epochs": "9", "trainer_kwargs": '{"max_epochs": 2}'}, {"max_epochs": 2}),
            ({"epochs": "9", "trainer_kwargs": '{"epochs": 2}'}, {"max_epochs": 2}),
            ({"epochs": "9", "trainer_kwargs": '{"devices": 1}'}, {"max_epochs": 9, "devices": 1}),
            ({"max_time": "3600"}, {"max_time": "00:01:00:00"}),
            ({"max_time": 90061}, {"max_time": "01:01:01:01"}),
            ({"max_time": "0.5"}, {"max_time": "00:00:00:01"}),
            ({"max_time": "02:12:00:00"}, {"max_time": "02:12:00:00"}),
            ({"max_time": '{"hours": 2}'}, {"max_time": {"hours": 2}}),
            ({"trainer_kwargs": '{"max_time": 60}'}, {"max_time": "00:00:01:00"}),
            ({"gradient_clip_val": "10"}, {"gradient_clip_val": 10}),
            (
                {"gradient_clip_val": "0.5", "accelerator": "cpu", "devices": "1"},
                {"gradient_clip_val": 0.5, "accelerator": "cpu", "devices": 1},
            ),
            ({"devices": "auto"}, {"devices": "auto"}),
            ({"trainer_kwargs": '{"devices": [0, 1]}'}, {"devices": [0, 1]}),
            (
                {"precision": "32", "max_time": "00:01:00:00"},
                {"precision": 32, "max_time": "00:01:00:00"},
            ),
            ({"limit_train_batches": "3"}, {"limit_train_batches": 3}),
            ({"limit_train_batches": "0.5"}, {"limit_train_batches": 0.5}),
            (
                {"logger": "false", "deterministic": "True"},
                {"logger": False, "deterministic": True},
            ),
            ({"learning_rate": "0.1"}, None),
        ],
    )
    def test_what_is_the_trainers_goes_to_it_typed(self, given, expected):
        found = self.trainer(
            {"prediction_length": "1", "freq": "D", **given}, "SimpleFeedForwardEstimator"
        )
        assert found == expected
        assert {name: type(value) for name, value in (found or {}).items()} == {
            name: type(value) for name, value in (expected or {}).items()
        }

    def test_an_estimator_with_epochs_of_its_own_keeps_them(self):
        from gluonts.torch.model.deep_npts import DeepNPTSEstimator

        routed = route(
            DeepNPTSEstimator,
            {"prediction_length": "1", "context_length": "2", "epochs": "3", "freq": "D"},
        )
        assert routed.arguments == {
            "prediction_length": 1,
            "context_length": 2,
            "epochs": 3,
            "freq": "D",
        }
        with pytest.raises(
            ConfigurationError,
            match=r"^hyperparameter 'max_epochs' is not known to DeepNPTSEstimator; did you mean 'epochs'\?$",
        ):
            route(DeepNPTSEstimator, {"max_epochs": "3"})
        with pytest.raises(
            ConfigurationError, match="'trainer_kwargs' is not known to DeepNPTSEstimator"
        ):
            route(DeepNPTSEstimator, {"trainer_kwargs": '{"max_epochs": 3}'})

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (
                {"contxt_length": "3"},
                "hyperparameter 'contxt_length' is not known to DeepAREstimator; did you mean 'context_length'?",
            ),
            (
                {"max_epoch": "3"},
                "hyperparameter 'max_epoch' is not known to DeepAREstimator; did you mean 'max_epochs'?",
            ),
            (
                {"max_time": "an hour"},
                "hyperparameter 'max_time' is 'an hour', expected a number of seconds, or DD:HH:MM:SS",
            ),
            (
                {"max_time": "0"},
                "hyperparameter 'max_time' is '0', expected a number of seconds, or DD:HH:MM:SS",
            ),
            (
                {"max_time": "12:00"},
                "hyperparameter 'max_time' is '12:00', expected a number of seconds, or DD:HH:MM:SS",
            ),
            (
                {"epochs": "3", "max_epochs": "3"},
                "hyperparameters 'epochs' and 'max_epochs' are the same; give one of them",
            ),
            ({"num_nodes": "2"}, "hyperparameter 'num_nodes' is 2, but "),
            (
                {"epochs": "many"},
                "hyperparameter 'max_epochs' is 'many', expected a whole number or null",
            ),
            (
                {"trainer_kwargs": '{"max_epoch": 3}'},
                "hyperparameter 'trainer_kwargs' has 'max_epoch', which lightning's Trainer does not know; did you mean 'max_epochs'?",
            ),
            (
                {"trainer_kwargs": "max_epochs=3"},
                "hyperparameter 'trainer_kwargs' is 'max_epochs=3', expected a JSON object or null",
            ),
            (
                {"trainer_kwargs": '{"enable_checkpointing": false}'},
                "hyperparameter 'enable_checkpointing' is false, but GluonTS needs checkpoints",
            ),
            (
                {
                    "trainer_kwargs": '{"callbacks": [{"__kind__": "instance", "class": "lightning.pytorch.callbacks.EarlyStopping", "kwargs": {"monitor": "train_loss"}}]}'
                },
                "hyperparameter 'trainer_kwargs' is '{\"callbacks\": ",
            ),
            (
                {"$trainer_kwargs.max_epochs": "1"},
                "hyperparameter '$trainer_kwargs' is not known to DeepAREstimator; did you mean 'trainer_kwargs'?",
            ),
            (
                {"cardinality": "auto"},
                "hyperparameter 'cardinality' is 'auto', expected a list in which each item is a whole number or null",
            ),
            (
                {"distr_output": "gamma-ray"},
                "hyperparameter 'distr_output' is 'gamma-ray', expected the name of a DistributionOutput: ",
            ),
        ],
    )
    def test_a_mistake_is_named_before_any_training(self, given, sentence):
        with pytest.raises(ConfigurationError) as caught:
            self.trainer({"prediction_length": "1", "freq": "D", **given})
        assert str(caught.value).startswith(sentence)

    @pytest.mark.parametrize(
        "given",
        [
            {"distr_output": "NegativeBinomialOutput"},
            {"distr_output": "negative-binomial"},
            {"distr_output": "gluonts.torch.distributions.NegativeBinomialOutput"},
            {"distr_output.()": "gluonts.torch.distributions.NegativeBinomialOutput"},
            {"distr_output": {"()": "NegativeBinomialOutput", "beta": "0.0"}},
            {
                "distr_output": '{"__kind__": "instance", "class": "gluonts.torch.distributions.NegativeBinomialOutput", "args": [], "kwargs": {}}'
            },
        ],
    )
    def test_a_distribution_is_given_by_name(self, given):
        from gluonts.torch.distributions import NegativeBinomialOutput

        from gluonts_shell.forecasting.forecaster.names import resolve

        assert (
            type(route(resolve("DeepAREstimator"), given).arguments["distr_output"])
            is NegativeBinomialOutput
        )

    def test_every_estimator_of_gluonts_takes_epochs_and_makes_them_its_own(self):
        from gluonts_shell.forecasting.forecaster.catalog import SHORT_NAMES
        from gluonts_shell.forecasting.forecaster.names import resolve

        for path in [path for path in SHORT_NAMES.values() if path.startswith("gluonts.torch")]:
            routed = route(resolve(path), {"epochs": "2"})
            assert routed.arguments in ({"trainer_kwargs": {"max_epochs": 2}}, {"epochs": 2}), path
