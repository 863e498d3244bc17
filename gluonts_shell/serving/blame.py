"""What is said of a failure: to whoever asked a sentence, to the log the traceback, under an id that both have."""

from __future__ import annotations

import logging
import uuid

from gluonts_shell.errors import ModelError, ShellError, UserError

log = logging.getLogger(__name__)

PREDICT_LIMIT = "GLUONTS_SHELL_MAX_PREDICT_SECONDS sets this limit"
"""How sentences about a predict that never ends tell what to change."""


def sentence(error: BaseException) -> ShellError:
    """The error to show. What the model raised goes to the log with its traceback, under the id in the sentence."""
    if isinstance(error, (UserError, ModelError)):
        return error
    identity = uuid.uuid4().hex[:12]
    log.error("the model failed, error id %s", identity, exc_info=error)
    return ModelError(
        f"the model failed on this series: {type(error).__name__} (the log has it under id {identity})"
    )
