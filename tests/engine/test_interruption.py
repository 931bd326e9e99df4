"""Cancellation and signals while resources close: each remaining one is still tried, then the interruption goes on."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
import pytest
from dependency_injector import providers

from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run


def interrupting(journal: Journal, name: str) -> Any:
    """A resource whose closer is hit by SIGINT."""

    def initialiser(*_: object) -> Generator[str]:
        yield name
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            journal.append(f"-{name}")

    return providers.Resource(initialiser)


def test_a_signal_in_a_closer_skips_no_other_and_then_goes_on() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a"), b=interrupting(journal, "b"), c=journal.resource("c")))
    open_all(engine)
    with pytest.raises(KeyboardInterrupt):
        engine.close().settle()
    assert journal.closed == ["c", "b", "a"]


def test_a_second_and_a_third_signal_skip_nothing_either() -> None:
    journal = Journal()
    names = ["a", "b", "c"]
    engine = engine_of(declare(z=journal.resource("z"), **{name: interrupting(journal, name) for name in names}))
    open_all(engine)
    report = engine.close()
    assert isinstance(report.interruption, KeyboardInterrupt)
    assert journal.closed == ["c", "b", "a", "z"]


def test_a_signal_between_two_closers_skips_nothing() -> None:
    """It arrives when the first has closed, in the library's own step."""
    journal = Journal()

    class Interrupting(list[Any]):
        def append(self, event: Any, /) -> None:
            if event.kind == "closed" and not self:
                super().append(event)
                signal.raise_signal(signal.SIGINT)

    engine = engine_of(declare(**{name: journal.resource(name) for name in "abc"}), events=Interrupting())
    open_all(engine)
    with pytest.raises(KeyboardInterrupt):
        engine.close().settle()
    assert journal.closed == ["c", "b", "a"]


def test_a_signal_before_a_closer_was_called_does_not_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken out of use, and not closed yet: the one moment when its state alone does not tell."""
    from prefect_lifespan.engine import closer

    journal = Journal()
    start, calls = closer.start_closing, list[int]()

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return start(*args)

    engine = engine_of(declare(**{name: journal.resource(name) for name in "abc"}))
    open_all(engine)
    monkeypatch.setattr(closer, "start_closing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.close().settle()
    assert journal.closed == ["c", "b", "a"]


def test_the_interruption_carries_the_close_errors_as_notes() -> None:
    def broken() -> Generator[None]:
        yield
        raise OSError("stuck")

    engine = engine_of(declare(a=providers.Resource(broken), b=interrupting(Journal(), "b")))
    open_all(engine)
    with pytest.raises(KeyboardInterrupt) as raised:
        engine.close().settle()
    assert raised.value.__notes__ == ["while closing App.a, OSError was raised: stuck"]


def test_a_signal_while_a_lane_closes_waits_for_it_before_what_it_needs_closes() -> None:
    """The wait was given up, and the next resource closed under the one that was still at it."""
    journal = Journal()
    closing, interrupted = threading.Event(), threading.Event()

    def slow(_: object) -> Generator[None]:
        yield
        closing.set()
        interrupted.wait()
        journal.append("-b")

    def handler(number: int, _: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt(number)

    def interrupt() -> None:
        closing.wait()
        while not interrupted.is_set():  # one that comes as a wait begins is handled when that ends, by Python
            signal.pthread_kill(here, signal.SIGINT)
            interrupted.wait(1)

    here = threading.get_ident()
    assert here == threading.main_thread().ident
    a = journal.resource("a")
    engine = engine_of(declare(a=a, b=providers.Resource(slow, a)), max_workers=2)
    open_all(engine)
    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        report = engine.close()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert journal.closed == ["b", "a"]
    assert isinstance(report.interruption, KeyboardInterrupt)


def test_a_signal_in_closers_on_a_loop_skips_nothing() -> None:
    journal = Journal()

    async def stuck(*_: object) -> AsyncGenerator[None]:
        yield
        journal.append("-async")
        raise KeyboardInterrupt

    def blocked(*_: object) -> Generator[None]:
        yield
        journal.append("-blocking")
        raise KeyboardInterrupt

    async def main() -> None:
        a = journal.async_resource("a")
        b = providers.Resource(stuck, a)
        c = providers.Resource(blocked, b)
        engine = async_engine_of(declare(a=a, b=b, c=c, d=journal.resource("d", c)))
        await aopen_all(engine)
        report = await engine.aclose()
        assert isinstance(report.interruption, KeyboardInterrupt)

    run(main)
    assert journal.closed == ["d", "blocking", "async", "a"]


def test_a_signal_in_a_step_of_closing_on_a_loop_skips_nothing() -> None:
    journal = Journal()

    class Interrupting(list[Any]):
        def append(self, event: Any, /) -> None:
            if event.kind == "closed" and len(self) < 2:
                super().append(event)
                raise KeyboardInterrupt

    async def main() -> None:
        a = journal.async_resource("a")
        b = journal.resource("b", a)
        engine = async_engine_of(
            declare(a=a, b=b, c=journal.async_resource("c", b), d=journal.resource("d")), events=Interrupting()
        )
        await aopen_all(engine)
        report = await engine.aclose()
        assert isinstance(report.interruption, KeyboardInterrupt)

    run(main)
    assert sorted(journal.closed) == ["a", "b", "c", "d"]
    assert journal.closed.index("c") < journal.closed.index("b") < journal.closed.index("a")


def chained(journal: Journal) -> Any:
    """Asynchronous closers, one needing the other, that take many turns; and a blocking one on top."""

    def slow(name: str) -> Any:
        async def initialiser(*_: object) -> AsyncGenerator[str]:
            yield name
            for _turn in range(20):
                await asyncio.sleep(0)
            journal.append(f"-{name}")

        return initialiser

    a = providers.Resource(slow("a"))
    b = providers.Resource(slow("b"), a)
    return declare(a=a, b=b, c=journal.resource("c", b))


def test_closing_survives_a_cancellation_that_is_repeated() -> None:
    async def main() -> None:
        journal = Journal()
        engine = async_engine_of(chained(journal))
        await aopen_all(engine)

        async def close() -> None:
            (await engine.aclose()).settle()

        closing = asyncio.create_task(close())
        await asyncio.sleep(0)
        while not closing.done():
            closing.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert closing.cancelled()
        assert journal.closed == ["c", "b", "a"]

    run(main)


def test_closing_survives_an_anyio_scope_that_was_cancelled_before_it_and_the_scope_still_ends() -> None:
    async def main() -> None:
        journal = Journal()
        engine = async_engine_of(chained(journal))
        await aopen_all(engine)
        with anyio.CancelScope() as scope:
            scope.cancel()
            (await engine.aclose()).settle()
            pytest.fail("the cancellation was lost")
        assert scope.cancelled_caught
        assert journal.closed == ["c", "b", "a"]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main)


def test_opening_in_an_anyio_scope_that_is_cancelled_cleans_up_and_the_scope_ends() -> None:
    async def main() -> None:
        journal = Journal()

        async def slow() -> AsyncGenerator[None]:
            try:
                scope.cancel()
                await asyncio.Event().wait()
                yield
            finally:
                await asyncio.sleep(0)
                journal.append("cleaned up")

        engine = async_engine_of(declare(a=providers.Resource(slow)))
        with anyio.CancelScope() as scope:
            await aopen_all(engine)
        assert scope.cancelled_caught
        (await engine.aclose()).settle()
        assert journal == ["cleaned up"]

    run(main)


def test_a_body_that_ran_out_of_time_closes_before_the_timeout_error_is_seen() -> None:
    async def main() -> None:
        journal = Journal()
        engine = async_engine_of(chained(journal))
        await aopen_all(engine)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as cancelled:
                    (await engine.aclose(cancelled)).settle()
                    raise
        assert journal.closed == ["c"], "the outcome is thrown in: what follows the yield without `finally` is skipped"

    run(main)


def test_cancelling_repeatedly_while_siblings_end_does_not_leave_them_running() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for _turn in range(20):
                    await asyncio.sleep(0)
                ended.append("slow")

        engine = async_engine_of(declare(a=providers.Resource(slow)))
        opening = asyncio.create_task(aopen_all(engine))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while not opening.done():
            opening.cancel()
            await asyncio.sleep(0)
        assert ended == ["slow"]
        (await engine.aclose()).settle()

    run(main)
