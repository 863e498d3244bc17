"""What pip said when it failed -> one sentence that says why. Pure text: it runs nothing and looks nothing up.

pip's last line is the same for eleven causes ("No matching distribution found"); what kept it from looking stands in
its log, and nowhere else unless it tried again. Formats are those of pip 22.2 to 26.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from gluonts_shell.errors import some

NOT_FOUND = re.compile(r"^\s*ERROR: No matching distribution found for (.+)$", re.MULTILINE)
VERSIONS = re.compile(
    r"Could not find a version that satisfies the requirement .* \(from versions: (?!none\))(.+)\)"
)
PYTHONS = re.compile(
    r"Ignored the following versions that require a different python version: (.+)"
)
YANKED = re.compile(r"Ignored the following yanked versions: (.+)")
INCONSISTENT = re.compile(r"has inconsistent (\w+): expected (.+?), but metadata has ([^\s\[]+)")
# why a page that was fetched, or that is none, lists nothing that pip takes
NO_PAGE = re.compile(
    r"Skipping page (\S+) because the \w+ request got Content-Type: (.+?)\.? The only"
)
NO_ADDRESS = re.compile(r"Location '(.+)' is ignored: (.+)")
TAGS = re.compile(r"Skipping link: none of the wheel's tags \(([^)]+)\)")
NOT_PERMITTED = re.compile(r"Skipping link: (No (?:sources|binaries) permitted) for")
PAGE = re.compile(r"Fetched page \S+ as ")
# pip's own end, just as it read a page: too many redirects, garbage
BROKEN_PAGE = re.compile(
    r"(?:Getting|Fetched) page \S+?/([^/\s]+)/?(?: as \S+)?\n(?:Found credentials .*\n)?"
    r"ERROR: (?:Exception:|Could not install packages due to an OSError: (.+))"
)
NOT_FETCHED = re.compile(r"Could not fetch URL (\S+?/([^/\s]+)/?): (.+) - skipping$", re.MULTILINE)
UNTRUSTED = re.compile(r"The repository located at (\S+) is not a trusted or secure host")
COLLECTED = re.compile(r"^\s*Collecting ([a-z+]+://\S+|[^\s@]+)", re.MULTILINE)
BEHIND = re.compile(r"\s*;.*| \(from .*")
SPECIFIED = re.compile(r"[<>=!~]")
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
GIT_FAILED = re.compile(r"^\s*\S git .*did not run successfully", re.MULTILINE)
CONFIGURATION = re.compile(r"Configuration file .*\n(?:.+\n){0,2}")
NO_WHEEL = re.compile(r"Wheel '([^']+)' located at \S*?([^/\s]+) is invalid")
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
COMPILER = re.compile(r"^\s*(\S+?:\d+:(?:\d+:)? (?:fatal )?error: .+)$", re.MULTILINE)
# what follows an exception, up to an empty line: more of what it says
MORE = re.compile(r"(?:\n(?!\s*(?:\[end of output\]|note:|hint:|[\u00d7╰│]))[ \t]+\S.*){1,4}")
BOX = re.compile(
    r"^\s*\u00d7 (?P<what>.+)\n\s*(?:│ (?P<code>exit code: -?\d+)\n\s*)?╰─> (?P<why>.+(?:\n    \s*\S.*)*)",
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
WITHDRAWN = "was withdrawn (yanked), and is taken only where == names it"
ADDRESS = "check the address of the index (PIP_INDEX_URL)"
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
        _of_a_configuration,
        _of_git,
        _of_a_build,
        _of_a_broken_page,
        _not_downloaded,
        _no_wheel,
        _of_a_conflict,
        _of_a_hash,
        _of_a_box,
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
    found = not_found(output)
    if not found:
        return ""
    text = found[-1]
    inconsistent = INCONSISTENT.findall(output)
    if inconsistent:
        what, expected, got = inconsistent[-1]
        return f"{text}: what its file says of itself is not its {what}: expected {expected}, got {got}"
    versions = VERSIONS.findall(output)
    if versions:
        return f"No matching distribution found for {text}; {_others(text, versions[-1], output)}"
    failures = _failures(text, log)
    if failures:
        return _looked_up(text, failures)
    return _unlisted(text, output, log) or f"No matching distribution found for {text}"


def not_found(output: str) -> list[str]:
    """The requirements, without their markers and what needs them."""
    return [BEHIND.sub("", text) for text in NOT_FOUND.findall(output)]


def _others(requirement: str, versions: str, output: str) -> str:
    """Where any version would do, pip leaves only those that were withdrawn (PEP 592)."""
    yanked = YANKED.search(output)
    if yanked:
        return f"there are the versions {versions}, and withdrawn (yanked) is {yanked[1]}"
    if SPECIFIED.search(requirement):
        return f"there are the versions {versions}"
    return f"{versions} {WITHDRAWN}"


def _unlisted(requirement: str, output: str, log: str) -> str:
    """Why there is no version of it, although nothing failed."""
    untrusted = UNTRUSTED.search(output)
    if untrusted:
        return (
            f"{requirement} could not be looked up: {untrusted[1]} is not asked, because its address begins with http; "
            "use https, or name it with PIP_TRUSTED_HOST"
        )
    no_page = NO_PAGE.search(output)
    if no_page:
        found = f"the index answers with {no_page[2]}, expected text/html"
        return f"{requirement} could not be looked up: {found}; {ADDRESS}"
    no_address = NO_ADDRESS.search(output)
    if no_address:
        return f"{requirement} could not be looked up: {no_address[1]!r} is no address of an index; {ADDRESS}"
    yanked = YANKED.search(output)
    if yanked:
        return f"No matching distribution found for {requirement}; {yanked[1]} {WITHDRAWN}"
    pythons = PYTHONS.search(output)
    if pythons:
        return f"No matching distribution found for {requirement}; for other Pythons there is {pythons[1]}"
    return _no_file(requirement, log)


def _no_file(requirement: str, log: str) -> str:
    """Of a page that was read."""
    tags = dict.fromkeys(TAGS.findall(log))
    if tags:
        found = some(list(tags), 3)
        return f"{requirement}: no file of it fits Python and platform; there are those for {found}"
    permitted = NOT_PERMITTED.search(log)
    if permitted:
        return f"{requirement}: {permitted[1]} (PIP_ONLY_BINARY, PIP_NO_BINARY), and the index has no other file of it"
    if PAGE.search(log):
        return f"{requirement}: the page that the index answers with lists no file of it; check its name, or {ADDRESS}"
    return ""


def _of_a_configuration(output: str, _log: str) -> str:
    """pip's own configuration file; what stands in it is not repeated."""
    match = CONFIGURATION.match(output.lstrip())
    if match is None:
        return ""
    return " ".join(match[0].split())


def _of_a_broken_page(output: str, log: str) -> str:
    match = BROKEN_PAGE.search(log)
    if match is None:
        return ""
    reason = match[2] or output.strip().splitlines()[-1]
    return f"{match[1]} could not be looked up: the index cannot be read ({reason.strip()}); {ADDRESS}, or {WHEELS}"


def _no_wheel(output: str, _log: str) -> str:
    match = NO_WHEEL.search(output)
    if match is None:
        return ""
    return f"{match[2]!r} of {match[1]} is no wheel: it came damaged, or something else came in its place"


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
    # a build may ask git for a version, and does not end with that
    if FAILED_BUILD.search(output) and not GIT_FAILED.search(output):
        return ""
    return match[1]


def _of_a_build(output: str, _log: str) -> str:
    """What the compiler did not take, the exception that ended the build, else the last line that it said."""
    if not FAILED_BUILD.search(output):
        return ""
    compiler = COMPILER.search(output)
    if compiler:
        return compiler[1]
    raised = list(RAISED.finditer(output))
    if raised:
        return _whole(raised[-1], output)
    said = SAID.search(output)
    if said is None:
        return ""
    rows = said[1].strip().splitlines()
    return str(rows[-1].strip())


def _whole(raised: re.Match[str], output: str) -> str:
    """An exception with the rows behind its first, which often are what one needs to know."""
    more = MORE.match(output, raised.end())
    if more is None:
        return raised[1]
    return " ".join(f"{raised[1]} {more[0]}".split())[:300]


def _of_a_box(output: str, _log: str) -> str:
    """What pip itself says of a build that said nothing."""
    box = BOX.search(output)
    if box is None or not FAILED_BUILD.search(output):
        return ""
    if box["code"]:
        return f"{box['what'].rstrip('.')} ({box['code']}), and it said nothing"
    return " ".join(box["why"].split())


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
    what = not_downloaded(output)
    if cause.absent:
        sentence = sentence.replace("no such package", "no such file").replace(
            "check its name", "check its address"
        )
    return f"{what} could not be downloaded: {sentence}"


def not_downloaded(output: str) -> str:
    """The name of what could not be downloaded, or nothing."""
    if not DOWNLOAD.search(output):
        return ""
    return str(["a file", *COLLECTED.findall(output)][-1])


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
