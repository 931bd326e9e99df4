"""One flow run in a warm process: as `python -m prefect.engine` runs it, but for what is there already."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import signal
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, Pause, TerminationSignal
from prefect.flow_engine import FlowRunTimeoutError, run_flow
from prefect.logging.loggers import flow_run_logger, get_logger

from prefect_lifespan.warm_worker.engine_parts import (
    clear_intent,
    configure_from_env,
    engine_outcome_is_handled,
    get_intent,
    run_metrics,
    stop_control_listener,
)
from prefect_lifespan.warm_worker.restoring import loop_as_it_was

_logger = get_logger("engine")
# More than tasks wait for one another when a signal arrives.
_ATTEMPTS = 20
T = TypeVar("T")


class Terminated(SystemExit):
    """SIGTERM where Prefect's engine does not handle it: while the code is pulled and loaded, or after it has."""


@dataclass(frozen=True)
class Outcome:
    """How a run has ended: with which exit code its own process would have, and why this one can have no other."""

    exit_code: int
    unfit: str | None = None


@contextmanager
def control_channel() -> Generator[None]:
    """The worker's control channel, as the environment has it, for the body."""
    configure_from_env()
    try:
        yield
    finally:
        stop_control_listener()


def run_in_engine(
    flow: Flow[..., Any], flow_run: FlowRun, runner: asyncio.Runner, context: contextvars.Context
) -> BaseException | None:
    """Run it to its end in a context of its own, asynchronous ones on the process's event loop; what it has ended with."""
    logger = flow_run_logger(flow_run)

    def engine() -> Any:
        with run_metrics(flow_run, flow):
            result = cast("Any", run_flow)(flow, flow_run=flow_run, error_logger=logger)
            if inspect.isgenerator(result):
                for _ in result:
                    pass
            return result

    try:
        result = context.run(engine)
        work = _exhausted(result) if inspect.isasyncgen(result) else result
        if inspect.iscoroutine(work):
            with loop_as_it_was(runner.get_loop()):
                run_on_loop(work, runner, context)
    except BaseException as error:
        return error
    return None


def outcome_of(error: BaseException | None) -> Outcome:
    """What Prefect's engine would exit with, and whether the process goes on."""
    intent = get_intent()
    clear_intent()
    match error:
        case None | Abort() | Pause():
            return Outcome(0)
        case FlowRunTimeoutError():
            return Outcome(_code(1), "its run timed out, and may have left something behind")
        case Exception():
            return Outcome(_code(1))
        case TerminationSignal() | Terminated():
            return Outcome(0 if intent is not None else _code(-signal.SIGTERM), "its run was terminated")
        case SystemExit():
            return Outcome(_code(error.code if isinstance(error.code, int) else 1), "its run has crashed")
        case _:
            return Outcome(_code(1), "its run has crashed")


def tell(error: BaseException | None) -> None:
    """Log what nobody else has: an exception that the engine has made nothing of."""
    if isinstance(error, Exception) and not isinstance(error, (Abort, Pause)) and not engine_outcome_is_handled():
        _logger.error("Execution exited with unexpected exception", exc_info=error)


def _code(otherwise: int) -> int:
    return 0 if engine_outcome_is_handled() else otherwise


async def _exhausted(values: Any) -> None:
    async for _ in values:
        pass


def run_on_loop(work: Coroutine[Any, Any, T], runner: asyncio.Runner, context: contextvars.Context | None = None) -> T:
    """Run it on the process's loop, which goes on after it: what it has begun there and left ends with it."""
    with _tasks_of_a_run(runner.get_loop()) as tasks:
        try:
            return runner.run(_first_of(tasks, work), context=context)
        finally:  # a signal may have taken the loop away, from the run itself as well
            _end(tasks, runner)


async def _first_of(tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in one"
    tasks.add(task)
    return await work


def _end(tasks: set[asyncio.Task[Any]], runner: asyncio.Runner) -> None:
    """End them all. `SystemExit` takes the loop away once more for each task that waits for the one it was raised in."""
    interruption: BaseException | None = None
    for _ in range(_ATTEMPTS):
        try:
            runner.run(_cancelled(tasks))
            break
        except RuntimeError:
            continue  # it has found the loop stopped: for a task that had ended when the loop was left
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


@contextmanager
def _tasks_of_a_run(loop: asyncio.AbstractEventLoop) -> Generator[set[asyncio.Task[Any]]]:
    """A set that gets, for the body, each task that one of its tasks creates.

    What keeps a resource open is a task of its own kind, and with the tasks that it creates no part of any run.
    """
    tasks: set[asyncio.Task[Any]] = set()

    def create(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        if asyncio.current_task(loop) in tasks:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    before = loop.get_task_factory()
    loop.set_task_factory(create)
    try:
        yield tasks
    finally:
        loop.set_task_factory(before)


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """As `asyncio.run` does it at its end; what has interrupted the run tells what it has ended with."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    for error in await asyncio.gather(*left, return_exceptions=True):
        if isinstance(error, Exception):
            _logger.error("A task of the run failed when it was cancelled at the run's end", exc_info=error)
