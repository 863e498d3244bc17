"""The code channel from end to end, with real processes and real pip, by way of a toy command."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import channel, installation
from gluonts_shell.settings import Settings
from gluonts_shell.written import RECORD
from tests.local_wheels import pack, project, wheel, write

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[3]
TOY = Path(__file__).with_name("code_toy.py")


@dataclass
class Outcome:
    status: int
    log: str
    failure: str
    result: dict[str, Any]


@dataclass
class Tree:
    """An /opt/ml tree and the environment of a container."""

    base: Path
    environ: dict[str, str]
    before: list[str] = field(default_factory=list)

    @property
    def channel(self) -> Path:
        return self.base / "input" / "data" / "code"

    def run(self, command: str, *names: str, **environ: str) -> Outcome:
        variables = {**self.environ, "SAGEMAKER_DATA_PATH": str(self.base), **environ}
        argv = [*self.before, sys.executable, str(TOY), command, *names]
        done = subprocess.run(
            argv, env=variables, cwd=self.base, capture_output=True, text=True, timeout=300
        )
        failure = self.base / "output" / "failure"
        lines = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        return Outcome(
            done.returncode,
            done.stdout + done.stderr,
            failure.read_text() if failure.exists() else "",
            json.loads(lines[0]) if lines else {},
        )

    def values(self, command: str, *names: str, **environ: str) -> list[Any]:
        """What the modules' VALUE is, after a run that must succeed."""
        outcome = self.run(command, *names, **environ)
        assert outcome.status == 0, outcome.log
        return [outcome.result["found"][name][0] for name in names]

    def fails(self, *names: str, **environ: str) -> str:
        """The first line of output/failure, after a run that must fail."""
        outcome = self.run("train", *names, **environ)
        assert outcome.status == 1, outcome.log
        return outcome.failure.splitlines()[0]

    def fresh(self, base: Path) -> Tree:
        """A container elsewhere that was handed the model of this one."""
        base.mkdir()
        pack(self.base / "model", base / "model.tar.gz")
        shutil.unpack_archive(base / "model.tar.gz", base / "model", "gztar", **FILTER)
        return Tree(base, self.environ, self.before)


FILTER: dict[str, Any] = {"filter": "data"} if hasattr(__import__("tarfile"), "data_filter") else {}


def environment(**more: str) -> dict[str, str]:
    """No network: what a test does not hand to pip is not there."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "SAGEMAKER_", "GLUONTS_"))
    }
    return {
        **kept,
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(ROOT),
        **more,
    }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "ml", environment())
    tree.channel.mkdir(parents=True)
    return tree


def everything(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


# --- every form: installed, importable, kept in the model, and again from the model in another container


def package(channel: Path) -> None:
    write(
        channel,
        {"mypkg/__init__.py": "from mypkg.deep.model import VALUE\n", "mypkg/deep/__init__.py": ""},
    )
    write(channel, {"mypkg/deep/model.py": "VALUE = '1.0'\n"})


def loose(channel: Path) -> None:
    code = "import json, pathlib\nVALUE = json.loads(pathlib.Path(__file__).with_name('value.json').read_text())\n"
    write(channel, {"src/mypkg.py": code, "src/value.json": '"1.0"'})


def archived(channel: Path) -> None:
    package(channel.parent / "aside")
    pack(channel.parent / "aside", channel.parent / "packed" / "inner.zip")
    pack(channel.parent / "packed", channel / "sourcedir.tar.gz")


def named_by_archive(channel: Path) -> None:
    pack(write(channel.parent / "aside", {"__init__.py": "VALUE = '1.0'\n"}), channel / "mypkg.tgz")


def setup_py(channel: Path) -> None:
    project(channel, "mypkg", form="setup.py")


def requirements(channel: Path) -> None:
    wheel(channel / "wheels", "mypkg")
    write(channel, {"requirements.txt": "mypkg>=0.5  # comment\n"})


FORMS = [package, loose, archived, named_by_archive, setup_py, requirements]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_is_installed_at_training_and_again_from_the_model(
    form: Any, tree: Tree, tmp_path: Path
) -> None:
    form(tree.channel)
    before = everything(tree.channel)
    first = tree.run("train", "mypkg", PIP_NO_BUILD_ISOLATION="0")
    assert first.status == 0, first.log
    value, file = first.result["found"]["mypkg"]
    assert value == "1.0"
    assert Path(file).is_relative_to(tree.base / "code")
    assert first.result["code"] == str(tree.base / "code")
    assert everything(tree.channel) == before
    kept = everything(tree.base / "model" / "code")
    del kept[RECORD]
    assert kept == before
    record = json.loads((tree.base / "model" / "code-installed.json").read_text())
    assert [(one["name"], one["version"]) for one in record["installed"]] == (
        [("mypkg", "1.0")] if form in FORMS[4:] else []
    )
    assert sorted(path.name for path in tree.base.iterdir()) == ["code", "input", "model"]
    server = tree.fresh(tmp_path / "server")
    assert server.values("serve", "mypkg", PIP_NO_BUILD_ISOLATION="0") == ["1.0"]
    if form not in FORMS[4:]:  # pip takes its time
        assert server.values("serve", "mypkg") == ["1.0"]  # the container started again


def test_projects_of_every_kind_may_need_each_other(tree: Tree) -> None:
    project(tree.channel / "a", "mypkg", requires=["needed==2.0", "third"], form="src")
    project(tree.channel / "b", "needed", "2.0", form="setup.py")
    project(tree.channel.parent / "aside" / "third-1.0", "third")
    pack(tree.channel.parent / "aside", tree.channel / "third-1.0.tar.xz")
    before = everything(tree.channel)
    names = ("mypkg", "needed", "third")
    assert tree.values("train", *names, PIP_NO_BUILD_ISOLATION="0") == ["1.0", "2.0", "1.0"]
    assert everything(tree.channel) == before


def test_the_second_iteration_is_the_same_process_and_nothing_leaks_but_the_path(
    tree: Tree,
) -> None:
    package(tree.channel)
    outcome = tree.run("train", "mypkg")
    child = outcome.result["grandchild"]
    assert channel.GUARD not in child
    assert child["PYTHONPATH"].split(os.pathsep)[0] == str(tree.base / "code")
    assert outcome.log.count("starting again with") == 1


def test_a_stale_guard_of_another_process_is_ignored_and_taken_out(tree: Tree) -> None:
    package(tree.channel)
    outcome = tree.run("train", "mypkg", **{channel.GUARD: f"1:{tree.base}/nowhere"})
    assert outcome.result["found"]["mypkg"][0] == "1.0"
    assert channel.GUARD not in outcome.result["grandchild"]


@pytest.mark.parametrize("channel", ["missing", "empty", "hidden"])
def test_without_code_nothing_happens(tree: Tree, channel: str) -> None:
    if channel == "missing":
        tree.channel.rmdir()
    elif channel == "hidden":
        write(tree.channel, {".DS_Store": ""})
    outcome = tree.run("train", "json")
    assert outcome.result["code"] is None
    assert "starting again" not in outcome.log
    assert not (tree.base / "code").exists()


def test_a_channel_that_holds_no_code_is_kept_and_warned_of(tree: Tree) -> None:
    write(tree.channel, {"README.md": "hello"})
    outcome = tree.run("train", "json")
    assert outcome.status == 0
    assert "nothing to install" in outcome.log
    assert (tree.base / "model" / "code" / "README.md").exists()


# --- the same tree again, trees that cannot be written, other users


def test_a_rerun_replaces_what_an_earlier_one_installed(tree: Tree) -> None:
    package(tree.channel)
    write(tree.channel, {"src/stale.py": ""})
    assert tree.values("train", "mypkg") == ["1.0"]
    assert (tree.base / "code" / "stale.py").exists()
    shutil.rmtree(tree.channel / "src")
    write(tree.channel, {"mypkg/deep/model.py": "VALUE = '2.0'\n"})
    assert tree.values("train", "mypkg") == ["2.0"]
    assert not (tree.base / "code" / "stale.py").exists()
    assert not (tree.base / "model" / "code" / "src").exists()


@pytest.mark.parametrize("earlier", [True, False], ids=["beside ours", "alone"])
def test_a_users_file_where_the_code_is_installed_stays_and_the_code_goes_elsewhere(
    tree: Tree, earlier: bool
) -> None:
    package(tree.channel)
    if earlier:
        assert tree.values("train", "mypkg") == ["1.0"]
    write(tree.base / "code", {"mine.py": "# mine\n"})
    outcome = tree.run("train", "mypkg")
    assert outcome.result["found"]["mypkg"][0] == "1.0"
    assert outcome.result["code"] != str(tree.base / "code")
    assert f"{tree.base / 'code' / 'mine.py'} was not installed by this program" in outcome.log
    assert (tree.base / "code" / "mine.py").read_text() == "# mine\n"
    shutil.rmtree(Path(outcome.result["code"]).parent)


@pytest.mark.parametrize("mine", ["code/mine.py", "code/mypkg/__init__.py", "code-installed.json"])
def test_a_users_file_where_the_model_keeps_its_code_stops_the_job(tree: Tree, mine: str) -> None:
    package(tree.channel)
    if mine != "code/mine.py":  # changed after an earlier run
        assert tree.values("train", "mypkg") == ["1.0"]
    write(tree.base / "model", {mine: "# mine\n"})
    assert tree.fails("mypkg") == (
        f"'{tree.base / 'model' / mine}' was not written by this program, or was changed since, and keeping the code "
        "channel with the model would replace it; move it away first"
    )
    assert (tree.base / "model" / mine).read_text() == "# mine\n"


def test_a_link_where_the_model_keeps_its_code_stops_the_job(tree: Tree, tmp_path: Path) -> None:
    package(tree.channel)
    write(tmp_path / "elsewhere", {"mine.py": ""})
    (tree.base / "model").mkdir()
    (tree.base / "model" / "code").symlink_to(tmp_path / "elsewhere")
    assert tree.fails("mypkg").startswith(
        f"'{tree.base / 'model' / 'code'}' was not written by this program"
    )
    assert (tree.base / "model" / "code").is_symlink()
    assert (tmp_path / "elsewhere" / "mine.py").exists()


@pytest.mark.parametrize("existing", ["file", "link"])
def test_whatever_lies_where_the_code_goes_is_no_obstacle(tree: Tree, existing: str) -> None:
    package(tree.channel)
    if existing == "file":
        (tree.base / "code").write_text("")
    else:
        (tree.base / "code").symlink_to(tree.base / "nowhere")
    outcome = tree.run("train", "mypkg")
    assert outcome.result["found"]["mypkg"][0] == "1.0"
    assert (tree.base / "code").is_symlink() == (existing == "link")
    assert not (tree.base / "code").is_dir()
    shutil.rmtree(Path(outcome.result["code"]).parent)


def test_an_earlier_installation_on_the_path_is_not_the_one_that_counts(tree: Tree) -> None:
    """As with ENV PYTHONPATH=/opt/ml/code in a Dockerfile."""
    package(tree.channel)
    write(tree.base / "code", {"mypkg.py": "VALUE = 'stale'\n"})
    assert tree.values("train", "mypkg", PYTHONPATH=f"{tree.base / 'code'}:{ROOT}") == ["1.0"]


def another_user() -> list[str]:
    """Where the tests run as root: a user who may read everything, because Python may be in root's home."""
    if os.geteuid() != 0:
        return []
    reads = "-all,+dac_read_search"
    return [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        f"--inh-caps={reads}",
        f"--ambient-caps={reads}",
    ]


@pytest.fixture
def nobody(tree: Tree, tmp_path: Path) -> Iterator[Tree]:
    """A container that is not root, whose temporary folder is the only other place that it may write to."""
    tree.before = another_user()
    if tree.before and subprocess.run([*tree.before, "true"], capture_output=True).returncode:
        pytest.skip("setpriv cannot become another user here")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    if tree.before:
        os.chown(temporary, 65534, 65534)
    tree.environ |= {"TMPDIR": str(temporary), "HOME": "/nonexistent"}
    yield tree
    for path in (tree.base, *tree.base.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def read_only(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_training_as_another_user_with_a_read_only_channel(nobody: Tree) -> None:
    setup_py(nobody.channel)  # building in place would write to the channel
    before = everything(nobody.channel)
    read_only(nobody.channel)
    if nobody.before:
        os.chown(nobody.base, 65534, 65534)
    assert nobody.values("train", "mypkg", PIP_NO_BUILD_ISOLATION="0") == ["1.0"]
    assert everything(nobody.channel) == before


def test_serving_as_another_user_from_a_read_only_tree_installs_in_the_temporary_folder(
    nobody: Tree,
) -> None:
    model = nobody.base / "model" / "code"
    package(model)
    wheel(model, "needed")
    read_only(nobody.base)
    for _ in range(2):
        outcome = nobody.run("serve", "mypkg", "needed")
        assert outcome.status == 0, outcome.log
        assert Path(outcome.result["code"]).is_relative_to(nobody.environ["TMPDIR"])
        assert f"the code channel is installed in {outcome.result['code']}" in outcome.log
    left = [path.name for path in Path(nobody.environ["TMPDIR"]).iterdir()]
    assert [name for name in left if not name.startswith("gluonts-shell-code-")] == []


def test_a_disk_that_takes_no_more_is_one_sentence(tree: Tree) -> None:
    """A limit of the process's own stands for the full disk: the errors differ in their words alone."""
    write(tree.channel, {"module.py": "x = 1" * 1000})
    code, kept = tree.base / "code", tree.base / "model" / "code"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(CodeChannelError) as caught:
            channel.install(tree.channel, code, Settings(), dict(os.environ), kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = str(caught.value)
    assert told.startswith(f"the code channel {str(tree.channel)!r} cannot be installed: ")
    assert told.endswith("/code/module.py: File too large")
    assert not code.exists() and not kept.exists()


def test_a_target_that_does_not_move_is_left_alone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount point: renaming it fails with EBUSY."""
    package(tree.channel)
    write(tree.base / "code", {"mine.txt": ""})
    rename = Path.rename

    def busy(path: Path, target: Path) -> Path:
        if path == tree.base / "code":
            raise OSError(16, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setenv("TMPDIR", str(tree.base))
    place = channel.install(tree.channel, tree.base / "code", Settings(), dict(os.environ))
    assert (place / "mypkg" / "__init__.py").exists()
    assert place != tree.base / "code"
    assert (tree.base / "code" / "mine.txt").exists()
    shutil.rmtree(place.parent)


# --- names that others have as well


def test_a_module_that_hides_the_standard_librarys_is_named_and_still_fails_with_a_sentence(
    tree: Tree,
) -> None:
    write(tree.channel, {"json.py": "raise RuntimeError('not that json')\n", "mypkg.py": ""})
    outcome = tree.run("train", "mypkg")
    assert outcome.status == 1
    assert (
        "brings a module 'json', which is imported instead of the standard library's" in outcome.log
    )
    reason = outcome.failure.splitlines()[0]
    assert (
        "cannot start with the modules of the code channel: RuntimeError: not that json" in reason
    )
    assert "rename 'json'" in reason


def test_a_harmless_module_that_hides_another_is_only_named(tree: Tree) -> None:
    write(tree.channel, {"turtle.py": "VALUE = 1\n"})
    outcome = tree.run("train", "turtle")
    assert outcome.result["found"]["turtle"][0] == 1
    assert "WARNING the code channel brings a module 'turtle'" in outcome.log


@pytest.mark.parametrize("name", ["gluonts", "gluonts_shell"])
def test_a_module_that_hides_ours_is_named(tree: Tree, name: str) -> None:
    write(tree.channel, {f"{name}.py": "VALUE = 1\n"})
    outcome = tree.run("train", name)
    assert f"brings a module {name!r}, which is imported instead of this image's" in outcome.log
    assert f"; rename {name!r}, or leave it out" in outcome.failure.splitlines()[0]


def test_a_package_that_gluonts_cannot_start_with_is_named(tree: Tree) -> None:
    wheel(tree.channel / "w", "numpy", "1.0")
    write(tree.channel, {"requirements.txt": "numpy==1.0\n"})
    reason = tree.fails().splitlines()[0]
    assert (
        "cannot start with the modules of the code channel: AttributeError: module 'numpy'"
        in reason
    )
    assert "; rename 'numpy', or leave it out" in reason


def test_code_that_ends_python_as_it_starts_still_leaves_a_failure_file(tree: Tree) -> None:
    write(tree.channel, {"sitecustomize.py": "import os\nos._exit(7)\n"})
    assert "cannot start with the modules of the code channel: exit status 7" in tree.fails()


def test_two_things_of_one_name_are_both_named(tree: Tree) -> None:
    write(tree.channel, {"a/mypkg/__init__.py": "VALUE = 'a'\n", "b/mypkg.py": "VALUE = 'b'\n"})
    outcome = tree.run("train", "mypkg")
    assert "WARNING 'a/mypkg' and 'b/mypkg.py' both install 'mypkg.py'" in outcome.log
    assert outcome.result["found"]["mypkg"][0] == "b"


# --- failures, and the air gap


def test_pips_last_reason_is_the_sentence_and_its_whole_output_is_in_the_log(tree: Tree) -> None:
    write(tree.channel, {"requirements.txt": "nowhere-to-be-found>=3\n"})
    outcome = tree.run("train")
    assert outcome.status == 1
    first = outcome.failure.splitlines()[0]
    assert (
        first
        == "pip cannot install the code channel: No matching distribution found for nowhere-to-be-found>=3"
    )
    assert "Could not find a version that satisfies the requirement" in outcome.log
    assert not (tree.base / "code").exists()
    assert not (tree.base / "model").exists()


def without_network() -> list[str]:
    """The command that runs another in an empty network namespace, or nothing where the kernel refuses one."""
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True).returncode == 0
        ):
            return command
    return []


def test_behind_the_air_gap_a_missing_wheel_is_named_at_once(tree: Tree) -> None:
    """In a network namespace without a route; that what is there suffices is a journey of its own."""
    tree.before = without_network()
    if not tree.before:
        pytest.skip("the kernel refuses a network namespace")
    tree.environ = environment(GLUONTS_SHELL_OFFLINE="true")
    del tree.environ["PIP_NO_INDEX"]
    route = subprocess.run(
        [*tree.before, "cat", "/proc/net/route"], capture_output=True, text=True
    ).stdout
    assert len(route.splitlines()) <= 1
    wheel(tree.channel / "wheels", "mypkg", requires=["packaging"])
    write(tree.channel, {"requirements.txt": "mypkg\nholidays>=0.30\n"})
    assert tree.fails().startswith(
        "cannot install offline: holidays>=0.30 is not in the code channel"
    )


def test_a_hostile_archive_fails_the_job_with_its_sentence(tree: Tree) -> None:
    import tarfile

    with tarfile.open(tree.channel / "evil.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped.py"))
    sentence = tree.fails()
    assert sentence.startswith(
        "archive 'evil.tar' is refused: '../../escaped.py' would be extracted to "
    )
    assert sentence.endswith("which is outside the destination")
    assert not list(tree.base.rglob("escaped.py"))
    assert sorted(path.name for path in tree.base.iterdir()) == ["input", "output"]


def test_a_link_out_of_the_channel_is_not_kept_in_the_model(tree: Tree) -> None:
    write(tree.base.parent / "outside", {"secret.txt": "mine"})
    write(tree.channel, {"mymodule.py": "VALUE = 1\n"})
    (tree.channel / "elsewhere").symlink_to(tree.base.parent / "outside")
    outcome = tree.run("train", "mymodule")
    assert outcome.status == 0, outcome.log
    assert "'elsewhere' in the code channel is a link that leads out of it" in outcome.log
    assert [
        path.name for path in (tree.base / "model" / "code").iterdir() if path.name[0] != "."
    ] == ["mymodule.py"]
    assert not list((tree.base / "code").rglob("secret.txt"))


def test_a_file_whose_name_is_a_line_of_the_log_makes_none(tree: Tree) -> None:
    """pip and the walk name what lies in the channel."""
    write(
        tree.channel,
        {"mymodule.py": "VALUE = 1\n", "a\n[ERROR] forged \x1b[2J.py": "def model_fn(): ..."},
    )
    outcome = tree.run("train", "mymodule", SAGEMAKER_PROGRAM="x\n[ERROR] forged")
    assert outcome.status == 0, outcome.log
    assert "SAGEMAKER_PROGRAM is 'x\\n[ERROR] forged'" in outcome.log
    assert "defines model_fn for AWS's toolkits" in outcome.log
    assert not [line for line in outcome.log.splitlines() if line.startswith("[ERROR]")]
    assert "\x1b" not in outcome.log


def test_a_bomb_is_refused_at_the_limit_that_is_set(tree: Tree) -> None:
    pack(write(tree.base / "aside", {"m.py": "#" * 5000}), tree.channel / "m.tar.gz")
    assert "GLUONTS_SHELL_MAX_UNPACKED_BYTES" in tree.fails(GLUONTS_SHELL_MAX_UNPACKED_BYTES="4000")


def test_the_names_that_came_with_the_channel(tmp_path: Path) -> None:
    files = (
        "a.py",
        "b/__init__.py",
        "c-1.0.dist-info/x.py",
        "bin/tool",
        "d.cpython-311.so",
        "e.txt",
        "data/f.csv",
        "g/h/i.py",
    )
    assert installation.modules(write(tmp_path, dict.fromkeys(files, ""))) == {"a", "b", "d", "g"}
    assert installation.modules(tmp_path / "nothing") == frozenset()


def test_a_folder_of_data_or_without_init_hides_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"test/x.csv": "", "email/y.py": "", "json/__init__.py": "", "random.py": ""})
    assert installation.shadows(tmp_path) == {"json", "random"}
