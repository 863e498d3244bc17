import json
import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor, RepresentablePredictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.errors import ForecasterError, ModelError
from gluonts_shell.forecasting import artifact
from gluonts_shell.forecasting.contract import CONTRACT, Contract, Features
from gluonts_shell.written import RECORD

CONTRACT_OF_A_MODEL = Contract(
    freq="M",
    prediction_length=12,
    forecaster="gluonts.model.seasonal_naive.SeasonalNaivePredictor",
    arguments={"prediction_length": 12, "season_length": 12},
    features=Features(static_cat=(2, 3), dynamic_real=0, labels=(("a", "b"), None)),
    versions=artifact.versions(),
    training_job_name="job-1",
    created=artifact.now(),
)


def naive():
    return SeasonalNaivePredictor(prediction_length=12, season_length=12)


def test_a_model_and_its_contract_come_back(tmp_path):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path / "model")
    predictor, contract = artifact.load(tmp_path / "model")
    assert predictor == naive()
    assert contract == CONTRACT_OF_A_MODEL
    assert [p.name for p in (tmp_path / "model").iterdir() if p.name.startswith(".")] == [RECORD]


def test_versions_that_differ_in_the_minor_are_told():
    here = artifact.versions()
    major, minor, *_ = here["gluonts"].split(".")
    other = f"{major}.{int(minor) + 1}.0"
    contract = replace(CONTRACT_OF_A_MODEL, versions={**here, "gluonts": other, "numpy": "0.1"})
    assert list(artifact.differences(contract)) == [
        f"the model was trained with gluonts {other}, and here is {here['gluonts']}"
    ]
    patched = replace(CONTRACT_OF_A_MODEL, versions={"gluonts": f"{major}.{minor}.999"})
    assert list(artifact.differences(patched)) == []


def test_the_contract_is_json_that_a_person_can_read(tmp_path):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    found = json.loads((tmp_path / CONTRACT).read_text())
    assert found["freq"] == "M"
    assert found["features"]["labels"] == [["a", "b"], None]
    assert {"gluonts_shell", "gluonts", "python", "numpy", "pandas"} <= set(found["versions"])
    assert pd.Timestamp(found["created"]).utcoffset() == pd.Timedelta(0)


def test_arguments_that_json_does_not_know_are_written_as_python_shows_them():
    contract = Contract("D", 1, "x.Y", arguments={"sampler": np.float64, "n": 1})
    assert json.loads(contract.to_json())["arguments"] == {"sampler": repr(np.float64), "n": 1}


def test_a_contract_of_a_later_version_with_more_to_say_is_read():
    text = json.dumps({**json.loads(CONTRACT_OF_A_MODEL.to_json()), "invented": "later"})
    assert Contract.parse(text) == CONTRACT_OF_A_MODEL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"features": 3}',
        '{"features": {"odd": 1}, "freq": "D"}',
        '{"features": {}}',
    ],
)
def test_a_contract_that_cannot_be_read_is_a_sentence(tmp_path, text):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    (tmp_path / CONTRACT).write_text(text)
    with pytest.raises(
        ModelError, match=r"^gluonts_shell.json in the model folder cannot be read: "
    ):
        artifact.load(tmp_path)


def test_a_model_of_gluonts_shell_without_a_contract_loads_too(tmp_path):
    naive().serialize(tmp_path)
    predictor, contract = artifact.load(tmp_path)
    assert predictor == naive()
    assert contract == Contract(
        None, 12, "gluonts.model.seasonal_naive._predictor.SeasonalNaivePredictor"
    )


def names(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_what_an_earlier_run_wrote_is_replaced(tmp_path):
    artifact.save(naive(), replace(CONTRACT_OF_A_MODEL, freq="D"), tmp_path)
    before = names(tmp_path)
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    assert artifact.load(tmp_path)[1] == CONTRACT_OF_A_MODEL
    assert names(tmp_path) == before


def test_what_is_not_ours_stays_under_another_name_where_it_is_in_the_way(tmp_path, caplog):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("")
    (tmp_path / "predictor.json").mkdir()
    (tmp_path / "predictor.json" / "mine.txt").write_text("")
    (tmp_path / CONTRACT).write_text("mine")
    (tmp_path / "gluonts-config.json").symlink_to("code/mine.py")
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    assert artifact.load(tmp_path)[1] == CONTRACT_OF_A_MODEL
    assert (tmp_path / "code" / "mine.py").read_text() == ""
    assert (tmp_path / "predictor.json.kept-1" / "mine.txt").exists()
    assert (tmp_path / f"{CONTRACT}.kept-1").read_text() == "mine"
    assert (tmp_path / "gluonts-config.json.kept-1").is_symlink()
    assert (
        "was not written by this program, or was changed since: it is kept as predictor.json.kept-1"
        in caplog.text
    )


def test_a_file_of_the_model_that_somebody_changed_is_kept(tmp_path):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    (tmp_path / CONTRACT).write_text("changed")
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    assert (tmp_path / f"{CONTRACT}.kept-1").read_text() == "changed"


def test_files_that_only_the_model_before_had_go_and_others_in_their_folder_stay(tmp_path, users):
    class Deep(users.Own):
        def serialize(self, path):
            super().serialize(path)
            (path / "nets").mkdir()
            (path / "nets" / "weights").write_text("1")

    users.Deep, Deep.__module__, Deep.__qualname__ = Deep, "users_module", "Deep"
    artifact.save(Deep(prediction_length=3), CONTRACT_OF_A_MODEL, tmp_path / "model")
    artifact.save(users.Own(prediction_length=3), CONTRACT_OF_A_MODEL, tmp_path / "model")
    assert not (tmp_path / "model" / "nets").exists()
    artifact.save(Deep(prediction_length=3), CONTRACT_OF_A_MODEL, tmp_path / "model")
    (tmp_path / "model" / "nets" / "mine").write_text("")
    artifact.save(users.Own(prediction_length=3), CONTRACT_OF_A_MODEL, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model" / "nets").iterdir()] == ["mine"]
    artifact.save(Deep(prediction_length=3), CONTRACT_OF_A_MODEL, tmp_path / "model")
    assert names(tmp_path / "model" / "nets.kept-1") == ["mine"]
    assert names(tmp_path / "model" / "nets") == ["weights"]


@pytest.mark.parametrize("content", [{}, {"something.else": "x"}])
def test_a_folder_without_a_model_says_so(tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(
        ModelError,
        match=r"^there is no model in '.*': neither gluonts-config.json nor type.txt is there$",
    ):
        artifact.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("predictor.json", b"[]", "its files describe a list, expected a Predictor"),
        ("predictor.json", b"\xff\xfe[\0]\0", "'predictor.json' is not JSON in UTF-8: "),
        ("gluonts-config.json", b"{}", "'gluonts-config.json' names no 'type'"),
        ("gluonts-config.json", b"null", "'gluonts-config.json' names no 'type'"),
        ("gluonts_shell.json", b"\xff", "'gluonts_shell.json' is not JSON in UTF-8: "),
    ],
)
def test_the_file_of_a_model_that_is_wrong_is_named(tmp_path, name, content, reason):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"cannot be loaded: {reason}"):
        artifact.load(tmp_path)


@pytest.mark.parametrize("damage", ["gluonts-config.json", "predictor.json"])
def test_a_model_that_is_damaged_is_a_sentence(tmp_path, damage):
    artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path)
    (tmp_path / damage).write_text("{")
    with pytest.raises(
        ModelError, match=rf"^the model in '.*' cannot be loaded: '{damage}' is not JSON: "
    ):
        artifact.load(tmp_path)


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of the user's, importable, as a code channel would bring it."""
    (tmp_path / "code").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    text = """
        from pathlib import Path
        from gluonts.core.component import validated
        from gluonts.model.predictor import Predictor, RepresentablePredictor

        class Unsaved(RepresentablePredictor):
            def __init__(self, prediction_length, scale=1.0):
                super().__init__(prediction_length=prediction_length)
                self.scale = scale

        class Validated(RepresentablePredictor):
            @validated()
            def __init__(self, prediction_length: int, scale: float = 1.0) -> None:
                super().__init__(prediction_length=prediction_length)
                self.scale = scale

        class Reduced(Unsaved):
            def __getnewargs_ex__(self):
                return (), {"prediction_length": self.prediction_length, "scale": self.scale}

        class Own(Predictor):
            def serialize(self, path):
                super().serialize(path)
                (path / "length").write_text(str(self.prediction_length))

            @classmethod
            def deserialize(cls, path):
                return cls(prediction_length=int((path / "length").read_text()))

        class Broken(Own):
            @classmethod
            def deserialize(cls, path):
                raise ValueError("lost\\nand more")
    """
    (tmp_path / "code" / "users_module.py").write_text(textwrap.dedent(text))
    import users_module

    yield users_module
    del sys.modules["users_module"]


@pytest.mark.parametrize("name", ["Validated", "Reduced", "Own"])
def test_a_class_of_the_user_that_can_be_saved_comes_back(tmp_path, users, name):
    kind = getattr(users, name)
    made = kind(prediction_length=3) if name == "Own" else kind(prediction_length=3, scale=2.0)
    artifact.save(made, CONTRACT_OF_A_MODEL, tmp_path / "model")
    found = artifact.load(tmp_path / "model")[0]
    assert type(found) is kind
    assert found.prediction_length == 3
    assert getattr(found, "scale", None) == getattr(made, "scale", None)


@pytest.mark.parametrize(("name", "reason"), [("Unsaved", ""), ("Broken", r".*: lost\)")])
def test_a_class_that_cannot_be_saved_is_told_which_method_to_add(tmp_path, users, name, reason):
    model = tmp_path / "model"
    with pytest.raises(ForecasterError) as caught:
        artifact.save(getattr(users, name)(prediction_length=3), CONTRACT_OF_A_MODEL, model)
    text = str(caught.value)
    assert text.startswith("the predictor cannot be saved and loaded again (")
    assert "\n" not in text
    assert text.endswith(
        f"its class users_module.{name} needs @gluonts.core.component.validated() on its constructor, "
        "or a method __getnewargs_ex__, or methods serialize(path) and deserialize(path) of its own"
    )
    assert list(model.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_named_and_leaves_nothing_half(tmp_path, monkeypatch):
    def full(self, path):
        Path(path, "part").write_text("half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(SeasonalNaivePredictor, "serialize", full)
    with pytest.raises(
        ModelError, match=r"^the model cannot be written to '.*/model': No space left on device$"
    ):
        artifact.save(naive(), CONTRACT_OF_A_MODEL, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.torch
class TestAccelerators:
    @pytest.fixture
    def predictor(self):
        from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

        estimator = SimpleFeedForwardEstimator(
            prediction_length=2, context_length=4, hidden_dimensions=[2]
        )
        return estimator.create_predictor(
            estimator.create_transformation(), estimator.create_lightning_module()
        )

    def test_weights_that_ask_for_an_accelerator_load_on_a_host_without_one(
        self, predictor, tmp_path
    ):
        """As a model trained on a GPU is written by gluonts.shell: every tensor of its state is tagged `cuda:0`."""
        import torch

        predictor.serialize(tmp_path)
        weights = tmp_path / "prediction-net-state.pt"

        class Tagged:
            """Pickles storages as if they lay on the first GPU."""

            def __init__(self, module):
                self.location_tag, module.location_tag = (
                    module.location_tag,
                    lambda storage: "cuda:0",
                )
                self.module = module

            def undo(self):
                self.module.location_tag = self.location_tag

        tagged = Tagged(torch.serialization)
        try:
            torch.save(predictor.prediction_net.state_dict(), weights)
        finally:
            tagged.undo()
        with pytest.raises(Exception, match="CUDA"):
            Predictor.deserialize(tmp_path)
        loaded, contract = artifact.load(tmp_path)
        assert contract.prediction_length == 2
        assert {str(value.device) for value in loaded.prediction_net.state_dict().values()} == {
            "cpu"
        }
        entry = {"start": pd.Period("2020-01-01", "D"), "target": np.arange(9, dtype=np.float32)}
        assert next(iter(loaded.predict([entry]))).mean.shape == (2,)

    def test_weights_are_loaded_as_weights_and_run_nothing(self, predictor, tmp_path):
        import torch

        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "owned"),)

        predictor.serialize(tmp_path)
        torch.save({"weight": Bomb()}, tmp_path / "prediction-net-state.pt")
        with pytest.raises(ModelError, match=r"cannot be loaded: Weights only load failed"):
            artifact.load(tmp_path)
        assert not (tmp_path / "owned").exists()

    def test_a_model_is_saved_from_the_cpu_and_goes_back_to_where_it_was(
        self, predictor, tmp_path, monkeypatch
    ):
        seen = []
        monkeypatch.setattr(
            type(predictor), "to", lambda self, device: seen.append(str(device)) or self
        )
        artifact.save(predictor, CONTRACT_OF_A_MODEL, tmp_path)
        assert seen[0] == "cpu"
        assert seen[-1] == str(predictor.device)


def test_a_predictor_that_refers_to_itself_is_a_sentence(tmp_path):
    class Endless(RepresentablePredictor):
        def serialize(self, path):
            self.serialize(path)

    with pytest.raises(
        ForecasterError,
        match=r"^the predictor cannot be saved and loaded again \(maximum recursion depth",
    ):
        artifact.save(Endless(prediction_length=1), CONTRACT_OF_A_MODEL, tmp_path)


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "type('Stopped', (SystemExit,), {})(143)"])
def test_a_stop_while_the_class_is_imported_is_no_fault_of_the_model(tmp_path, monkeypatch, raised):
    """GluonTS finds classes by pydoc.locate(), which makes an error of anything that comes while it imports."""
    (tmp_path / "stopping_module.py").write_text(f"raise {raised}\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gluonts-config.json").write_text('{"type": "stopping_module.Forecaster"}')
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        artifact.load(tmp_path)


def test_a_class_whose_module_ends_the_process_is_a_fault_of_the_model(tmp_path, monkeypatch):
    (tmp_path / "exiting_module.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gluonts-config.json").write_text('{"type": "exiting_module.Forecaster"}')
    with pytest.raises(
        ModelError, match="cannot be loaded: problem in exiting_module - SystemExit: 3"
    ):
        artifact.load(tmp_path)
