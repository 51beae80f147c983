"""Our own log lines in a run's log, where callers look: Prefect by itself sends only those of its own loggers."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

LOGGERS = ("flows", "tasks", "models")


class _RunLogHandler(APILogHandler):
    """Sends what is logged inside a run; what a thread of no run says stays on the console."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def log_to_run() -> None:
    """Send what our modules log to the run that logs it, from Prefect's own level on; calling it again is harmless."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.getLogger("prefect").getEffectiveLevel())
        if not any(isinstance(handler, _RunLogHandler) for handler in logger.handlers):
            logger.addHandler(_RunLogHandler())
