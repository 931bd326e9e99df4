"""What the library reads of the Prefect run it is in: its name, its log, its attempt, whether it is being drawn."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, cast

from prefect.context import (
    AssetContext,
    AsyncClientContext,
    FlowRunContext,
    SettingsContext,
    SyncClientContext,
    TaskRunContext,
)
from prefect.exceptions import MissingContextError, Pause, TerminationSignal
from prefect.logging.loggers import flow_run_logger, get_logger, get_run_logger
from prefect.transactions import Transaction

from prefect_lifespan.engine import library_logger, passing
from prefect_lifespan.engine.events import NOBODY, Logger, Whose, Write, process_log, whose
from prefect_lifespan.forks import children
from prefect_lifespan.run_context import run_context

# The run's log under a name of its own, `prefect.flow_runs.lifespan` and `prefect.task_runs.lifespan`: what it says goes
# where the run's log goes, and it can be turned up and down by itself.
_CHILD = "lifespan"


def _set_levels() -> None:
    """Take the levels from the environment as Prefect does for loggers that its own logging.yml names.

    In a logging.yml of the user's own, Prefect sets them itself.
    """
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        level = os.environ.get(f"PREFECT_LOGGING_LOGGERS_{name}_{_CHILD}_LEVEL".replace(".", "_").upper())
        if level:
            get_logger(f"{name}.{_CHILD}").setLevel(level.upper())


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
    return flow_run_logger(context.flow_run, context.flow).getChild(_CHILD)


def _flush_handlers() -> None:
    """Prefect's way, which stops all its services in this process, that for events as well: the next line starts anew."""
    for handler in get_logger("flow_runs").handlers:
        handler.flush()


class LogSending:
    """How the log is sent at once. A process that has one run after another has a way of its own."""

    def __init__(self) -> None:
        self.now: Callable[[], None] = _flush_handlers


log_sending: LogSending = LogSending()


def send_log() -> None:
    """Send what flow runs have logged: Prefect does so every other second, and a process that is terminated dies before."""
    log_sending.now()


def run_logger() -> Logger:
    """The log of the innermost run: a task's, a flow's, or the library's own."""
    if _inherited.holds(TaskRunContext.get() or FlowRunContext.get()):
        return library_logger
    try:
        return cast("Any", get_run_logger()).getChild(_CHILD)  # both kinds that it may be have it
    except MissingContextError:
        return library_logger


def process_write() -> Write | None:
    """What writes to the log of the flow run that the caller is in, later and from elsewhere too; None outside one."""
    if flow_context() is None:
        return None
    logger, settings = flow_logger(), SettingsContext.get()
    elsewhere = Context()  # of all that the run has in force just the API that it logs to, which this may outlive
    if settings is not None:
        elsewhere.run(SettingsContext(profile=settings.profile, settings=settings.settings).__enter__)

    def write(level: int, message: str) -> None:
        if flow_context() is not None:
            logger.log(level, "%s", message)
            return
        # At the end of the process Prefect has ended what sends its log before anything of ours is called.
        sent = threading.main_thread().is_alive()
        elsewhere.copy().run(partial(logger.log, level, "%s", message, extra={"send_to_api": sent}))
        if sent:
            send_log()  # it may be the last that this process does

    return write


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


def whose_here() -> Whose:
    """The flow run and the task run that the caller is in, and the span that they run in."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    if task is not None:
        task_run = task.task_run
        return Whose(str(task_run.flow_run_id or run() or ""), str(task_run.id), task.task.name, span_here())
    if flow is None or flow.flow_run is None:
        span = span_here()
        return Whose(span=span) if span else NOBODY
    return Whose(str(flow.flow_run.id), span=span_here())


def span_here() -> str:
    """The span that the caller is in, as W3C's traceparent; empty without one, and where no SDK has been loaded."""
    from prefect_lifespan.observability.spans import is_traced  # noqa: PLC0415 - loaded when something happens

    if not is_traced():
        return ""
    from opentelemetry import trace  # noqa: PLC0415 - nothing is loaded where nothing is traced

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def is_being_drawn() -> bool:
    """Whether the flow function is only run for `flow.visualize()`, which calls no task."""
    # Who draws has imported that, and with it Graphviz; nobody else is to wait for it.
    drawing = sys.modules.get("prefect.utilities.visualization")
    return drawing is not None and drawing.get_task_viz_tracker() is not None


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
_set_levels()
process_log.of_this_run = process_write
run_context.attempt = attempt
run_context.run = run
run_context.logger = run_logger
run_context.told = told
whose.here = whose_here
