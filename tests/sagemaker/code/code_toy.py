"""A command with a code channel and nothing else: `code_toy.py train|serve MODULE...` prints what the modules are.

It is the smallest thing that does what `commands.train` and `commands.serve` do before they import anything heavy.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from gluonts_shell.sagemaker import failure
from gluonts_shell.sagemaker.code import channel
from gluonts_shell.sagemaker.paths import Paths
from gluonts_shell.settings import Settings

GRANDCHILD = "import json, os; print(json.dumps(dict(os.environ)))"


def main(command: str, *names: str) -> int:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    settings = Settings.from_environ(os.environ)
    paths = Paths(Path(settings.data_path))
    try:
        if command == "train":
            kept = paths.model / "code"
            code = channel.activate(
                paths.data / "code", paths.code, settings, os.environ, copy_to=kept
            )
        else:
            code = channel.activate(paths.model / "code", paths.code, settings, os.environ)
        found = {}
        for name in names:
            module = importlib.import_module(name)
            found[name] = [getattr(module, "VALUE", None), module.__file__]
    except Exception as error:
        return failure.report(error, paths.failure)
    child = subprocess.run(
        [sys.executable, "-c", GRANDCHILD], capture_output=True, text=True, check=True
    )
    result = {
        "code": code and str(code),
        "found": found,
        "grandchild": json.loads(child.stdout),
        "pid": os.getpid(),
    }
    print("RESULT", json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
