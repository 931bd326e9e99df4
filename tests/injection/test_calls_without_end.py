"""No lifespan waits for a call that cannot end before its closing: on a loop that stands still, dropped, or of a resource."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, carried, inject, lifespan

SECONDS = 20.0
record: list[str] = []


def opened() -> Iterator[str]:
    yield "db"
    record.append("closed")


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened)


@inject
async def endless(db: str = Provide[App.db]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        record.append("ended")


@pytest.fixture(autouse=True)
def _clean_record() -> None:
    record.clear()


def run(main: Coroutine[Any, Any, None]) -> None:
    async def within_limits() -> None:
        await asyncio.wait_for(main, SECONDS)

    asyncio.run(within_limits())


class StandingLoop:
    """An event loop that a call was begun on, and that does not run any more."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def begin(self, context: contextvars.Context) -> None:
        self.calling = self.loop.create_task(endless(), context=context)
        self.loop.run_until_complete(asyncio.sleep(0))

    def end(self) -> None:
        self.calling.cancel()
        self.loop.run_until_complete(asyncio.gather(self.calling, return_exceptions=True))
        self.loop.close()

    def forget(self) -> None:
        """Of a loop that has closed: nobody is told of a task that was destroyed while it was pending."""
        self.loop.set_exception_handler(lambda loop, context: None)
        del self.calling
        gc.collect()


@pytest.fixture
def standing() -> Iterator[StandingLoop]:
    standing = StandingLoop()
    yield standing
    standing.end()


@pytest.mark.parametrize("blocking", [True, False])
def test_a_call_on_an_event_loop_that_stands_still_is_told_and_not_waited_for(
    blocking: bool, standing: StandingLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def begin() -> None:
        thread = threading.Thread(target=standing.begin, args=(contextvars.copy_context(),))
        thread.start()
        thread.join(SECONDS)

    async def main() -> None:
        async with lifespan(App):
            begin()

    with caplog.at_level(logging.WARNING):
        if blocking:
            with lifespan(App):
                begin()
        else:
            run(main())
    assert record == ["closed"]
    [line] = [each.getMessage() for each in caplog.records if "cannot go on" in each.getMessage()]
    assert f"{__name__}.endless;" in line


@pytest.mark.parametrize("where", ["here", "in a thread"])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_call_on_an_event_loop_that_has_closed_is_forgotten(
    blocking: bool, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    left = StandingLoop()

    def begin() -> None:
        if where == "here" and blocking:
            left.begin(contextvars.copy_context())
        else:
            thread = threading.Thread(target=left.begin, args=(contextvars.copy_context(),))
            thread.start()
            thread.join(SECONDS)
        left.loop.close()

    async def main() -> None:
        async with lifespan(App):
            begin()

    with caplog.at_level(logging.WARNING):
        if blocking:
            with lifespan(App):
                begin()
        else:
            run(main())
    assert record == ["closed"]
    assert not [each for each in caplog.records if each.levelno == logging.WARNING]
    left.forget()


def test_a_coroutine_that_nobody_awaits_or_that_was_dropped_is_not_in_flight() -> None:
    async def main() -> None:
        async with lifespan(App):
            never_awaited = endless()
            dropped = endless()
            dropped.send(None)
            del dropped
            gc.collect()
            assert record == ["ended"]
        assert record == ["ended", "closed"]
        never_awaited.close()

    run(main())


@pytest.mark.parametrize("in_another_thread", [False, True])
def test_a_coroutine_that_is_driven_by_hand_is_not_waited_for(in_another_thread: bool) -> None:
    with ThreadPoolExecutor(1) as pool, lifespan(App):
        asyncio.run(two_steps())  # the first call needs an event loop
        driven = two_steps()
        context = contextvars.copy_context()

        def step() -> None:
            context.run(lambda: driven.send(None))

        pool.submit(step).result() if in_another_thread else step()
    assert record == ["closed"]
    driven.close()


@inject
async def two_steps(db: str = Provide[App.db]) -> None:
    await Step()


class Step:
    def __await__(self) -> Generator[None]:
        yield


class Consumer:
    """A background task that a resource begins when it opens, and stops when it closes."""

    async def __call__(self) -> AsyncIterator[None]:
        consuming = asyncio.create_task(endless())
        await asyncio.sleep(0)
        yield
        record.append("stopping")
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)


class WithConsumer(App):
    consumer = providers.Resource(Consumer())


@pytest.mark.parametrize("eager", [True, False])
def test_what_a_resource_keeps_running_until_it_closes_is_not_waited_for(eager: bool) -> None:
    @inject
    async def use(db: str = Provide[App.db], consumer: None = Provide[WithConsumer.consumer]) -> None:
        record.append("used")

    async def main() -> None:
        async with lifespan(WithConsumer, eager=eager):
            await use()

    run(main())
    assert record[-4:] == ["used", "stopping", "ended", "closed"]


WAYS: list[Callable[[asyncio.Task[Any]], Awaitable[Any]]] = [asyncio.shield, lambda task: asyncio.wait([task])]


@pytest.mark.parametrize("wait", WAYS)
def test_a_call_that_waits_for_the_task_which_leaves_the_lifespan_is_not_waited_for(
    wait: Callable[[asyncio.Task[Any]], Awaitable[Any]],
) -> None:
    @inject
    async def watch(task: asyncio.Task[Any], db: str = Provide[App.db]) -> None:
        await wait(task)
        record.append("told")

    async def leaving() -> asyncio.Task[None]:
        task = asyncio.current_task()
        assert task is not None
        async with lifespan(App):
            return asyncio.create_task(watch(task))

    async def main() -> None:
        await (await asyncio.create_task(leaving()))

    run(main())
    assert record == ["closed", "told"]


def test_an_inner_lifespan_of_a_call_closes_while_that_call_is_in_flight() -> None:
    class Inner(containers.DeclarativeContainer):
        api = providers.Resource(opened)

    @inject
    async def call(db: str = Provide[App.db]) -> None:
        async with lifespan(Inner), lifespan(App, share=False):
            pass
        record.append("called")

    async def main() -> None:
        async with lifespan(App):
            await call()

    run(main())
    assert record == ["closed", "closed", "called", "closed"]


def test_a_closer_may_call_injected_functions_of_the_lifespan_around() -> None:
    @inject
    async def call(db: str = Provide[App.db]) -> None:
        record.append(f"called with {db}")

    async def closing() -> AsyncIterator[None]:
        yield
        await asyncio.create_task(call())

    class Inner(containers.DeclarativeContainer):
        calls_at_its_end = providers.Resource(closing)

    async def main() -> None:
        async with lifespan(App), lifespan(Inner):
            pass

    run(main())
    assert record == ["called with db", "closed"]


def test_a_carried_call_in_an_executor_ends_first() -> None:
    begun, released = threading.Event(), threading.Event()

    @inject
    def call(db: str = Provide[App.db]) -> None:
        begun.set()
        assert released.wait(SECONDS)
        record.append("used")

    with ThreadPoolExecutor(1) as pool, lifespan(App):
        calling = pool.submit(carried(call))
        assert begun.wait(SECONDS)
        threading.Timer(0.2, released.set).start()
    calling.result(SECONDS)
    assert record == ["used", "closed"]


def test_a_call_in_a_thread_that_python_does_not_list_ends_first() -> None:
    begun, released, ended = threading.Event(), threading.Event(), threading.Event()

    @inject
    def call(db: str = Provide[App.db]) -> None:
        begun.set()
        assert released.wait(SECONDS)
        record.append("used")

    def in_a_thread(context: contextvars.Context) -> None:
        context.run(call)
        ended.set()

    with lifespan(App):
        _thread.start_new_thread(in_a_thread, (contextvars.copy_context(),))
        assert begun.wait(SECONDS)
        threading.Timer(0.2, released.set).start()
    assert ended.wait(SECONDS)
    assert record == ["used", "closed"]
