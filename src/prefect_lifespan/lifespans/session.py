"""One lifespan from entering to leaving: joins the one in force or opens its own, and closes it after its last task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled

from prefect_lifespan.engine import CloseReport, Engine, Observers, Options, logging_to, process_engines
from prefect_lifespan.engine.awaiting import uninterrupted
from prefect_lifespan.engine.face import ProcessEngine
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.engine.opening import without_loop
from prefect_lifespan.engine.persistence import apersist, persist
from prefect_lifespan.engine.schedule.standing import Abandoned
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.errors import AsyncResourceError
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_force import InForce
from prefect_lifespan.injection.runs_without import runs_without
from prefect_lifespan.lifespans.asked import Settings
from prefect_lifespan.lifespans.elsewhere import Elsewhere, told_now
from prefect_lifespan.lifespans.futures import Future, PendingFutures, futures_in
from prefect_lifespan.lifespans.grace import Grace
from prefect_lifespan.lifespans.prefect_methods import watch_submissions
from prefect_lifespan.lifespans.prefect_run import flow_logger, is_termination, run_name, send_log
from prefect_lifespan.lifespans.seen import Seen
from prefect_lifespan.overrides import providers_for, stacked
from prefect_lifespan.overriding import tell_of_copies
from prefect_lifespan.process_wide import process_wide
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Scope, current_scope, enter, leave
from prefect_lifespan.signal_safe import aclosed_after, awaited_within, closed_after, steps_closed_after

T = TypeVar("T")


class Session:
    """One entering of a lifespan: opened, perhaps entered, then closed with the outcome of the body.

    `parameters` are those of a flow, None for a `with` block. Once it begins to open, `close` is due. An exception may
    interrupt each of these before any line; `close` is then called again, and goes on where it was.
    """

    def __init__(
        self,
        settings: Settings,
        parameters: Mapping[str, Any] | None,
        *,
        name: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._settings = settings
        self._process = os.getpid()
        self._parameters = parameters
        self._name = name
        self._loop = loop
        self.outer: Scope = current_scope()
        self.scope: Scope = self.outer
        self.pending: PendingFutures = PendingFutures()
        self._in_force: InForce | None = None
        self._joined = False
        self._closes_process = False  # the outermost block ends what lives as long as the process, too
        self._returned: list[Future] = []
        self._report: CloseReport | None = None
        self._grace: Grace | None = None
        self._has_told_left_behind = False
        self._elsewhere: Elsewhere | None = None
        self._seen = Seen()
        self.is_closed: bool = False

    def _begin(self) -> Engine:
        """Decide what this lifespan stands on; nothing is open yet.

        Raises:
            InvalidContainerError: the container cannot be opened as it is declared and overridden.
            UsageError: an override of a provider that does not exist.
        """
        settings, outer = self._settings, self.outer
        given = settings.overrides(**(self._parameters or {})) if callable(settings.overrides) else settings.overrides
        joinable = outer.innermost(settings.container) if settings.share and not given else None
        self._closes_process = self._parameters is None and outer.innermost(settings.container) is None
        if joinable is not None:
            self._joined = True
            # A block that joined closes nothing, so it has nothing to wait for; in a task it might wait for a place in
            # the very pool that the task fills. A flow that joined waits: Prefect would drop what it has submitted.
            self._in_force = joinable.joined_by(None if self._parameters is None else self.pending)
        else:
            # What is overridden around a lifespan, by a test, stands over what the lifespan brings itself.
            overrides = stacked([_by_key(settings.container, given), outer.overrides_for(settings.container)])
            logger = flow_logger()
            engine = Engine.of(
                settings.container,
                name=run_name(self._name),
                options=Options(settings.policy, settings.max_workers, Observers(), logging_to(logger)),
                overrides=overrides,
                loop=self._loop,
            )
            self._in_force = InForce(lambda: engine, outer.overrides, self.pending, logger=logger)
        self._seen = Seen.of(self._in_force, settings, joined=self._joined)
        process_engines.enter(self._in_force.engine.process_keys, self)
        if settings.everywhere:
            process_wide.announce(self._in_force)
        if (run := run_context.run()) is not None:
            runs_without.has_one(run, settings.container)
        watch_submissions()
        self.scope = Scope((*outer.lifespans, self._in_force), outer.overrides, outer.call_scope)
        return self.engine

    @property
    def engine(self) -> Engine:
        """The engine, as overrides entered since a joined lifespan was opened see it."""
        assert self._in_force is not None, "it has begun"
        return self._in_force.under(self.scope.overrides)

    def is_in_force(self) -> bool:
        """Whether this lifespan is in force here."""
        return self._in_force in current_scope().lifespans

    @property
    def container(self) -> Any:
        """The container instance, in a task with what is the task's own."""
        return (self.scope.view(self.engine, "the lifespan") if self._joined else self.engine).instance

    def open(self) -> None:
        """Open what is wanted at once."""
        engine = self._begin()
        if self._settings.eager is True:
            engine.settings.make()
            self._open_what_needs_no_loop(engine)
        else:
            try:
                engine.open(self._wanted(engine), engine.schedule.name, in_callers_context=not self._joined)
            except AsyncResourceError as error:
                add_note(error, "eager=[...] names it: what is left out there opens at its first use")
                raise
        self._is_open()

    async def aopen(self) -> None:
        """The same on the running event loop."""
        engine = self._begin()
        if self._settings.eager is True:
            await engine.settings.amake()
        await engine.aopen(self._wanted(engine), engine.schedule.name, in_callers_context=not self._joined)
        self._is_open()

    def enter(self) -> Any:
        """Be in force here until it closes; gives the container instance."""
        enter(self.scope)
        return self.container

    def around(self, body: Callable[[], T]) -> T:
        """Open, let `body` run in force here, and close with its outcome; gives what it returns."""

        def run() -> T:
            self.open()
            self.enter()
            return self.returns(body())

        return closed_after(run, self.close)

    async def aaround(self, body: Callable[[], Awaitable[T]]) -> T:
        """The same on the running event loop."""

        async def run() -> T:
            await self.aopen()
            self.enter()
            return self.returns(await body())

        return await aclosed_after(run, self.aclose)

    def stepping(self, body: Callable[[], Generator[Any, Any, T]]) -> Generator[Any, Any, T]:
        """The same for the steps of a generator, which see to what is in force in each."""

        def run() -> Generator[Any, Any, T]:
            self.open()
            return (yield from body())

        return steps_closed_after(run, self.close)

    def returns(self, value: T) -> T:
        """The value of the body: futures in it are the run's result, and are resolved even where others are dropped."""
        if self._settings.pending == "cancel":
            self._returned = futures_in(value)
        return value

    def close(self, outcome: BaseException | None) -> None:
        """Wait for the last task, then close with the outcome; see `settle` of the report for what is raised.

        Nothing in a forked child that gets here: all of it is the parent's.
        """
        in_force = self._leave()
        if self.is_closed or in_force is None or self._process != os.getpid():
            return
        report = self._reported(outcome)
        in_force.engine.settle_interrupted(report.interruption or report.outcome or Abandoned())
        self._seen.waiting()
        persist(report, self._wait_for_tasks)
        self._seen.waited()
        persist(report, lambda: self._in_other_processes(in_force).close(report))
        if not self._joined:
            persist(report, lambda: report.merge(in_force.engine.close(told_now(report))))
        persist(report, partial(process_wide.remove, in_force))  # till then calls under way go on with it anywhere
        for engine in self._leave_process(report):
            persist(report, partial(self._close_of_the_process, engine, report))
        persist(report, partial(self._seen.end, report))
        if is_termination(report.interruption or report.outcome) and not self._joined:
            persist(report, send_log)
        self.is_closed = True
        report.settle()

    async def aclose(self, outcome: BaseException | None) -> None:
        """The same on the running event loop, whatever cancels the caller meanwhile."""
        in_force = self._leave()
        if self.is_closed or in_force is None or self._process != os.getpid():
            return
        report = self._reported(outcome)
        self._seen.waiting()
        if Grace.after(report.interruption or report.outcome).seconds is None:
            # Signals are not held back yet: nothing else ends a waiting that has no limit.
            try:
                await self.pending.wait_async(only=self._returned)
                self._cancel_queued(report.outcome)
                for is_last in self._until_left(None):
                    await self.pending.wait_async(is_last=is_last)
            except BaseException as interruption:
                report.interrupted(interruption)
        await awaited_within(held_signals.back(), lambda _: self._close_on_loop(in_force, report))
        self.is_closed = True
        report.settle()

    async def _close_on_loop(self, in_force: InForce, report: CloseReport) -> None:
        # Prefect's timeouts are anyio's, and cancel again at each turn of the event loop as long as one waits.
        with CancelScope(shield=True): await self._close_each_on_loop(in_force, report)  # noqa: E701 # fmt: skip
        try:
            await checkpoint_if_cancelled()
        except asyncio.CancelledError as cancelled:
            report.interrupted(cancelled)

    def _is_open(self) -> None:
        """What was to be open at once is."""
        assert self._in_force is not None, "it has begun"
        process_wide.note_open(self._in_force)
        if not self._joined:
            tell_of_copies(self._in_force, self._in_force.overrides)
        if self._settings.everywhere:
            process_wide.add(self._in_force)

    def _open_what_needs_no_loop(self, engine: Engine) -> None:
        """Open all that can be opened here, without an event loop, and leave the rest to its first use."""
        wanted = self._wanted(engine)
        here, waiting = without_loop(wanted, engine.needs)
        while True:
            try:
                engine.open(here, engine.schedule.name, in_callers_context=not self._joined)
                break
            except AsyncResourceError:
                # An initialiser turned out to be asynchronous that did not look it.
                known, (here, waiting) = len(waiting), without_loop(wanted, engine.needs)
                if len(waiting) == known:
                    raise
        in_force = self._in_force
        if waiting and in_force is not None:
            names = ", ".join(slot.path for slot in waiting)
            in_force.logger.debug("Left to first use, as there is no event loop here to open them on: %s", names)

    async def _close_each_on_loop(self, in_force: InForce, report: CloseReport) -> None:
        await apersist(report, partial(self._wait_on_loop, report))
        self._seen.waited()
        await apersist(report, lambda: self._in_other_processes(in_force).aclose(report))
        if not self._joined:

            async def close() -> None:
                report.merge(await in_force.engine.aclose(told_now(report)))

            await apersist(report, close)
        persist(report, partial(process_wide.remove, in_force))
        for engine in self._leave_process(report):

            async def close_of_the_process(engine: ProcessEngine = engine) -> None:
                closing = asyncio.to_thread(self._close_of_the_process, engine, report)
                report.interrupted(await uninterrupted(closing))

            await apersist(report, close_of_the_process)
        await apersist(report, partial(self._seen.aend, report))

    async def _wait_on_loop(self, report: CloseReport) -> None:
        grace = self._grace = self._grace or Grace.after(report.interruption or report.outcome)
        if grace.seconds is not None:
            self.pending.cancel_queued()
            for is_last in self._until_left(None):
                waiting = self.pending.wait_async(grace.left, is_last=is_last)
                report.interrupted(await uninterrupted(waiting, self._tell_unless))

    def _leave(self) -> InForce | None:
        """Be in force here no more."""
        leave(self.scope, self.outer)
        return self._in_force

    def _reported(self, outcome: BaseException | None) -> CloseReport:
        """The report of this closing, perhaps of one that `outcome` has interrupted."""
        if self._report is None:
            self._report = CloseReport(self._settings.container.__qualname__, outcome)
        self._report.interrupted(outcome)
        return self._report

    def _left(self) -> float | None:
        return None if self._grace is None else self._grace.left

    def _wait_for_tasks(self) -> None:
        """Wait for submitted tasks; called again after a signal, for those that run, and after another one no more."""
        report = self._report
        assert report is not None, "it closes"
        ending = report.interruption or report.outcome
        if self._grace is None:
            self._grace = Grace.after(ending)
        else:
            self._grace = self._grace.after_another_signal()
        if report.interruption is None:
            self.pending.wait(self._grace.left, self._returned)
        self._cancel_queued(ending)
        for is_last in self._until_left(running_loop()):
            if not self.pending.wait(self._grace.left, is_last=is_last):
                self._tell_left_behind()

    def _until_left(self, held_up: asyncio.AbstractEventLoop | None) -> Iterator[bool]:
        """Once to wait for the last call and task; when nobody is let in any more, for others. Gives whether it is the last time."""
        yield self._joined
        if self._joined or self._in_force is None:
            return
        self._in_force.let_nobody_in()
        if self.pending.left(held_up):
            yield True

    def _in_other_processes(self, in_force: InForce) -> Elsewhere:
        if self._elsewhere is None:
            self._elsewhere = Elsewhere(in_force, joined=self._joined, hear=self._seen.hear, left=self._left)
        return self._elsewhere

    def _close_of_the_process(self, engine: ProcessEngine, report: CloseReport) -> None:
        report.merge(engine.close(run_context.told(report.told)))
        process_engines.forget(engine)

    def _wanted(self, engine: Engine) -> Sequence[Any]:
        eager = self._settings.eager
        keys = (
            (None if eager else ()) if isinstance(eager, bool) else [k for each in eager for k in engine.keys_of(each)]
        )
        slots = engine.eager(keys)
        if not self._joined:
            return slots
        # In a joined lifespan what belongs to another event loop opens where it is used.
        return [slot for slot in slots if not slot.asynchronous or slot.schedule.loop is running_loop()]

    def _leave_process(self, report: CloseReport) -> list[ProcessEngine]:
        """The process's engines that are to be closed with this lifespan: its outermost block ended, or all ends."""
        assert self._in_force is not None, "it has begun"
        closing = self._closes_process or is_termination(report.interruption or report.outcome)
        return process_engines.leave(self._in_force.engine.process_keys, self, closing=closing)

    def _cancel_queued(self, outcome: BaseException | None) -> None:
        """Cancel what has not begun, where the body failed or the lifespan was asked to."""
        if outcome is not None or self._settings.pending == "cancel":
            self.pending.cancel_queued()

    def _tell_unless(self, done: bool) -> None:
        if not done:
            self._tell_left_behind()

    def _tell_left_behind(self) -> None:
        grace = None if self._grace is None else self._grace.seconds
        # Closing that a signal has interrupted at its end goes through all of its steps again.
        if self._has_told_left_behind or not self.pending.names():
            return
        flow_logger().warning(
            "Still running after a grace of %g s, their resources close now: %s",
            grace or 0.0,
            ", ".join(self.pending.names()),
        )
        self._has_told_left_behind = True


def _by_key(container: ContainerClass, given: object) -> Mapping[int, AnyProvider]:
    """The overriding providers that a lifespan brings, by the identity of what they override."""
    if not given:
        return {}
    graph = graph_of(container)
    return {graph.by_path[path]: provider for path, provider in providers_for(graph, cast("Any", given)).items()}
