"""The two drivers of a probing: without an event loop, and on one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from prefect_lifespan.engine import Engine, Observers, Options, Slot
from prefect_lifespan.engine.awaiting import end_of
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.places.thread import InThread
from prefect_lifespan.errors import InvalidContainerError, UsageError
from prefect_lifespan.graph import Node, graph_of, read, refusals
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.probing.course import WHERE, Course, NeedsEventLoop, Progress
from prefect_lifespan.probing.report import ProbeReport
from prefect_lifespan.probing.selecting import left_out, wanted
from prefect_lifespan.scope import current_scope

_CLOSE_TIMEOUT_SECONDS = 30.0  # as a lifespan has it


def probe(
    container: ContainerClass,
    *,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    timeout_seconds: float | None = None,
    retries: bool = False,
) -> ProbeReport:
    """Open each resource of a container, check its health, and close it, going on after a failure.

    One after another, what a resource needs before it: those of runs, of tasks and of the process, each once and for this
    alone, although others may be open. What needs something that has failed is skipped. A `health_check` of
    `@resource(...)` is called with the open value. In the end everything closes, in reverse, as after a run that
    succeeded; also when Ctrl-C interrupts it. No flow or task runs. Overrides that are in force hold.

    Where a resource is asynchronous, all of it runs on an event loop of its own; where none is, blocking initialisers run
    in the calling thread, as they do in a flow.

    Args:
        container: a dependency-injector DeclarativeContainer class.
        only: paths of the providers to probe, with what they need; all resources without.
        skip: paths of resources, or of sub-containers, that are not opened, nor what needs them.
        timeout_seconds: how long each may take to open, to be checked and to close; what hangs is left behind. Blocking
            ones run in threads of their own then. None: as their own policies say.
        retries: whether to open again after a failure, as their own policies say.

    Returns:
        The report; `report.ok` says whether nothing has failed, and printed, it is a line for each resource.

    Raises:
        InvalidContainerError: the container cannot be opened as it is declared; nothing has been opened.
        UsageError: a path that the container does not declare; or an event loop runs here, so `await aprobe(...)`.
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import probe, resource
        >>> @resource(health_check=lambda db: db.index("connection"))
        ... def open_db():
        ...     yield "a connection"
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(open_db)
        ...     model = providers.Resource(int, "no number")
        >>> [(each.path, each.status) for each in probe(App).resources]
        [('db', 'ok'), ('model', 'failed')]
    """
    return probed(Asked.of(container, only=only, skip=skip, timeout_seconds=timeout_seconds, retries=retries))


async def aprobe(
    container: ContainerClass,
    *,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    timeout_seconds: float | None = None,
    retries: bool = False,
) -> ProbeReport:
    """The same as `probe`, on the running event loop.

    Example:
        >>> import asyncio
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import aprobe
        >>> async def open_client():
        ...     yield "a client"
        >>> class App(containers.DeclarativeContainer):
        ...     client = providers.Resource(open_client)
        >>> [(each.path, each.status) for each in asyncio.run(aprobe(App)).resources]
        [('client', 'ok')]
    """
    asked = Asked.of(container, only=only, skip=skip, timeout_seconds=timeout_seconds, retries=retries)
    return await _on_loop(asked, _quietly)


def _quietly(_: object) -> None: ...


@dataclass(frozen=True)
class Asked:
    """What is to be probed, and how: checked, and nothing of it opened."""

    container: ContainerClass
    wanted: tuple[Node, ...]
    named: bool
    left_out: frozenset[int]
    timeout_seconds: float | None
    retries: bool

    @classmethod
    def of(
        cls,
        container: ContainerClass,
        *,
        only: Iterable[str] | None,
        skip: Iterable[str],
        timeout_seconds: float | None,
        retries: bool,
    ) -> Asked:
        """What the arguments of `probe` ask for; raises the same."""
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds is {timeout_seconds!r}; it must be greater than zero, or None")
        overrides = current_scope().overrides_for(require_container(container))
        graph = read(container, overrides) if overrides else graph_of(container)
        if problems := refusals(graph):
            raise InvalidContainerError(graph.container, problems)
        return cls(
            container=container,
            wanted=wanted(graph, only),
            named=only is not None,
            left_out=frozenset(left_out(graph, skip)),
            timeout_seconds=timeout_seconds,
            retries=retries,
        )

    @property
    def is_asynchronous(self) -> bool:
        """Whether an event loop is certainly needed."""
        return any(node.is_async for node in self.wanted if node.key not in self.left_out)

    def policy_for(self, own: Policy) -> Policy:
        """How a resource is opened and closed here, of what its own policy says."""
        limit = self.timeout_seconds
        return replace(
            own,
            retries=own.retries if self.retries else 0,
            open_timeout_seconds=_least(own.open_timeout_seconds, limit),
            close_timeout_seconds=_least(own.close_timeout_seconds, limit),
        )

    def prepared(self, progress: Progress, loop: asyncio.AbstractEventLoop | None) -> tuple[Engine, Course]:
        """An engine for these alone, with nothing open, and the course of it."""
        defaults = Policy(close_timeout_seconds=_CLOSE_TIMEOUT_SECONDS, retries=0, retry_delay_seconds=1.0)
        # More than one has blocking initialisers run in threads of their own, which can be left behind.
        workers = 1 if self.timeout_seconds is None else 2
        course = Course(progress)
        engine = Engine.of(
            self.container,
            name="a probe",
            options=Options(defaults, workers, observers=Observers((course.heard,))),
            overrides=current_scope().overrides_for(self.container),
            loop=loop,
            of_a_run=False,  # what lives as long as the process is opened anew: it may be in use
        )
        engine.serves_tasks = True
        for slot in engine.slots.values():
            slot.policy = self.policy_for(slot.policy)
        course.set_out(engine, self.wanted, self.left_out, named=self.named)
        return engine, course


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def probed(asked: Asked, progress: Progress = _quietly) -> ProbeReport:
    """Probe, and tell `progress` of each row as something becomes of it.

    Raises:
        UsageError: an event loop runs here.
    """
    if running_loop() is not None:
        raise UsageError(
            "probe(...) was called where an event loop runs, and it has one of its own: `await aprobe(...)`"
        )
    if not asked.is_asynchronous:
        try:
            return copy_context().run(_Blocking(asked, progress).run)
        except NeedsEventLoop:  # found out by opening it; all that was open has closed
            pass
    return asyncio.run(_on_loop(asked, progress))


class _Blocking:
    """A probing without an event loop."""

    def __init__(self, asked: Asked, progress: Progress) -> None:
        self._asked = asked
        self._engine, self._course = asked.prepared(progress, None)

    def run(self) -> ProbeReport:
        try:
            try:
                self._open_each()
            except BaseException as error:
                self._close(error)
                raise
            self._close(None)
        except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
            self._close(error)
            raise
        return _report(self._engine, self._course)

    def _open_each(self) -> None:
        for slot in self._course.to_open():
            with self._course.opening(slot):
                self._engine.open([slot], WHERE, in_callers_context=True)
            if slot.policy.health_check is not None and self._course.is_open(slot):
                with self._course.checking(slot):
                    check_health(slot, self._asked.timeout_seconds)

    def _close(self, outcome: BaseException | None) -> None:
        self._course.begin_close()
        if outcome is not None:
            self._engine.settle_interrupted(outcome)
        self._course.closed(self._engine.close(outcome))


def check_health(slot: Slot, limit_seconds: float | None) -> None:
    """Run the health check of an open resource, if it has one, without an event loop, in the thread it lives in.

    Raises:
        TimeoutError: no answer within the limit; it is left behind in its thread.
        Exception: the resource is unwell.
    """
    check = slot.policy.health_check
    if check is None:
        return
    place = slot.place
    checking = place.run(partial(_checked, check, slot.value)) if isinstance(place, InThread) else None
    if checking is None:
        _checked(check, slot.value)
        return
    if isinstance(place, InThread) and wait([checking], limit_seconds).not_done:
        place.leave_open()
        raise _late(limit_seconds)
    checking.result()


def _checked(check: Callable[[Any], object], value: object) -> None:
    result = check(value)
    if inspect.isawaitable(result):
        asyncio.run(_awaited(result))


async def _awaited(result: Awaitable[object]) -> None:
    await result


async def _on_loop(asked: Asked, progress: Progress) -> ProbeReport:
    """A probing on the running event loop."""
    engine, course = asked.prepared(progress, asyncio.get_running_loop())
    try:
        try:
            await _open_each_on_loop(asked, engine, course)
        except BaseException as error:
            course.begin_close()
            course.closed(await engine.aclose(error))
            raise
        course.begin_close()
        course.closed(await engine.aclose())
    except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
        course.closed(await engine.aclose(error))
        raise
    return _report(engine, course)


async def _open_each_on_loop(asked: Asked, engine: Engine, course: Course) -> None:
    for slot in course.to_open():
        with course.opening(slot):
            await engine.aopen([slot], WHERE, in_callers_context=True)
        check = slot.policy.health_check
        if check is not None and course.is_open(slot):
            with course.checking(slot):
                await _check_on_loop(slot, check, asked.timeout_seconds)


async def check_health_on_loop(slot: Slot, limit_seconds: float | None) -> None:
    """The same on the running event loop, which the resource lives on."""
    check = slot.policy.health_check
    if check is not None:
        await _check_on_loop(slot, check, limit_seconds)


async def _check_on_loop(slot: Slot, check: Callable[[Any], object], limit_seconds: float | None) -> None:
    limit = asyncio.timeout(limit_seconds)
    try:
        async with limit:
            result = await _called(slot, check)
            if inspect.isawaitable(result):
                await result
    except TimeoutError as error:
        if not limit.expired():
            raise
        if isinstance(slot.place, InThread):
            slot.place.leave_open()
        raise _late(limit_seconds) from error


def _late(limit_seconds: float | None) -> TimeoutError:
    return TimeoutError(f"no answer within {limit_seconds:g} s")


async def _called(slot: Slot, check: Callable[[Any], object]) -> object:
    checking = slot.place.run(partial(check, slot.value)) if isinstance(slot.place, InThread) else None
    if checking is None:
        return check(slot.value)
    await end_of(checking)
    return checking.result()


def _report(engine: Engine, course: Course) -> ProbeReport:
    return ProbeReport(engine.graph.container, tuple(row.result for row in course.rows))
