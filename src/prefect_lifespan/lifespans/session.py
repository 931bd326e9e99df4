"""One lifespan from entering to leaving: joins the one in force or opens its own, and closes it after its last task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from time import monotonic
from typing import Any, Literal, TypeVar, cast

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled
from prefect.context import FlowRunContext

from prefect_lifespan.engine import CloseReport, Engine, Listener, Options, logging_to, process_engines
from prefect_lifespan.engine.hosting import uninterrupted
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import without_loop
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.errors import AsyncResourceError, UsageError
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.runs_without import runs_without
from prefect_lifespan.layers import providers_for, stacked
from prefect_lifespan.lifespans.futures import Future, PendingFutures, futures_in, watch_submissions
from prefect_lifespan.lifespans.prefect_run import flow_logger, is_suspension, is_termination, run_name, send_log
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.process_wide import process_wide
from prefect_lifespan.scope import InForce, Reached, Scope, current_scope
from prefect_lifespan.surroundings import surroundings

# How long tasks that run when their run is terminated may go on using its resources.
TERMINATION_GRACE_SECONDS = 10.0

T = TypeVar("T")
Overrides = Mapping[str, object] | Callable[..., Mapping[str, object]] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a lifespan was asked for."""

    container: ContainerClass
    overrides: Overrides
    eager: bool | Sequence[AnyProvider | str]  # not by identity: it is another one in another process
    share: bool
    max_workers: int
    policy: Policy
    pending: Literal["wait", "cancel"]
    everywhere: bool = False
    listeners: tuple[Listener, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """A flow's function is pickled with every task that goes to another process, where nobody may ever call it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        # Observers stay where they can be heard.
        return _arrived, ({**values, "overrides": _portable(self.overrides), "listeners": ()},)


def _told(report: CloseReport) -> BaseException | None:
    """What the run's resources are told that close now."""
    return surroundings.told(report.told) or report.interruption


def _arrived(values: dict[str, Any]) -> Settings:
    return Settings(**values)


def _portable(overrides: Overrides) -> Overrides:
    """Overrides as they travel: ones that cannot be pickled are left behind, and missed where they are asked for."""
    if overrides is None or callable(overrides):
        return overrides
    try:
        cast("Any", cloudpickle).dumps(overrides)
    except Exception as error:
        return LeftBehind(sorted(overrides), f"{type(error).__name__}: {error}")
    return overrides


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Overrides that did not arrive in this process."""

    paths: list[str]
    why: str

    def __call__(self, **_: object) -> Mapping[str, object]:
        raise UsageError(
            f"this flow's lifespan overrides {', '.join(self.paths)} with what cannot be pickled, so it cannot run in "
            f"another process ({self.why}); give providers that make it there, or a function that returns them"
        )


@dataclass(frozen=True, slots=True)
class Grace:
    """The seconds that running tasks have from now on, wherever they are waited for; None for no limit."""

    seconds: float | None
    since: float = field(default_factory=monotonic)

    @property
    def left(self) -> float | None:
        """What is left of it."""
        return None if self.seconds is None else max(0.0, self.seconds - (monotonic() - self.since))


class Session:
    """One entering of a lifespan; made by `begin`, then opened, then closed with the outcome of the body."""

    def __init__(
        self,
        settings: Settings,
        in_force: InForce,
        scope: Scope,
        pending: PendingFutures,
        *,
        joined: bool,
    ) -> None:
        self._settings = settings
        self._process = os.getpid()
        self._in_force = in_force
        self._joined = joined
        self.closes_process = False  # the outermost block ends what lives as long as the process, too
        self.scope = scope
        self.pending = pending
        self._returned: list[Future] = []

    @classmethod
    def begin(
        cls,
        settings: Settings,
        parameters: Mapping[str, Any] | None,
        *,
        name: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Session:
        """Decide what this lifespan stands on; nothing is open yet.

        `parameters` are those of a flow, None for a `with` block.

        Raises:
            InvalidContainerError: the container cannot be opened as it is declared and overridden.
            UsageError: an override of a provider that does not exist.
        """
        outer = current_scope()
        given = settings.overrides(**(parameters or {})) if callable(settings.overrides) else settings.overrides
        joinable = outer.innermost(settings.container) if settings.share and not given else None
        pending = PendingFutures()
        if joinable is not None:
            # A block that joined closes nothing, so it has nothing to wait for; in a task it might wait for a place in
            # the very pool that the task fills. A flow that joined waits: Prefect would drop what it has submitted.
            in_force = joinable.joined_by(None if parameters is None else pending)
        else:
            graph = graph_of(settings.container)
            named = {graph.by_path[path]: p for path, p in providers_for(graph, given or {}).items()}
            # What is overridden around a lifespan, by a test, stands over what the lifespan brings itself.
            overrides = stacked([named, outer.overrides_for(settings.container)])
            logger = flow_logger()
            engine = Engine.of(
                settings.container,
                name=run_name(name),
                options=Options(settings.policy, settings.max_workers, settings.listeners, logging_to(logger)),
                overrides=overrides,
                loop=loop,
            )
            in_force = InForce(lambda: engine, outer.layers, pending, logger=logger)
        scope = Scope((*outer.lifespans, in_force), outer.layers, outer.unit)
        if settings.everywhere:
            process_wide.announce(in_force)
        if (run := surroundings.run()) is not None:
            runs_without.has_one(run, settings.container)
        process_engines.enter(in_force.engine.process_keys)
        watch_submissions()
        session = cls(settings, in_force, scope, pending, joined=joinable is not None)
        session.closes_process = parameters is None and outer.innermost(settings.container) is None
        return session

    @property
    def engine(self) -> Engine:
        """The engine, as overrides entered since a joined lifespan was opened see it."""
        return self._in_force.under(self.scope.layers)

    def is_in_force(self) -> bool:
        """Whether this lifespan is in force here."""
        return self._in_force in current_scope().lifespans

    @property
    def container(self) -> Any:
        """The container instance, in a task with what is the task's own."""
        return (self.scope.view(self.engine, "the lifespan") if self._joined else self.engine).instance

    def open(self) -> None:
        """Open what is wanted at once; what was open is closed again when that fails."""
        engine = self.engine
        try:
            if self._settings.eager is True:
                engine.settings.make()
                self._open_what_needs_no_loop(engine)
            else:
                engine.open(self._wanted(engine), engine.ledger.name, in_callers_context=not self._joined)
            self._is_open()
        except BaseException as error:
            process_wide.remove(self._in_force)
            if not self._joined:
                engine.close(error).settle()
            for ended in self._leave_process(error):
                ended.close(error).settle()
            raise

    async def aopen(self) -> None:
        """The same on the running event loop."""
        engine = self.engine
        try:
            if self._settings.eager is True:
                await engine.settings.amake()
            await engine.aopen(self._wanted(engine), engine.ledger.name, in_callers_context=not self._joined)
            self._is_open()
        except BaseException as error:
            process_wide.remove(self._in_force)
            if not self._joined:
                (await engine.aclose(error)).settle()
            for ended in self._leave_process(error):
                (await asyncio.to_thread(ended.close, error)).settle()
            raise

    def returns(self, value: T) -> T:
        """The value of the body: futures in it are the run's result, and are resolved even where others are dropped."""
        if self._settings.pending == "cancel":
            self._returned = futures_in(value)
        return value

    def close(self, outcome: BaseException | None) -> None:
        """Wait for the last task, then close with the outcome; see `settle` of the report for what is raised.

        Nothing in a forked child that gets here: all of it is the parent's.
        """
        if self._process != os.getpid():
            return
        report = CloseReport(self._settings.container.__qualname__, outcome)
        grace = self._grace(outcome)
        process_wide.remove(self._in_force)
        try:
            self.pending.wait(grace.left, self._returned)
            self._cancel_queued(outcome)
            if not self.pending.wait(grace.left):
                self._tell_left_behind(grace.seconds)
        except BaseException as interruption:
            report.interrupted(interruption)
            if grace.seconds is None:  # the first signal; with a second one there is no more waiting
                grace = self._wait_again_for_the_running()
            else:
                grace = Grace(0.0)
                self._tell_left_behind(grace.seconds)
        for reached in self._elsewhere():
            try:
                report.merge(reached.close(_told(report), grace.left))
            except BaseException as interruption:  # a second signal: the others are tried all the same
                report.interrupted(interruption)
        if not self._joined:
            report.merge(self._in_force.engine.close(_told(report)))
        for engine in self._leave_process(report.interruption or outcome):
            report.merge(engine.close(surroundings.told(report.told)))
        self._send_last_log(report)
        report.settle()

    def _send_last_log(self, report: CloseReport) -> None:
        if is_termination(report.interruption or report.outcome) and not self._joined:
            try:
                send_log()
            except BaseException as interruption:  # a second signal
                report.interrupted(interruption)

    async def aclose(self, outcome: BaseException | None) -> None:
        """The same on the running event loop, whatever cancels the caller meanwhile."""
        if self._process != os.getpid():
            return
        report = CloseReport(self._settings.container.__qualname__, outcome)
        process_wide.remove(self._in_force)
        if self._grace(outcome).seconds is None:
            # Signals are not held back yet: nothing else ends a waiting that has no limit.
            try:
                await self.pending.wait_async(only=self._returned)
                self._cancel_queued(outcome)
                await self.pending.wait_async()
            except BaseException as interruption:
                report.interrupted(interruption)
        with held_signals.back():
            await self._close_on_loop(report)
        report.settle()

    async def _close_on_loop(self, report: CloseReport) -> None:
        ending = report.interruption or report.outcome
        # Prefect's timeouts are anyio's, and cancel again at each turn of the event loop as long as one waits.
        with CancelScope(shield=True):
            grace = self._grace(ending)
            if grace.seconds is not None:
                self.pending.cancel_queued()
                waiting = self.pending.wait_async(grace.left)
                report.interrupted(await uninterrupted(waiting, self._tell_unless))
            for reached in self._elsewhere():
                closing = asyncio.to_thread(reached.close, _told(report), grace.left)
                report.interrupted(await uninterrupted(closing, report.merge))
            if not self._joined:
                report.merge(await self._in_force.engine.aclose(_told(report)))
            for engine in self._leave_process(ending):
                closing = asyncio.to_thread(engine.close, surroundings.told(report.told))
                report.interrupted(await uninterrupted(closing, report.merge))
        try:
            await checkpoint_if_cancelled()
        except asyncio.CancelledError as cancelled:
            report.interrupted(cancelled)

    def _is_open(self) -> None:
        """What was to be open at once is."""
        process_wide.note_open(self._in_force)
        if self._settings.everywhere:
            process_wide.add(self._in_force)

    def _open_what_needs_no_loop(self, engine: Engine) -> None:
        """Open all that can be opened here, without an event loop, and leave the rest to its first use."""
        wanted = self._wanted(engine)
        here, waiting = without_loop(wanted, engine.needs)
        while True:
            try:
                engine.open(here, engine.ledger.name, in_callers_context=not self._joined)
                break
            except AsyncResourceError:
                # An initialiser turned out to be asynchronous that did not look it.
                known, (here, waiting) = len(waiting), without_loop(wanted, engine.needs)
                if len(waiting) == known:
                    raise
        if waiting:
            names = ", ".join(slot.path for slot in waiting)
            self._in_force.logger.debug("Left to first use, as there is no event loop here to open them on: %s", names)

    def _wanted(self, engine: Engine) -> Sequence[Any]:
        eager = self._settings.eager
        keys = (
            (None if eager else ()) if isinstance(eager, bool) else [k for each in eager for k in engine.keys_of(each)]
        )
        slots = engine.eager(keys)
        if not self._joined:
            return slots
        # In a joined lifespan what belongs to another event loop opens where it is used.
        return [slot for slot in slots if not slot.asynchronous or slot.ledger.loop is running_loop()]

    def _elsewhere(self) -> Sequence[Reached]:
        """The other processes to close in now: all, or where this lifespan joined one, those that end with its run."""
        if not self._joined:
            return self._in_force.elsewhere()
        run = FlowRunContext.get()
        return [] if run is None or self._in_force.pending is None else self._in_force.ending_with(run.task_runner)

    def _leave_process(self, outcome: BaseException | None) -> list[Engine]:
        """The process's engines that are to be closed with this lifespan: its outermost block ended, or all ends."""
        closing = self.closes_process or is_termination(outcome)
        return process_engines.leave(self._in_force.engine.process_keys, closing=closing)

    def _cancel_queued(self, outcome: BaseException | None) -> None:
        """Cancel what has not begun, where the body failed or the lifespan was asked to."""
        if outcome is not None or self._settings.pending == "cancel":
            self.pending.cancel_queued()

    @staticmethod
    def _grace(outcome: BaseException | None) -> Grace:
        """How long running tasks are waited for."""
        interrupted = outcome is not None and not isinstance(outcome, (Exception, GeneratorExit))
        return Grace(TERMINATION_GRACE_SECONDS if interrupted and not is_suspension(outcome) else None)

    def _wait_again_for_the_running(self) -> Grace:
        self.pending.cancel_queued()
        grace = Grace(TERMINATION_GRACE_SECONDS)
        try:
            if not self.pending.wait(grace.left):
                self._tell_left_behind(grace.seconds)
        except BaseException:
            return Grace(0.0)  # a second signal: no more waiting, close
        return grace

    def _tell_unless(self, done: bool) -> None:
        if not done:
            self._tell_left_behind(TERMINATION_GRACE_SECONDS)

    def _tell_left_behind(self, grace: float | None) -> None:
        if not self.pending.names():
            return
        flow_logger().warning(
            "Still running after a grace of %g s, their resources close now: %s",
            grace or 0.0,
            ", ".join(self.pending.names()),
        )
