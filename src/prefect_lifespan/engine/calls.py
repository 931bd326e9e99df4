"""What a container instance offers under dependency-injector's names: opening and closing by hand, made safe."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from dependency_injector import providers

from prefect_lifespan.engine.awaited import is_overridden_by_hand
from prefect_lifespan.engine.blocking import close_some
from prefect_lifespan.engine.face import Face
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.on_loop import aclose_some
from prefect_lifespan.engine.places.task import InTask
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import UsageError


class ContainerCalls:
    """`init_resources` and `shutdown_resources` of the instance, `init`, `async_` and `shutdown` of its resources.

    As dependency-injector has it, each works at once where everything it has to do is blocking. Where what it is asked of
    is asynchronous, it gives something to be awaited, also when nothing is left to do.
    """

    def __init__(self, engine: Face) -> None:
        self._engine = engine

    def init_resources(self, resource_type: type[providers.BaseResource[Any]] = providers.BaseResource) -> Any:
        """Open all resources of a type that are not open; to be awaited where one of them is asynchronous."""
        where = f"{self._engine.graph.container}.init_resources()"
        slots = _of_type(resource_type, self._engine.eager(), where)
        needed = self._engine.needed(slot.node.key for slot in slots)
        if self._on_loop() and any(slot.node.is_async and slot.state is not State.OPEN for slot in needed):
            return asyncio.ensure_future(self._engine.aopen(needed, where))
        self._engine.open(needed, where)
        return self._done(needed)

    def shutdown_resources(self, resource_type: type[providers.BaseResource[Any]] = providers.BaseResource) -> Any:
        """Close all resources of a type for good; to be awaited where one of them is asynchronous."""
        schedule = self._engine.schedule
        slots = [slot for slot in self._engine.slots.values() if slot.schedule is schedule]
        asked = _of_type(resource_type, slots, f"{self._engine.graph.container}.shutdown_resources()")
        return self._retire([slot for slot in schedule.opened if slot in asked], asked)

    def initialise(self, slot: Slot) -> Any:
        """Open one resource and what it needs, and return its value; to be awaited where one is asynchronous.

        That is so on the lifespan's event loop, open or not. Elsewhere an open one is its value.
        """
        needed = self._engine.needed([slot.node.key])
        if self._on_loop() and any(other.asynchronous for other in needed):
            return self._awaitable(slot, needed, "init()")
        return slot.provider()

    def awaited(self, slot: Slot) -> Any:
        """The value of one resource, opened where it is not open, to be awaited wherever an event loop runs."""
        if running_loop() is None:
            return slot.provider()
        if self._on_loop() and not is_overridden_by_hand(slot.provider, self._engine):
            return self._awaitable(slot, self._engine.needed([slot.node.key]), "async_()")
        value: Any = slot.provider()
        return value if inspect.isawaitable(value) else _given(value)

    def _awaitable(self, slot: Slot, needed: Sequence[Slot], call: str) -> asyncio.Future[object]:
        if slot.at_hand:
            return _given(slot.provider())
        return asyncio.ensure_future(self._value_of(slot, needed, f"a call of {slot.path}.{call}"))

    async def _value_of(self, slot: Slot, needed: Sequence[Slot], where: str) -> object:
        await self._engine.aopen(needed, where)
        return slot.provider()

    def retire(self, slot: Slot) -> Any:
        """Close one resource for good, and before it what is open and needs it."""
        return self._retire([slot], [slot])

    def _retire(self, slots: Sequence[Slot], asked: Iterable[Slot]) -> Any:
        keys = {slot.node.key for slot in slots}
        users = self._engine.graph.reaching(lambda node: node.key in keys)
        closing = [slot for slot in self._engine.schedule.opened if slot.node.key in users]
        if self._on_loop() and any(isinstance(slot.place, InTask) for slot in closing):
            return asyncio.ensure_future(self._aretire(closing))
        self._settle(close_some(reversed(closing), self._engine.graph.container))
        return self._done(asked)

    async def _aretire(self, closing: Sequence[Slot]) -> None:
        self._settle(await aclose_some(closing, self._engine.needs, self._engine.graph.container))

    def _settle(self, report: CloseReport) -> None:
        self._engine.withhold_singletons()
        report.settle()

    def _done(self, slots: Iterable[Slot]) -> asyncio.Future[object] | None:
        """What a call gives that has done everything already: whoever awaits it need not know what was left to do."""
        return _given(None) if self._on_loop() and any(slot.asynchronous for slot in slots) else None

    def _on_loop(self) -> bool:
        return self._engine.schedule.loop is not None and running_loop() is self._engine.schedule.loop


def _of_type(resource_type: object, slots: Iterable[Slot], where: str) -> list[Slot]:
    if not isinstance(resource_type, type) or not issubclass(resource_type, providers.BaseResource):
        raise UsageError(
            f"{where}: resource_type is {resource_type!r}; give a class of resource providers, such as providers.Resource"
        )
    return [slot for slot in slots if isinstance(slot.node.provider, resource_type)]


def _given(value: object) -> asyncio.Future[object]:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
