"""Why pip could not install something, in a sentence; with real pip and an index of the test's own on 127.0.0.1."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gluonts_shell.errors import CodeChannelError
from gluonts_shell.sagemaker.code import channel as code_channel
from gluonts_shell.sagemaker.code import reasons
from gluonts_shell.settings import Settings
from tests.local_wheels import wheel, write
from tests.sagemaker.code.index import answering, closed, silent

pytestmark = pytest.mark.once

USER, PASSWORD, TOKEN = "u5ername", "pa55word", "t0ken123456789012345678"
LOGIN = f"{USER}:{PASSWORD}@"
WHEELS = "put wheels into the code channel (gluonts-shell wheelhouse)"
NOT_LOOKED_UP = "pip cannot install the code channel: tinynetrc could not be looked up: "
DROPPED = (
    "PIP_",
    "SSL_",
    "REQUESTS_",
    "CURL_",
    "HTTP",
    "http",
    "GIT_",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
)
IMPATIENT = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "PIP_CONFIG_FILE": os.devnull}


def environment(**more: str) -> dict[str, str]:
    """Nothing but what the test says, and no patience."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {**kept, **IMPATIENT, **more}


class Failure:
    """Installs a requirement that cannot be had, and looks for secrets in all that is said."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.channel, self.target, self.caplog = folder / "channel", folder / "ml" / "code", caplog
        caplog.set_level(logging.DEBUG)

    def sentence(
        self, requirements: str = "tinynetrc\n", *, offline: bool = False, **environ: str
    ) -> str:
        write(self.channel, {"requirements.txt": requirements})
        with pytest.raises(CodeChannelError) as raised:
            code_channel.install(
                self.channel, self.target, Settings(offline=offline), environment(**environ)
            )
        for secret in (USER, PASSWORD, TOKEN):
            assert secret not in str(raised.value)
            assert secret not in self.caplog.text
        assert "/asked.txt" not in str(raised.value)
        return str(raised.value)


@pytest.fixture
def failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Failure:
    return Failure(tmp_path, caplog)


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "the index asks for a user name and password, or refuses those that it got (401 Unauthorized); "
              "check the user name and password in its address (PIP_INDEX_URL)"),
        (403, "the index forbids it (403 Forbidden); check the user name and password in its address (PIP_INDEX_URL)"),
        (407, "the proxy asks for a user name and password, or refuses those that it got "
              "(407 Proxy Authentication Required); check those in https_proxy"),
        (503, f"the index fails (503 Service Unavailable); try again later, or {WHEELS}"),
    ],
)  # fmt: skip
def test_an_index_that_answers_with_an_error(
    failure: Failure, servers: ExitStack, status: int, reason: str
) -> None:
    port = servers.enter_context(answering(status))
    sentence = failure.sentence(PIP_INDEX_URL=f"http://{LOGIN}127.0.0.1:{port}/{TOKEN}/simple")
    assert sentence == NOT_LOOKED_UP + reason
    assert f"127.0.0.1:{port}" in failure.caplog.text


def test_only_a_true_404_is_no_such_package(failure: Failure, servers: ExitStack) -> None:
    absent, failing = servers.enter_context(answering(404)), servers.enter_context(answering(500))
    index = f"http://{LOGIN}127.0.0.1:{absent}/simple"
    expected = "pip cannot install the code channel: tinynetrc>=1: there is no such package (404 Not Found); check its name"
    assert failure.sentence("tinynetrc>=1\n", PIP_INDEX_URL=index) == expected
    more = f"http://127.0.0.1:{failing}/simple"
    assert "the index fails (500 Internal Server Error)" in failure.sentence(
        PIP_INDEX_URL=index, PIP_EXTRA_INDEX_URL=more
    )


def test_versions_that_do_not_fit_are_named(
    failure: Failure, servers: ExitStack, tmp_path: Path
) -> None:
    wheel(tmp_path / "files", "tinynetrc", "1.3")
    port = servers.enter_context(answering(404, files=tmp_path / "files"))
    sentence = failure.sentence("tinynetrc>=2\n", PIP_INDEX_URL=f"http://127.0.0.1:{port}/pages")
    assert sentence.endswith(
        "No matching distribution found for tinynetrc>=2; there are the versions 1.3"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 302, "headers_sent": {"Location": "x"}}, " could not be looked up: the index cannot be read (Exceeded 30 redirects.); check the address"),
        ({"headers_sent": {"Content-Type": "application/vnd.pypi.simple.v1+json"}, "body": b"{,"},
         " could not be looked up: the index cannot be read (json.decoder.JSONDecodeError: Expecting"),
        ({"headers_sent": {"Content-Type": "text/html", "Content-Encoding": "gzip"}, "body": b"none"},
         " could not be looked up: the index cannot be read (('Received response with content-encoding: gzip"),
        ({"headers_sent": {"Content-Type": "application/json"}, "body": b"{}"},
         " could not be looked up: the index answers with application/json, expected text/html; check the address"),
        ({"body": b"<html><form>Sign in</form></html>"}, ": the page that the index answers with lists no file of it; check"),
    ],
)  # fmt: skip
def test_an_index_that_is_none(
    failure: Failure, servers: ExitStack, answer: dict[str, Any], reason: str
) -> None:
    port = servers.enter_context(answering(**{"status": 200, **answer}))
    sentence = failure.sentence(PIP_INDEX_URL=f"http://{LOGIN}127.0.0.1:{port}/{TOKEN}/simple")
    assert sentence.startswith(f"pip cannot install the code channel: tinynetrc{reason}")


@pytest.mark.parametrize("scheme", ["", "s3://"])
def test_an_address_that_is_none(failure: Failure, scheme: str) -> None:
    sentence = failure.sentence(PIP_INDEX_URL=f"{scheme}{LOGIN}index/simple")
    assert sentence.startswith(
        f"{NOT_LOOKED_UP}'{scheme}****@index/simple/tinynetrc/' is no address of an"
    )


@pytest.mark.parametrize(
    ("tag", "link", "reason"),
    [
        ("cp311-cp311-macosx_11_0_arm64", "", ": no file of it fits Python and platform; there are those for cp311-cp311-macosx_11_0_arm64"),
        ("py3-none-any", 'data-requires-python="&gt;=3.99"', "; for other Pythons there is 1.0 Requires-Python >=3.99"),
        ("py3-none-any", 'data-yanked="bad"', "withdrawn (yanked)"),
    ],
)  # fmt: skip
def test_files_that_are_for_others_are_named(
    failure: Failure, servers: ExitStack, tmp_path: Path, tag: str, link: str, reason: str
) -> None:
    wheel(tmp_path / "files", "tinynetrc", tag=tag)
    port = servers.enter_context(answering(404, files=tmp_path / "files", link=link))
    assert reason in failure.sentence(PIP_INDEX_URL=f"http://127.0.0.1:{port}/pages")


def test_files_that_are_something_else_are_named(
    failure: Failure, servers: ExitStack, tmp_path: Path
) -> None:
    found = wheel(tmp_path / "files", "tinynetrc")
    port = servers.enter_context(answering(404, files=tmp_path / "files"))
    index = f"http://127.0.0.1:{port}/pages"
    whole = found.read_bytes()
    found.write_bytes(whole[:100])
    sentence = failure.sentence(PIP_INDEX_URL=index)
    assert f"'{found.name}' of tinynetrc is no wheel: it came damaged" in sentence
    found.rename(found.with_name("tinynetrc-2.0-py3-none-any.whl")).write_bytes(whole)
    sentence = failure.sentence(PIP_INDEX_URL=index)
    assert "what its file says of itself is not its version: expected '2.0', got '1.0'" in sentence


def test_a_configuration_file_that_is_broken(failure: Failure, tmp_path: Path) -> None:
    broken = tmp_path / "pip.conf"
    broken.write_text(f"index-url = https://{LOGIN}h/simple\n")
    sentence = failure.sentence(PIP_CONFIG_FILE=str(broken))
    assert sentence.endswith(
        f"Configuration file could not be loaded. File contains no section headers. file: '{broken}', line: 1"
    )


def test_a_log_that_cannot_be_written_hides_no_reason(failure: Failure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = str(tmp_path / "file" / "pip.log")
    index = f"http://127.0.0.1:{closed()}/simple"
    assert "(Connection refused)" in failure.sentence(PIP_INDEX_URL=index, PIP_LOG=journal)
    assert f"PIP_LOG names {journal}, which cannot be written" in failure.caplog.text


def test_an_index_that_refuses_connections(failure: Failure) -> None:
    sentence = failure.sentence(PIP_INDEX_URL=f"http://{LOGIN}127.0.0.1:{closed()}/simple")
    assert sentence == NOT_LOOKED_UP + f"the index cannot be reached (Connection refused); {WHEELS}"


def test_an_index_that_says_nothing(failure: Failure, servers: ExitStack) -> None:
    port = servers.enter_context(silent())
    sentence = failure.sentence(
        PIP_INDEX_URL=f"http://{LOGIN}127.0.0.1:{port}/simple", PIP_DEFAULT_TIMEOUT="1"
    )
    assert re.fullmatch(
        re.escape(NOT_LOOKED_UP)
        + r"the index does not answer \(.*(1|timed out).*\); put wheels .*",
        sentence,
    )


@pytest.mark.parametrize(
    ("tls", "reason"),
    [
        (
            True,
            r"the certificate of the index is not trusted \(self-signed certificate\); name the file of .* PIP_CERT",
        ),
        (False, r"the index does not speak TLS as it should \([\w ]+\); check its address"),
    ],
)
def test_an_index_that_cannot_be_trusted(
    failure: Failure, servers: ExitStack, tls: bool, reason: str
) -> None:
    port = servers.enter_context(answering(404, tls=tls))
    sentence = failure.sentence(PIP_INDEX_URL=f"https://{LOGIN}127.0.0.1:{port}/simple")
    assert re.fullmatch(
        re.escape(NOT_LOOKED_UP) + reason, sentence.replace("self signed", "self-signed")
    )


def test_an_index_without_tls_that_pip_does_not_ask(failure: Failure) -> None:
    sentence = failure.sentence(PIP_INDEX_URL=f"http://{LOGIN}index.invalid/simple")
    assert sentence.startswith(
        NOT_LOOKED_UP + "index.invalid is not asked, because its address begins with http"
    )


def test_a_proxy_that_is_dead(failure: Failure) -> None:
    proxy = f"http://{LOGIN}127.0.0.1:{closed()}"
    sentence = failure.sentence(PIP_INDEX_URL="https://index.invalid/simple", https_proxy=proxy)
    assert (
        sentence
        == NOT_LOOKED_UP
        + f"the proxy cannot be reached (Connection refused); check https_proxy, or {WHEELS}"
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            407,
            "asks for a user name and password, or refuses those that it got (407 Proxy Authentication Required)",
        ),
        (403, "does not let the connection through (403 Forbidden)"),
    ],
)
def test_a_proxy_that_refuses(
    failure: Failure, servers: ExitStack, status: int, reason: str
) -> None:
    proxy = f"http://{LOGIN}127.0.0.1:{servers.enter_context(answering(status))}"
    sentence = failure.sentence(PIP_INDEX_URL="https://index.invalid/simple", https_proxy=proxy)
    assert sentence.startswith(f"{NOT_LOOKED_UP}the proxy {reason}")


def without_network() -> list[str]:
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True).returncode == 0
        ):
            return command
    return []


def test_no_name_resolution(tmp_path: Path) -> None:
    """In a network namespace of its own; the name is no name anywhere, for kernels that refuse one."""
    write(tmp_path / "channel", {"requirements.txt": "tinynetrc\n"})
    code = (
        "import os, pathlib\nfrom gluonts_shell.sagemaker.code import channel\n"
        "from gluonts_shell.settings import Settings\n"
        "try: channel.install(pathlib.Path('channel'), pathlib.Path('code').absolute(), Settings(), os.environ)\n"
        "except Exception as error: print(error)"
    )
    environ = environment(
        PIP_INDEX_URL=f"https://{LOGIN}index.invalid/simple",
        PYTHONPATH=str(Path(__file__).parents[3]),
    )
    command = [*without_network(), sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert re.fullmatch(
        re.escape(f"{NOT_LOOKED_UP}the index cannot be reached (")
        + r"[^)]*[Nn]ame[^)]*\); put wheels .*",
        done.stdout.strip(),
    ), done.stderr
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "there is no such file (404 Not Found); check its address"),
        (
            401,
            "the server asks for a user name and password, or refuses those that it got (401 Unauthorized)",
        ),
        (0, "the server cannot be reached (Connection refused)"),
    ],
)
def test_an_address_that_a_requirement_names(
    failure: Failure, servers: ExitStack, status: int, reason: str
) -> None:
    port = servers.enter_context(answering(status)) if status else closed()
    line = f"tinynetrc @ http://{LOGIN}127.0.0.1:{port}/{TOKEN}/tinynetrc-1.0-py3-none-any.whl?sig={TOKEN}\n"
    sentence = failure.sentence(line, PIP_NO_INDEX="1")
    assert sentence.startswith(
        f"pip cannot install the code channel: tinynetrc could not be downloaded: {reason}"
    )


def test_a_secret_that_a_variable_holds(failure: Failure) -> None:
    line = f"x @ http://127.0.0.1:{closed()}/${{HUSH}}/x-1.0-py3-none-any.whl\n"
    assert "(Connection refused)" in failure.sentence(line, PIP_NO_INDEX="1", HUSH=PASSWORD)


@pytest.mark.parametrize("option", ["-r", "-c"])
def test_an_included_address_is_named_by_its_line(failure: Failure, option: str) -> None:
    line = f"packaging\n{option} http://{LOGIN}127.0.0.1:{closed()}/{TOKEN}/x.txt\n"
    sentence = failure.sentence(line, PIP_NO_INDEX="1")
    assert "a file could not be downloaded: the server cannot be reached" in sentence
    assert sentence.endswith("(requirements.txt line 2)")
    sentence = failure.sentence(line, offline=True)
    assert "(requirements.txt line 2) is fetched from an address" in sentence


def test_offline_what_a_wheel_needs_from_an_address_is_named(failure: Failure) -> None:
    needs = f"x @ http://{LOGIN}127.0.0.1:{closed()}/x-1.0-py3-none-any.whl"
    wheel(failure.channel, "mypkg", requires=[needs])
    sentence = failure.sentence("mypkg\n", offline=True)
    assert sentence.startswith("cannot install offline: x is fetched from an address; put a wheel")


def test_gits_own_reason(failure: Failure) -> None:
    sentence = failure.sentence(
        f"tinynetrc @ git+http://{LOGIN}127.0.0.1:{closed()}/x.git@main\n", PIP_NO_INDEX="1"
    )
    assert sentence.startswith(
        "pip cannot install the code channel: fatal: unable to access 'http://"
    )


@pytest.mark.parametrize("scheme", ["git+ssh", "git+git", "git+https", "https", "hg+ssh"])
def test_offline_no_address_is_fetched(failure: Failure, scheme: str) -> None:
    sentence = failure.sentence(
        f"packaging\nx @ {scheme}://{LOGIN}127.0.0.1:{closed()}/x.git\n", offline=True
    )
    assert sentence.startswith(f"cannot install offline: 'x @ {scheme}://****@127.0.0.1")
    assert "(requirements.txt line 2) is fetched from an address; put a wheel of it" in sentence


@pytest.mark.parametrize("scheme", ["git+ssh", "git+git"])
def test_offline_git_refuses_what_a_wheel_needs_from_an_address(
    failure: Failure, servers: ExitStack, scheme: str
) -> None:
    """The listener must not see a connection."""
    import socket

    server = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
    wheel(
        failure.channel,
        "mypkg",
        requires=[f"x @ {scheme}://127.0.0.1:{server.getsockname()[1]}/x.git"],
    )
    sentence = failure.sentence("mypkg\n", offline=True)
    assert f"fatal: transport '{scheme.removeprefix('git+')}' not allowed" in sentence
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


# --- the wrong line, as the person wrote it


@pytest.mark.parametrize(
    "wrong", ["foo bar", "foo=1", "--no-such-option x", "-r none.txt", "numpy; python_versio > '3'"]
)
def test_a_wrong_line_is_named_by_file_and_number(failure: Failure, wrong: str) -> None:
    text = f"# a comment\n\npackaging \\\n  >= 1 # goes on\nnumpy\n{wrong}\n"
    assert "requirements.txt line 6" in failure.sentence(text, PIP_NO_INDEX="1")
    write(failure.channel, {"more/dev.txt": f"numpy\n\n# x\n{wrong}\n"})
    assert "more/dev.txt line 4" in failure.sentence(
        "packaging\n-r more/dev.txt\n", PIP_NO_INDEX="1"
    )


def test_a_wrong_line_of_a_constraint_file(failure: Failure) -> None:
    write(failure.channel, {"more/c.txt": "packaging\na b\n"})
    assert "more/c.txt line 2" in failure.sentence("-c more/c.txt\npackaging\n", PIP_NO_INDEX="1")


def test_what_ended_a_build_is_said(failure: Failure) -> None:
    write(
        failure.channel, {"lib/setup.py": "import sys\nsys.exit('the compiler has no licence')\n"}
    )
    sentence = failure.sentence("packaging\n", PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0")
    assert sentence == "pip cannot build 'lib' of the code channel: the compiler has no licence"
    assert "the compiler has no licence" in failure.caplog.text


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"setup.py": "import os\nos._exit(7)\n"}, r".* did not run successfully \(exit code: 7\), and it said nothing"),
        ({"setup.py": "print('fatal: not a git repository', flush=True)\nraise KeyError('version')\n"}, "KeyError: 'version'"),
        ({"setup.py": "raise ValueError('no licence:\\n  ask https://u5ername:pa55word@h')\n"},
         r"ValueError: no licence: ask https://\*\*\*\*@h"),
        ({"setup.py": "raise SystemExit('x.c:1:10: fatal error: Python.h: No such file\\nerror: command gcc failed')\n"},
         "x.c:1:10: fatal error: Python.h: No such file"),
        ({"pyproject.toml": '[build-system]\nrequires = ["set up"]\n'},
         ".* an invalid `build-system.requires` key in pyproject.toml. It contains an invalid requirement: 'set up'"),
    ],
)  # fmt: skip
def test_the_line_of_a_build_that_tells_most(
    failure: Failure, files: dict[str, str], reason: str
) -> None:
    write(failure.channel / "lib", files)
    sentence = failure.sentence("packaging\n", offline=True)
    assert re.fullmatch(f"pip cannot build 'lib' of the code channel: {reason}", sentence)


def test_build_tools_that_cannot_be_looked_up(failure: Failure) -> None:
    text = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "x"\n'
    write(failure.channel, {"lib/pyproject.toml": text})
    sentence = failure.sentence(
        "packaging\n", PIP_INDEX_URL=f"http://{LOGIN}127.0.0.1:{closed()}/simple"
    )
    assert (
        "setuptools could not be looked up: the index cannot be reached (Connection refused)"
        in sentence
    )


def test_pips_own_log_is_still_written_where_the_user_wants_it(
    failure: Failure, tmp_path: Path
) -> None:
    journal = tmp_path / "mine.log"
    journal.write_text("before\n")
    sentence = failure.sentence(
        PIP_INDEX_URL=f"http://127.0.0.1:{closed()}/simple", PIP_LOG=str(journal)
    )
    assert "the index cannot be reached (Connection refused)" in sentence
    assert journal.read_text().startswith("before\n")
    assert "Could not fetch URL" in journal.read_text()


# --- the words of pips that are not installed here


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("connection error: [Errno 111] Connection refused", "the index cannot be reached (Connection refused)"),
        ("connection error: Failed to resolve IP address for 'x' ([Errno -2] Name or service not known)",
         "the index cannot be reached (Name or service not known)"),
        ("127.0.0.1 didn't respond within 1.0 seconds", "the index does not answer (within 1.0 seconds)"),
        ("proxy connection error: ('Unable to connect to proxy', NewConnectionError(\"x: [Errno 111] Connection refused\"))",
         "the proxy cannot be reached (Connection refused)"),
        ("proxy connection error: ('Unable to connect to proxy', OSError('Tunnel connection failed: 407 Proxy Auth'))",
         "the proxy asks for a user name and password, or refuses those that it got (407 Proxy Authentication Required)"),
        ("There was a problem confirming the ssl certificate: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
         "unable to get local issuer certificate (_ssl.c:1006)",
         "the certificate of the index is not trusted (unable to get local issuer certificate)"),
        ("connection error: ('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
         "the index broke the connection off (Connection aborted)"),
        ("429 Client Error: Too Many Requests for url: http://x/", "the index was asked too often (429 Too Many Requests)"),
        ("418 Client Error: teapot for url: http://x/", "the index refuses it (418 I'm a Teapot)"),
        ("something new", "the index cannot be read (something new)"),
    ],
)  # fmt: skip
def test_causes_in_the_words_of_other_versions(text: str, expected: str) -> None:
    output = "ERROR: No matching distribution found for Tiny_Netrc[x]>=1\n"
    log = f"Could not fetch URL http://h/simple/tiny-netrc/: {text} - skipping\nCould not fetch URL http://h/y/: 404 - skipping\n"
    assert reasons.why(output, log).startswith(
        f"Tiny_Netrc[x]>=1 could not be looked up: {expected}"
    )


def test_the_box_in_which_later_pips_say_why_a_file_could_not_be_downloaded() -> None:
    output = (
        "Collecting x @ http://****@127.0.0.1:1/x.whl\nerror: connection-failed\n\n"
        "\N{MULTIPLICATION SIGN} Failed to connect to 127.0.0.1 while fetching http://127.0.0.1:1/x.whl\n"
        "╰─> [Errno 111] Connection refused\n\nhint: Are you connected? There may be a firewall or proxy.\n"
    )
    assert reasons.why(output).startswith(
        "x could not be downloaded: the server cannot be reached (Connection refused)"
    )


def test_pip_that_says_nothing() -> None:
    assert reasons.why("") == "it said nothing"


class Interrupted(BaseException):
    """As the Stopped of a signal."""


def test_a_stop_ends_the_builds_that_pip_has_started(tmp_path: Path) -> None:
    """They are processes of pip's own, which would go on."""
    started = tmp_path / "started"
    write(
        tmp_path / "channel",
        {
            "setup.py": f"import os, time\nos.symlink(str(os.getpid()), {str(started)!r})\ntime.sleep(600)"
        },
    )

    def stop(*_: object) -> None:
        raise Interrupted

    def once_it_builds() -> None:
        while not started.is_symlink():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    threading.Thread(target=once_it_builds, daemon=True).start()
    try:
        with pytest.raises(Interrupted):
            code_channel.install(
                tmp_path / "channel",
                tmp_path / "ml" / "code",
                Settings(offline=True),
                environment(),
            )
    finally:
        signal.signal(signal.SIGUSR1, before)
    pid = os.readlink(started)
    for _ in range(500):
        state = Path("/proc", pid, "stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} goes on")
