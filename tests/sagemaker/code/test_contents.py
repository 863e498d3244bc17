"""What the walk over a code channel finds in it. Nothing is installed here."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import contents
from gluonts_shell.sagemaker.code.archives import SUFFIXES, Budget
from gluonts_shell.sagemaker.code.contents import Plan
from tests.local_wheels import pack, project, wheel, write

PACKAGE = {"mypkg/__init__.py": "", "mypkg/deep/model.py": "", "mypkg/table.csv": "1"}


def look(channel: Path) -> Plan:
    return contents.plan(channel, channel.parent / "work", Budget(1024 * 1024))


def copied(plan: Plan) -> dict[str, str]:
    return {source.label: source.name for source in plan.copies}


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    return folder


def test_a_folder_with_init_is_a_package_and_is_not_searched(channel: Path) -> None:
    write(channel / "deep", PACKAGE)
    assert copied(look(channel)) == {"deep/mypkg": "mypkg"}


def test_loose_modules_are_copied_flat_with_the_data_beside_them(channel: Path) -> None:
    write(
        channel,
        {
            "model.py": "",
            "table.csv": "",
            "holidays/de.csv": "",
            "sub/other.py": "",
            "sub/other.json": "",
        },
    )
    assert copied(look(channel)) == {
        "holidays": "holidays",  # a folder without code beside modules is their data
        "model.py": "model.py",
        "sub/other.json": "other.json",
        "sub/other.py": "other.py",
        "table.csv": "table.csv",
    }


def test_data_without_modules_beside_it_is_left(channel: Path) -> None:
    write(channel, {"README.md": "", "train.sh": "", "src/model.py": ""})
    assert copied(look(channel)) == {"src/model.py": "model.py"}


def test_an_archive_of_data_beside_modules_is_data(channel: Path, tmp_path: Path) -> None:
    write(channel, {"model.py": ""})
    pack(write(tmp_path / "data", {"x.csv": ""}), channel / "data.zip")
    assert copied(look(channel)) == {"data.zip": "data.zip", "model.py": "model.py"}


def test_caches_repositories_hidden_files_and_links_in_circles_are_skipped(channel: Path) -> None:
    write(
        channel,
        {
            "model.py": "",
            "__pycache__/model.pyc": "",
            ".git/hook.py": "",
            ".hidden.py": "",
            ".secret/x.py": "",
            "sub/a.py": "",
        },
    )
    os.symlink(channel, channel / "sub" / "again")
    os.symlink(channel / "nothing.py", channel / "dangling.py")
    assert copied(look(channel)) == {"model.py": "model.py", "sub/a.py": "a.py"}


@pytest.mark.parametrize("form", ["setup.py", "pyproject", "src"])
@pytest.mark.parametrize("where", ["", "below/it"])
def test_a_project_is_for_pip_and_nothing_in_it_is_copied(
    channel: Path, form: str, where: str
) -> None:
    project(channel / where, "mypkg", form=form)
    write(channel / where, {"__init__.py": "", "loose.py": "", "requirements.txt": "x"})
    plan = look(channel)
    assert [source.label for source in plan.projects] == [where or "the code channel"]
    assert plan.copies == []
    assert plan.requirements == []


def test_a_pyproject_for_a_linter_makes_no_project(channel: Path) -> None:
    write(channel, {"pyproject.toml": "[tool.ruff]\nline-length = 120\n", "model.py": ""})
    plan = look(channel)
    assert plan.projects == []
    assert "model.py" in copied(plan)
    write(channel, {"setup.cfg": "[metadata]\nname = x\n"})
    assert len(look(channel).projects) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_are_unpacked_and_treated_likewise(
    channel: Path, tmp_path: Path, suffix: str
) -> None:
    inner = write(tmp_path / "inner", {**PACKAGE, "requirements-all.txt": "a"})
    pack(inner, tmp_path / "outer" / f"inner{suffix}")
    pack(tmp_path / "outer", channel / f"outer{suffix}")
    plan = look(channel)
    assert copied(plan) == {f"outer{suffix}/inner{suffix}/mypkg": "mypkg"}
    assert [source.label for source in plan.requirements] == [
        f"outer{suffix}/inner{suffix}/requirements-all.txt"
    ]


def test_init_at_an_archives_root_makes_a_package_of_the_archives_name(
    channel: Path, tmp_path: Path
) -> None:
    pack(write(tmp_path / "x", {"__init__.py": "", "model.py": ""}), channel / "mypkg.tar.gz")
    assert copied(look(channel)) == {"mypkg.tar.gz": "mypkg"}


def test_a_package_whose_name_cannot_be_imported_is_refused(channel: Path, tmp_path: Path) -> None:
    pack(write(tmp_path / "x", {"__init__.py": ""}), channel / "mypkg-1.0.zip")
    with pytest.raises(
        CodeChannelError, match=r"'mypkg-1.0.zip'.*'mypkg-1.0', which cannot be imported; name the"
    ):
        look(channel)


def test_init_at_the_channels_root_is_refused_with_what_to_do(channel: Path) -> None:
    write(channel, {"__init__.py": "", "model.py": ""})
    with pytest.raises(
        CodeChannelError, match=r"'__init__.py' at its root .* put it into a folder that is named"
    ):
        look(channel)


def test_wheels_and_requirements_are_found_anywhere(channel: Path) -> None:
    wheel(channel / "a" / "b", "mypkg")
    write(channel, {"a/requirements.txt": "x", "requirements-2.txt": "y", "notes.txt": ""})
    plan = look(channel)
    assert [one.label for one in plan.wheels] == ["a/b/mypkg-1.0-py3-none-any.whl"]
    assert [source.label for source in plan.requirements] == [
        "requirements-2.txt",
        "a/requirements.txt",
    ]


def test_a_file_that_only_ends_like_a_wheel_is_refused(channel: Path) -> None:
    write(channel, {"mypkg.whl": ""})
    with pytest.raises(
        CodeChannelError, match=r"'mypkg.whl' in the code channel is not named as a wheel is"
    ):
        look(channel)


def test_wheels_in_a_project_are_for_pip_to_choose_from_but_not_what_it_built_itself(
    channel: Path,
) -> None:
    project(channel, "mypkg")
    wheel(channel / "wheels", "needed")
    wheel(channel / "dist", "mypkg")
    plan = look(channel)
    assert [one.label for one in plan.supply] == ["wheels/needed-1.0-py3-none-any.whl"]
    assert plan.wheels == []


def sdist(folder: Path, at: Path) -> None:
    project(folder / "mypkg-1.0", "mypkg", form="setup.py")
    write(folder / "mypkg-1.0", {"PKG-INFO": "Metadata-Version: 2.1\nName: mypkg\nVersion: 1.0\n"})
    pack(folder, at / "mypkg-1.0.tar.gz")


def test_a_source_distribution_alone_is_a_project(channel: Path, tmp_path: Path) -> None:
    sdist(tmp_path / "sdist", channel)
    plan = look(channel)
    assert [source.label for source in plan.projects] == ["mypkg-1.0.tar.gz"]
    assert plan.supply == []


@pytest.mark.parametrize("beside", ["requirements.txt", "other/setup.py"])
def test_a_source_distribution_beside_requirements_or_a_project_is_supply(
    channel: Path, tmp_path: Path, beside: str
) -> None:
    sdist(tmp_path / "sdist", channel)
    write(channel, {beside: ""})
    plan = look(channel)
    assert [one.name for one in plan.supply] == ["mypkg"]
    assert "mypkg-1.0.tar.gz" not in [source.label for source in plan.projects]


def test_archives_that_hold_themselves_are_refused(channel: Path, tmp_path: Path) -> None:
    nested = write(tmp_path / "0", {"model.py": ""})
    for i in range(1, 12):
        pack(nested, tmp_path / str(i) / "again.zip")
        nested = tmp_path / str(i)
    pack(nested, channel / "again.zip")
    with pytest.raises(CodeChannelError, match=r"nested more than 8 deep"):
        look(channel)


def test_one_budget_is_for_all_archives(channel: Path, tmp_path: Path) -> None:
    for i in range(3):
        pack(write(tmp_path / str(i), {f"m{i}.py": "#" * 400}), channel / f"{i}.zip")
    with pytest.raises(CodeChannelError, match=r"'2.zip' is refused: .*MAX_UNPACKED_BYTES"):
        contents.plan(channel, tmp_path / "work", Budget(1000))


def test_links_are_not_followed_out_of_the_channel(
    channel: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "outside", {"secret.py": "", "mypkg/__init__.py": ""})
    write(channel, {"model.py": "", "table.csv": ""})
    (channel / "secret.py").symlink_to(tmp_path / "outside" / "secret.py")
    (channel / "elsewhere").symlink_to(tmp_path / "outside" / "mypkg")
    (channel / "again.csv").symlink_to("table.csv")
    assert sorted(copied(look(channel))) == ["again.csv", "model.py", "table.csv"]
    assert (
        "'elsewhere' in the code channel is a link that leads out of it, and is left out"
        in caplog.text
    )


def test_a_link_in_an_archive_is_not_followed_into_the_channel(channel: Path) -> None:
    with tarfile.open(channel / "x.tar", "w") as tar:
        info = tarfile.TarInfo("deep/up")
        info.type, info.linkname = tarfile.SYMTYPE, "../../../../channel"
        tar.addfile(info)
    with pytest.raises(CodeChannelError, match="refused"):
        look(channel)


def bomb(path: Path) -> Path:
    """Ten folders, each with ten links to the next: ten files, and ten milliards of ways to the last one."""
    with tarfile.open(path, "w:gz") as tar:
        for depth in range(10):
            tar.addfile(tarfile.TarInfo(f"{depth}/model.py"))
            for i in range(10 if depth < 9 else 0):
                info = tarfile.TarInfo(f"{depth}/link{i}")
                info.type, info.linkname = tarfile.SYMTYPE, f"../{depth + 1}"
                tar.addfile(info)
    return path


def test_a_bomb_of_links_ends_at_the_budget(channel: Path, tmp_path: Path) -> None:
    assert bomb(channel / "bomb.tar.gz").stat().st_size < 1500
    with pytest.raises(CodeChannelError, match="there are more than 100000 members"):
        contents.plan(channel, tmp_path / "work", Budget(1024 * 1024, members_left=2000))


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    def model_fn(d): pass\nexcept ImportError: pass\n",
        "class Handler:\n    def default_model_fn(self, d): pass\n",
        "from mine import load as model_fn\n",
        "model_fn = lambda d: d\n",
        "model_fn: object = print\n",
        "import os\r\nasync def\tmodel_fn(d): pass\r\n",
    ],
)
def test_a_hook_in_any_form_is_found(channel: Path, text: str) -> None:
    write(channel, {"pkg/__init__.py": "", "pkg/inference.py": text})
    assert list(contents.hooks(look(channel))) == ["pkg/inference.py"]


@pytest.mark.parametrize(
    "text",
    [
        '"""\ndef model_fn(d): pass\n"""\n',
        "def f(model_fn):\n    input_fn = 1\n",
        "def model_fn(:\n",
    ],
)
def test_what_is_no_hook_is_not_taken_for_one(channel: Path, text: str) -> None:
    write(channel, {"inference.py": text})
    assert contents.hooks(look(channel)) == {}


def test_files_that_name_what_to_install_in_other_ways(channel: Path) -> None:
    names = ["Requirements.txt", "requirement.txt", "requirements.in", "Pipfile", "environment.yml"]
    write(channel, dict.fromkeys([*names, "requirements-dev.txt", "data.txt", "x.yml"], ""))
    assert contents.overlooked(channel) == sorted(names)


def test_functions_of_awss_toolkits_are_found(channel: Path) -> None:
    write(
        channel,
        {
            "inference.py": "def model_fn(d): ...\nasync def predict_fn(a, b): ...\n",
            "code/other.py": "model_fn = 1",
        },
    )
    assert contents.hooks(look(channel)) == {"inference.py": ["model_fn", "predict_fn"]}
