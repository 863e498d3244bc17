"""A software bill of materials: the distributions that are installed beside this one, as CycloneDX 1.5 in JSON.

The image has it as a file, made when it was built; an image made from that one, or an environment, prints its own. It
knows Python's distributions and Python itself, not the packages of the operating system.

Sources: "CycloneDX v1.5 JSON Reference"; package-url's type `pypi` for the names in purl.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import gluonts_shell

LONGEST_LICENCE = 64  # characters; some distributions put the whole text where its name belongs


OURS = "gluonts-shell"


def run() -> int:
    """Prints the same for the same distributions: without time and serial number."""
    print(json.dumps(bill(metadata.distributions()), indent=2))  # noqa: T201
    return 0


def bill(distributions: Iterable[metadata.Distribution]) -> dict[str, Any]:
    """Of a distribution that is on the path twice, the first counts, as it does for imports."""
    found: dict[str, dict[str, Any]] = {}
    for one in distributions:
        if one.metadata["Name"]:  # what an interrupted pip left has none
            described = component(one.metadata)
            found.setdefault(described["name"], described)
    found.pop(OURS, None)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": ourselves()},
        "components": [python(), *(found[name] for name in sorted(found))],
    }


def ourselves() -> dict[str, Any]:
    """What the bill is of."""
    version = gluonts_shell.__version__
    return {
        "type": "application",
        "bom-ref": f"{OURS}@{version}",
        "name": OURS,
        "version": version,
        "licenses": [{"expression": "Apache-2.0"}],
    }


def component(head: metadata.PackageMetadata) -> dict[str, Any]:
    """head: the fields of a distribution's metadata."""
    name = re.sub(r"[-_.]+", "-", head["Name"]).lower()
    reference = f"pkg:pypi/{name}@{head['Version']}"
    found = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": head["Version"],
        "purl": reference,
    }
    licence = licence_of(head)
    return {**found, "licenses": [licence]} if licence else found


def licence_of(head: metadata.PackageMetadata) -> dict[str, Any] | None:
    """An SPDX expression where the distribution has one (PEP 639), else the name that it gives."""
    if "License-Expression" in head:
        return {"expression": head["License-Expression"]}
    if "License" not in head:
        return None
    name = " ".join(head["License"].split())
    if not name or len(name) > LONGEST_LICENCE:
        return None
    return {"license": {"name": name}}


def python() -> dict[str, Any]:
    version = platform.python_version()
    return {
        "type": "platform",
        "bom-ref": f"python@{version}",
        "name": platform.python_implementation(),
        "version": version,
    }
