"""Steps that go on where a signal or a cancellation has interrupted them, a bounded number of times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule.report import CloseReport


def persist(report: CloseReport, step: Callable[[], object]) -> bool:
    """Run a step of closing to its end, again where a signal has interrupted it; False where that comes to nothing."""
    for _ in range(limits.ATTEMPTS):
        try:
            step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False


async def apersist(report: CloseReport, step: Callable[[], Awaitable[object]]) -> bool:
    """The same for a step that is awaited."""
    for _ in range(limits.ATTEMPTS):
        try:
            await step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False
