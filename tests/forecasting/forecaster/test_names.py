import importlib.util
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from gluonts.model.npts import NPTSPredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.model.trivial.mean import MeanPredictor

import gluonts_shell
from gluonts_shell.errors import ForecasterError
from gluonts_shell.forecasting.forecaster.catalog import SHORT_NAMES, class_path
from gluonts_shell.forecasting.forecaster.names import resolve

MODULE = """
    from gluonts.model.predictor import RepresentablePredictor

    class Mine(RepresentablePredictor):
        def predict_item(self, item):
            pass

        class Inner(RepresentablePredictor):
            def predict_item(self, item):
                pass

    class Other:
        pass

    def function():
        pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes modules to where Python finds them, and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gluonts.model.seasonal_naive.SeasonalNaivePredictor", SeasonalNaivePredictor),
        ("gluonts.model.seasonal_naive._predictor.SeasonalNaivePredictor", SeasonalNaivePredictor),
        ("SeasonalNaivePredictor", SeasonalNaivePredictor),
        ("MeanPredictor", MeanPredictor),
        ("gluonts.model.npts.NPTSPredictor", NPTSPredictor),
    ],
)
def test_a_forecaster_is_found_by_path_and_by_short_name(name, kind):
    assert resolve(name) is kind


@pytest.mark.parametrize("kind", [SeasonalNaivePredictor, MeanPredictor, NPTSPredictor])
def test_the_path_of_a_class_leads_back_to_it(kind):
    assert resolve(class_path(kind)) is kind
    assert class_path(kind) == SHORT_NAMES[kind.__name__]


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, path in SHORT_NAMES.items()
        if path.startswith(("gluonts.torch", "gluonts.model"))
    ],
)
def test_every_short_name_leads_to_a_class_of_that_name(name):
    kind = resolve(name)
    assert kind.__name__ == name
    assert class_path(kind) == SHORT_NAMES[name]


@pytest.mark.torch
@pytest.mark.parametrize(
    "old",
    [
        "gluonts.model.deepar.DeepAREstimator",
        "gluonts.mx.model.deepar.DeepAREstimator",
        "gluonts.mx.DeepAREstimator",
        "gluonts.model.deepar._estimator.DeepAREstimator",
    ],
)
def test_the_paths_of_the_time_with_mxnet_lead_to_todays_class(old, caplog):
    caplog.set_level(logging.INFO)
    assert class_path(resolve(old)) == "gluonts.torch.model.deepar.DeepAREstimator"
    assert caplog.messages == [
        f"forecaster {old!r} is today's 'gluonts.torch.model.deepar.DeepAREstimator'"
    ]


def test_a_users_class_is_found_by_its_path_even_inside_another(module):
    module("mine_found", MODULE)
    assert resolve("mine_found.Mine").__name__ == "Mine"
    assert class_path(resolve("mine_found.Mine.Inner")) == "mine_found.Mine.Inner"


def test_a_users_class_with_the_name_of_one_of_gluonts_keeps_its_own_path(module):
    module(
        "mine_named",
        "from gluonts.model.trivial.mean import MeanPredictor as Base\n\nclass MeanPredictor(Base):\n    pass\n",
    )
    assert class_path(resolve("mine_named.MeanPredictor")) == "mine_named.MeanPredictor"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "SeasonalNaive",
            "there is no forecaster 'SeasonalNaive'; did you mean 'gluonts.model.seasonal_naive.SeasonalNaivePredictor'?",
        ),
        (
            "gluonts.model.mean.MeanPredictr",
            "there is no forecaster 'gluonts.model.mean.MeanPredictr'; did you mean ",
        ),
        ("Prophecy", "there is no forecaster 'Prophecy'; "),
        (
            "no.such.Thing",
            "there is no forecaster 'no.such.Thing'; expected a class path such as 'gluonts.torch.model.deepar.DeepAREstimator'",
        ),
        ("", "there is no forecaster ''; expected a class path such as "),
        ("a b.c", "there is no forecaster 'a b.c'; expected "),
        ("..", "there is no forecaster '..'; expected "),
        (
            "gluonts.model.seasonal_naive",
            "'gluonts.model.seasonal_naive' is a module, expected a subclass of gluonts' Estimator or Predictor",
        ),
        (
            "collections.OrderedDict",
            "'collections.OrderedDict' is the class OrderedDict, expected a subclass of gluonts' Estimator or Predictor",
        ),
        (
            "os.path.join",
            "'os.path.join' is a function, expected a subclass of gluonts' Estimator or Predictor",
        ),
    ],
)
def test_a_name_that_leads_to_no_forecaster_has_its_own_message(name, sentence):
    with pytest.raises(ForecasterError) as caught:
        resolve(name)
    assert str(caught.value).startswith(sentence)


def test_what_is_no_forecaster_in_a_users_module_is_named(module):
    module("mine_other", MODULE)
    with pytest.raises(
        ForecasterError,
        match=r"^'mine_other.Other' is the class Other, expected a subclass of gluonts' Estimator or Predictor$",
    ):
        resolve("mine_other.Other")
    with pytest.raises(ForecasterError, match=r"^'mine_other.function' is a function, expected "):
        resolve("mine_other.function")
    with pytest.raises(ForecasterError, match=r"^there is no forecaster 'mine_other.Absent'"):
        resolve("mine_other.Absent")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import not_installed_at_all",
            "'mine_broken' raised ModuleNotFoundError: No module named 'not_installed_at_all'",
        ),
        (
            "from os import not_there",
            "'mine_broken' raised ImportError: cannot import name 'not_there' from 'os'",
        ),
        ("1 / 0", "'mine_broken' raised ZeroDivisionError: division by zero"),
        ("def broken(:", "'mine_broken' raised SyntaxError: invalid syntax"),
    ],
)
def test_an_import_that_fails_inside_is_another_message_than_no_such_name(module, text, reason):
    module("mine_broken", text)
    with pytest.raises(ForecasterError) as caught:
        resolve("mine_broken.Mine")
    assert str(caught.value).startswith(
        f"forecaster 'mine_broken.Mine' cannot be imported: {reason}"
    )
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("package", "name", "remedy"),
    [
        (
            "torch",
            "DeepAREstimator",
            "needs torch, which is not installed: install gluonts-shell[torch]",
        ),
        (
            "lightning",
            "DeepAREstimator",
            "needs lightning, which is not installed: install gluonts-shell[torch]",
        ),
        (
            "statsforecast",
            "AutoETSPredictor",
            "needs statsforecast, which is not installed: install gluonts[statsforecast]",
        ),
    ],
)
def test_a_missing_extra_is_named_with_what_to_install(package, name, remedy):
    """In a child process, where an importer that comes first says that there is no such package."""
    if (
        package != "torch"
        and name == "DeepAREstimator"
        and importlib.util.find_spec("torch") is None
    ):
        package, remedy = "torch", remedy.replace("lightning", "torch")
    code = f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {package!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Absent())
        from gluonts_shell.errors import ForecasterError
        from gluonts_shell.forecasting.forecaster.names import resolve
        try:
            resolve({name!r})
        except ForecasterError as error:
            print(error)
    """
    root = str(Path(gluonts_shell.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == f"forecaster {SHORT_NAMES[name]!r} {remedy}", done.stderr


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gluonts.model.predictor.RepresentablePredictor", "predict_item"),
        ("gluonts.model.predictor.Predictor", "predict"),
        ("gluonts.model.estimator.Estimator", "train"),
        (
            "gluonts.ext.r_forecast._predictor.RBasePredictor",
            "_forecast_dict_to_obj, _get_r_forecast",
        ),
    ],
)
def test_a_base_class_is_refused_with_what_it_leaves_open(name, missing):
    with pytest.raises(ForecasterError) as caught:
        resolve(name)
    assert str(caught.value).startswith(f"{name!r} is a base class, which leaves {missing}")
    assert str(caught.value).endswith(" to its subclasses; name one of those")


@pytest.mark.torch
def test_a_base_of_torchs_estimators_is_refused_too():
    with pytest.raises(
        ForecasterError, match=r"is a base class, which leaves .*create_lightning_module"
    ):
        resolve("gluonts.torch.model.estimator.PyTorchLightningEstimator")


def test_a_class_that_leaves_its_type_to_its_subclasses_is_a_base(module):
    module(
        "mine_typed",
        """
        from typing import Type
        from gluonts.model.predictor import RepresentablePredictor

        class Base(RepresentablePredictor):
            ModelType: Type

            def predict_item(self, item):
                pass

        class Mine(Base):
            ModelType = dict
        """,
    )
    assert resolve("mine_typed.Mine").__name__ == "Mine"
    with pytest.raises(
        ForecasterError, match="is a base class, which leaves ModelType to its subclasses"
    ):
        resolve("mine_typed.Base")


@pytest.mark.skipif(
    importlib.util.find_spec("mxnet") is not None, reason="says what is not so where mxnet is there"
)
@pytest.mark.parametrize(
    "name",
    [
        "TransformerEstimator",
        "gluonts.model.transformer.TransformerEstimator",
        "gluonts.mx.TransformerEstimator",
        "gluonts.mx.model.transformer.TransformerEstimator",
    ],
)
def test_a_class_that_was_only_written_for_mxnet_says_so(name):
    with pytest.raises(ForecasterError) as caught:
        resolve(name)
    expected = "TransformerEstimator needs mxnet, which is not installed; GluonTS has no torch version of it"
    assert str(caught.value) == expected


def test_a_class_that_is_missing_from_the_code_channel_tells_what_the_channel_installed(tmp_path):
    for name in ("mypkg", "mypkg-1.0.dist-info", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text("")
    (tmp_path / "single.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ForecasterError) as caught:
        resolve("mypkgs.Mine", tmp_path)
    found = "there is no forecaster 'mypkgs.Mine'; the code channel installed 'mypkg', 'single'; expected a class path"
    assert str(caught.value).startswith(found)


def test_a_name_that_is_only_similar_in_its_kind_is_not_suggested():
    with pytest.raises(
        ForecasterError, match=r"^there is no forecaster 'PipelinePredictor'; expected a class path"
    ):
        resolve("PipelinePredictor")
