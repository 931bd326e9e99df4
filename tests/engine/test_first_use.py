"""What is not open opens at first use: exactly once, whoever asks at the same time, and nobody's cancellation harms it."""

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.errors import AsyncResourceError, LifespanError, UsageError
from tests.engine.support import (
    PATIENCE_SECONDS,
    Journal,
    aopen_all,
    apoll,
    async_engine_of,
    declare,
    engine_of,
    in_threads,
    open_all,
    run,
    turns,
)


@pytest.mark.parametrize("round_", range(20))
@pytest.mark.parametrize("workers", [1, 4])
def test_eight_threads_at_a_barrier_open_once(workers: int, round_: int) -> None:
    journal = Journal()
    a = journal.resource("a")
    engine = engine_of(declare(a=a, b=journal.resource("b", a)), max_workers=workers)
    container: Any = engine.instance
    assert in_threads(8, lambda: container.b()) == ["b"] * 8
    engine.close().settle()
    assert journal == ["+a", "+b", "-b", "-a"]


def test_eight_threads_share_the_failure_of_the_one_that_opened_and_the_next_may_try_again() -> None:
    fail = threading.Event()
    fail.set()
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if fail.is_set():
            raise OSError("first")
        return "opened"

    engine = engine_of(declare(a=providers.Resource(flaky)))
    container: Any = engine.instance
    results = in_threads(8, lambda: container.a())
    assert {type(result) for result in results} == {OSError}
    fail.clear()
    assert container.a() == "opened"
    engine.close().settle()


def test_many_tasks_open_an_async_resource_once() -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=journal.async_resource("b", a)))
        await asyncio.gather(*(engine.aopen(engine.eager(), "first use") for _ in range(50)))
        (await engine.aclose()).settle()
        assert journal == ["+a", "+b", "-b", "-a"]

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_and_tasks_that_ask_at_once_open_once(workers: int) -> None:
    async def main() -> None:
        journal = Journal()
        engine = async_engine_of(declare(a=journal.resource("a"), b=journal.resource("b")), max_workers=workers)
        container: Any = engine.instance
        await asyncio.gather(
            *(asyncio.to_thread(container.a) for _ in range(4)),
            *(engine.aopen(engine.eager(), "first use") for _ in range(4)),
            *(asyncio.to_thread(container.b) for _ in range(4)),
        )
        (await engine.aclose()).settle()
        assert sorted(journal.opened) == ["a", "b"]
        assert journal.closed == journal.opened[::-1]

    run(main)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "lane"])
def test_one_cancelled_waiter_cancels_nobody_elses_opening(asynchronous: bool) -> None:
    async def main() -> None:
        may_open = threading.Event()
        calls: list[int] = []

        async def slow() -> str:
            calls.append(1)
            await apoll(may_open.is_set, "it may open")
            return "opened"

        def blocking() -> str:
            calls.append(1)
            may_open.wait()
            return "opened"

        engine = async_engine_of(declare(a=providers.Resource(slow if asynchronous else blocking)), max_workers=2)
        first, second, third = (asyncio.create_task(engine.aopen(engine.eager(), "first use")) for _ in range(3))
        await turns()
        first.cancel()  # it is the one that opens
        third.cancel()
        await turns()
        assert [task.done() for task in (first, second, third)] == [True, False, True]
        assert first.cancelled()
        assert third.cancelled()
        may_open.set()
        await second
        assert engine.instance is not None
        assert (engine.instance.a(), calls) == ("opened", [1])
        (await engine.aclose()).settle()

    run(main)


def test_a_failure_that_all_who_waited_for_it_were_cancelled_before_is_no_error_that_nobody_asks_for() -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        may_fail = asyncio.Event()

        async def failing() -> str:
            await may_fail.wait()
            raise OSError("no database")

        engine = async_engine_of(declare(a=providers.Resource(failing)))
        waiters = [asyncio.create_task(engine.aopen(engine.eager(), "first use")) for _ in range(2)]
        await turns()
        for waiter in waiters:
            waiter.cancel()
        await turns()
        may_fail.set()
        await turns()
        (await engine.aclose()).settle()

    run(main)
    gc.collect()
    assert not complaints


def test_a_waiter_takes_over_when_the_one_that_opens_the_lifespan_is_cancelled() -> None:
    async def main() -> None:
        calls: list[int] = []
        may_open = asyncio.Event()

        async def slow() -> str:
            calls.append(1)
            await may_open.wait()
            return "opened"

        engine = async_engine_of(declare(a=providers.Resource(slow)))
        opener = asyncio.create_task(aopen_all(engine))
        await turns()
        waiter = asyncio.create_task(engine.aopen(engine.eager(), "first use"))
        await turns()
        opener.cancel()
        await turns()
        assert opener.cancelled()
        may_open.set()
        await waiter
        assert calls == [1, 1]
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("how", ["lane", "retry", "late manager"])
def test_a_call_on_the_loops_thread_while_the_loop_opens_it_is_refused_and_never_a_deadlock(how: str) -> None:
    """The thread waited for an opening that only its own event loop could bring to an end."""

    async def main() -> None:
        gate = threading.Event()
        calls: list[int] = []

        class Manager:
            async def __aenter__(self) -> str:
                await apoll(gate.is_set, "it may open")
                return "opened"

            async def __aexit__(self, *_: object) -> None: ...

        def initialiser() -> Any:
            calls.append(1)
            if how == "late manager":
                return Manager()
            if how == "lane":
                gate.wait()
            elif len(calls) == 1:
                raise OSError
            return "opened"

        engine = async_engine_of(
            declare(a=providers.Resource(initialiser)),
            max_workers=2 if how == "lane" else 1,
            retries=1,
            retry_delay_seconds=0.01,
        )
        opening = asyncio.create_task(engine.aopen(engine.eager(), "first use"))
        await turns(5)
        container: Any = engine.instance
        with pytest.raises(AsyncResourceError, match="In a coroutine"):
            container.a()
        gate.set()
        await opening
        assert container.a() == "opened"
        (await engine.aclose()).settle()

    run(main)


def test_a_coroutine_that_calls_for_an_asynchronous_resource_is_told_to_await_it() -> None:
    """It was told to become `async def`."""

    async def main() -> None:
        engine = async_engine_of(declare(a=Journal().async_resource("a")))
        container: Any = engine.instance
        with pytest.raises(AsyncResourceError, match=r"`await container\.a\.init\(\)` first") as raised:
            container.a()
        assert "Make the function" not in str(raised.value)
        assert await container.a.init() == "a"
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("turn", range(12))
def test_an_engine_that_closes_as_a_first_use_ends_closes_what_that_has_opened(turn: int) -> None:
    """Nothing was left to wait for when the waiting began, which was an error, and everything stayed open."""

    async def main() -> None:
        journal = Journal()
        engine = async_engine_of(declare(a=journal.resource("a"), b=journal.async_resource("b")))
        use = asyncio.create_task(engine.aopen(engine.eager(), "first use"))
        await turns(turn)
        (await engine.aclose()).settle()
        await asyncio.wait([use])
        if not use.cancelled():
            use.exception()
        assert sorted(journal.closed) == sorted(journal.opened)

    run(main)


def test_an_initialiser_that_asks_for_itself_is_told_so() -> None:
    def selfish() -> None:
        container.a()

    container: Any = engine_of(declare(a=providers.Resource(selfish))).instance
    with pytest.raises(LifespanError, match=r"App\.a was asked for by its own initialiser"):
        container.a()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_initialiser_that_asks_for_what_needs_it_is_told_so_in_every_thread(workers: int) -> None:
    def selfish() -> None:
        container.b()

    a: Any = providers.Resource(selfish)
    engine = engine_of(declare(a=a, b=providers.Resource(str, a)), max_workers=workers)
    container: Any = engine.instance
    with pytest.raises(LifespanError, match="by its own initialiser"):
        open_all(engine)
    (result,) = in_threads(1, lambda: container.a())
    assert isinstance(result, LifespanError)


def test_an_async_initialiser_that_asks_for_itself_is_told_so() -> None:
    async def main() -> None:
        async def selfish() -> None:
            container: Any = engine.instance
            await container.init_resources()

        engine = async_engine_of(declare(a=providers.Resource(selfish)))
        with pytest.raises(LifespanError, match="by its own initialiser"):
            await aopen_all(engine)

    run(main)


def test_an_initialiser_may_ask_for_another_resource_which_then_closes_after_it() -> None:
    journal = Journal()

    def asking() -> Generator[str]:
        value = container.b()
        journal.append(f"a got {value}")
        yield "a"
        journal.append("-a")

    engine = engine_of(declare(a=providers.Resource(asking), b=journal.resource("b")))
    container: Any = engine.instance
    open_all(engine)
    engine.close().settle()
    assert journal == ["+b", "a got b", "-a", "-b"]


def test_an_async_resource_that_is_open_is_its_value_for_blocking_callers_in_any_thread() -> None:
    async def main() -> None:
        engine = async_engine_of(declare(a=Journal().async_resource("a")))
        container = await aopen_all(engine)
        assert container.a() == "a"
        assert await asyncio.to_thread(container.a) == "a"
        (await engine.aclose()).settle()

    run(main)


def test_a_value_that_is_awaitable_arrives_as_it_is() -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def gives() -> AsyncGenerator[Any]:
            yield future

        engine = async_engine_of(declare(a=providers.Resource(gives), b=Journal().async_resource("b")))
        container = await aopen_all(engine)
        assert (container.a(), container.a(), container.b()) == (future, future, "b")
        (await engine.aclose()).settle()

    run(main)


def test_calling_a_resource_with_arguments_is_an_error_that_says_what_to_do() -> None:
    container = open_all(engine_of(declare(a=Journal().resource("a"))))
    with pytest.raises(UsageError, match="make what differs from call to call a Factory"):
        container.a("other")


@pytest.mark.timeout(120, method="thread")
def test_as_many_initialisers_as_there_are_threads_may_each_ask_for_another_resource() -> None:
    """Each held its turn while it waited for one that needed a turn: nobody ever opened anything."""
    both_at_it = threading.Barrier(2)
    journal = Journal()

    def asking(other: str) -> Generator[str]:
        both_at_it.wait(PATIENCE_SECONDS)
        yield getattr(container, other)()

    engine = engine_of(
        declare(
            a=providers.Resource(asking, "c"),
            b=providers.Resource(asking, "d"),
            c=journal.resource("c"),
            d=journal.resource("d"),
        ),
        max_workers=2,
    )
    container: Any = engine.instance
    engine.open(engine.needed([*engine.keys_of("a"), *engine.keys_of("b")]), "the test")
    assert (container.a(), container.b()) == ("c", "d")
    engine.close().settle()
    assert sorted(journal.closed) == ["c", "d"]


def test_what_an_opening_waited_with_is_let_go_of_while_what_it_opened_stays_open() -> None:
    """Each asynchronous resource kept the queue of the call that had opened it, and all that was in there."""

    def queues() -> int:
        gc.collect()
        return sum(type(each) is asyncio.Queue for each in gc.get_objects())

    async def main() -> None:
        journal = Journal()
        before = queues()
        engine = async_engine_of(declare(a=journal.async_resource("a"), b=journal.async_resource("b")))
        await aopen_all(engine)
        assert queues() == before
        (await engine.aclose()).settle()
        assert sorted(journal.closed) == ["a", "b"]

    run(main)
