"""Wheels and source distributions as files: their names, what they need, and whether this Python takes them.

It runs nothing and installs nothing; `pip` does. The naming rules are those of `packaging`, which is imported only
once there is a file to name.
"""

from __future__ import annotations

import email
import logging
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gluonts_shell.errors import CodeChannelError

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distribution:
    """A file that pip can install; `name` is normalized, `label` is what messages call it."""

    name: str
    version: Version
    path: Path
    label: str
    fits: bool = True

    @classmethod
    def parse(cls, path: Path, label: str) -> Distribution | None:
        """None if the file's name is not that of a wheel or a source distribution."""
        from packaging.tags import sys_tags
        from packaging.utils import (
            InvalidSdistFilename,
            InvalidWheelFilename,
            parse_sdist_filename,
            parse_wheel_filename,
        )

        try:
            if path.suffix == ".whl":
                name, version, _, tags = parse_wheel_filename(path.name)
                return cls(name, version, path, label, not tags.isdisjoint(sys_tags()))
            name, version = parse_sdist_filename(path.name)
            return cls(name, version, path, label)
        except (InvalidWheelFilename, InvalidSdistFilename):
            return None

    def requires(self) -> list[str]:
        """The Requires-Dist lines of a wheel; nothing is known of a source distribution before it is built.

        Raises CodeChannelError for a damaged wheel.
        """
        if self.path.suffix != ".whl":
            return []
        try:
            with zipfile.ZipFile(self.path) as wheel:
                for name in wheel.namelist():
                    if name.endswith(".dist-info/METADATA"):
                        found = email.message_from_bytes(wheel.read(name))
                        return found.get_all("Requires-Dist", [])
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise CodeChannelError(
                f"{self.label!r} in the code channel is damaged, expected a wheel: {error}"
            ) from error
        return []


def normalized(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def container() -> str:
    """What a wheel for this container is tagged with, as in `cp311, manylinux_2_36_x86_64`."""
    from packaging.tags import interpreter_name, interpreter_version, platform_tags

    return f"{interpreter_name()}{interpreter_version()}, {next(iter(platform_tags()))}"


def installed() -> dict[str, Version]:
    """Normalized name -> version of what this environment has."""
    from packaging.version import InvalidVersion, Version

    found: dict[str, Version] = {}
    for distribution in metadata.distributions():
        try:
            found.setdefault(
                normalized(distribution.metadata["Name"]), Version(distribution.version)
            )
        except (InvalidVersion, TypeError):  # a damaged installation of something else
            continue
    return found


def newest(distributions: Iterable[Distribution]) -> list[Distribution]:
    """One for each name: what fits this Python before what does not, then the highest version, then the last one.

    Two that differ in more than their tags are warned of, with the names of both.
    """
    chosen: dict[str, Distribution] = {}
    for found in distributions:
        other = chosen.setdefault(found.name, found)
        if other is found:
            continue
        worse, better = other, found
        if (other.fits, other.version) > (found.fits, found.version):
            worse, better = found, other
        chosen[found.name] = better
        if better.fits == worse.fits:
            log.warning(
                "%r and %r both install %r: %r is taken",
                worse.label,
                better.label,
                found.name,
                better.label,
            )
    return list(chosen.values())


def missing(wanted: Iterable[str], supply: Sequence[Distribution]) -> list[str]:
    """Of the requirements `wanted` and all that they need: what is neither in `supply` nor in this environment."""
    absent: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    here = installed()
    queue = []
    for text in wanted:
        queue.append((text.partition(" --hash")[0], ""))
    for asked in queue:  # which grows
        requirement = _requirement(*asked)
        if asked in seen or requirement is None:
            continue
        seen.add(asked)
        found = _best(requirement, supply)
        if found is not None:
            queue += _needs(found, requirement)
        elif not _is_here(requirement, here):
            absent[f"{requirement.name}{requirement.specifier}"] = None
    return list(absent)


def unfitting(wanted: Iterable[str], supply: Sequence[Distribution]) -> list[str]:
    """The labels of those in `supply` that are of what is `wanted`, but of another version, Python or machine."""
    asked = {}
    for text in wanted:
        requirement = _requirement(text, "")
        if requirement is not None:
            asked[normalized(requirement.name)] = requirement
    labels = []
    for one in supply:
        if one.name in asked and not (one.fits and _allows(asked[one.name], one.version)):
            labels.append(one.label)
    return labels


def _requirement(text: str, extra: str) -> Requirement | None:
    """None for a URL or an option, of which pip's own message tells, and for what is not needed here."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
        return None
    return requirement


def _best(requirement: Requirement, supply: Sequence[Distribution]) -> Distribution | None:
    """The highest version that fits."""
    name = normalized(requirement.name)
    best = None
    for one in supply:
        if one.name != name or not one.fits or not _allows(requirement, one.version):
            continue
        if best is None or one.version > best.version:
            best = one
    return best


def _needs(found: Distribution, requirement: Requirement) -> list[tuple[str, str]]:
    """What it needs, once for itself and once for each extra that is asked for."""
    needs = []
    for line in found.requires():
        for extra in ("", *requirement.extras):
            needs.append((line, extra))
    return needs


def _is_here(requirement: Requirement, here: Mapping[str, Version]) -> bool:
    version = here.get(normalized(requirement.name))
    return version is not None and _allows(requirement, version)


def _allows(requirement: Requirement, version: Version) -> bool:
    return requirement.specifier.contains(version, prereleases=True)
