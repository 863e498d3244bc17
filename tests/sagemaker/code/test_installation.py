"""What pip is asked for, what it makes of it, and what is said if it fails. Real pip, local wheels, no network."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import channel as code_channel
from gluonts_shell.sagemaker.code import installation, wheels
from gluonts_shell.sagemaker.code.archives import Budget
from gluonts_shell.settings import Settings
from tests.local_wheels import project, wheel, write

pytestmark = pytest.mark.once


class Channel(type(Path())):  # type: ignore[misc]
    """The folder of the code channel, which can be installed."""

    def install(self, offline: bool = False, **environ: str) -> Path:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        variables = {**kept, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, **environ}
        base = self.parent / "ml"
        kept_in = base / "model" / "code"
        return code_channel.install(
            self, base / "code", Settings(offline=offline), variables, kept_in
        )

    def modules(self, **environ: Any) -> list[str]:
        """What was installed: the names, and of a module that tells its version that as well."""
        code = self.install(**environ)
        found = []
        for name in sorted(installation.modules(code)):
            path = (
                code / f"{name}.py"
                if (code / f"{name}.py").exists()
                else code / name / "__init__.py"
            )
            text = path.read_text()
            found.append(f"{name} {text.split(chr(39))[1]}" if "VALUE" in text else name)
        return found

    def fails(self, **environ: Any) -> str:
        with pytest.raises(CodeChannelError) as raised:
            self.install(**environ)
        return str(raised.value)


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    folder = Channel(tmp_path / "channel")
    folder.mkdir()
    return folder


def test_what_the_image_has_is_not_installed_again_but_another_version_is(channel: Channel) -> None:
    have = wheels.installed()["packaging"]
    wheel(channel / "wheels", "mypkg", requires=["packaging", "needed>=1"])
    wheel(channel / "wheels", "needed", "1.5")
    wheel(channel / "wheels", "packaging", f"{have}.post9", files={"packaging_other.py": ""})
    write(channel, {"requirements.txt": "mypkg\n"})
    assert channel.modules() == ["mypkg 1.0", "needed 1.5"]
    write(channel, {"requirements.txt": f"mypkg\npackaging=={have}.post9\n"})
    assert channel.modules() == ["mypkg 1.0", "needed 1.5", "packaging_other"]


def test_a_wheel_that_needs_only_what_the_image_has_comes_alone(channel: Channel) -> None:
    wheel(channel, "mypkg", requires=["gluonts", "numpy; python_version > '3'", "packaging>=1"])
    assert channel.modules() == ["mypkg 1.0"]
    assert channel.modules(offline=True) == ["mypkg 1.0"]


def test_the_code_may_bring_its_own_gluonts(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(channel, "gluonts", "99.0", files={"gluonts/__init__.py": "VALUE = '99.0'\n"})
    assert channel.modules() == ["gluonts 99.0"]
    assert "brings a module 'gluonts', which is imported instead of this image's" in caplog.text


def test_a_wheel_that_no_requirement_names_is_installed_as_well(channel: Channel) -> None:
    wheel(channel, "mypkg")
    wheel(channel, "needed")
    wheel(channel, "foreign", tag="cp27-cp27m-win32")
    write(channel, {"requirements.txt": "needed\n"})
    assert channel.modules() == ["mypkg 1.0", "needed 1.0"]


def test_a_project_finds_what_it_needs_beside_it(channel: Channel) -> None:
    project(channel, "mypkg", requires=["needed>=1.1", "other"])
    wheel(channel / "wheels", "needed", "1.0")
    wheel(channel / "wheels", "needed", "1.2")
    wheel(channel / "wheels" / "more", "other")
    wheel(channel / "wheels", "unneeded")
    assert channel.modules() == ["mypkg 1.0", "needed 1.2", "other 1.0"]


def test_everything_that_was_installed_is_recorded_with_its_checksum(
    channel: Channel, tmp_path: Path
) -> None:
    file = wheel(channel / "wheels", "my-pkg", requires=["needed"])
    other = wheel(channel / "wheels", "needed", "1.5")
    write(channel, {"requirements.txt": "my-pkg\n"})
    channel.install()
    record = json.loads((tmp_path / "ml" / "model" / "code-installed.json").read_text())
    expected = [
        {"name": name, "version": version, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, version, path in (("my-pkg", "1.0", file), ("needed", "1.5", other))
    ]
    assert record == {"python": ".".join(map(str, sys.version_info[:3])), "installed": expected}


def test_requirement_files_include_others_pin_hashes_and_name_paths(channel: Channel) -> None:
    file = wheel(channel, "mypkg", "1.0")
    wheel(channel, "mypkg", "2.0")
    pinned = f"mypkg==1.0 \\\n  --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
    write(channel, {"requirements.txt": "-r more/base.txt\n", "more/base.txt": pinned})
    assert channel.modules() == ["mypkg 1.0"]
    write(
        channel,
        {
            "requirements.txt": "-c more/c.txt\n./mypkg-2.0-py3-none-any.whl\n",
            "more/c.txt": "mypkg<2\n",
        },
    )
    assert channel.modules() == ["mypkg 1.0"]


@pytest.mark.parametrize(
    "line", ["./lib[dev]", "x[dev]", "-e lib[dev]", "./w/x-1.0-py3-none-any.whl[dev]"]
)
def test_extras_of_what_the_channel_holds(channel: Channel, line: str) -> None:
    if ".whl" in line:
        wheel(channel / "w", "x", requires=["more; extra == 'dev'\nProvides-Extra: dev"])
    else:
        setup = "from setuptools import setup\nsetup(name='x', version='1', py_modules=['x'], extras_require={'dev': ['more']})\n"
        write(channel / "lib", {"setup.py": setup, "x.py": ""})
    write(channel, {"requirements.txt": f"{line}\n"})
    assert "more is not in the code channel" in channel.fails(offline=True)
    wheel(channel / "supply", "more")
    modules = channel.modules(offline=True)
    assert [name.partition(" ")[0] for name in modules] == ["more", "x"]


def test_a_path_outside_of_the_channel_is_left_to_pip(channel: Channel, tmp_path: Path) -> None:
    found = wheel(tmp_path / "image", "other")
    write(channel, {"requirements.txt": f"../image/{found.name}\n"})
    assert channel.modules(offline=True) == ["other 1.0"]


def test_settings_of_where_to_install_are_not_those_of_the_channel(
    channel: Channel, tmp_path: Path
) -> None:
    wheel(channel / "wheels", "mypkg")
    write(channel, {"requirements.txt": "mypkg\n"})
    elsewhere = str(tmp_path / "elsewhere")
    environ = dict.fromkeys(["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"], elsewhere)
    assert channel.modules(PIP_USER="1", PIP_DRY_RUN="1", **environ) == ["mypkg 1.0"]
    assert not Path(elsewhere).exists()


def test_what_pip_warns_of_is_in_the_log(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(channel / "wheels", "mypkg")
    write(channel, {"requirements.txt": "mypkg[none]\n"})
    assert channel.modules() == ["mypkg 1.0"]
    assert caplog.text.count("does not provide the extra 'none'") == 1


def test_what_the_image_has_too_is_named(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    write(channel, {"numpy.py": "", "json.py": "", "mine.py": ""})
    assert channel.modules() == ["json", "mine", "numpy"]
    assert "brings a module 'numpy', which is imported instead of this image's" in caplog.text
    assert "brings a module 'json', which is imported instead of the standard" in caplog.text
    assert "'mine'" not in caplog.text


def test_requirements_that_this_image_fulfils_are_no_empty_channel(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(channel, {"requirements.txt": "packaging\n"})
    assert channel.modules(offline=True) == []
    assert "this image has all that the code channel asks for" in caplog.text
    assert "nothing to install" not in caplog.text


def test_requirements_within_a_project_are_told(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    project(channel / "lib", "mypkg")
    write(channel, {"lib/requirements.txt": "absent\n"})
    assert channel.modules(offline=True) == ["mypkg 1.0"]
    assert "'lib/requirements.txt' in the code channel lies in a project" in caplog.text


def test_offline_what_is_no_version_is_not_missing(channel: Channel) -> None:
    write(channel, {"requirements.txt": "mypkg>>2\n"})
    assert "Invalid requirement: 'mypkg>>2'" in channel.fails(offline=True)


def test_what_the_disk_refuses_is_a_sentence(channel: Channel, tmp_path: Path) -> None:
    write(channel, {"mypkg.py": ""})
    write(tmp_path / "ml", {"model": "a file"})
    ml = tmp_path / "ml"
    assert channel.fails().endswith(f"cannot be installed: {ml}/model: File exists")


def test_a_wrong_hash_is_refused(channel: Channel) -> None:
    wheel(channel, "mypkg")
    write(channel, {"requirements.txt": f"mypkg==1.0 --hash=sha256:{'0' * 64}\n"})
    expected = f"mypkg==1.0 is not the file that its hash tells: expected sha256 {'0' * 64}, got "
    assert expected in channel.fails()
    # any of several will do
    write(
        channel,
        {"requirements.txt": f"mypkg==1.0 --hash=sha256:{'0' * 64} --hash=sha256:{'1' * 64}\n"},
    )
    assert expected in channel.fails()


def test_what_lacks_a_hash_beside_others_is_named(channel: Channel) -> None:
    wheel(channel, "mypkg")
    other = wheel(channel, "other")
    pinned = f"other==1.0 --hash=sha256:{hashlib.sha256(other.read_bytes()).hexdigest()}\n"
    write(channel, {"requirements.txt": pinned + "mypkg==1.0\n"})
    assert "mypkg==1.0 has no --hash, expected one for each package" in channel.fails()
    write(channel, {"requirements.txt": pinned + "mypkg\n"})
    assert "mypkg is not pinned with ==, expected that of each package" in channel.fails()


def test_pips_settings_pass_through(channel: Channel, tmp_path: Path) -> None:
    wheel(tmp_path / "index", "mypkg")
    write(channel, {"requirements.txt": "mypkg\n"})
    assert channel.modules(PIP_FIND_LINKS=str(tmp_path / "index")) == ["mypkg 1.0"]


# --- two things of one name


def test_of_two_versions_the_higher_is_taken_and_both_are_named(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(channel / "a", "mypkg", "1.10")
    wheel(channel / "b", "mypkg", "1.9")
    assert channel.modules() == ["mypkg 1.10"]
    named = (
        "'b/mypkg-1.9-py3-none-any.whl' and 'a/mypkg-1.10-py3-none-any.whl' both install 'mypkg'"
    )
    assert named in caplog.text


def test_a_project_is_taken_before_a_wheel_of_its_name(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    project(channel / "lib", "mypkg", "0.5")
    wheel(channel, "mypkg", "2.0")
    assert channel.modules(offline=True) == ["mypkg 0.5"]
    assert (
        "'mypkg-2.0-py3-none-any.whl' and 'lib' both install 'mypkg': 'lib' is taken" in caplog.text
    )


def test_a_package_that_pip_installs_as_well_is_named_and_taken_from_the_folder(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    wheel(channel, "mypkg", files={"mypkg/__init__.py": "VALUE = 'wheel'\n", "mypkg/old.py": ""})
    wheel(channel, "rival", files={"mypkg/old.py": "# rival\n"})
    write(channel, {"mypkg/__init__.py": "VALUE = 'folder'\n"})
    assert channel.modules() == ["mypkg folder"]
    assert "'mypkg 1.0' and 'mypkg' both install 'mypkg'" in caplog.text
    assert "both install 'mypkg/old.py'" in caplog.text
    assert not (channel.parent / "ml" / "code" / "mypkg" / "old.py").exists()


# --- failures, and the air gap


def test_a_project_that_does_not_build_says_why(channel: Channel) -> None:
    write(channel, {"lib/setup.py": "import nothing_of_the_kind\n"})
    assert channel.fails(PIP_NO_BUILD_ISOLATION="0") == (
        "pip cannot build 'lib' of the code channel: ModuleNotFoundError: No module named 'nothing_of_the_kind'"
    )


def test_a_conflict_names_its_parties(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    wheel(channel, "a", requires=["needed<2"])
    wheel(channel, "b", requires=["needed>=2"])
    wheel(channel, "needed", "1.0")
    wheel(channel, "needed", "2.0")
    write(channel, {"requirements.txt": "a\nb\n"})
    sentence = channel.fails()
    assert "a 1.0 depends on needed<2" in sentence
    assert "b 1.0 depends on needed>=2" in sentence
    assert "ResolutionImpossible" in caplog.text


def test_a_wheel_for_another_python_is_refused(channel: Channel) -> None:
    wheel(channel, "mypkg", tag="cp27-cp27m-win32")
    name = "mypkg-1.0-cp27-cp27m-win32.whl"
    assert (
        channel.fails()
        == f"{name!r} in the code channel does not fit this container ({wheels.container()})"
    )


def test_offline_all_that_is_missing_is_named_with_the_tag_of_this_python(channel: Channel) -> None:
    needs = ["deep-need==2", "other; python_version < '3'", "extra; extra == 'x'"]
    wheel(channel / "wheels", "mypkg", requires=needs)
    wheel(channel / "wheels", "holidays", "0.20")
    write(channel, {"requirements.txt": "holidays>=0.30\nmypkg[x]\npackaging\nabsent\n"})
    names, _, rest = (
        channel.fails(offline=True).removeprefix("cannot install offline: ").partition(" are ")
    )
    assert sorted(names.split(", ")) == ["absent", "deep-need==2", "extra", "holidays>=0.30"]
    assert rest == (
        f"not in the code channel (this container takes {wheels.container()}; "
        "'wheels/holidays-0.20-py3-none-any.whl' came)"
    )


def test_offline_a_single_missing_wheel_gives_the_documented_sentence(channel: Channel) -> None:
    write(channel, {"requirements.txt": "holidays>=0.30\n"})
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    sentence = channel.fails(offline=True, PIP_NO_INDEX="0")
    expected = f"cannot install offline: holidays>=0.30 is not in the code channel (this container takes {tag}, "
    assert sentence.startswith(expected)
    assert sentence.endswith(f"{os.uname().machine})")


def test_offline_a_wheel_for_another_python_is_named_where_it_is_missed(channel: Channel) -> None:
    wheel(channel / "wheels", "holidays", tag="cp27-cp27m-win32")
    write(channel, {"requirements.txt": "holidays\n"})
    sentence = channel.fails(offline=True)
    assert sentence.startswith("cannot install offline: holidays is not in the code channel")
    assert sentence.endswith("holidays-1.0-cp27-cp27m-win32.whl' came)")


def test_a_damaged_wheel_is_named(channel: Channel) -> None:
    write(channel, {"holidays-1.0-py3-none-any.whl": "a page that says 404"})
    assert (
        channel.fails(offline=True)
        == "'holidays-1.0-py3-none-any.whl' in the code channel is damaged, expected a wheel: File is not a zip file"
    )


def test_offline_no_index_and_no_address_is_asked(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever pip is told by its settings and the requirements file."""
    caplog.set_level(logging.DEBUG)
    url = "http://127.0.0.1:1"
    text = f"--index-url {url}/a\n--extra-index-url {url}/b\nabsent\n"
    write(channel, {"requirements.txt": text})
    sentence = channel.fails(
        offline=True, PIP_NO_INDEX="0", PIP_INDEX_URL=f"{url}/c", PIP_FIND_LINKS=f"{url}/d"
    )
    assert sentence.startswith("cannot install offline: absent is not in the code channel")
    assert "Looking in indexes" not in caplog.text
    write(
        channel, {"requirements.txt": "absent @ http://localhost:1/absent-1.0-py3-none-any.whl\n"}
    )
    assert channel.fails(offline=True, PIP_NO_INDEX="0").startswith(
        "cannot install offline: 'absent @ http://localhost:1"
    )


def test_offline_a_project_whose_build_tools_are_absent_says_what_to_do(channel: Channel) -> None:
    project(channel, "mypkg")
    text = (channel / "pyproject.toml").read_text()
    write(channel, {"pyproject.toml": text.replace("setuptools.build_meta", "nobody.has_this")})
    sentence = channel.fails(offline=True)
    assert (
        "cannot build 'the code channel' offline: its build tools are not in this image" in sentence
    )
    assert "put a wheel of it into the code channel instead" in sentence


def test_what_is_read_only_in_the_channel_can_be_written_where_it_is_installed(
    channel: Channel,
) -> None:
    write(channel, {"mypkg/__init__.py": "", "mypkg/data/table.csv": "", "mypkg/run.sh": ""})
    (channel / "mypkg" / "run.sh").chmod(0o555)
    (channel / "mypkg" / "data" / "table.csv").chmod(0o400)
    (channel / "mypkg" / "data").chmod(0o500)
    code = channel.install()
    assert (code / "mypkg" / "data").stat().st_mode & 0o777 == 0o755
    assert (code / "mypkg" / "data" / "table.csv").stat().st_mode & 0o777 == 0o644
    assert (code / "mypkg" / "run.sh").stat().st_mode & 0o777 == 0o755
    shutil.rmtree(code)


def test_what_is_copied_is_charged_and_stays_within_its_root(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {"outside/x.py": "#" * 10, "root/shared/y.py": "#" * 100, "root/pkg/z.py": "#"})
    (tmp_path / "root" / "pkg" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "pkg" / "shared").symlink_to("../shared")
    budget = Budget(1000)
    installation.copy(tmp_path / "root" / "pkg", tmp_path / "copy", budget, tmp_path / "root")
    assert sorted(
        str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*.py")
    ) == [
        "shared/y.py",
        "z.py",
    ]
    assert budget.bytes_left == 1000 - 101
    assert "'out' in the code channel is a link that leads out of it" in caplog.text
    with pytest.raises(CodeChannelError, match="raise GLUONTS_SHELL_MAX_UNPACKED_BYTES"):
        installation.copy(
            tmp_path / "root" / "pkg", tmp_path / "again", Budget(100), tmp_path / "root"
        )


def test_what_only_awss_toolkits_would_call_is_told(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    write(channel, {"inference.py": "def model_fn(folder):\n    pass\n"})
    channel.install()
    assert (
        "'inference.py' in the code channel defines model_fn for AWS's toolkits; nothing calls that here"
        in caplog.text
    )
