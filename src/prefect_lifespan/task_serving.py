"""`serve_tasks`: background tasks with one application-wide lifespan, which closes on SIGTERM.

Of Prefect's task worker it uses the public face, and what `_Stoppable` overrides. `tests/contract/test_prefect_task_worker.py`
pins that.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import UUID

import anyio
from dependency_injector import containers
from prefect import Task
from prefect.client.orchestration import get_client
from prefect.logging import get_logger
from prefect.task_worker import TaskWorker

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.errors import UsageError
from prefect_lifespan.lifespans import lifespan
from prefect_lifespan.lifespans.grace import TERMINATION_GRACE_SECONDS
from prefect_lifespan.masking import summary_of

# How long a task that has been received and not begun may take to be given back.
_GIVING_BACK_SECONDS = 10.0

_logger = get_logger("task_worker")


def serve_tasks(
    *tasks: Task[..., Any],
    container: type[containers.DeclarativeContainer] | None = None,
    limit: int | None = 10,
    drain_seconds: float = 30.0,
) -> None:
    """Serve background tasks, as Prefect's `serve` does, with one lifespan for all that run here.

    The container's resources open before the first task, and tasks share them; a `TaskResource` is each task's own.
    SIGTERM and Ctrl-C stop it: no more tasks are taken, those that run may end, and everything closes. A task that waited
    here for its turn goes back to Prefect's API, for who serves it next. A second signal ends the waiting. A task that was
    delayed in a flow with a lifespan of that container has what that flow's lifespan declares.

    Args:
        tasks: the tasks, decorated with `@task`.
        container: what opens before the first task and closes after the last; None: each task opens what it needs.
        limit: how many tasks run at a time, each blocking one in a thread of its own; None for no limit.
        drain_seconds: seconds that running tasks have when it is told to stop. Then asynchronous ones are cancelled, and
            what blocks is given the lifespan's grace, and left behind: it ends with the process.

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


class _Threads(Executor):
    """A thread for each blocking task.

    Prefect's executor is waited for where the worker stops, on the event loop, which stood still until the last task had
    ended; and at the end of the process, which a task that hangs kept from ending.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Future[Any]()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # whoever waits for the task has it
                future.set_exception(error)

        future.set_running_or_notify_cancel()
        threading.Thread(target=run, name="background task", daemon=True).start()
        return future


class _Stoppable(TaskWorker):
    """Prefect's task worker, which can be told to take no more tasks, and to let those that run end."""

    def __init__(self, *tasks: Task[..., Any], limit: int | None) -> None:
        super().__init__(*tasks, limit=limit)
        self._executor: Any = _Threads()
        self._taking = anyio.CancelScope()

    async def _subscribe_to_task_scheduling(self) -> None:
        with self._taking:
            base: Any = super()
            await base._subscribe_to_task_scheduling()  # noqa: SLF001 - the one that this overrides

    async def _acquire_token(self, task_run_id: UUID) -> bool:
        base: Any = super()
        try:
            return await base._acquire_token(task_run_id)  # noqa: SLF001 - the one that this overrides
        except asyncio.CancelledError:
            with anyio.move_on_after(_GIVING_BACK_SECONDS, shield=True):
                await _give_back(task_run_id)
            raise

    def take_no_more(self) -> None:
        self.stopping = True
        self._taking.cancel()


async def _give_back(task_run_id: UUID) -> None:
    """Have it scheduled anew: the API sends nobody a task that has been received."""
    try:
        async with get_client() as client:
            state = (await client.read_task_run(task_run_id)).state
            if state is not None and state.is_scheduled():
                await client.set_task_run_state(task_run_id, state)
                _logger.info("Task run %s was not begun, and is given back", task_run_id)
    except Exception as error:
        _logger.warning("Task run %s was not begun, and could not be given back: %s", task_run_id, summary_of(error))


async def _serve(
    tasks: tuple[Task[..., Any], ...],
    container: type[containers.DeclarativeContainer] | None,
    limit: int | None,
    drain_seconds: float,
) -> None:
    stop = _Stop()
    main = asyncio.current_task()
    assert main is not None, "asyncio.run has made it"
    _when_told_to_stop(main.cancel)
    async with AsyncExitStack() as stack:
        if container is not None:
            await stack.enter_async_context(lifespan(container, everywhere=True))
        worker = _Stoppable(*tasks, limit=limit)
        serving = asyncio.create_task(worker.astart())
        await asyncio.sleep(0)  # it begins by setting a handler of its own, which ends the process at once
        _when_told_to_stop(stop.told)
        if await _is_over(serving, stop.first):
            return await serving
        _logger.info("Told to stop: taking no more tasks, and waiting up to %g s for those that run", drain_seconds)
        worker.take_no_more()
        if await _is_over(serving, stop.second, drain_seconds):
            return await serving
        _logger.warning("Tasks that have not ended are cancelled")
        serving.cancel()
        await asyncio.wait([serving], timeout=TERMINATION_GRACE_SECONDS)
        raise asyncio.CancelledError("serve_tasks was told to stop")  # so what still blocks has a grace, and no more


class _Stop:
    """How often it was told to stop."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def _is_over(serving: asyncio.Task[None], stop: asyncio.Event, seconds: float | None = None) -> bool:
    """Whether serving has ended before it was told to stop, and in the seconds that it has."""
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, told], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    return serving.done()


def _when_told_to_stop(do: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, do)
