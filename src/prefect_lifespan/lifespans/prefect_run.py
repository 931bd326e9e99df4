"""What the library reads of the Prefect run it is in: its name, its log, its attempt, whether it is being drawn."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import Context, copy_context

from prefect.context import AssetContext, AsyncClientContext, FlowRunContext, SyncClientContext, TaskRunContext
from prefect.exceptions import MissingContextError, Pause, TerminationSignal
from prefect.logging.loggers import flow_run_logger, get_logger, get_run_logger
from prefect.transactions import Transaction
from prefect.utilities.visualization import get_task_viz_tracker

from prefect_lifespan.engine import library_logger, passing
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.forks import children
from prefect_lifespan.surroundings import surroundings


class _Inherited:
    """The runs that a forked child was forked in. They are its parent's: what sends their log is a thread there."""

    def __init__(self) -> None:
        self._contexts: tuple[object, ...] = ()

    def begin_anew(self) -> None:
        """In a forked child."""
        self._contexts = tuple(
            context for context in (TaskRunContext.get(), FlowRunContext.get()) if context is not None
        )

    def holds(self, context: object) -> bool:
        """Whether a run is the parent's."""
        return any(context is inherited for inherited in self._contexts)


_inherited = _Inherited()
children.begin_with(_inherited)


def flow_context() -> FlowRunContext | None:
    """The context of the flow run that the caller is in, on the machine that drives it."""
    context = FlowRunContext.get()
    return context if context is not None and context.flow_run is not None and not _inherited.holds(context) else None


def run_name(otherwise: str) -> str:
    """The run as messages name it."""
    context = flow_context()
    if context is None or context.flow_run is None:
        return otherwise
    flow = f" of flow {context.flow.name!r}" if context.flow is not None else ""
    return f"flow run {context.flow_run.name!r}{flow}"


def flow_logger() -> Logger:
    """The log of the flow run that the caller is in; the library's own outside one."""
    context = flow_context()
    if context is None or context.flow_run is None:
        return library_logger
    return flow_run_logger(context.flow_run, context.flow)


def send_log() -> None:
    """Send what flow runs have logged: Prefect does so every other second, and a process that is terminated dies before."""
    for handler in get_logger("flow_runs").handlers:
        handler.flush()


def run_logger() -> Logger:
    """The log of the innermost run: a task's, a flow's, or the library's own."""
    if _inherited.holds(TaskRunContext.get() or FlowRunContext.get()):
        return library_logger
    try:
        return get_run_logger()
    except MissingContextError:
        return library_logger


def attempt() -> Hashable | None:
    """What tells the work of one task run from another's, and from its flow's; None outside any run."""
    task, flow_id = TaskRunContext.get(), run()
    if task is None:
        return flow_id
    return (flow_id, task.task_run.id, task.task_run.run_count)


def context_of_the_run() -> Context:
    """The caller's context as it is when the task that it is in has ended, and the run goes on."""
    context = Context()
    for variable, value in copy_context().items():
        if variable not in _OF_A_TASK:
            context.run(variable.set, value)
    return context


def run() -> Hashable | None:
    """What tells the flow run that the caller is in from others; None outside one."""
    flow = FlowRunContext.get()
    return flow.flow_run.id if flow is not None and flow.flow_run is not None else None


def is_being_drawn() -> bool:
    """Whether the flow function is only run for `flow.visualize()`, which calls no task."""
    return get_task_viz_tracker() is not None


def is_suspension(error: BaseException | None) -> bool:
    """Whether a body ended because its run was paused or suspended, which is no failure."""
    return isinstance(error, Pause)


def told(outcome: BaseException | None) -> BaseException | None:
    """How resources are told that a body ended."""
    return None if is_suspension(outcome) else outcome


def is_termination(error: BaseException | None) -> bool:
    """Whether a body ended by SIGTERM, which Prefect sends on: by default that ends the process, and runs no atexit."""
    return isinstance(error, TerminationSignal)


# What Prefect enters around a run, and leaves: each closes its client, and a run that has ended is nobody's.
_OF_A_TASK = tuple(
    each.__var__ for each in (SyncClientContext, AsyncClientContext, TaskRunContext, AssetContext, Transaction)
)
passing.add((*_OF_A_TASK, FlowRunContext.__var__))
surroundings.attempt = attempt
surroundings.run = run
surroundings.logger = run_logger
surroundings.told = told
