"""Runs tasks in children that are forked from a process which has imported what is slow to import, and did no more.

torch and statsforecast take seconds to import, a class's journey is four processes, and there are 54 classes. A task
is a line of JSON: what to run (`command`: a command line of gluonts_shell; `answer`: arguments of journey.answer), the
environment, and the file that takes the output. What comes back is the child's exit status, on a line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback
from typing import Any

SLOW = (
    "gluonts_shell.forecasting.plan",
    "gluonts_shell.forecasting.evaluation.evaluate",
    "gluonts_shell.forecasting.service.service",
    "lightning.pytorch",
    "gluonts.torch.model.deepar",
    "gluonts.ext.statsforecast",
    "gluonts.evaluation",
)


def main() -> None:
    for name in SLOW:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(task: dict[str, Any]) -> int:
    """In the child; the exit status."""
    output = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.update(task["environment"])
    try:
        status = _run(task)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _run(task: dict[str, Any]) -> int:
    if "command" in task:
        from gluonts_shell import cli

        return cli.main(task["command"])
    import journey  # beside this file, which is run as a script

    journey.answer(**task["answer"])
    return 0


if __name__ == "__main__":
    main()
