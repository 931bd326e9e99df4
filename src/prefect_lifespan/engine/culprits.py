"""A task that learns from whom its cancellation comes: of a task group's child that has failed, the error."""

from __future__ import annotations

import asyncio
import inspect
from types import FrameType
from typing import Any, cast

_CALLERS = 8  # between a task's `cancel` and the callback of the child: of anyio, one for each nested cancel scope


class ResourceTask(asyncio.Task[None]):
    """A task that knows why what it has entered cancels it.

    A task group, asyncio's or anyio's, cancels the task that has entered it in the callback of the child that has
    failed, and keeps the child's error to itself until it is exited. It says so nowhere else, so whoever calls is looked at.
    """

    culprit: BaseException | None = None  # what the child has raised

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it, as any task."""
        if self.culprit is None:
            self.culprit = _error_of_child(inspect.currentframe())
        return super().cancel(msg)


def _error_of_child(frame: FrameType | None) -> BaseException | None:
    for _ in range(_CALLERS):
        frame = None if frame is None else frame.f_back
        if frame is None:
            break
        for value in list(frame.f_locals.values()):
            if isinstance(value, asyncio.Task) and value.done() and not value.cancelled():
                error = cast("asyncio.Task[object]", value).exception()
                if error is not None:
                    return error
    return None
