"""The forecasters that a request may name: the rule before the import, and the class behind the name."""

import sys

import pytest
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.constant import ConstantValuePredictor

from gluonts_shell.errors import RequestError
from gluonts_shell.forecasting.forecaster.catalog import HARMLESS, OTHERS, PREDICTORS
from gluonts_shell.forecasting.forecaster.known import Installed
from gluonts_shell.forecasting.service import allowed
from gluonts_shell.forecasting.service.allowed import Rule

CONSTANT = "gluonts.model.trivial.constant.ConstantValuePredictor"
ONLY = "only GluonTS's trivial, seasonal, NPTS and statsforecast predictors, and those of the code channel"
DEFAULT = Rule()


def refused(name, rule=DEFAULT):
    with pytest.raises(RequestError) as caught:
        rule.find(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (CONSTANT, ConstantValuePredictor),
        ("ConstantValuePredictor", ConstantValuePredictor),
        ("gluonts.model.seasonal_naive._predictor.SeasonalNaivePredictor", SeasonalNaivePredictor),
        ("gluonts.mx.trivial.constant.ConstantValuePredictor", ConstantValuePredictor),
    ],
)
def test_gluonts_own_have_their_paths_short_names_and_old_ones(name, kind):
    assert DEFAULT.find(name) is kind


def test_the_table_of_imports_has_every_predictor():
    assert {path.rpartition(".")[0] for path in PREDICTORS} == set(allowed.MODULES)
    for path in [path for path in sorted(HARMLESS) if path.startswith("gluonts.model.")]:
        assert DEFAULT.find(path).__name__ == path.rpartition(".")[2]


@pytest.mark.parametrize("name", OTHERS)
def test_predictors_that_do_more_than_compute_are_the_operators_to_allow(name):
    sentence = refused(name)
    assert sentence == (
        f"configuration.forecaster_name is '{name}', which is not allowed: {ONLY} "
        "(GLUONTS_ALLOWED_FORECASTERS allows others)"
    )
    with pytest.MonkeyPatch.context() as patch:
        kind = type(name.rpartition(".")[2], (ConstantValuePredictor,), {})
        module = type(sys)("module")
        setattr(module, kind.__name__, kind)
        patch.setitem(allowed.MODULES, name.rpartition(".")[0], lambda: module)
        assert Rule((name,)).find(name) is kind
        assert Rule(("gluonts.ext",)).find(kind.__name__) is kind


def test_a_missing_package_says_what_to_install():
    assert refused("Naive2Predictor", Rule(("gluonts",))) == (
        "configuration.forecaster_name: forecaster 'gluonts.ext.naive_2.Naive2Predictor' needs statsmodels, "
        "which is not installed: install statsmodels"
    )


def test_what_the_operator_named_himself_is_found():
    assert (
        Rule((), chosen={"mine.Own": ConstantValuePredictor}).find("mine.Own")
        is ConstantValuePredictor
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os.system", "which is not allowed: " + ONLY),
        ("gluontsevil.Predictor", "which is not allowed: " + ONLY),
        ("gluonts", "expected a class path such as"),
        ("gluonts.", "expected a class path such as"),
        (".gluonts.x", "expected a class path such as"),
        ("gluonts..x", "expected a class path such as"),
        ("gluonts.model x.y", "expected a class path such as"),
        ("../x", "expected a class path such as"),
        ("", "expected a class path such as"),
        ("x" * 5000, "expected a class path such as"),
        (
            "gluonts.json.os.system",
            "there is no predictor 'gluonts.json.os.system' in GluonTS that requests may name",
        ),
        ("gluonts.model.predictor.json.JSONDecoder", "in GluonTS that requests may name"),
        ("gluonts.model.predictor.TemporaryDirectory", "in GluonTS that requests may name"),
        ("gluonts.model.trivial.constant.ConstantValuPredictor", f"did you mean '{CONSTANT}'"),
        ("gluonts.model.predictor.Localizer", "in GluonTS that requests may name"),
        ("code.__main__.Mine", "expected a class path such as"),
        (
            "gluonts.model.trivial.mean.MeanEstimator",
            "an Estimator, which needs training; expected a Predictor",
        ),
    ],
)
def test_other_names_are_refused(name, words):
    sentence = refused(name)
    assert words in sentence
    assert len(sentence) < 700


def test_nothing_is_imported_before_the_name_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "forbidden_forecasters.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "is not allowed" in refused("forbidden_forecasters.Predictor")
    assert "forbidden_forecasters" not in sys.modules


SOURCE = """
import os, json
from os import mkdir
from json import JSONDecoder
from gluonts.model.predictor import Predictor
from gluonts.model.estimator import Estimator
from gluonts.model.trivial.constant import ConstantValuePredictor
class Mine(ConstantValuePredictor):
    class Inner(ConstantValuePredictor):
        pass
class Trained(Estimator):
    pass
def __getattr__(name):
    if not name.startswith("__"):
        raise SystemExit("asked for " + name)
    raise AttributeError(name)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "channel_forecasters.py").write_text(SOURCE)
    package = tmp_path / "channel_package"
    package.mkdir()
    (package / "__init__.py").write_text("from channel_package._impl import Mine\n")
    (package / "_impl.py").write_text(SOURCE)
    (package / "__main__.py").write_text("raise SystemExit('run')\n")
    (package / "broken.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("channel_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    [
        "channel_forecasters.Mine",
        "channel_forecasters.Mine.Inner",
        "channel_package.Mine",
        "channel_package._impl.Mine",
    ],
)
def test_the_code_channel_may_be_named(code, name):
    assert Rule(installed=Installed(code)).find(name).__module__.startswith("channel_")
    assert Rule(("channel_forecasters", "channel_package"), Installed(code)).find(name)
    assert refused(name).startswith(
        f"configuration.forecaster_name is '{name}', which is not allowed: "
    )


@pytest.mark.parametrize(
    "name",
    [
        "channel_forecasters.os.mkdir",
        "channel_forecasters.mkdir",
        "channel_forecasters.json.JSONDecoder",
        "channel_forecasters.JSONDecoder",
        "channel_forecasters.Predictor",
        "channel_forecasters.ConstantValuePredictor",
        "channel_forecasters.Mine.predict",
        "channel_forecasters.Absent",
        "channel_forecasters",
        "channel_package._impl",
        "channel_package.absent.Mine",
        "channel_package.absent",
        "os.path.join",
        "x" * 150 + ".Mine",
        "channel_package." + "\u00e9" * 180,
    ],
)
def test_what_the_code_channel_only_imported_is_not_its_own(code, name):
    assert "which is not allowed" in refused(
        name, Rule(installed=Installed(code))
    ) or "class path" in refused(name)


def test_a_program_of_the_code_channel_is_not_run(code):
    assert "expected a class path" in refused(
        "channel_package.__main__.Mine", Rule(installed=Installed(code))
    )


def test_an_estimator_or_a_broken_module_of_the_code_channel_has_its_own_sentence(code):
    rule = Rule(installed=Installed(code))
    assert "an Estimator, which needs training" in refused("channel_forecasters.Trained", rule)
    assert refused("channel_package.broken.Mine", rule) == (
        "configuration.forecaster_name: 'channel_package.broken' cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_module_at_all'"
    )


def test_a_package_of_the_image_is_the_operators_to_allow(code):
    found = Installed(None, ("channel_package",))
    assert Rule(("channel_package",), found).find("channel_package.Mine").__name__ == "Mine"
    assert Rule(("channel_package.Mine",), found).find("channel_package.Mine").__name__ == "Mine"
    assert "is not allowed" in refused(
        "channel_package._impl.Mine", Rule(("channel_package.Mine",), found)
    )
    assert "is not allowed" in refused(
        "channel_forecasters.Mine", Rule(("channel_package",), found)
    )


@pytest.mark.parametrize(
    ("prefixes", "may"),
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
def test_a_list_of_prefixes_replaces_the_rule(prefixes, may):
    rule = Rule(prefixes)
    if may:
        assert rule.find(CONSTANT) is ConstantValuePredictor
    else:
        expected = ", ".join(map(repr, prefixes)) or "none"
        assert refused(CONSTANT, rule).endswith(f"which is not allowed: only {expected}")


def test_a_class_may_be_allowed_by_its_public_path():
    path = "gluonts.model.seasonal_naive.SeasonalNaivePredictor"
    assert Rule((path,)).find(path) is SeasonalNaivePredictor


def test_a_static_server_takes_none():
    rule = Rule(refused="this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)")
    assert refused(CONSTANT, rule) == (
        f"configuration.forecaster_name is '{CONSTANT}', "
        "but this server takes no forecasters from requests (GLUONTS_FORCE_STATIC)"
    )
