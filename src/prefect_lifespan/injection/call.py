"""One call of an injected function that found nothing prepared: what it is given, what opens for it, and what closes after it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from prefect_lifespan.call_scope import CallScope, log_of_this_run
from prefect_lifespan.engine import CloseReport, Engine, Slot
from prefect_lifespan.engine.events import declared_path, whose
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.part import asked_by
from prefect_lifespan.engine.persistence import apersist, persist
from prefect_lifespan.errors import AsyncResourceError, UsageError
from prefect_lifespan.graph.anchors import redeclared
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.given import (
    Given,
    InACallScope,
    Loop,
    kept,
    loop_of,
    of_call_scope,
    on_loop,
    refuse_what_closes,
)
from prefect_lifespan.injection.markers import Marker, check_string_ids, is_marker, of_an_inner_container
from prefect_lifespan.injection.runs_without import tell_of_opening_for_a_call
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Kept, Scope, at_hand, current_scope, prepared
from prefect_lifespan.signal_safe import under


class Planned(Protocol):
    """What a call asks of its function's plan."""

    @property
    def markers(self) -> Mapping[str, Marker]:
        """What each marked parameter asks for."""
        ...

    @cached_property
    def has_steps(self) -> bool:
        """Whether its caller goes on between its steps."""
        ...

    @property
    def key(self) -> str:
        """What a scope keeps under it is kept for this function."""
        ...

    @property
    def origin(self) -> object:
        """What lives as long as that is kept."""
        ...

    @cached_property
    def where(self) -> str:
        """The function, as messages name it."""
        ...


def _told(report: CloseReport) -> BaseException | None:
    """What the call's resources are told that close now."""
    return run_context.told(report.told) or report.interruption


class Call:
    """The decisions of one call that found nothing prepared: which engine gives each parameter, and for how long."""

    def __init__(self, plan: Planned, explicit: Mapping[str, Any], loop: Loop, late_for: tuple[object, ...]) -> None:
        self._plan = plan
        self._late_for = late_for
        self._loop = loop
        self.scope: Scope = current_scope()
        self._ground = self.scope.ground
        self._found = self._ground.prepared, self._ground.in_force
        self._attempt = run_context.attempt()
        self._new_call_scope: CallScope | None = None
        self._for_call: list[Engine] = []
        self._given: list[Given] = []
        self._lasting = False
        self._at_hand: dict[str, Any] | None = None
        self._explicit = explicit
        self._report: CloseReport | None = None
        self._is_closed = False

    def decide(self, flight: object = None) -> bool:
        """Find what gives the values; whether the call is counted for it, where it was counted in `flight`.

        It is not where a lifespan has come into force everywhere since: then it is to be begun anew.
        """
        self._decide()
        return flight is None or self.scope.flight is flight

    def _decide(self) -> None:
        self._at_hand = None if self._late_for else self._all_but_a_call_scope(self._explicit)
        if self._at_hand is None:
            markers, explicit = self._plan.markers, self._explicit
            wanted = [m for m in markers.values() if m.name not in explicit or is_marker(explicit[m.name])]
            self._given = [self._give(marker) for marker in wanted]
            if self._late_for:
                refuse_what_closes(self._given, self._late_for)
            call_scope = self._new_call_scope or self.scope.call_scope
            self._kept_in_call_scope = {} if call_scope is None else call_scope.kept
            self._of_call_scope = call_scope is not None and any(call_scope.owns(given.engine) for given in self._given)
            ends_with_call = bool(self._for_call) or (self._of_call_scope and call_scope is self._new_call_scope)
            # Where uses are told, no call goes by what was prepared: each one comes here.
            told = any(given.engine.options.observers.hear_uses for given in self._given)
            self._lasting = len(wanted) == len(markers) and not ends_with_call and not told
        if self._new_call_scope is not None:
            self.scope = self.scope.working_in(self._new_call_scope)

    @staticmethod
    def _tell_use(given: Given) -> None:
        paths = tuple(declared_path(slot.node.path) for slot in given.slots)
        given.engine.options.observers.tell_use(paths, whose.here())

    def _all_but_a_call_scope(self, explicit: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values that are kept, where nothing but a call scope is missing: this call's is made then."""
        markers = self._plan.markers
        *_, without = self._ground.prepared.get(self._plan.key, (None,))
        if not isinstance(without, InACallScope) or not markers.keys().isdisjoint(explicit):
            return None
        values = at_hand(without.gives)
        if values is not None:
            self._call_scope()
        return None if values is None else dict(zip(markers, values, strict=False))

    def _own(self) -> list[Engine]:
        """What lives no longer than this call, in the order of closing."""
        in_call_scope = [] if self._new_call_scope is None else self._new_call_scope.end()
        return [*reversed(self._for_call), *in_call_scope]

    def opened(self) -> dict[str, Any]:
        """The values that were decided, with what they need open, for a synchronous function; then `close` is due."""
        self._open()
        return self._values()

    async def aopened(self) -> dict[str, Any]:
        """The same for an asynchronous function: values of asynchronous providers awaited."""
        await self._aopen()
        return await self._avalues()

    def _open(self) -> None:
        for given in self._given:
            if not given.as_provider:
                closes = self._closes(given.engine)
                given.engine.open(given.slots, self._plan.where, asked=given.keys, in_callers_context=closes)

    async def _aopen(self) -> None:
        # A provider that is handed out needs it open too: its value may not be awaitable.
        for index, given in enumerate(self._given):
            while True:
                try:
                    at = self._given[index]
                    closes = self._closes(at.engine)
                    await at.engine.aopen(at.slots, self._plan.where, asked=at.keys, in_callers_context=closes)
                    break
                except AsyncResourceError:
                    # An initialiser turned out to be asynchronous that did not look it. What the call has opened stays
                    # as it is; what belongs to another event loop, as is known now, is this call's own.
                    own = {slot.node.key for slot in self._on_other_loop(self._given[index].engine, given.keys)}
                    if not own:
                        raise
                    self._given[index] = self._given_by(
                        self._for_this_call(self._given[index].engine, own), given.marker, given.named
                    )
                    self._lasting = False

    def _closes(self, engine: Engine) -> bool:
        """Whether this call closes an engine where it opens it: in the caller's context, so that what resources set there
        is set for the function. The steps of a generator may each run in another one.
        """
        own = engine in self._for_call or (self._new_call_scope is not None and self._new_call_scope.owns(engine))
        return own and not self._plan.has_steps

    def close(self, outcome: BaseException | None) -> None:
        """Close what lives no longer than this call; done again, it goes on where it was interrupted."""
        own = [] if self._is_closed else self._own()
        if not own:
            return
        report = self._reported(outcome)
        for engine in own:
            persist(report, lambda engine=engine: report.merge(engine.close(_told(report))))
        self._is_closed = True
        report.settle()

    async def aclose(self, outcome: BaseException | None) -> None:
        """The same on the running event loop."""
        own = [] if self._is_closed else self._own()
        if not own:
            return
        report = self._reported(outcome)
        for engine in own:

            async def close(engine: Engine = engine) -> None:
                report.merge(await engine.aclose(_told(report)))

            await apersist(report, close)
        self._is_closed = True
        report.settle()

    def _reported(self, outcome: BaseException | None) -> CloseReport:
        if self._report is None:
            self._report = CloseReport(self._plan.where, outcome)
        self._report.interrupted(outcome)
        return self._report

    def _values(self) -> dict[str, Any]:
        if self._at_hand is not None:
            return self._at_hand
        self._refuse_asynchronous_calls()
        values = self._made()
        for name in self._to_await(values):
            value = values[name]
            if inspect.iscoroutine(value):
                value.close()
                raise AsyncResourceError([name], self._plan.where)
            if asyncio.isfuture(value):
                # It may be a singleton's, that others wait for: it is left to finish, and its error to those.
                value.add_done_callback(lambda done: done.cancelled() or done.exception())
                if not value.done():
                    raise AsyncResourceError([name], self._plan.where)
                values[name] = value.result()
                self._lasting = False
        if self._lasting:
            self._keep()
        return values

    def _refuse_asynchronous_calls(self) -> None:
        """Refuse what coroutine functions make, where there is no event loop: it would fail with coroutines left over."""
        if running_loop() is not None:
            return
        for given in self._given:
            paths = given.engine.graph.asynchronous_calls(given.keys) if not given.as_provider else ()
            if paths:
                raise AsyncResourceError(paths, self._plan.where)

    async def _avalues(self) -> dict[str, Any]:
        if self._at_hand is not None:
            return self._at_hand
        values = self._made()
        pending = self._to_await(values)
        for name in pending:
            values[name] = await values[name]
        if self._lasting and not pending:
            self._keep()
        return values

    def _to_await(self, values: Mapping[str, Any]) -> list[str]:
        """The names of values that asynchronous providers have promised; a resource's value is none, whatever it is."""
        return [
            given.name
            for given in self._given
            if (asyncio.isfuture(values[given.name]) or inspect.iscoroutine(values[given.name]))
            and not any(slot.value is values[given.name] for slot in given.slots)
        ]

    def _made(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for given in self._given:
            # dependency-injector's singletons are made twice by two threads that are the first to ask.
            values[given.name] = under(given.engine.making, given.value)
            if given.engine.options.observers.hear_uses:
                self._tell_use(given)
        return values

    def _keep(self) -> None:
        """Let the next call in this scope go without decisions: everything has been made once."""
        call_scope = self.scope.call_scope if self._of_call_scope else None
        keeper = self._ground if call_scope is None else call_scope
        loop = None if self._loop is None else loop_of(self._given)
        gives: Kept = kept(self._given, keeper, *(() if self._loop is None else (loop,)))
        outermost = any(given.engine.graph.has_task_resources for given in self._given)
        # A coroutine function looks whether it is called at home, which says on which loop.
        at_home = loop is self._ground.loop and call_scope is None and not outermost
        if loop is not None and not at_home:
            gives = on_loop(loop, gives)
        if call_scope is not None:
            self._kept_in_call_scope[self._plan.key] = gives
            gives = of_call_scope(self._plan.key)
        elif outermost:
            gives = InACallScope(gives)
        number = len(self._given) + (self._loop is not None)
        self._ground.keep(self._plan.key, prepared(gives, number), found=self._found, lives_with=self._plan.origin)

    def _give(self, marker: Marker) -> Given:
        engine, named = self._locate(marker)
        keys = engine.keys_of(named)
        if engine.graph.has_task_resources:
            # It comes with the outermost call: helpers that ask for a task resource share it, and it ends with that.
            self._call_scope()
        if engine.graph.needs_task_resource(keys) or self._on_other_loop(engine, keys):
            call_scope = self._call_scope()
            if not call_scope.owns(engine):
                engine = call_scope.derived(engine, self._plan.where, self._loop)
        own = {slot.node.key for slot in self._on_other_loop(engine, keys)}
        if marker.closing:
            own.update(engine.graph.nearest(keys))
        if own:
            engine = self._for_this_call(engine, own)
        return self._given_by(engine, marker, named)

    def _for_this_call(self, engine: Engine, own: Iterable[int]) -> Engine:
        """The engine with resources that are opened for this call alone."""
        keys = frozenset(own)
        derived = engine.derive(
            lambda node: node.key in keys, name=self._plan.where, loop=self._loop, log=log_of_this_run()
        )
        self._for_call.append(derived)
        return derived

    @staticmethod
    def _given_by(engine: Engine, marker: Marker, named: AnyProvider | str) -> Given:
        provider = engine.resolve(named, marker.modifier)
        assert provider is not None, "it was located there"
        keys = engine.keys_of(named)
        return Given(marker, named, engine, provider, keys, engine.needed(keys))

    def _on_other_loop(self, engine: Engine, keys: tuple[int, ...]) -> list[Slot]:
        return [] if self._loop is None else engine.slots_on_other_loop(keys, self._loop)

    def _locate(self, marker: Marker) -> tuple[Engine, AnyProvider | str]:
        """The innermost engine that provides what a marker names, and what that calls it.

        One for this call where no lifespan does.
        """
        for engine in self.scope.engines():
            for named in (redeclared(marker.provider, marker.owner, engine.container_class), marker.provider):
                if named is not None and engine.resolve(named, marker.modifier) is not None:
                    return engine, named
        if isinstance(marker.provider, str):
            innermost = self.scope.innermost()
            if innermost is not None:
                check_string_ids({marker.name: marker}, innermost.engine.graph, self._plan.where)
            raise UsageError(
                f"{self._plan.where}: {marker.name} asks for {marker.provider!r} by its path, and no lifespan in force "
                "here has it; call it inside one, or name the provider itself: Provide[Container.name]"
            )
        container = marker.owner
        assert container is not None, "markers without a container are refused at decoration"
        self._refuse_an_inner_container(marker)
        self._refuse_a_namesake(container, marker)
        call_scope = self._call_scope()
        is_new = not call_scope.has(container, self.scope)
        asked = asked_by(marker.provider)
        engine = call_scope.standing_alone(container, asked, self.scope, self._plan.where, self._loop)
        if engine.resolve(marker.provider, marker.modifier) is None:
            raise UsageError(
                f"{self._plan.where}: {marker.name} names a provider that {container.__qualname__} had when the function "
                "was decorated, and has no longer: it was replaced by another one. Define the function after that, or "
                "leave the provider and change what it is declared with, or override it"
            )
        if is_new:
            tell_of_opening_for_a_call(container, self._plan.where)
        return engine, marker.provider

    def _refuse_an_inner_container(self, marker: Marker) -> None:
        for lifespan in reversed(self.scope.lifespans):
            problem = of_an_inner_container(marker, lifespan.engine.container_class, self.scope)
            if problem is not None:
                raise UsageError(f"{self._plan.where}: {': '.join(problem)}")

    def _refuse_a_namesake(self, container: ContainerClass, marker: Marker) -> None:
        """Refuse a class that was defined again: its user means the one that is in force, and would get the other."""
        name = (container.__module__, container.__qualname__)
        in_force = [lifespan.engine.container_class for lifespan in self.scope.lifespans]
        in_force += [override.container for override in self.scope.overrides]
        others = ((other.__module__, other.__qualname__) for other in in_force if other is not container)
        if "<locals>" not in container.__qualname__ and name in others:
            raise UsageError(
                f"{self._plan.where}: {marker.name} names a provider of {container.__qualname__}, and in force here is "
                "another class of that name: one of the two was defined again since, by a cell of a notebook or a "
                "module that was reloaded. Define again what names the old one: tasks, flows, lifespans, overrides"
            )

    def _call_scope(self) -> CallScope:
        call_scope = self._new_call_scope or self.scope.call_scope
        if call_scope is None or call_scope.attempt != self._attempt:
            call_scope = self._new_call_scope = CallScope(self._attempt)
        return call_scope
