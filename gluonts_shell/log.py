"""One configure(), called by the cli and by each worker, never at import. Everything goes to stdout."""

from __future__ import annotations

import logging
import sys
import warnings


def configure(level: str = "INFO") -> None:
    """One line a record, flushed at once; a closed or full stream never stops the work that logs to it."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s", "%m/%d/%Y %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if isinstance(logging.getLevelName(level), int) else "INFO")
    logging.captureWarnings(True)
    # what these libraries say of each other's spellings is for their developers, not for who reads a job's log
    warnings.filterwarnings("ignore", module=r"(gluonts|pandas|torch|lightning|lightning_fabric|pydantic)(\..*)?$")
