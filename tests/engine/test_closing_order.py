"""Closing reverses the order in which things finished opening; asynchronous ones close side by side."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, poll, run


def test_closing_is_the_exact_reverse_of_opening() -> None:
    journal = Journal()
    a = journal.resource("a")
    b = journal.resource("b")
    c = journal.resource("c", a)
    engine = engine_of(declare(c=c, b=b, a=a))
    open_all(engine)
    engine.close().settle()
    assert journal == ["+a", "+c", "+b", "-b", "-c", "-a"]


def test_what_opened_at_first_use_closes_before_what_was_open_then() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a"), b=journal.resource("b"), c=journal.resource("c")))
    container = engine.instance
    assert container is not None
    assert [container.b(), container.a(), container.c()] == ["b", "a", "c"]
    engine.close().settle()
    assert journal.closed == ["c", "a", "b"]


def test_each_closes_exactly_once_however_often_closing_is_asked_for() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a")))
    container = open_all(engine)
    container.a.shutdown()
    container.shutdown_resources()
    engine.close().settle()
    engine.close().settle()
    assert journal == ["+a", "-a"]


def test_two_threads_that_close_at_once_close_each_once_and_report_it_once() -> None:
    closing, go = threading.Event(), threading.Event()
    events: list[Any] = []

    def slow() -> Generator[None]:
        yield
        closing.set()
        go.wait()

    engine = engine_of(declare(a=providers.Resource(slow)), events=events)
    open_all(engine)
    first = threading.Thread(target=engine.close)
    first.start()
    closing.wait()
    engine.close().settle()
    go.set()
    first.join()
    assert [event.kind for event in events] == ["opened", "closed"]


def test_two_tasks_that_close_at_once_close_each_once_and_one_reports_its_error() -> None:
    async def main() -> None:
        events: list[Any] = []
        closes: list[int] = []

        async def failing() -> AsyncGenerator[None]:
            yield
            await asyncio.sleep(0)
            closes.append(1)
            raise OSError

        engine = async_engine_of(declare(a=providers.Resource(failing)), events=events)
        container = await aopen_all(engine)
        results: list[Any] = await asyncio.gather(
            container.shutdown_resources(), container.shutdown_resources(), return_exceptions=True
        )
        assert closes == [1]
        assert [event.kind for event in events] == ["opened", "close-failed"]
        assert sum(result is None for result in results) == 1

    run(main)


def test_async_resources_close_as_soon_as_nothing_open_needs_them() -> None:
    """Two chains, long over short and short over long: 0.1 + 0.3 s, where level by level takes 0.3 + 0.3 s.

    Told by events: `under_short` begins to close while `long` still does.
    """

    async def main() -> None:
        long_may_end, under_short_closes = asyncio.Event(), asyncio.Event()
        journal = Journal()

        async def short(*_: object) -> AsyncGenerator[None]:
            yield
            journal.append("short closed")

        async def long(*_: object) -> AsyncGenerator[None]:
            yield
            await long_may_end.wait()
            journal.append("long closed")

        async def under_short() -> AsyncGenerator[None]:
            yield
            under_short_closes.set()
            journal.append("under_short closed")

        a, c = providers.Resource(under_short), journal.async_resource("under_long")
        engine = async_engine_of(
            declare(a=a, b=providers.Resource(short, a), c=c, d=providers.Resource(long, c)),
        )
        await aopen_all(engine)
        closing = asyncio.create_task(engine.aclose())
        await under_short_closes.wait()
        assert "-under_long" not in journal, "what the long one needs stays open"
        long_may_end.set()
        (await closing).settle()
        assert journal[1:] == ["short closed", "under_short closed", "long closed", "-under_long"]

    run(main)


def test_a_diamond_opens_once_and_its_root_closes_last() -> None:
    async def main() -> None:
        journal = Journal()
        root = journal.async_resource("root")
        left, right = journal.async_resource("left", root), journal.async_resource("right", root)
        engine = async_engine_of(declare(top=journal.async_resource("top", left, right), l=left, r=right, root=root))
        await aopen_all(engine)
        (await engine.aclose()).settle()
        assert journal.opened[0] == journal.closed[-1] == "root"
        assert journal.opened[-1] == journal.closed[0] == "top"
        assert len(journal) == 8

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_mixed_kinds_respect_what_needs_what_on_a_loop(workers: int) -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        b = journal.resource("b", a)
        c = journal.async_resource("c", b)
        d = journal.resource("d", c)
        engine = async_engine_of(declare(d=d, c=c, b=b, a=a), max_workers=workers)
        await aopen_all(engine)
        (await engine.aclose()).settle()
        assert journal.opened == ["a", "b", "c", "d"]
        assert journal.closed == ["d", "c", "b", "a"]

    run(main)


def test_a_late_use_names_resource_and_run_and_opens_nothing() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a"), b=journal.resource("b"), f=providers.Factory(dict)))
    container: Any = engine.instance
    container.a()
    engine.close().settle()
    for late in (container.a, container.b, container.a.init, container.init_resources):
        with pytest.raises(
            LifespanClosedError, match=r"App\.[ab] was asked for after the lifespan of the run had closed"
        ):
            late()
    assert journal == ["+a", "-a"]
    assert container.f() == {}


def test_a_closer_that_asks_for_its_own_resource_is_told_that_it_is_closed() -> None:
    """It was told that its initialiser had asked, where that had been opened at first use."""
    told: list[BaseException] = []

    def selfish() -> Generator[None]:
        yield
        with pytest.raises(LifespanClosedError) as raised:
            container.a()
        told.append(raised.value)

    engine = engine_of(declare(a=providers.Resource(selfish)))
    container: Any = engine.instance
    container.a()
    engine.close().settle()
    assert len(told) == 1


def test_an_opening_under_way_in_another_thread_closes_at_once_and_its_caller_gets_a_closed_error() -> None:
    journal = Journal()
    opening, go = threading.Event(), threading.Event()
    got: list[BaseException] = []

    def slow() -> Generator[None]:
        opening.set()
        go.wait()
        yield from journal.blocking("slow")()

    engine = engine_of(declare(a=providers.Resource(slow)))

    def use() -> None:
        try:
            engine.demand(next(iter(engine.slots.values())))
        except LifespanClosedError as error:
            got.append(error)

    user = threading.Thread(target=use)
    user.start()
    opening.wait()
    closer = threading.Thread(target=lambda: engine.close().settle())
    closer.start()
    poll(lambda: engine.schedule.ended, "the lifespan ends")
    go.set()
    closer.join()
    # Closing waited for it: nothing is open when it returns.
    assert journal == ["+slow", "-slow"]
    user.join()
    assert len(got) == 1


def test_an_async_first_use_under_way_is_cancelled_when_the_lifespan_closes() -> None:
    async def main() -> None:
        opening = asyncio.Event()

        async def never() -> None:
            opening.set()
            await asyncio.Event().wait()

        engine = async_engine_of(declare(a=providers.Resource(never)))
        user = asyncio.create_task(engine.aopen(engine.eager(), "a first use"))
        await opening.wait()
        (await engine.aclose()).settle()
        assert isinstance((await asyncio.gather(user, return_exceptions=True))[0], asyncio.CancelledError)

    run(main)


def test_an_async_resource_closed_from_another_thread_is_exited_on_its_loop() -> None:
    """Its exit was called in the thread, gave a coroutine that nobody awaited, and counted as closed."""

    async def main() -> None:
        journal = Journal()
        loops: list[object] = []

        async def watching() -> AsyncGenerator[None]:
            yield
            loops.append(asyncio.get_running_loop())
            journal.append("closed")

        engine = async_engine_of(declare(a=providers.Resource(watching)))
        container = await aopen_all(engine)
        await asyncio.to_thread(container.shutdown_resources)
        assert journal == ["closed"]
        assert loops == [asyncio.get_running_loop()]
        (await engine.aclose()).settle()

    run(main)


def test_an_async_resource_whose_loop_has_ended_closed_with_it_and_is_reported_once() -> None:
    journal = Journal()
    events: list[Any] = []

    async def main() -> Any:
        engine = async_engine_of(declare(a=journal.async_resource("a")), events=events)
        await aopen_all(engine)
        return engine

    engine = run(main)
    assert journal == ["+a", "-a"]
    engine.close().settle()
    assert [event.kind for event in events] == ["opened", "closed"]


def test_closing_an_async_resource_with_a_blocking_call_on_its_own_loop_is_refused_aloud() -> None:
    async def main() -> None:
        engine = async_engine_of(declare(a=Journal().async_resource("a")))
        await aopen_all(engine)
        report = engine.close()
        assert "close it there, in a coroutine" in str(report.raising)

    run(main)
