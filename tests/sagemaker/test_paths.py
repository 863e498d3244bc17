from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from gluonts_shell.sagemaker.paths import Paths


def test_the_tree_is_the_one_that_sagemaker_mounts():
    paths = Paths(Path("/opt/ml"))
    assert paths.config == Path("/opt/ml/input/config")
    assert paths.data == Path("/opt/ml/input/data")
    assert paths.model == Path("/opt/ml/model")
    assert paths.output_data == Path("/opt/ml/output/data")
    assert paths.failure == Path("/opt/ml/output/failure")
    assert paths.code == Path("/opt/ml/code")


def test_code_of_a_model_elsewhere_is_installed_beside_it():
    assert Paths(Path("/opt/ml"), Path("job/model")).code == Path("job/code")


def test_naming_paths_creates_nothing(tmp_path):
    paths = Paths(tmp_path / "ml")
    assert [paths.config, paths.data, paths.model, paths.output_data, paths.failure, paths.code]
    assert list(tmp_path.iterdir()) == []


def test_paths_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Paths(Path("/opt/ml")).base = Path("/")
