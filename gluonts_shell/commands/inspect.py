"""What a model is, without loading it: contract, versions, features, scores, code, and a request that it answers.

It reads files and runs none of them: neither the model nor the code that it brings is imported,
built or installed, so a model of unknown origin may be looked at.
"""

from __future__ import annotations

import json
import shlex
import stat
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts_shell.errors import CodeChannelError, DataError, ModelError
from gluonts_shell.sagemaker import modeldir
from gluonts_shell.sagemaker.code import archives, contents
from gluonts_shell.settings import Settings
from gluonts_shell.written import RECORD

if TYPE_CHECKING:
    from gluonts_shell.forecasting.contract import Contract

# the scores that people compare, of those in agg_metrics.json
SHOWN_SCORES = (
    "mean_wQuantileLoss",
    "MASE",
    "RMSE",
    "ND",
    "NRMSE",
    "MAPE",
    "sMAPE",
    "MSIS",
    "Coverage[0.5]",
)
MOST_FILES = 20
ADDRESS = "localhost:8080/invocations"


@dataclass(frozen=True)
class Inspection:
    """contract: its fields, or what predictor.json tells where there is none, or None where that tells nothing.

    versions: name -> (when it was trained, here); None where it is not there. scores: of the `test`
    channel. code: names of the files in the folder `code`. request: the body of a POST to
    /invocations.
    """

    path: str
    bytes: int
    has_contract: bool
    contract: dict[str, Any] | None
    versions: dict[str, tuple[str | None, str | None]]
    needs: list[str] | None
    scores: dict[str, float | None]
    code: list[str]
    installed: list[str]
    request: dict[str, Any] | None

    @property
    def differing(self) -> list[str]:
        """What was another version when the model was trained, or is not here at all."""
        found = []
        for name, (then, now) in self.versions.items():
            if then is not None and _public(then) != _public(now):
                found.append(name)
        return found


def run(model: Path, settings: Settings, as_json: bool = False) -> int:
    """Print what is known of a model folder or model.tar.gz. Raises ModelError or DataError where it is none."""
    with opened(model, settings) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about each other
        found = inspect(folder, str(model))
    if as_json:
        print(json.dumps({**asdict(found), "differing": found.differing}, indent=2))  # noqa: T201
        return 0
    for line in lines(found):
        print("".join(map(_printable, line)))  # noqa: T201
    return 0


def _printable(character: str) -> str:
    """The texts are those of an unknown model: none of them may steer the terminal."""
    if character.isprintable():
        return character
    return ascii(character)[1:-1]


def _public(version: str | None) -> str | None:
    """`2.13.0+cpu` is 2.13.0 in a build of its own."""
    return version and version.partition("+")[0]


@contextmanager
def opened(model: Path, settings: Settings) -> Iterator[Path]:
    """The model's folder; an archive is unpacked aside, under the rules for archives that nobody vouches for."""
    if model.is_dir():
        yield model
        return
    missing = f"{str(model)!r} does not exist"
    DataError.expect(model.is_file(), missing, "model.tar.gz or its folder")
    DataError.expect(
        bool(archives.suffix(model.name)), f"{str(model)!r} is a file", "model.tar.gz or its folder"
    )
    with tempfile.TemporaryDirectory(prefix="gluonts-shell-inspect-") as aside:
        folder = Path(aside) / "model"
        try:
            archives.unpack(model, folder, archives.Budget(settings.max_unpacked_bytes))
        except CodeChannelError as error:
            raise DataError(str(error)) from error
        yield folder


def inspect(folder: Path, path: str) -> Inspection:
    """path: how to name the model in the answer. Raises ModelError if there is no model, or its contract is damaged."""
    from gluonts_shell.forecasting import artifact
    from gluonts_shell.forecasting.service import example

    if not artifact.present(folder):
        raise ModelError(f"{path!r} holds no model{modeldir.instead(folder)}")
    contract, has_contract = _contract(folder)
    versions = _gluonts_version(folder)
    if contract is not None and has_contract:
        versions = contract.versions
    found = Inspection(
        path=path,
        bytes=_size(folder),
        has_contract=has_contract,
        contract=None,
        versions=_compared(versions),
        needs=None,
        scores=_scores(folder),
        code=_code(folder / "code"),
        installed=_installed(folder),
        request=None,
    )
    if contract is None:
        return found
    return replace(
        found,
        contract=asdict(contract),
        needs=example.needs(contract),
        request=example.example_request(contract),
    )


def _contract(folder: Path) -> tuple[Contract | None, bool]:
    """The contract and whether it is one; without it what GluonTS's own description tells, if anything."""
    from gluonts_shell.forecasting.contract import CONTRACT, Contract
    from gluonts_shell.forecasting.service import example

    file = folder / CONTRACT
    if file.is_file():
        return Contract.parse(file.read_text(encoding="utf-8", errors="replace")), True
    return example.without_contract(read(folder / "predictor.json")), False


def _size(folder: Path) -> int:
    """Without what links lead to."""
    found = [path.lstat() for path in folder.rglob("*")]
    return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode))


def _compared(then: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    from gluonts_shell.forecasting import artifact

    here = artifact.versions()
    return {name: (then.get(name), here.get(name)) for name in dict.fromkeys([*then, *here])}


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the model; empty where there is no such file. Raises ModelError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise ModelError(f"{path.name} of the model cannot be read: {error}") from error
    found = f"{path.name} of the model holds a JSON {type(value).__name__}"
    ModelError.expect(isinstance(value, dict), found, "an object")
    return dict(value)


def _gluonts_version(folder: Path) -> dict[str, str]:
    version = read(folder / "gluonts-config.json").get("gluonts")
    if not isinstance(version, str):
        return {}
    return {"gluonts": version}


def _scores(folder: Path) -> dict[str, float | None]:
    scores = {}
    for name, value in read(folder / "agg_metrics.json").items():
        if type(value) in (int, float, type(None)):
            scores[name] = value
    return scores


def _code(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    found = []
    for path in filter(Path.is_file, sorted(folder.rglob("*"))):
        parts = path.relative_to(folder).parts
        if parts[0] != RECORD and not set(parts) & set(contents.NEVER):
            found.append("/".join(parts))
    return found


def _installed(folder: Path) -> list[str]:
    """What pip made of the code when the model was trained: `name version`."""
    found = read(folder / "code-installed.json").get("installed")
    if not isinstance(found, list):
        return []
    listed = [one for one in found if isinstance(one, Mapping)]
    return [f"{one.get('name')} {one.get('version')}" for one in listed]


def lines(found: Inspection) -> Iterator[str]:
    """For a person."""
    yield f"{found.path}: {found.bytes:,} bytes"
    if found.contract is None:
        yield "  it has no contract (gluonts_shell.json), and predictor.json does not tell its horizon"
    else:
        yield from _about(found.contract, found.has_contract)
    yield from ("", "versions, when it was trained and here:", *_versions(found))
    yield from ("", "each instance of a request needs:", *_needed(found))
    yield from ("", "scores on the channel test:", *_scored(found.scores))
    yield from (
        "",
        "code that it brings, which is installed before it is loaded:",
        *_brought(found),
    )
    if found.request is not None:
        yield from ("", "a request that it answers:", f"  {curl(found.request)}")


def curl(request: Mapping[str, Any]) -> str:
    body = shlex.quote(json.dumps(request))
    return f"curl -s {ADDRESS} -H 'Content-Type: application/json' -d {body}"


def _about(contract: Mapping[str, Any], complete: bool) -> Iterator[str]:
    if not complete:
        yield "  it has no contract (gluonts_shell.json); the following is from GluonTS's predictor.json"
    yield f"  forecaster         {contract['forecaster']}"
    yield f"  freq               {contract['freq'] or 'unknown: requests must tell it'}"
    yield f"  prediction_length  {contract['prediction_length']}"
    told = ("freq", "prediction_length")
    others = [name for name in contract["arguments"] if name not in told]
    for name in others:
        yield f"  {name:<18} {json.dumps(contract['arguments'][name])[:100]}"
    if contract["training_job_name"]:
        yield f"  training job       {contract['training_job_name']}"
    if contract["created"]:
        yield f"  trained            {contract['created']}"


def _versions(found: Inspection) -> Iterator[str]:
    for name, (then, now) in found.versions.items():
        mark = "   DIFFERS" if name in found.differing else ""
        yield f"  {name:<14} {then or 'unknown':<12} {now or 'not installed'}{mark}"


def _needed(found: Inspection) -> Iterator[str]:
    yield "  start (YYYY-MM-DD HH:MM:SS) and target (numbers, null where one is missing)"
    if found.needs is not None:
        yield from (f"  {need}" for need in found.needs)
    elif found.has_contract:
        yield "  and perhaps more, which only its class knows"
    else:
        yield "  and perhaps more, which is not known without its contract"


def _scored(scores: Mapping[str, float | None]) -> Iterator[str]:
    shown = [name for name in SHOWN_SCORES if scores.get(name) is not None]
    if not shown:
        yield "  none"
    for name in shown:
        yield f"  {name:<18} {scores[name]:.6g}"


def _brought(found: Inspection) -> Iterator[str]:
    if not found.code:
        yield "  none"
        return
    for name in found.code[:MOST_FILES]:
        yield f"  {name}"
    if len(found.code) > MOST_FILES:
        yield f"  and {len(found.code) - MOST_FILES} files more"
    if found.installed:
        yield f"  installed when it was trained: {', '.join(found.installed)}"
