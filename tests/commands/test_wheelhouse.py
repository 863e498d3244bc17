"""`wheelhouse` fills a folder that is a code channel as it is. Real pip; its index is a folder of local wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gluonts_shell.commands import wheelhouse
from gluonts_shell.errors import CodeChannelError, ConfigurationError
from gluonts_shell.sagemaker.code import channel, installation
from gluonts_shell.settings import Settings
from gluonts_shell.written import RECORD
from tests.local_wheels import wheel, write

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip looks, and only there."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_its_folder_is_a_code_channel_that_installs_offline(index: Path, tmp_path: Path) -> None:
    wheel(index, "mypkg", requires=["needed>=1"])
    wheel(index, "needed", "1.5")
    write(tmp_path, {"reqs.in": "-r more/base.txt\n", "more/base.txt": "mypkg\n"})
    command = [sys.executable, "-m", "gluonts_shell", "wheelhouse", "reqs.in", "--output", "out"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "out can be handed over as the code channel" in done.stdout
    wheels = ["mypkg-1.0-py3-none-any.whl", "needed-1.5-py3-none-any.whl"]
    assert names(tmp_path / "out") == [RECORD, "more/base.txt", *wheels, "requirements-reqs.txt"]
    environ["PIP_FIND_LINKS"] = ""
    code = channel.install(
        tmp_path / "out", tmp_path / "ml" / "code", Settings(offline=True), environ
    )
    assert installation.modules(code) == {"mypkg", "needed"}


def test_the_wheels_are_those_of_the_container_not_of_this_machine(
    index: Path, tmp_path: Path
) -> None:
    for tag in (
        "cp313-cp313-manylinux_2_17_aarch64",
        "cp311-cp311-manylinux2014_aarch64",
        "cp311-cp311-win_amd64",
    ):
        wheel(index, "mypkg", tag=tag)
    file = write(tmp_path, {"requirements.txt": "mypkg\n"}) / "requirements.txt"
    assert wheelhouse.run(file, tmp_path / "a", "3.11", ["manylinux_2_36_aarch64"]) == 0
    assert names(tmp_path / "a") == [
        RECORD,
        "mypkg-1.0-cp311-cp311-manylinux2014_aarch64.whl",
        "requirements.txt",
    ]
    assert wheelhouse.run(file, tmp_path / "a", "3.13", ["manylinux_2_17_aarch64"]) == 0
    assert "mypkg-1.0-cp313-cp313-manylinux_2_17_aarch64.whl" in names(tmp_path / "a")
    with pytest.raises(
        CodeChannelError,
        match=r"pip cannot download what '.*' needs: mypkg: no file of it fits Python and platform; there are those for cp31",
    ):
        wheelhouse.run(file, tmp_path / "b", "3.12", ["manylinux_2_36_aarch64"])


def test_a_platform_with_a_glibc_takes_what_was_built_for_an_older_one() -> None:
    found = wheelhouse.expanded(["manylinux_2_18_x86_64", "macosx_11_0_arm64"])
    assert found[:3] == ["manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    assert found[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "macosx_11_0_arm64"]


def test_it_may_fill_the_folder_that_its_requirements_lie_in(index: Path, tmp_path: Path) -> None:
    wheel(index, "mypkg")
    file = write(tmp_path / "channel", {"requirements.txt": "mypkg\n"}) / "requirements.txt"
    assert wheelhouse.run(file, tmp_path / "channel", None, []) == 0
    assert names(tmp_path / "channel") == ["mypkg-1.0-py3-none-any.whl", "requirements.txt"]


@pytest.mark.parametrize("mine", ["requirements.txt", "more/base.txt"])
def test_a_file_of_the_users_is_not_replaced_and_nothing_is_downloaded(
    index: Path, tmp_path: Path, mine: str
) -> None:
    wheel(index, "mypkg")
    write(
        tmp_path,
        {
            "requirements.txt": "-r more/base.txt\n",
            "more/base.txt": "mypkg\n",
            f"out/{mine}": "# mine\n",
        },
    )
    with pytest.raises(
        ConfigurationError,
        match=r"'.*/out/\S+.txt' is another file than the requirements that belong",
    ):
        wheelhouse.run(tmp_path / "requirements.txt", tmp_path / "out", None, [])
    assert names(tmp_path / "out") == [mine]
    assert (tmp_path / "out" / mine).read_text() == "# mine\n"


def test_its_own_copy_of_the_requirements_is_replaced_unless_it_was_changed(
    index: Path, tmp_path: Path
) -> None:
    wheel(index, "mypkg")
    file, copy = tmp_path / "requirements.txt", tmp_path / "out" / "requirements.txt"
    for text in ("mypkg\n", "mypkg>=1\n"):
        file.write_text(text)
        assert wheelhouse.run(file, tmp_path / "out", None, []) == 0
        assert copy.read_text() == text
    copy.write_text("mypkg # changed\n")
    with pytest.raises(
        ConfigurationError, match=r"did not write it; give another folder with --output, or move it"
    ):
        wheelhouse.run(file, tmp_path / "out", None, [])
    assert copy.read_text() == "mypkg # changed\n"


def test_a_missing_requirements_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no requirements file '.*nothing.txt'"):
        wheelhouse.run(tmp_path / "nothing.txt", tmp_path / "out", None, [])
    assert not (tmp_path / "out").exists()
