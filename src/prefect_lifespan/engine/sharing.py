"""What an engine shares with the process: the resources that live as long as that, which other engines have.

Those are made here too, by how the engine that asks is made: one for each container class that declares such resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from prefect_lifespan.engine.events import THE_PROCESS, Observers, process_log
from prefect_lifespan.engine.face import Face, ProcessEngine
from prefect_lifespan.engine.interception import interceptors
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.engine.options import Options
from prefect_lifespan.engine.process import process_engines
from prefect_lifespan.engine.process_loop import process_loop
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.graph import Node, graph_of
from prefect_lifespan.graph.anchors import owner_of
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.signal_safe import awaited_within


class Make(Protocol):
    """How an engine of the process is made."""

    def __call__(
        self,
        container: ContainerClass,
        *,
        name: str,
        options: Options,
        loop: asyncio.AbstractEventLoop | None,
        of_a_run: bool,
        on_process_loop: bool,
    ) -> ProcessEngine:
        """An engine for a container class."""
        ...


def shared_slots(engine: Face, make: Make, *, asynchronous: bool) -> dict[int, Slot]:
    """For what the container declares to live as long as the process, by its key: the resource of the process's engine.

    Not for what an override or an interceptor brings or reaches, which is this run's alone, nor for asynchronous
    ones, unless they are asked for and this engine's loop is the process's: else they are its loop's.
    """
    graph = engine.graph
    lasting = [node for node in graph.resources if node.lifetime is Lifetime.PROCESS and not node.foreign]
    if not lasting:
        return {}
    on_its_loop = asynchronous and engine.schedule.loop is not None and engine.schedule.loop is process_loop.loop
    reached = graph.reaching(lambda node: node.key in engine.overrides or interceptors.concern(engine, node))
    shared: dict[int, Slot] = {}
    for node in lasting:
        if node.key not in reached and (on_its_loop or not node.is_async):
            shared[node.key] = _slot_for(engine, node, make)
    return shared


def _slot_for(engine: Face, node: Node, make: Make) -> Slot:
    owner = owner_of(node.provider) or engine.container_class
    # What is overridden on the class in the meantime has an engine of its own, and so does what no longer is.
    key = (owner, graph_of(owner).stand_ins_for_the_process)
    slots = _engine_for(engine, node, make, owner, key).slots
    if node.key not in slots:  # it was declared when that had been made; what is open there is not opened again
        slots = _engine_for(engine, node, make, owner, (*key, node.key)).slots
    return slots[node.key]


def _engine_for(engine: Face, node: Node, make: Make, owner: ContainerClass, key: Hashable) -> ProcessEngine:
    if node.is_async:
        return process_loop.get(key, partial(_made_for_loop, owner, engine.options, make))
    engine.process_keys.add(key)
    return process_engines.get(key, partial(_made, owner, engine.options, make), engine)


def _made(container: ContainerClass, options: Options, make: Make) -> ProcessEngine:
    options = replace(options, observers=Observers((process_engines.heard,)), log=process_log)
    engine = make(container, name=THE_PROCESS, options=options, loop=None, of_a_run=False, on_process_loop=False)
    engine.schedule.home_thread = engine.schedule.whose = None
    return engine


def _made_for_loop(container: ContainerClass, options: Options, make: Make) -> ProcessEngine:
    options = replace(options, observers=Observers(), log=process_log)
    loop = process_loop.loop
    engine = make(container, name=THE_PROCESS, options=options, loop=loop, of_a_run=False, on_process_loop=True)
    # No run's: what lives there ends with the process, or with the loop.
    engine.schedule.owner = engine.schedule.whose = None
    return engine


async def aopen_shared(engine: Face, slots: Sequence[Slot], where: str, asked: Sequence[int]) -> None:
    """Open resources of the process from a coroutine.

    They open in threads of their own, or on the process's loop: the latter may need the former, not otherwise.
    """
    blocking = [slot for slot in slots if slot.schedule.loop is None]
    if blocking:
        await _opened_in_a_thread(partial(engine.open, blocking, where, asked=asked))
    for slot in slots:
        if slot.schedule.loop is not None:
            managed: ManagedResource = slot.provider
            owner: Face = managed.engine
            await owner.aopen(owner.needed([slot.node.key]), where)


async def _opened_in_a_thread(opens: Callable[[], object]) -> None:
    """Wait for what `opens` in another thread. A signal that arrives meanwhile raises here, and not wherever the loop is."""
    loop, ended = asyncio.get_running_loop(), asyncio.Queue[object]()
    # Gathered from its start: that asks for an error which nobody else does where a signal has ended the waiting.
    asked = asyncio.gather(opening := asyncio.ensure_future(asyncio.to_thread(opens)), return_exceptions=True)
    asked.add_done_callback(ended.put_nowait)

    def wake() -> None:
        loop.call_soon_threadsafe(ended.put_nowait, None)

    async def wait(_: object) -> None:
        while not asked.done():
            await ended.get()
            held_signals.deliver()

    try:
        await awaited_within(held_signals.back(wake), wait)
    except BaseException:
        opening.cancel()  # what opens all the same is the process's: it closes with that
        raise
    opening.result()
