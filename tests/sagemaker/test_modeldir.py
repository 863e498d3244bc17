from pathlib import Path

import pytest

from gluonts_shell.sagemaker import modeldir
from tests.local_wheels import write

FOUND = {
    "empty": ([], ": it is empty"),
    "nested": (
        ["model/gluonts-config.json"],
        ": its folder 'model' does: pack the files themselves, tar -C model -czf model.tar.gz .",
    ),
    "unfinished": (
        [".gluonts_shell.unfinished/gluonts-config.json"],
        ": its folder '.gluonts_shell.unfinished' is what a job left that ended before its model was whole",
    ),
    "nested twice": (
        ["opt/my model/type.txt", "opt/x.bin"],
        ": its folder 'opt/my model' does: pack the files themselves, tar -C 'opt/my model' -czf model.tar.gz .",
    ),
    "packed": (
        ["model.tar.gz"],
        ": 'model.tar.gz' is still packed: unpack it there, or give it as the model itself",
    ),
    "deepar": (
        ["model_algo-1-0000.params", "model_algo-1-network.json", "model_algo-1-symbol.json"],
        ": 'model_algo-1-0000.params' is a sign of the built-in DeepAR's own files, which cannot be loaded here: "
        "train once more with this image",
    ),
    "torch": (
        ["code/inference.py", "model.pth"],
        ": 'model.pth' is a sign of weights of PyTorch without GluonTS' files beside them",
    ),
    "tensorflow": (["saved_model.pb"], ": 'saved_model.pb' is a sign of a model of TensorFlow"),
    "xgboost": (["xgboost-model"], ": 'xgboost-model' is a sign of a model of XGBoost"),
    "tensorflow serving": (
        ["export/Servo/1/saved_model.pb", "export/Servo/1/variables/variables.index"],
        ": 'export/Servo/1/saved_model.pb' is a sign of a model of TensorFlow",
    ),
    "hugging face": (
        ["config.json", "model.safetensors"],
        ": 'config.json' is a sign of a model of Hugging Face's Transformers",
    ),
    "packed in a folder": (
        ["output/model.tar.gz"],
        ": 'output/model.tar.gz' is still packed: unpack it there, or give it as the model itself",
    ),
    "packed otherwise": (
        ["model.tar.xz"],
        ": 'model.tar.xz' is still packed: unpack it there, or give it as the model itself",
    ),
    "other": (
        ["a", "b", "c", "d", "e"],
        ": it holds 'a', 'b', 'c', 'd' and 1 more, but neither 'gluonts-config.json' nor 'type.txt'",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_there_instead_of_a_model(case: str, tmp_path: Path) -> None:
    files, expected = FOUND[case]
    write(tmp_path, dict.fromkeys(files, ""))
    assert modeldir.instead(tmp_path) == expected


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert modeldir.instead(tmp_path / "none") == ": there is no such folder"
    (tmp_path / "model.tar.gz").touch()
    assert modeldir.instead(tmp_path / "model.tar.gz") == ": it is a file"


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "gluonts-config.json").symlink_to(tmp_path / "none")
    assert modeldir.instead(tmp_path) == ": its 'gluonts-config.json' is a link that leads nowhere"


def test_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"gluonts-config.json": ""})
    folder = write(tmp_path / "model", {"x/a": ""})
    (folder / "x" / "again").symlink_to(folder)
    (folder / "y").symlink_to(tmp_path / "elsewhere")
    assert (
        modeldir.instead(folder)
        == ": it holds 'x', 'y', but neither 'gluonts-config.json' nor 'type.txt'"
    )
