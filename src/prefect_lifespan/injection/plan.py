"""What one injected function is given, worked out once a scope; a call then reads values and makes no decision.

The way of a value: the context variable gives the scope, its cache gives what was prepared for this function, and that
gives open resources their values and calls other providers.
"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from threading import get_ident
from typing import Any, TypeVar

from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_flight import RunningCall
from prefect_lifespan.injection.call import Call
from prefect_lifespan.injection.given import Prepared
from prefect_lifespan.injection.markers import Function, Marker
from prefect_lifespan.scope import Scope, current_scope
from prefect_lifespan.steps import AsyncSteps, Steps, aclosed_after, closed_after, steps_closed_after
from prefect_lifespan.surroundings import surroundings

R = TypeVar("R")


class Origin:
    """Lives as long as the plan that a function was given here, and not with its copies from other processes."""


class Plan:
    """The injected parameters of one function. It is what a wrapper holds of the library, beside the function."""

    def __init__(
        self, function: Function, markers: Mapping[str, Marker], container: ContainerClass | None = None
    ) -> None:
        self.origin: Origin | None = Origin()
        self.container = container  # the one that the function opens, as `lifespan` has it
        self.decorator = "@inject" if container is None else "@lifespan"
        self.where = f"{function.__module__}.{function.__qualname__}"
        self.markers = markers
        self.has_steps = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        # Under it, scopes keep what was prepared: one plan arrives in another process with each task, as a new object.
        self.key = uuid.uuid4().hex

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "origin": None}

    def ready(self, explicit: Mapping[str, Any], *, counted: bool = False) -> dict[str, Any] | None:
        """Values of all injected parameters, at hand for a call that is `counted` in flight or need not be; else None."""
        scope = current_scope()
        prepared: Prepared | None = scope.prepared.get(self.key)
        if prepared is None or (explicit and not self.markers.keys().isdisjoint(explicit)):
            return None
        if not counted and prepared.home != get_ident() and prepared.home is not None:
            return None
        if prepared.within_unit and not prepared.holds(scope.unit, on_loop=False):
            return None
        return prepared.values()

    def begun(self, running: RunningCall, explicit: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same for a call of a coroutine function, which begins as `running`."""
        scope = current_scope()
        prepared: Prepared | None = scope.prepared.get(self.key)
        running.begin(scope.flight if prepared is None else prepared.flight, self.where)
        if prepared is None or (explicit and not self.markers.keys().isdisjoint(explicit)):
            return None
        if (prepared.within_unit or prepared.loop is not None) and not prepared.holds(scope.unit, on_loop=True):
            return None
        return prepared.values()

    def call(self, explicit: Mapping[str, Any], body: Callable[[dict[str, Any], Scope], R]) -> R:
        """What `body` returns for the values of a call and the scope that it is to run in.

        Opens what the call needs, and closes afterwards what lives no longer than the call.
        """
        stand_in = surroundings.stand_in()
        if stand_in is not None:
            return body(dict.fromkeys(self.markers, stand_in), current_scope())
        call = Call(self, explicit, loop=None)
        return closed_after(lambda: body(call.opened(), call.scope), call.close)

    async def acall(self, explicit: Mapping[str, Any], body: Callable[[dict[str, Any], Scope], Awaitable[R]]) -> R:
        """The same for a coroutine function."""
        stand_in = surroundings.stand_in()
        if stand_in is not None:
            return await body(dict.fromkeys(self.markers, stand_in), current_scope())
        call = Call(self, explicit, loop=asyncio.get_running_loop())

        async def called() -> R:
            return await body(await call.aopened(), call.scope)

        return await aclosed_after(called, call.aclose)

    def steps(
        self, explicit: Mapping[str, Any], body: Callable[[dict[str, Any], Scope], Generator[Any, Any, R]]
    ) -> Generator[Any, Any, R]:
        """The same for a generator function."""
        stand_in = surroundings.stand_in()
        if stand_in is not None:
            return (yield from body(dict.fromkeys(self.markers, stand_in), current_scope()))
        call = Call(self, explicit, loop=None)
        return (yield from steps_closed_after(lambda: body(call.opened(), call.scope), call.close))

    def asteps(self, explicit: Mapping[str, Any], body: Callable[[dict[str, Any], Scope], Steps]) -> AsyncSteps:
        """The same for an asynchronous generator function."""
        stand_in = surroundings.stand_in()
        if stand_in is not None:

            async def drawn() -> Steps:
                return body(dict.fromkeys(self.markers, stand_in), current_scope())

            return AsyncSteps(drawn)
        call = Call(self, explicit, loop=asyncio.get_running_loop())

        async def begin() -> Steps:
            return body(await call.aopened(), call.scope)

        return AsyncSteps(begin, call.aclose)


_PLAN = "__prefect_lifespan_plan__"


def planned(wrapper: Function, plan: Plan) -> Function:
    """The function that stands in for an injected one, with its plan for whoever looks for mistakes."""
    setattr(wrapper, _PLAN, plan)
    return wrapper


def plan_of(function: object) -> Plan | None:
    """The plan of a function with `inject` or `lifespan`, also where another decorator stands above; None for others."""
    plan = getattr(function, _PLAN, None)
    return plan if isinstance(plan, Plan) else None
