"""Which lifespans and overrides are in force here: one context variable, and what is read from it.

A scope is immutable; entering a lifespan or an override makes a new one. It travels wherever context variables do:
threads that Prefect submits tasks to, asyncio tasks, subflows.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from prefect_lifespan.generator_steps import astepping, stepping
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_flight import NOBODY, NOWHERE, Flight, Home, RunningCall, task_on
from prefect_lifespan.in_force import InForce
from prefect_lifespan.managers import GeneratorManager, manager
from prefect_lifespan.overrides import EnteredOverride, stacked
from prefect_lifespan.process_wide import process_wide
from prefect_lifespan.run_context import run_context
from prefect_lifespan.signal_safe import under

if TYPE_CHECKING:
    from prefect_lifespan.call_scope import CallScope
    from prefect_lifespan.engine import Engine

R = TypeVar("R")
# The values of a function's injected parameters, or what gives them: None, where they are not at hand for the caller.
Gives = Callable[[], tuple[Any, ...] | None]
Kept = tuple[Any, ...] | Gives
# The same as a call unpacks it without asking which of the two it is: the values, and None; or None for each, and what gives them.
Prepared = tuple[Any, ...]


def at_hand(kept: Kept | None) -> tuple[Any, ...] | None:
    """The values, where they are at hand still."""
    return cast("Callable[[], Any]", kept)() if callable(kept) else kept


def prepared(kept: Kept, number: int) -> Prepared:
    """What is kept of so many values, as a call unpacks it."""
    return (*((None,) * number), kept) if callable(kept) else (*kept, None)


def _nothing() -> None:
    """What gives nothing, in the place of what is not kept."""


_NOTHING: Prepared = (_nothing,)
MOST_PREPARED = 1024  # functions that a scope keeps something for, where nothing tells that they have gone


class Ground:
    """What a scope stands on: the lifespans in force, innermost last, and the overrides; and what is kept for calls there.

    `references` is what stands for it in other processes. `prepared` is injection's: for each function the values of its
    parameters, or what gives them. It is replaced by an empty one when a value is withdrawn, so what was found before that
    is kept in one that nobody looks into any more. `home` knows the thread, and `task` is the asyncio task, whose calls are
    not counted, as in `flight`; no thread and no task, as long as nobody has asked for that.
    """

    __slots__ = (
        *("__weakref__", "_entered", "_flight", "_overrides", "_process", "_watched"),
        *("home", "loop", "prepared", "references", "task"),
    )

    def __init__(self, lifespans: tuple[InForce, ...], overrides: tuple[EnteredOverride, ...]) -> None:
        self._process = os.getpid()
        self._entered = lifespans
        self._overrides = tuple(override for override in overrides if not override.everywhere)
        self.prepared: dict[str, Prepared] = {}
        self.home: Home = NOWHERE
        self.task: object = NOBODY
        self.loop: object = NOBODY
        self._flight: Flight | None = None
        self._watched: dict[str, weakref.ref[object]] = {}
        self.references: dict[object, Any] = {}

    @property
    def entered(self) -> tuple[InForce, ...]:
        """The lifespans that were entered in this context; what a parent process has entered is not there in its child."""
        return self._entered if self._process == os.getpid() else ()

    @property
    def lifespans(self) -> tuple[InForce, ...]:
        """The lifespans in force, innermost last: those of all contexts, and over them those entered in this one."""
        everywhere = process_wide.lifespans
        if not everywhere:
            return self.entered
        return (*(lifespan for lifespan in everywhere if lifespan not in self.entered), *self.entered)

    @property
    def overrides(self) -> tuple[EnteredOverride, ...]:
        """The overrides in force, the one that was entered last in the end: of this context, and of all."""
        everywhere = process_wide.overrides
        if not everywhere:
            return self._overrides
        return tuple(sorted((*everywhere, *self._overrides), key=lambda override: override.number))

    @property
    def in_force(self) -> object:
        """What anything that is prepared here is prepared for."""
        return (self.lifespans, self.overrides)

    def keep(self, key: str, kept: Prepared, *, found: tuple[dict[str, Prepared], object], lives_with: object) -> None:
        """Keep a function's values, or what gives them, as long as an object lives.

        `found` are `prepared` and `in_force` as they were before it was looked for: what was withdrawn or came into force
        since makes it void.
        """
        under(process_wide.lock, self._keep, key, kept, found, lives_with)

    def _keep(self, key: str, kept: Prepared, found: tuple[dict[str, Prepared], object], lives_with: object) -> None:
        prepared, in_force = found
        if prepared is not self.prepared or in_force != self.in_force:
            return
        process_wide.prepared_in.add(self)
        # Functions may come and go by the thousand in a long lifespan. In a worker each task brings its function
        # anew, and what was prepared for the last one serves the next: there only their number is bounded.
        while len(prepared) >= MOST_PREPARED:
            prepared.pop(next(iter(prepared)), None)
        if lives_with is not None:
            forget = functools.partial(_forget, key, self._watched, prepared)
            self._watched[key] = weakref.ref(lives_with, forget)
        prepared[key] = kept

    def at_hand(self, key: str) -> tuple[Any, ...] | None:
        """A function's values, where something is kept for it that gives them here."""
        *values, gives = self.prepared.get(key, _NOTHING)
        return tuple(values) if gives is None else gives()

    def withdraw(self) -> None:
        """Give nothing any more of what was prepared."""
        self.prepared, self._watched = {}, {}

    def forget(self) -> None:
        """What is in force everywhere has changed: nothing that was prepared or counted here holds."""
        self.home, self.task, self.loop = NOWHERE, NOBODY, NOBODY
        self._flight = None
        self.withdraw()

    @property
    def flight(self) -> Flight:
        """Where the calls here are counted, for the lifespans that wait for them."""
        flight = self._flight
        if flight is None:
            lifespans, overrides = self.lifespans, self.overrides
            flight = Flight(tuple(each.pending.calls for each in lifespans if each.pending is not None))
            under(process_wide.lock, self._count_in, flight, (lifespans, overrides))
        return flight

    def _count_in(self, flight: Flight, in_force: object) -> None:
        if in_force == self.in_force:
            process_wide.prepared_in.add(self)
            self._flight = flight
            self.home, self.task, self.loop = flight.home, flight.task, flight.loop


class Scope:
    """The lifespans and overrides in force, and the call scope; all as of one point.

    `call_scope` holds what lives as long as a task run's attempt or an injected call.
    """

    __slots__ = ("__weakref__", "_call_scope", "_process", "ground")

    def __init__(
        self,
        lifespans: tuple[InForce, ...] = (),
        overrides: tuple[EnteredOverride, ...] = (),
        call_scope: CallScope | None = None,
        *,
        ground: Ground | None = None,
    ) -> None:
        self._process = os.getpid()
        self._call_scope = call_scope
        self.ground: Ground = Ground(lifespans, overrides) if ground is None else ground

    def working_in(self, call_scope: CallScope) -> Scope:
        """The same with another call scope."""
        return Scope(call_scope=call_scope, ground=self.ground)

    @property
    def call_scope(self) -> CallScope | None:
        """The call scope, in the process that it was begun in."""
        return self._call_scope if self._process == os.getpid() else None

    @property
    def call_scope_here(self) -> CallScope | None:
        """The call scope, where it is of the attempt that the caller is in."""
        call_scope = self.call_scope
        return call_scope if call_scope is not None and call_scope.attempt == run_context.attempt() else None

    @property
    def entered(self) -> tuple[InForce, ...]:
        """The lifespans that were entered in this context."""
        return self.ground.entered

    @property
    def lifespans(self) -> tuple[InForce, ...]:
        """The lifespans in force, innermost last."""
        return self.ground.lifespans

    @property
    def overrides(self) -> tuple[EnteredOverride, ...]:
        """The overrides in force, the one that was entered last in the end."""
        return self.ground.overrides

    @property
    def references(self) -> dict[object, Any]:
        """What stands for it in other processes."""
        return self.ground.references

    @property
    def flight(self) -> Flight:
        """Where the calls in this scope are counted, for the lifespans that wait for them."""
        return self.ground.flight

    def in_force(self) -> GeneratorManager[None]:
        """Let this scope be in force for a body."""
        return activated(self)

    def around(self, body: Callable[[], R]) -> R:
        """What `body` returns that runs with this scope in force."""
        token = None
        try:
            try:
                token = _scope.set(self)
                return body()
            finally:
                _reset(token)
        finally:  # where a signal has interrupted that
            _reset(token)

    async def aaround(self, body: Callable[[], Awaitable[R]]) -> R:
        """The same for a coroutine function."""
        token = None
        try:
            try:
                token = _scope.set(self)
                return await body()
            finally:
                _reset(token)
        finally:  # where a signal has interrupted that
            _reset(token)

    def stepping(self, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Let this scope be in force in each step of a generator, and not for its caller between them."""
        return stepping(generator, functools.partial(self._in_step, generator, beside=True))

    def astepping(self, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
        """The same for an asynchronous generator."""
        return astepping(generator, functools.partial(self._in_step, generator, beside=False))

    @manager
    def _in_step(self, generator: object, *, beside: bool) -> Generator[None]:
        # Between its steps nobody knows whether there will be another one: a lifespan does not wait for that.
        step, where, token = RunningCall(), getattr(generator, "__qualname__", "a generator"), None
        try:
            try:
                if beside:
                    step.begin_beside(self, where)
                else:
                    step.begin(self.flight, where)
                token = _scope.set(self)
                yield
            finally:
                _reset(token)
                step.end()
        finally:  # where a signal has interrupted that
            _reset(token)
            step.end()

    def innermost(self, container: ContainerClass | None = None) -> InForce | None:
        """The innermost lifespan whose container is, or derives from, `container`; of any, without one."""
        for lifespan in reversed(self.lifespans):
            if container is None or issubclass(lifespan.engine.container_class, container):
                return lifespan
        return None

    def engines(self) -> Iterator[Engine]:
        """Every engine in force, innermost first, as the overrides in force see it."""
        return (lifespan.under(self.overrides) for lifespan in reversed(self.lifespans))

    def view(self, engine: Engine, where: str) -> Engine:
        """An engine in force as the call scope sees it, whose task resources are its own."""
        call_scope = self.call_scope_here
        return engine if call_scope is None else call_scope.view_of(engine, where)

    def overrides_for(self, container: ContainerClass) -> Mapping[int, Any]:
        """Providers of `container` that are overridden here, by identity; inner overrides win."""
        return stacked(
            override.by_key(container) for override in self.overrides if issubclass(container, override.container)
        )


def _forget(key: str, watched: dict[str, Any], prepared: dict[str, Prepared], _gone: object) -> None:
    # The garbage collector calls it at any moment, in any thread, under any lock: it waits for none.
    watched.pop(key, None)
    prepared.pop(key, None)


_scope: ContextVar[Scope] = ContextVar("prefect_lifespan_scope", default=Scope())  # noqa: B039 - immutable, but for its cache

current_scope: Callable[[], Scope] = _scope.get


class Here:
    """What functions that travel by value ask: they take along the name of this class, and nothing more."""

    scope: ClassVar[Callable[[], Scope]] = _scope.get
    task_on: ClassVar[Callable[[object], object]] = task_on
    nothing: ClassVar[Gives] = staticmethod(_nothing)


@manager
def activated(scope: Scope) -> Generator[None]:
    """Let `scope` be in force for the body."""
    token = None
    try:
        try:
            token = _scope.set(scope)
            yield
        finally:
            _reset(token)
    finally:  # where a signal has interrupted that
        _reset(token)


def _reset(token: Token[Scope] | None) -> None:
    # ValueError: a generator is closed in another context, which has ended with it. RuntimeError: it has been done.
    try:
        if token is not None:
            _scope.reset(token)
    except (ValueError, RuntimeError):
        pass


def enter(scope: Scope) -> None:
    """Let `scope`, with one more lifespan than the one in force, be in force until `leave`."""
    _scope.set(scope)


def leave(entered: Scope, outer: Scope) -> None:
    """Take back the lifespan that was entered over `outer`, wherever it stands by now.

    Lifespans and overrides may be left out of order, and in another context than they were entered in: what was left
    meanwhile must not come back, and what was entered meanwhile must stay.
    """
    scope = current_scope()
    if scope is entered:
        _scope.set(outer)
        return
    ended = set(entered.entered) - set(outer.entered)
    if not ended.isdisjoint(scope.entered):
        remaining = tuple(lifespan for lifespan in scope.entered if lifespan not in ended)
        _scope.set(Scope(remaining, scope.overrides, scope.call_scope))


def push_override(override: EnteredOverride) -> None:
    """Let an override be in force here, over those that are."""
    _scope.set(with_override(override))


def with_override(override: EnteredOverride) -> Scope:
    """The scope that is in force here, with an override over those that it has."""
    scope = current_scope()
    return Scope(scope.entered, (*scope.overrides, override), scope.call_scope)


def remove_override(owner: object) -> None:
    """Take back the last override that `owner` pushed here, wherever it stands: overrides may be left out of order."""
    scope = current_scope()
    for override in reversed(scope.overrides):
        if override.owner is owner:
            overrides = tuple(other for other in scope.overrides if other is not override)
            _scope.set(Scope(scope.entered, overrides, scope.call_scope))
            return
