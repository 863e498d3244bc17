"""Predictors named in requests: the rule before the import, the class behind the name, its parameters, and the cache."""

import sys
import threading

import pytest
from gluonts.model.trivial.constant import ConstantValuePredictor

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.service.allowed import Recent, Rule, build
from gluonts_shell.forecasting.service.configuration import parse

CONSTANT = "gluonts.model.trivial.constant.ConstantValuePredictor"
DEFAULT = Rule()


def made(rule=DEFAULT, **configuration):
    return build(parse(configuration), rule)


def refused(rule=DEFAULT, **configuration):
    with pytest.raises(RequestError) as caught:
        made(rule, **configuration)
    return str(caught.value)


def test_a_predictor_gets_its_parameters_typed():
    predictor = made(forecaster_name=CONSTANT, freq="D", prediction_length="7", value="2.5", num_samples=3)
    assert isinstance(predictor, ConstantValuePredictor)
    assert (predictor.prediction_length, predictor.value, predictor.num_samples) == (7, 2.5, 3)
    predictor = made(forecaster_name="SeasonalNaivePredictor", freq="D", prediction_length=7, season_length=7)
    assert (predictor.prediction_length, predictor.season_length) == (7, 7)


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"prediction_length": 7, "valu": 1},
         "configuration.valu is not a parameter of ConstantValuePredictor; did you mean 'value'?"),
        ({"prediction_length": 7, "xyz": 1},
         "configuration.xyz is not a parameter of ConstantValuePredictor; "
         "it has 'prediction_length', 'value', 'num_samples'"),
        ({"prediction_length": 7, "quantile": []},
         "configuration.quantile is not a parameter of ConstantValuePredictor; did you mean 'quantiles'?"),
        ({}, "configuration.prediction_length is missing: ConstantValuePredictor needs it"),
        ({"prediction_length": "x"}, "configuration.prediction_length is 'x', expected a whole number"),
        ({"prediction_length": 7, "value": "x"}, "configuration.value is 'x', expected a number"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit(configuration, sentence):
    assert refused(forecaster_name=CONSTANT, freq="D", **configuration) == sentence


@pytest.mark.parametrize("length", [0, -3])
def test_a_class_that_refuses_its_parameters_says_why(length):
    sentence = refused(forecaster_name=CONSTANT, freq="D", prediction_length=length)
    assert sentence.startswith("configuration: ConstantValuePredictor refuses its arguments: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os.system", "which is not allowed: only 'gluonts.' and the code channel"),
        ("gluontsevil.Predictor", "which is not allowed: only 'gluonts.' and the code channel"),
        ("gluonts", "expected a class path such as"),
        ("gluonts.", "expected a class path such as"),
        (".gluonts.x", "expected a class path such as"),
        ("gluonts..x", "expected a class path such as"),
        ("gluonts.model x.y", "expected a class path such as"),
        ("../x", "expected a class path such as"),
        ("", "expected a class path such as"),
        ("x" * 5000, "expected a class path such as"),
        ("gluonts.json.os.system", "there is no forecaster 'gluonts.json.os.system'"),
        ("gluonts.model.predictor.json.JSONDecoder", "expected a subclass of gluonts' Estimator or Predictor"),
        ("gluonts.model.predictor.TemporaryDirectory", "expected a subclass of gluonts' Estimator or Predictor"),
        ("gluonts.model.trivial.constant.ConstantValuPredictor", f"did you mean '{CONSTANT}'"),
        ("gluonts.model.trivial.mean.MeanEstimator", "an Estimator, which needs training; expected a Predictor"),
    ],
)
def test_other_names_are_refused(name, words):
    sentence = refused(forecaster_name=name, freq="D", prediction_length=7)
    assert words in sentence
    assert len(sentence) < 700


def test_nothing_is_imported_before_the_name_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "forbidden_forecasters.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "is not allowed" in refused(forecaster_name="forbidden_forecasters.Predictor", freq="D")
    assert "forbidden_forecasters" not in sys.modules


SOURCE = """
from os import system
from gluonts.model.trivial.constant import ConstantValuePredictor
class Mine(ConstantValuePredictor):
    pass
"""


def test_the_code_channel_may_be_named(tmp_path, monkeypatch):
    (tmp_path / "channel_forecasters.py").write_text(SOURCE)
    package = tmp_path / "channel_package"
    package.mkdir()
    (package / "__init__.py").write_text("from channel_package._impl import Mine\n")
    (package / "_impl.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    rule = Rule(code=tmp_path)
    for name in ("channel_forecasters.Mine", "channel_package.Mine", "channel_package._impl.Mine", CONSTANT):
        assert made(rule, forecaster_name=name, freq="D", prediction_length=2).prediction_length == 2
    assert "is not allowed" in refused(forecaster_name="channel_forecasters.Mine", freq="D", prediction_length=2)
    assert "is not allowed" in refused(rule, forecaster_name="os.path.join", freq="D")


@pytest.mark.parametrize(
    ("prefixes", "allowed"),
    [
        (("gluonts.model.trivial",), True),
        (("gluonts.model.trivial.",), True),
        ((CONSTANT,), True),
        (("x.y", "gluonts"), True),
        (("gluonts.model.triv",), False),
        (("gluonts.model.npts", "x"), False),
        ((), False),
    ],
)
def test_a_list_of_prefixes_replaces_the_rule(prefixes, allowed):
    rule = Rule(prefixes)
    if allowed:
        assert made(rule, forecaster_name=CONSTANT, freq="D", prediction_length=2)
    else:
        expected = ", ".join(map(repr, prefixes)) or "none"
        assert refused(rule, forecaster_name=CONSTANT, freq="D").endswith(f"which is not allowed: only {expected}")


def test_a_class_may_be_allowed_by_its_public_path():
    rule = Rule(("gluonts.model.seasonal_naive.SeasonalNaivePredictor",))
    given = {"freq": "D", "prediction_length": 2, "season_length": 2}
    assert made(rule, forecaster_name="gluonts.model.seasonal_naive.SeasonalNaivePredictor", **given)


def test_a_static_server_takes_none():
    rule = Rule(refused="this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)")
    assert refused(rule, forecaster_name=CONSTANT, freq="D") == (
        f"configuration.forecaster_name is '{CONSTANT}', "
        "but this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)"
    )


def test_the_values_used_last_are_kept():
    made_for = []

    def make(key):
        made_for.append(key)
        return key * 2

    recent = Recent(make, size=2)
    assert [recent(key) for key in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert made_for == [1, 2, 3, 2]


def test_values_that_cannot_be_made_are_not_kept():
    recent = Recent({}.__getitem__)
    for _ in range(2):
        with pytest.raises(KeyError):
            recent(1)
    assert not recent.kept


def test_several_threads_share_the_cache():
    recent = Recent(lambda key: key * 2, size=3)
    wrong = []

    def work(number):
        wrong.extend(key for key in [(number * turn) % 7 for turn in range(2000)] if recent(key) != key * 2)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(recent.kept) == 3
