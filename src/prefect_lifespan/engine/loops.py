"""Which event loop the caller runs on."""

from __future__ import annotations

import asyncio
from typing import Any


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def current_task_on(loop: asyncio.AbstractEventLoop | None) -> asyncio.Task[Any] | None:
    """The task that the caller runs in, where that is to be on `loop`."""
    return asyncio.current_task() if loop is not None and running_loop() is not None else None
