#!/usr/bin/env python3
"""Runs a corpus of raw requests, sent by a program of its own, against real servers of ours.

    python tests/http_cases.py PATH_OF_RUN_PY

The corpus wants an hourly model with prediction length 24, and its requests carry `"freq":"D"`, as the peer demands a
freq in every request and believes it. So it runs twice: as it is against a model without a contract, whose freq comes
from the request; and with `"freq":"H"` in the place of `"freq":"D"` against a model that our training wrote, which
knows that it is hourly and refuses daily requests. Exit status 1 if any case fails.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from gluonts_shell.commands.demo import served
from gluonts_shell.forecasting import artifact, contract

FORECASTER = "gluonts.model.seasonal_naive.SeasonalNaivePredictor"


def main(program: Path) -> int:
    predictor = SeasonalNaivePredictor(prediction_length=24, season_length=24)
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder, "theirs"), Path(folder, "ours")
        (theirs / "model").mkdir(parents=True)
        predictor.serialize(theirs / "model")
        artifact.save(predictor, contract.Contract("h", 24, FORECASTER), ours / "model")
        hourly = Path(folder, "hourly.jsonl")
        hourly.write_text(
            "".join(map(with_hours, program.with_name("cases.jsonl").read_text().splitlines(True)))
        )
        status = run(program, theirs) + run(program, ours, "--cases", str(hourly))
    return min(status, 1)


def with_hours(line: str) -> str:
    case = json.loads(line)
    raw = base64.b64decode(case["raw_b64"]).replace(b'"freq":"D"', b'"freq":"H"')
    return json.dumps({**case, "raw_b64": base64.b64encode(raw).decode()}) + "\n"


def run(program: Path, tree: Path, *arguments: str) -> int:
    with served(tree) as port:
        command = [sys.executable, str(program), str(port), "-v", "--split", *arguments]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
