"""A resource that fails while it is open: a child of a task group in it does, and nobody is told until it is exited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
import pytest
from dependency_injector import providers

from prefect_lifespan.engine import Engine, Event
from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import PATIENCE_SECONDS, aopen_all, apoll, async_engine_of, declare, run, turns


class Bus:
    """A resource that holds a task group, whose child fails when it is told to, and one that needs it."""

    def __init__(self, group: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self.journal: list[str] = []
        self.told: list[BaseException] = []
        self.events: list[Event] = []
        self.failing = asyncio.Event()
        self._group = group
        bus = providers.Resource(self.open_bus)
        self.declared = declare(bus=bus, outbox=providers.Resource(self.open_outbox, bus))

    async def consume(self) -> None:
        await self.failing.wait()
        raise ValueError("the connection is gone, password=hunter22")

    async def open_bus(self) -> AsyncGenerator[str]:
        try:
            async with self._group() as group:
                start = group.start_soon if hasattr(group, "start_soon") else lambda child: group.create_task(child())
                start(self.consume)
                try:
                    yield "bus"
                except BaseException as error:
                    self.told.append(error)
                    raise
        finally:
            self.journal.append("-bus")

    async def open_outbox(self, bus: str) -> AsyncGenerator[str]:
        yield "outbox"
        self.journal.append(f"flushed to {bus}")

    async def open(self) -> tuple[Engine, Any]:
        engine = async_engine_of(self.declared, events=self.events)
        return engine, await aopen_all(engine)

    async def fail(self, container: Any) -> None:
        self.failing.set()
        await apoll(lambda: not container.bus.initialized, "the bus is out of use")
        await turns()


groups = pytest.mark.parametrize("group", [anyio.create_task_group, asyncio.TaskGroup])


@groups
def test_it_is_told_at_once_and_closes_in_its_turn_with_its_own_error(group: Any) -> None:
    """Nothing was logged, and it was exited before what uses it."""

    async def main() -> None:
        bus = Bus(group)
        engine, container = await bus.open()
        await bus.fail(container)
        [line] = [event for event in bus.events if event.kind == "failed"]
        assert line.level >= 40
        assert line.message.startswith("App.bus failed while it was open, after 0.")
        assert line.message.endswith(": ValueError: the connection is gone, password=***")
        assert bus.journal == []
        assert container.outbox() == "outbox"
        with pytest.raises(ExceptionGroup) as raised:
            (await engine.aclose()).settle()
        assert raised.group_contains(ValueError, match="the connection is gone")
        assert bus.journal == ["flushed to bus", "-bus"]
        assert [event.kind for event in bus.events[2:]] == ["failed", "closed", "close-failed"]

    run(main)


@groups
def test_whoever_asks_for_it_is_told_that_and_why(group: Any) -> None:
    async def main() -> None:
        bus = Bus(group)
        engine, container = await bus.open()
        await bus.fail(container)
        with pytest.raises(LifespanClosedError) as raised:
            container.bus()
        assert str(raised.value).startswith(
            "App.bus has failed while it was open: ValueError: the connection is gone, password=***. "
        )
        assert isinstance(raised.value.__cause__, ValueError)
        with pytest.raises(LifespanClosedError, match="has failed while it was open"):
            await aopen_all(engine)
        await engine.aclose()
        with pytest.raises(LifespanClosedError, match="had closed"):
            container.bus()

    run(main)


@groups
def test_where_the_body_fails_as_well_it_is_a_note_on_the_bodys_exception(group: Any) -> None:
    async def main() -> None:
        bus = Bus(group)
        engine, container = await bus.open()
        await bus.fail(container)
        outcome = KeyError("of the body")
        (await engine.aclose(outcome)).settle()
        assert bus.told == [outcome]
        [note] = outcome.__notes__
        assert note.startswith("while closing App.bus, ExceptionGroup was raised: unhandled errors in a TaskGroup")

    run(main)


@groups
def test_a_cancellation_of_the_lifespans_task_at_the_same_time_goes_on(group: Any) -> None:
    async def main() -> None:
        bus = Bus(group)
        opened = asyncio.Event()

        async def body() -> None:
            engine, _ = await bus.open()
            opened.set()
            outcome: BaseException | None = None
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:
                outcome = cancelled
                raise
            finally:
                (await engine.aclose(outcome)).settle()

        task = asyncio.create_task(body())
        await opened.wait()
        bus.failing.set()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bus.journal[-1] == "-bus"

    run(main)


@groups
def test_one_that_waits_to_be_closed_keeps_the_loop_idle(group: Any) -> None:
    """A task that waits in anyio's cancelled scope is cancelled again with every turn of the loop."""

    async def main() -> None:
        bus = Bus(group)
        engine, container = await bus.open()
        await bus.fail(container)
        bus_task = next(task for task in asyncio.all_tasks() if task.get_name() == "lifespan of App.bus")
        cancellations = bus_task.cancelling()
        await turns()
        assert bus_task.cancelling() == cancellations
        await engine.aclose()

    run(main)


@groups
def test_the_end_of_the_loop_does_not_wait_for_one_that_nobody_closes(group: Any) -> None:
    kept: list[Any] = []

    async def main() -> None:
        bus = Bus(group)
        engine, container = await bus.open()
        kept.extend([bus, engine])
        await bus.fail(container)

    async def bounded() -> None:
        await asyncio.wait_for(asyncio.create_task(main()), PATIENCE_SECONDS)

    asyncio.run(bounded())
    assert kept[0].journal == ["-bus"]


def test_a_limit_in_the_resource_that_runs_out_is_reported_by_its_exit() -> None:
    events: list[Event] = []

    async def limited() -> AsyncGenerator[str]:
        async with asyncio.timeout(0.01):
            yield "limited"

    async def main() -> None:
        engine = async_engine_of(declare(limited=providers.Resource(limited)), events=events)
        container = await aopen_all(engine)
        await apoll(lambda: not container.limited.initialized, "it is out of use")
        assert [event.kind for event in events] == ["opened", "failed"]
        with pytest.raises(TimeoutError):
            (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("fails", [False, True])
def test_what_has_failed_while_it_opened_is_no_reason_for_the_end_of_the_loop(fails: bool) -> None:
    """The loop's end cancels every task, in whatever order; each resource still waits for its turn."""
    events: list[Event] = []

    async def attempt() -> None:
        if fails:
            raise OSError("the first server does not answer")

    async def recovering() -> AsyncGenerator[str]:
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(attempt())
                if fails:
                    await asyncio.Event().wait()
        yield "client"

    async def main() -> None:
        engine = async_engine_of(declare(client=providers.Resource(recovering)), events=events)
        await aopen_all(engine)
        task = asyncio.current_task()
        assert task is not None
        for each in asyncio.all_tasks():
            if each is task or each.get_name() == "lifespan of App.client":
                each.cancel()
        try:
            await turns()
        finally:
            (await engine.aclose()).settle()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert [event.kind for event in events] == ["opened", "closed"]
