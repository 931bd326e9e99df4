"""Which thread and which context an initialiser and its closer run in, and what opens side by side."""

import asyncio
import sqlite3
import threading
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import pytest
from dependency_injector import providers

from tests.engine.support import (
    PATIENCE_SECONDS,
    Journal,
    aopen_all,
    async_engine_of,
    declare,
    engine_of,
    in_threads,
    open_all,
    run,
)

level: ContextVar[str] = ContextVar("level", default="unset")


def in_thread(threads: list[str]) -> Any:
    def initialiser(*_: object) -> Generator[None]:
        threads.append(threading.current_thread().name)
        yield
        threads.append(threading.current_thread().name)

    return providers.Resource(initialiser)


def connect() -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", check_same_thread=True)
    yield connection
    connection.execute("select 1")  # raises in any other thread than the one that connected
    connection.close()


async def opened_on_a_loop(container: Any, **options: Any) -> None:
    await aopen_all(async_engine_of(container, **options))


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_blocking_resources_open_and_close_in_the_calling_thread(on_loop: bool) -> None:
    threads: list[str] = []
    container = declare(a=in_thread(threads), b=in_thread(threads))

    async def main() -> None:
        engine = async_engine_of(container)
        await aopen_all(engine)
        (await engine.aclose()).settle()

    if on_loop:
        run(main)
    else:
        engine = engine_of(container)
        open_all(engine)
        engine.close().settle()
    assert threads == [threading.current_thread().name] * 4


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
@pytest.mark.parametrize("workers", [1, 3])
def test_sqlite_connections_close_in_the_thread_that_opened_them(workers: int, on_loop: bool) -> None:
    container = declare(**{f"db{number}": providers.Resource(connect) for number in range(6)})

    async def main() -> None:
        engine = async_engine_of(container, max_workers=workers)
        await aopen_all(engine)
        (await engine.aclose()).settle()

    if on_loop:
        run(main)
    else:
        engine = engine_of(container, max_workers=workers)
        open_all(engine)
        engine.close().settle()


def test_a_connection_that_a_worker_thread_used_first_closes_though_that_thread_has_ended() -> None:
    engine = engine_of(declare(db=providers.Resource(connect)))
    container: Any = engine.instance
    (connection,) = in_threads(1, lambda: container.db())
    assert isinstance(connection, sqlite3.Connection)
    engine.close().settle()


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_up_to_max_workers_open_side_by_side_and_no_more(on_loop: bool) -> None:
    """Three meet at a barrier, which opening one after another would never pass; a fourth never joins them."""
    barrier = threading.Barrier(3)
    at_once, most = [0], [0]
    lock = threading.Lock()

    def meeting() -> None:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        barrier.wait(PATIENCE_SECONDS)
        with lock:
            at_once[0] -= 1

    container = declare(**{f"r{number}": providers.Resource(meeting) for number in range(6)})
    if on_loop:
        run(lambda: opened_on_a_loop(container, max_workers=3))
    else:
        open_all(engine_of(container, max_workers=3))
    assert most == [3]


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_in_lanes_what_needs_another_waits_for_it(on_loop: bool) -> None:
    journal = Journal()
    a = journal.resource("a")
    b = journal.resource("b", a)
    container = declare(c=journal.resource("c", b), b=b, a=a)
    if on_loop:
        run(lambda: opened_on_a_loop(container, max_workers=3))
    else:
        open_all(engine_of(container, max_workers=3))
    assert journal == ["+a", "+b", "+c"]


def test_independent_async_resources_open_concurrently() -> None:
    async def main() -> None:
        waiting = [0]
        all_wait = asyncio.Event()

        async def meeting() -> None:
            waiting[0] += 1
            if waiting[0] == 5:
                all_wait.set()
            await all_wait.wait()

        await aopen_all(async_engine_of(declare(**{f"r{n}": providers.Resource(meeting) for n in range(5)})))

    run(main)


def test_an_async_resource_opens_as_soon_as_what_it_needs_is_open_whatever_else_still_opens() -> None:
    async def main() -> None:
        user_open = asyncio.Event()

        async def slow() -> None:
            await user_open.wait()

        async def quick() -> None: ...

        async def user(_: object) -> None:
            user_open.set()

        quick_one: Any = providers.Resource(quick)
        await aopen_all(
            async_engine_of(declare(slow=providers.Resource(slow), user=providers.Resource(user, quick_one)))
        )

    run(main)


def test_a_blocking_initialiser_on_a_loop_finds_async_ones_already_waiting_for_their_input() -> None:
    async def main() -> None:
        started = asyncio.Event()
        seen: list[bool] = []

        async def remote() -> None:
            started.set()
            await asyncio.sleep(0)

        await aopen_all(
            async_engine_of(
                declare(a=providers.Resource(lambda: seen.append(started.is_set())), b=providers.Resource(remote))
            )
        )
        assert seen == [True]

    run(main)


def sets_level(value: str) -> Any:
    def initialiser(*_: object) -> Generator[str]:
        token = level.set(value)
        yield level.get()
        level.reset(token)

    return providers.Resource(initialiser)


def test_a_context_variable_set_by_an_initialiser_holds_for_the_body_and_is_reset() -> None:
    engine = engine_of(declare(a=sets_level("outer"), b=sets_level("inner")))
    open_all(engine)
    assert level.get() == "inner"
    engine.close().settle()
    assert level.get() == "unset"


def test_the_same_holds_for_blocking_initialisers_on_a_loop() -> None:
    async def main() -> None:
        engine = async_engine_of(declare(a=sets_level("outer")))
        await aopen_all(engine)
        assert level.get() == "outer"
        (await engine.aclose()).settle()
        assert level.get() == "unset"

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_at_first_use_and_in_lanes_it_is_the_initialisers_own_and_is_reset_all_the_same(workers: int) -> None:
    engine = engine_of(declare(a=sets_level("outer")), max_workers=workers)
    container: Any = engine.instance
    assert container.a() == "outer"
    assert level.get() == "unset"
    assert in_threads(1, container.a) == ["outer"]
    engine.close().settle()


def test_an_async_initialiser_resets_its_context_variable_in_the_task_that_set_it() -> None:
    async def initialiser() -> Any:
        token = level.set("async")
        yield level.get()
        level.reset(token)

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(initialiser)))
        assert (await aopen_all(engine)).a() == "async"
        (await engine.aclose()).settle()

    run(main)


def test_an_async_initialiser_sees_what_blocking_ones_before_it_have_set_and_not_what_async_ones_have() -> None:
    async def sets_its_own() -> Any:
        level.set("its own")
        yield level.get()

    async def reads(*_: object) -> Any:
        yield level.get()

    async def main() -> None:
        outer = sets_level("outer")
        read = {"before": providers.Resource(reads), "outer": outer, "after": providers.Resource(reads, outer)}
        engine = async_engine_of(declare(own=providers.Resource(sets_its_own), **read))
        container = await aopen_all(engine)
        assert (container.own(), container.before(), container.after()) == ("its own", "unset", "outer")
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("chained", [False, True], ids=["independent", "chained"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
def test_a_thousand_resources_open_and_close_in_order_without_recursion(asynchronous: bool, chained: bool) -> None:
    journal = Journal()
    made: list[Any] = []
    for number in range(1000):
        make = journal.async_resource if asynchronous else journal.resource
        made.append(make(str(number), *(made[-1:] if chained else [])))
    container = declare(**{f"r{number}": provider for number, provider in enumerate(made)})

    async def main() -> None:
        engine = async_engine_of(container)
        await aopen_all(engine)
        (await engine.aclose()).settle()

    if asynchronous:
        run(main)
    else:
        engine = engine_of(container)
        open_all(engine)
        engine.close().settle()
    names = [str(number) for number in range(1000)]
    assert journal.opened == names
    assert sorted(journal.closed) == sorted(names)
    if chained:
        assert journal.closed == names[::-1]
