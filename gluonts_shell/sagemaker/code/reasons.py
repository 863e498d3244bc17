"""What pip said when it failed -> one sentence that says why. Pure text: it runs nothing and looks nothing up.

pip's last line is the same for eleven causes ("No matching distribution found"); what kept it from looking stands in
its log, and nowhere else unless it tried again. Formats are those of pip 22.2 to 26.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

NOT_FOUND = re.compile(r"^\s*ERROR: No matching distribution found for (.+)$", re.MULTILINE)
VERSIONS = re.compile(
    r"Could not find a version that satisfies the requirement .* \(from versions: (?!none\))(.+)\)"
)
NOT_FETCHED = re.compile(r"Could not fetch URL (\S+?/([^/\s]+)/?): (.+) - skipping$", re.MULTILINE)
UNTRUSTED = re.compile(r"The repository located at (\S+) is not a trusted or secure host")
COLLECTED = re.compile(r"^\s*Collecting ([^\s@]+)", re.MULTILINE)
PLACE = re.compile(r"\(from \S.* line \d+\)")
CONFLICT = re.compile(r"^The conflict is caused by:\n((?: +.+\n)+)", re.MULTILINE)
ERROR = re.compile(
    r"^(?:ERROR|error|\S+: error): (?!ResolutionImpossible|Exception:$|[a-z-]+$)(.+)$", re.MULTILINE
)
# what pip says of hashes ends before it names a package; the first is in the row behind it
HASHES = {
    r"DO NOT MATCH THE HASHES.*\n\s+(.+?)(?: from .+)?:\n"
    r"\s+Expected (\w+ \w+)\n(?:\s+Expected\s+or \w+\n)*\s+Got\s+(\w+)": (
        "{0} is not the file that its hash tells: expected {1}, got {2}"
    ),
    r"Hashes are required in .*\n\s+(.+?)(?: from \S+)? --hash=": (
        "{0} has no --hash, expected one for each package, since another has one"
    ),
    r"pinned with ==\. These do not:\n\s+(.+?)(?: from .+)?$": (
        "{0} is not pinned with ==, expected that of each package, since another has a --hash"
    ),
}
GIT = re.compile(r"^\s*(fatal: .+)$", re.MULTILINE)
# a build that failed: pip gives it a code, and what the build itself said is further up, indented
FAILED_BUILD = re.compile(r"^\s*(?:ERROR|error): [a-z]+(?:-[a-z]+)+$", re.MULTILINE)
# what pip says where the child's output went to its log alone
ELSEWHERE = re.compile(r"See above for output|No available output")
CHILD_ENDED = re.compile(r"\s*ERROR: .* exited with -?\d+$")
SAID = re.compile(r"╰─> \[\d+ lines? of output\]\n(.*?)\n\s*\[end of output\]", re.DOTALL)
RAISED = re.compile(
    r"^\s+(?:╰─> )?((?:\w+\.)*(?:\w+(?:Error|Exception|Unavailable)|error): (?!(?:[a-z]+-)+[a-z]+$).+)$",
    re.MULTILINE,
)
# pip before 25.1 says it in its own words, later ones in a box that begins with a multiplication sign
DOWNLOAD = re.compile(
    r"HTTP error \d{3} while getting .*|Max retries exceeded with url.*"
    r"|^\S .*(?:while fetching|Unable to fetch) .*(?:\n.*){0,2}",
    re.MULTILINE,
)
# "403 Client Error: Forbidden for url", "too many 503 error responses", "HTTP error 404 while getting", and of a proxy
STATUS = re.compile(
    r"(?:too many |HTTP error |Tunnel connection failed: |^|: )(\d{3}) (?:Client|Server|error|while|[A-Z])"
)
TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")

WHEELS = "put wheels into the code channel (gluonts-shell wheelhouse)"
LOGIN = "check the user name and password in its address (PIP_INDEX_URL)"
PROXY = f"check https_proxy, or {WHEELS}"


@dataclass(frozen=True)
class Cause:
    """What kept pip from looking. `peer` in the words is the index, or the server of an address."""

    words: str
    advice: str = WHEELS
    pattern: str = ""
    absent: bool = False

    def sentence(self, peer: str, detail: str) -> str:
        words = self.words.replace("PEER", peer)
        return f"{words} ({detail.strip()}); {self.advice}"


PROXY_LOGIN = Cause(
    "the proxy asks for a user name and password, or refuses those that it got",
    "check those in https_proxy",
)
PROXY_REFUSES = Cause("the proxy does not let the connection through", PROXY)
STATUSES = {
    401: Cause("PEER asks for a user name and password, or refuses those that it got", LOGIN),
    403: Cause("PEER forbids it", LOGIN),
    404: Cause("there is no such package", "check its name", absent=True),
    407: PROXY_LOGIN,
    410: Cause("there is no such package any more", "check its name", absent=True),
    429: Cause("PEER was asked too often", f"try again later, or {WHEELS}"),
}
BROKEN = Cause("PEER fails", f"try again later, or {WHEELS}")
REFUSED = Cause("PEER refuses it", "check its address")
# the first that matches; the first group of the pattern is the detail
CAUSES = (
    Cause("the proxy cannot be reached", PROXY, r"(?is)proxy.*\[Errno -?\d+\] ([^'\")]+)"),
    Cause("the proxy does not answer", PROXY, r"(?i)proxy.*(timed out|within [\d.]+ seconds)"),
    Cause(
        "the proxy cannot be used",
        PROXY,
        r"(?i)((?:connect to proxy|proxy (?:connection )?error|ProxyError).*)",
    ),
    Cause(
        "the certificate of PEER is not trusted",
        "name the file of its authority with PIP_CERT",
        r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: ([^('\"]+)",
    ),
    Cause("PEER does not speak TLS as it should", "check its address", r"\[SSL[^\]]*\] ([^('\"]+)"),
    Cause("PEER does not answer", WHEELS, r"(timeout=[\d.]+|within [\d.]+ seconds|timed out)"),
    Cause("PEER cannot be reached", WHEELS, r"\[Errno -?\d+\] ([^'\")]+)"),
    Cause(
        "PEER broke the connection off",
        WHEELS,
        r"(Connection aborted|RemoteDisconnected|reset by peer)",
    ),
)


def why(output: str, log: str = "") -> str:
    """One sentence, from pip's output and its log (`--log`), which tells of each page that was not fetched.

    Both are to be masked before; nothing is known of secrets here.
    """
    for reason in (
        _not_found,
        _of_git,
        _of_a_build,
        _not_downloaded,
        _of_a_conflict,
        _of_a_hash,
        _last_error,
    ):
        sentence = reason(output, log)
        if sentence:
            return sentence
    if not output.strip():
        return "it said nothing"
    return output.strip().splitlines()[-1]


def _last_error(output: str, _log: str) -> str:
    """Later pips say in a row of its own in which line a requirement is wrong."""
    errors = ERROR.findall(output)
    if not errors:
        return ""
    error = str(errors[-1])
    place = PLACE.search(output)
    if place is None or "Invalid" not in error or place[0] in error:
        return error
    return f"{error} {place[0]}"


def _not_found(output: str, log: str) -> str:
    found = NOT_FOUND.findall(output)
    if not found:
        return ""
    text = found[-1]
    versions = VERSIONS.findall(output)
    if versions:
        return f"No matching distribution found for {text}; there are the versions {versions[-1]}"
    failures = _failures(text, log)
    untrusted = UNTRUSTED.search(output)
    if not failures and untrusted:
        return (
            f"{text} could not be looked up: {untrusted[1]} is not asked, because its address begins with http; "
            "use https, or name it with PIP_TRUSTED_HOST"
        )
    if not failures:
        return f"No matching distribution found for {text}"
    return _looked_up(text, failures)


def _failures(requirement: str, log: str) -> list[str]:
    """Why the pages of that package were not fetched; those of all, if none is of that package alone."""
    name = _plain(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    pages = NOT_FETCHED.findall(log)
    own = []
    others = []
    for _, page, text in pages:
        if _plain(page) == name:
            own.append(text)
        else:
            others.append(text)
    return own or others


def _plain(name: str) -> str:
    """PEP 503: names that differ in these are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _looked_up(requirement: str, failures: Sequence[str]) -> str:
    """An index that has no such package says less than one that could not be asked."""
    absent = ""
    for text in failures:
        cause, sentence = _of_text(text, "the index")
        if not cause.absent:
            return f"{requirement} could not be looked up: {sentence}"
        absent = sentence
    return f"{requirement}: {absent}"


def _of_text(text: str, peer: str) -> tuple[Cause, str]:
    """The cause that a text of pip's tells, and its sentence."""
    status = STATUS.search(text)
    if status:
        cause = _of_status(int(status[1]), bool(TUNNEL.search(text)))
        return cause, cause.sentence(peer, _phrase(int(status[1])))
    for cause in CAUSES:
        match = re.search(cause.pattern, text)
        if match:
            return cause, cause.sentence(peer, match[1])
    unknown = Cause("PEER cannot be read")
    return unknown, unknown.sentence(peer, text[:200])


def _of_status(status: int, tunnel: bool) -> Cause:
    if tunnel and status != 407:
        return PROXY_REFUSES
    if status >= 500:
        return BROKEN
    return STATUSES.get(status, REFUSED)


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _of_git(output: str, _log: str) -> str:
    """Git's first complaint; those after it only follow from it."""
    match = GIT.search(output)
    if match is None:
        return ""
    return match[1]


def _of_a_build(output: str, _log: str) -> str:
    """The exception that ended the build, else the last line that it said."""
    if not FAILED_BUILD.search(output):
        return ""
    raised = RAISED.findall(output)
    if raised:
        return str(raised[-1])
    said = SAID.search(output)
    if said is None:
        return ""
    rows = said[1].strip().splitlines()
    return rows[-1].strip()


def of_the_child(log: str) -> str:
    """What the last child said, in the form in which pip shows it where it keeps no log.

    Rows that are not indented are those of a pip within pip, which writes to the same log.
    """
    said = []
    for row in log[log.rfind("Running command ") :].splitlines()[1:]:
        if CHILD_ENDED.match(row):
            break
        if row.startswith("  "):
            said.append(row)
    if not said:
        return ""
    return "\n".join([f"╰─> [{len(said)} lines of output]", *said, "  [end of output]", ""])


def _not_downloaded(output: str, _log: str) -> str:
    """A file that was chosen, or that a requirement names by its address."""
    match = DOWNLOAD.search(output)
    if not match:
        return ""
    cause, sentence = _of_text(match[0], "the server")
    what = ["a file", *COLLECTED.findall(output)][-1]
    if cause.absent:
        sentence = sentence.replace("no such package", "no such file").replace(
            "check its name", "check its address"
        )
    return f"{what} could not be downloaded: {sentence}"


def _of_a_hash(output: str, _log: str) -> str:
    for pattern, sentence in HASHES.items():
        match = re.search(pattern, output, re.MULTILINE)
        if match:
            return sentence.format(*match.groups())
    return ""


def _of_a_conflict(output: str, _log: str) -> str:
    conflict, errors = CONFLICT.search(output), ERROR.findall(output)
    if not conflict or not errors:
        return ""
    parties = "; ".join(conflict[1].split("\n")).strip("; ")
    return " ".join(f"{errors[-1]} {parties}".split())
