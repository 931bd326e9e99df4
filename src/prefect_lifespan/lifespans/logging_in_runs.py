"""What is done before a resource sets up logging anew in a run, which Prefect's handlers would hold up for ever.

`logging.config` flushes all handlers while it holds logging's lock, and a flush of Prefect's waits for a thread that may
want that lock to log something.
"""

from __future__ import annotations

import logging
from typing import Any, cast

from prefect.context import TaskRunContext
from prefect.logging.handlers import APILogHandler

from prefect_lifespan.graph.findings import LOGGING_CURE
from prefect_lifespan.lifespans.prefect_run import flow_context, run_logger, send_log


def before_logging_is_set_up(resource: str, function: str) -> None:
    """Say in the run's log what may come of it, send that, and let nobody wait for Prefect who holds logging's lock."""
    if TaskRunContext.get() is None and flow_context() is None:
        return
    run_logger().warning(
        "%s is about to call %s, which flushes Prefect's log handlers while it holds logging's lock, and may stand still "
        "there; to be safe, %s",
        resource,
        function,
        LOGGING_CURE,
    )
    send_log()
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in known:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, APILogHandler) and "flush" not in vars(handler):
                _keep_from_waiting(handler)


def _keep_from_waiting(handler: APILogHandler) -> None:
    flush = handler.flush

    def flush_unless_locked() -> None:
        # What is queued goes out all the same: Prefect's thread sends it, and is waited for at the end of the process.
        if not holds_loggings_lock():
            flush()

    handler.flush = flush_unless_locked


def holds_loggings_lock() -> bool:
    """Whether this thread has logging as a whole to itself, as `logging.config` does; no public function tells."""
    return bool(cast("Any", logging)._lock._is_owned())  # noqa: SLF001
