"""`serve_tasks`: background tasks with one application-wide lifespan, which closes on SIGTERM.

Of Prefect's task worker it uses the public face, and `_subscribe_to_task_scheduling`, the loop in which it takes tasks: to
stop just that. `tests/contract/test_prefect_task_worker.py` pins it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
from dependency_injector import containers
from prefect import Task
from prefect.logging import get_logger
from prefect.task_worker import TaskWorker

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.errors import UsageError
from prefect_lifespan.lifespans import lifespan

_logger = get_logger("task_worker")


def serve_tasks(
    *tasks: Task[..., Any],
    container: type[containers.DeclarativeContainer] | None = None,
    limit: int | None = 10,
    drain_seconds: float = 30.0,
) -> None:
    """Serve background tasks, as Prefect's `serve` does, with one lifespan for all that run here.

    The container's resources open before the first task, and tasks share them; a `TaskResource` is each task's own.
    SIGTERM and Ctrl-C stop it: no more tasks are taken, those that run may end, and everything closes. A task that was
    delayed in a flow with a lifespan of that container has what that flow's lifespan declares.

    Args:
        tasks: the tasks, decorated with `@task`.
        container: what opens before the first task and closes after the last; None: each task opens what it needs.
        limit: how many tasks run at a time; None for no limit.
        drain_seconds: seconds that running tasks have when it is told to stop. Then asynchronous ones are cancelled, and
            what blocks is given the lifespan's grace.

    Raises:
        UsageError: called without a task, with something that is none, or where an event loop runs.
        ValueError: a number out of range.
        InvalidContainerError: the container cannot be opened as it is declared.

    Example:
        >>> from prefect import task
        >>> from prefect_lifespan import serve_tasks
        >>> @task
        ... def add(a: int, b: int) -> int:
        ...     return a + b
        >>> serve_tasks(add)  # doctest: +SKIP
    """
    others = [each for each in tasks if not isinstance(each, Task)]  # pyright: ignore[reportUnnecessaryIsInstance]
    if others or not tasks:
        what = f"{others[0]!r} is none: decorate it with @task" if others else "none was given"
        raise UsageError(f"serve_tasks(...) serves tasks, and {what}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit!r}; it must be at least 1, or None for no limit")
    if not drain_seconds >= 0:
        raise ValueError(f"drain_seconds is {drain_seconds!r}; it must not be less than zero")
    if running_loop() is not None:
        raise UsageError("serve_tasks(...) was called where an event loop runs, and it has one of its own")
    with suppress(asyncio.CancelledError):  # it was told to stop while the container's resources were opening
        asyncio.run(_serve(tasks, container, limit, drain_seconds))


class _Stoppable(TaskWorker):
    """Prefect's task worker, which can be told to take no more tasks, and to let those that run end."""

    def __init__(self, *tasks: Task[..., Any], limit: int | None) -> None:
        super().__init__(*tasks, limit=limit)
        self._taking = anyio.CancelScope()

    async def _subscribe_to_task_scheduling(self) -> None:
        with self._taking:
            base: Any = super()
            await base._subscribe_to_task_scheduling()  # noqa: SLF001 - the one that this overrides

    def take_no_more(self) -> None:
        self.stopping = True
        self._taking.cancel()


async def _serve(
    tasks: tuple[Task[..., Any], ...],
    container: type[containers.DeclarativeContainer] | None,
    limit: int | None,
    drain_seconds: float,
) -> None:
    stopping = asyncio.Event()
    main = asyncio.current_task()
    assert main is not None, "asyncio.run has made it"
    _when_told_to_stop(main.cancel)
    async with AsyncExitStack() as stack:
        if container is not None:
            await stack.enter_async_context(lifespan(container, everywhere=True))
        worker = _Stoppable(*tasks, limit=limit)
        serving = asyncio.create_task(worker.astart())
        await asyncio.sleep(0)  # it begins by setting a handler of its own, which ends the process at once
        _when_told_to_stop(stopping.set)
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait([serving, told], return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            _logger.info("Told to stop: taking no more tasks, and waiting up to %g s for those that run", drain_seconds)
            worker.take_no_more()
            await asyncio.wait([serving], timeout=drain_seconds)
            serving.cancel()
        told.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _when_told_to_stop(do: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, do)
