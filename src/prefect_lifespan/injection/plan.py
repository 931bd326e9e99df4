"""The injected parameters of one function, and what is done when it is called.

The way of a value: the context variable gives the scope, which keeps what gives the values of this function; the function
is called with them (`written`). Where it keeps nothing, or that does not hold, a `Call` decides, and what lasts is kept for
the next one.
"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.functions import Function
from prefect_lifespan.generator_steps import AsyncSteps, Steps
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_flight import RunningCall
from prefect_lifespan.injection.binding import Binding
from prefect_lifespan.injection.markers import Marker, sent_as
from prefect_lifespan.loading import loaded
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Scope, current_scope
from prefect_lifespan.signal_safe import aclosed_after, closed_after, steps_closed_after

if TYPE_CHECKING:
    from prefect_lifespan.injection.call import Call

R = TypeVar("R")

# In place of a result: what gives the values came into force after the call was counted, which begins anew.
_COUNTED_ELSEWHERE = object()


class Origin:
    """Lives as long as the plan that a function was given here, and not with its copies from other processes."""


class Plan:
    """What a function that stands in for an injected one holds of the library, beside the function."""

    def __init__(
        self, function: Function, markers: Mapping[str, Marker], container: ContainerClass | None = None
    ) -> None:
        self.origin: Origin | None = Origin()
        self.function: Function = function
        self.markers: Mapping[str, Marker] = markers
        self.container: ContainerClass | None = container  # the one that the function opens, as `lifespan` has it
        # Under it, scopes keep what was prepared: one plan arrives in another process with each task, as a new object.
        self.key: str = uuid.uuid4().hex

    def __getstate__(self) -> tuple[object, ...]:
        return self.function, self.markers, sent_as(self.container), self.key

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.origin = None
        self.function, self.markers, self.container, self.key = state

    def __str__(self) -> str:
        return self.where

    # What follows from these, found when it is asked for: with each task a plan arrives, and most calls ask for none of it.

    @property
    def decorator(self) -> str:
        """What has made the function an injected one."""
        return "@inject" if self.container is None else "@lifespan"

    @cached_property
    def where(self) -> str:
        """The function, as messages name it."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @cached_property
    def has_steps(self) -> bool:
        """Whether its caller goes on between its steps."""
        return inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)

    @cached_property
    def _binding(self) -> Binding:
        return Binding(self.function, self.markers)

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a call that the visible signature does not allow.

        Raises:
            TypeError: as Python has it for any function.
        """
        self._binding.check(args, kwargs)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, with what its call needs open; close afterwards what lives no longer than the call."""
        while True:
            running = RunningCall()
            try:
                try:
                    scope = current_scope()
                    flight = scope.flight
                    is_counted = running.begin_beside(scope, self)
                    late_for = running.late_for if is_counted else ()
                    values = self._at_hand(scope, kwargs) if is_counted and not late_for else None
                    if values is None:
                        result = self._opened(args, kwargs, late_for, flight)
                        if result is not _COUNTED_ELSEWHERE:
                            return result
                    elif scope.flight is flight:
                        return self._called(args, kwargs, values)
                finally:
                    running.end()
            except BaseException:
                running.end()
                raise

    async def counted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for a coroutine function whose call is counted, as those of the task that closes need not be."""
        while True:
            running = RunningCall()
            try:
                try:
                    scope = current_scope()
                    flight = scope.flight
                    late_for = running.late_for if running.begin(flight, self) else ()
                    values = None if late_for else self._at_hand(scope, kwargs)
                    if values is None:
                        result = await self.acall(args, kwargs, late_for, flight)
                        if result is not _COUNTED_ELSEWHERE:
                            return result
                    elif scope.flight is flight:
                        return await self._called(args, kwargs, values)
                finally:
                    running.end()
            except BaseException:
                running.end()
                raise

    def _at_hand(self, scope: Scope, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        if not self.markers.keys().isdisjoint(kwargs):
            return None
        values = scope.ground.at_hand(self.key)
        if values is None:
            return None
        loops = values[len(self.markers) :]  # one, of a coroutine function: who is at home has not asked for it
        if loops and loops[0] is not None and running_loop() is not loops[0]:
            return None
        return dict(zip(self.markers, values, strict=False))

    def _deciding(
        self, kwargs: dict[str, Any], loop: asyncio.AbstractEventLoop | None, late_for: tuple[object, ...] = ()
    ) -> Call:
        # With the engine, which decorating does without.
        return loaded("prefect_lifespan.injection.call").Call(self, kwargs, loop, late_for)

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Python has bound what a written function passes on: as many as there are, and those by keyword only, fit.
        if kwargs or len(args) != self._binding.visible_positional:
            self._binding.check(args, kwargs)

    def _opened(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], late_for: tuple[object, ...], flight: object
    ) -> Any:
        self._check(args, kwargs)
        stand_in = run_context.stand_in()
        if stand_in is not None:
            return self._called(args, kwargs, dict.fromkeys(self.markers, stand_in))
        call = self._deciding(kwargs, None, late_for)

        def called() -> Any:
            if not call.decide(flight):
                return _COUNTED_ELSEWHERE
            values = call.opened()
            return call.scope.around(lambda: self._called(args, kwargs, values))

        return closed_after(called, call.close)

    async def acall(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], late_for: tuple[object, ...] = (), flight: object = None
    ) -> Any:
        """The same for a coroutine function, whoever counts its call: in `flight`, or nobody says where."""
        self._check(args, kwargs)
        stand_in = run_context.stand_in()
        if stand_in is not None:
            return await self._called(args, kwargs, dict.fromkeys(self.markers, stand_in))
        call = self._deciding(kwargs, asyncio.get_running_loop(), late_for)

        async def called() -> Any:
            if not call.decide(flight):
                return _COUNTED_ELSEWHERE
            values = await call.aopened()
            return await call.scope.aaround(lambda: self._called(args, kwargs, values))

        return await aclosed_after(called, call.aclose)

    def steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """The same for a generator function."""
        self._binding.check(args, kwargs)
        stand_in = run_context.stand_in()
        if stand_in is not None:
            drawn = self._called(args, kwargs, dict.fromkeys(self.markers, stand_in))
            return (yield from current_scope().stepping(drawn))
        call = self._deciding(kwargs, None)

        def steps() -> Generator[Any, Any, Any]:
            call.decide()
            values = call.opened()
            return call.scope.stepping(self._called(args, kwargs, values))

        return (yield from steps_closed_after(steps, call.close))

    def asteps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        """The same for an asynchronous generator function."""
        self._binding.check(args, kwargs)
        stand_in = run_context.stand_in()
        if stand_in is not None:

            async def drawn() -> Steps:
                values = dict.fromkeys(self.markers, stand_in)
                return current_scope().astepping(self._called(args, kwargs, values))

            return AsyncSteps(drawn)
        call = self._deciding(kwargs, asyncio.get_running_loop())

        async def begin() -> Steps:
            call.decide()
            values = await call.aopened()
            return call.scope.astepping(self._called(args, kwargs, values))

        return AsyncSteps(begin, call.aclose)

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any], values: Mapping[str, Any]) -> Any:
        positional, named = self._binding.arguments(args, kwargs, values)
        return self.function(*positional, **named)


_PLAN = "__prefect_lifespan_plan__"


def planned(wrapper: Function, plan: Plan) -> Function:
    """The function that stands in for an injected one, with its plan for whoever looks for mistakes."""
    setattr(wrapper, _PLAN, plan)
    return wrapper


def plan_of(function: object) -> Plan | None:
    """The plan of a function with `inject` or `lifespan`, also where another decorator stands above; None for others."""
    plan = getattr(function, _PLAN, None)
    return plan if isinstance(plan, Plan) else None
