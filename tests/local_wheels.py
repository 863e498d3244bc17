"""Wheels, projects and archives that tests make for themselves, so that pip has something to install without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SETUP = "from setuptools import setup\nsetup(name={name!r}, version={version!r}, packages=[{module!r}], install_requires={requires!r})\n"
PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "{version}"
dependencies = {requires}
"""


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """A wheel written by hand: building one takes a second. Without `files` it has one module that tells its version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    content = dict(files if files is not None else {f"{module}.py": f"VALUE = {version!r}\n"})
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    content[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    )
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    )
    record = []
    for path, text in content.items():
        digest = (
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        )
        record.append(f"{path},sha256={digest},{len(text.encode())}\n")
    content[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as file:
        for path, text in content.items():
            file.writestr(path, text)
    return target


def project(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    form: str = "pyproject",
) -> Path:
    """A project for pip: `form` is setup.py, pyproject, or src (pyproject with the package below src/)."""
    module = name.replace("-", "_")
    package = folder / ("src" if form == "src" else "") / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"VALUE = {version!r}\n")
    if form == "setup.py":
        text = SETUP.format(name=name, version=version, module=module, requires=list(requires))
        (folder / "setup.py").write_text(text)
    else:
        text = PYPROJECT.format(
            name=name, version=version, requires=str(list(requires)).replace("'", '"')
        )
        (folder / "pyproject.toml").write_text(text)
    return folder


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """The files below `folder`, which is made."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def pack(folder: Path, target: Path) -> Path:
    """All that `folder` holds, as an archive of the kind that the target's name says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as zipped:
            for path in sorted(folder.rglob("*")):
                zipped.write(path, path.relative_to(folder))
        return target
    kind = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "xz": "xz", "tar": ""}[
        target.name.rsplit(".", 1)[1]
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        tar.add(folder, ".")
    target.write_bytes(buffer.getvalue())
    return target
