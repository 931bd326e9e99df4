"""An asynchronous opening that is cancelled and does not end by it: it is waited for, bounded, and what opens closes."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine.places.task import InTask
from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import Journal, aopen_all, apoll, async_engine_of, declare, run, turns

pytestmark = pytest.mark.timeout(30, method="thread")  # a deadlock is what these are about, and it outlasts a signal

SHORT = 0.02


def failing(journal: Journal, *others: str) -> Any:
    """A resource that fails as soon as the others are at it."""

    async def initialiser() -> None:
        await apoll(lambda: all(f"trying {name}" in journal for name in others), "the others have begun")
        raise OSError("own")

    return providers.Resource(initialiser)


async def by_task_cancel(opening: Awaitable[Any], begun: Callable[[], object]) -> None:
    task = asyncio.ensure_future(opening)
    await apoll(begun, "it has begun")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_timeout(opening: Awaitable[Any], _: Callable[[], object]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT):
            await opening


async def by_task_group(opening: Awaitable[Any], begun: Callable[[], object]) -> None:
    async def fails() -> None:
        await apoll(begun, "it has begun")
        raise OSError("own")

    async def opens() -> None:
        await opening

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(opens())
            group.create_task(fails())


@pytest.mark.parametrize("count", [1, 5])
def test_siblings_that_open_although_a_failure_cancelled_them_close_in_their_turn(count: int) -> None:
    """The failure waited for their hosts, which waited to be told to close."""
    journal = Journal()
    names = [str(number) for number in range(count)]

    async def main() -> None:
        siblings = {f"r{name}": journal.stubborn(name) for name in names}
        engine = async_engine_of(declare(**siblings, bad=failing(journal, *names)))
        with pytest.raises(OSError, match="own") as raised:
            await aopen_all(engine)
        assert sorted(journal.opened) == names
        (await engine.aclose(raised.value)).settle()

    run(main)
    assert sorted(journal.closed) == names


@pytest.mark.parametrize("cancelled", [by_task_cancel, by_timeout, by_task_group])
def test_what_opens_although_the_caller_was_cancelled_closes_in_its_turn(cancelled: Any) -> None:
    journal = Journal()

    async def main() -> None:
        a = journal.stubborn("a")
        engine = async_engine_of(declare(a=a, b=journal.async_resource("b", a)))
        await cancelled(aopen_all(engine), lambda: "trying a" in journal)
        assert journal.opened == ["a"], "and nothing that needs it"
        (await engine.aclose()).settle()

    run(main)
    assert journal.closed == ["a"]


def test_a_result_that_arrives_with_the_cancellation_opens_and_closes() -> None:
    """No odd initialiser: asyncio.wait_for returns, up to Python 3.11, where both come in one turn of the loop."""
    journal = Journal()

    async def main() -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        async def connects() -> AsyncGenerator[None]:
            begun.set()
            await asyncio.wait_for(ready, 5)
            async for _ in journal.asynchronous("a")():
                yield

        engine = async_engine_of(declare(a=providers.Resource(connects)))
        opening = asyncio.create_task(aopen_all(engine))
        await begun.wait()
        ready.set_result(None)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()

    run(main)
    assert journal.closed == journal.opened


def test_at_first_use_it_stays_open_for_the_next_use_until_the_engine_closes() -> None:
    journal = Journal()

    async def main() -> None:
        engine = async_engine_of(declare(a=journal.stubborn("a"), bad=failing(journal, "a")))
        with pytest.raises(OSError, match="own"):
            await engine.aopen(engine.eager(), "first use")
        container: Any = engine.instance
        assert container.a() == "a"
        (await engine.aclose()).settle()

    run(main)
    assert journal == ["trying a", "ignored a", "+a", "-a"]


def test_an_engine_that_closes_while_a_first_use_is_under_way_closes_what_opens_all_the_same() -> None:
    journal = Journal()

    async def main() -> None:
        engine = async_engine_of(declare(a=journal.stubborn("a")))
        use = asyncio.create_task(engine.aopen(engine.eager(), "first use"))
        await apoll(lambda: journal, "it has begun")
        (await engine.aclose()).settle()
        with pytest.raises(asyncio.CancelledError):
            await use
        with pytest.raises(LifespanClosedError):
            await engine.aopen(engine.eager(), "late use")

    run(main)
    assert journal == ["trying a", "ignored a", "+a", "-a"]


def test_no_attempt_follows_a_cancellation_whatever_error_the_initialiser_makes_of_it() -> None:
    calls: list[int] = []

    async def main() -> None:
        async def translates() -> None:
            calls.append(1)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("connection lost") from None

        engine = async_engine_of(declare(a=providers.Resource(translates)), retries=9, retry_delay_seconds=0)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(lambda: calls, "it has begun")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()

    run(main)
    assert calls == [1]


def test_a_cancellation_that_arrives_while_siblings_of_a_failure_end_goes_on() -> None:
    """It was lost in the failure, and whoever tries again after that one could not be stopped."""

    async def main() -> None:
        may_end, ending = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await may_end.wait()

        async def fails() -> None:
            raise OSError("own")

        engine = async_engine_of(declare(a=providers.Resource(slow), b=providers.Resource(fails)))
        opening = asyncio.create_task(aopen_all(engine))
        await ending.wait()
        opening.cancel()
        await turns()
        assert not opening.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError) as raised:
            await opening
        assert isinstance(raised.value.__cause__, OSError)
        (await engine.aclose()).settle()

    run(main)


def test_a_task_group_that_opened_although_cancelled_fails_with_its_child() -> None:
    """It counts the cancellations that are pending in its task, and would take the old one for its own caller's."""

    async def main() -> None:
        may_fail = asyncio.Event()
        seen: list[BaseException] = []

        async def child() -> None:
            await may_fail.wait()
            raise OSError("child")

        async def group() -> AsyncGenerator[None]:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(child())
                    yield
            except BaseException as error:
                seen.append(error)
                raise

        engine = async_engine_of(declare(a=providers.Resource(group)))
        opening = asyncio.create_task(aopen_all(engine))
        await turns()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (slot,) = engine.eager()
        assert isinstance(slot.place, InTask)
        assert slot.place.task is not None
        assert slot.place.task.cancelling() == 0
        container: Any = engine.instance
        may_fail.set()
        await apoll(lambda: not container.a.initialized, "the group is out of use")
        assert not seen
        assert len((await engine.aclose()).raising) == 1
        assert isinstance(seen[0], ExceptionGroup)

    run(main)


def test_a_lane_that_opens_although_the_caller_was_cancelled_closes_in_its_turn() -> None:
    journal = Journal()

    async def main() -> None:
        may_open = threading.Event()

        def slow() -> Generator[None]:
            journal.append("trying a")
            may_open.wait()
            yield from journal.blocking("a")()

        engine = async_engine_of(declare(a=providers.Resource(slow)), max_workers=2)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(lambda: journal, "it has begun")
        opening.cancel()
        await turns()
        assert not opening.done()
        may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()

    run(main)
    assert journal == ["trying a", "+a", "-a"]


def test_a_coroutine_that_a_lane_returns_after_the_caller_was_cancelled_is_let_go() -> None:
    """Nobody awaited it, which Python warns of."""

    async def main() -> None:
        may_open, called = threading.Event(), threading.Event()

        async def never_awaited() -> None: ...

        coroutine = never_awaited()

        def made() -> Any:
            called.set()
            may_open.wait()
            return coroutine

        engine = async_engine_of(declare(a=providers.Resource(made)), max_workers=2)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(called.is_set, "it has begun")
        opening.cancel()
        await turns()
        may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    run(main)
