"""An asynchronous opening that ignores its cancellation past its limit and its grace is left behind, and closes itself."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.errors import ResourceTimeoutError
from tests.engine.support import Journal, aopen_all, apoll, async_engine_of, declare, run, turns

pytestmark = pytest.mark.timeout(120, method="thread")

SHORT = 0.02


@pytest.mark.parametrize("waits", [1, 2, 3])
def test_one_that_needs_longer_than_closing_may_take_is_left_behind_and_closes_what_it_enters(
    waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was waited for without end: it is cancelled again at the limit, and then its grace ends."""
    monkeypatch.setattr(limits, "GRACE_SECONDS", SHORT)
    journal = Journal()
    events: list[Any] = []

    async def main() -> None:
        may_open = asyncio.Event()
        b = journal.async_resource("b")

        async def persistent(_: object) -> AsyncGenerator[None]:
            while not may_open.is_set():
                with suppress(asyncio.CancelledError):
                    await may_open.wait()
            journal.append("+a")
            try:
                yield
            finally:
                journal.append("-a")

        stuck = journal.stubborn("c", waits=waits, until=may_open)
        engine = async_engine_of(
            declare(b=b, a=providers.Resource(persistent, b), c=stuck),
            close_timeout_seconds=SHORT,
            retries=3,
            events=events,
        )
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(lambda: "+b" in journal and "trying c" in journal, "they have begun")
        await turns()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()
        assert journal.closed == ["b"]
        may_open.set()
        await apoll(lambda: "-a" in journal, "what was left behind closes")

    run(main)
    assert sorted(journal.opened) == sorted(journal.closed)
    assert sorted((event.resource, event.kind) for event in events if event.resource in "ac") == [
        *[("a", kind) for kind in ("closed", "open-failed", "opened")],
        # With the third cancellation it has none left to ignore, and opens late too.
        *[("c", kind) for kind in (("closed", "open-failed", "opened") if waits == 3 else ("open-failed",))],
    ]


def test_one_that_ends_at_the_second_cancellation_is_not_left_behind() -> None:
    events: list[Any] = []
    journal = Journal()

    async def main() -> None:
        container = declare(a=journal.stubborn("a", waits=2))
        engine = async_engine_of(container, close_timeout_seconds=SHORT, events=events)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(lambda: journal, "it has begun")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        (await engine.aclose()).settle()

    run(main)
    assert [event.kind for event in events] == ["opened", "closed"]
    assert journal == ["trying a", "ignored a", "ignored a", "+a", "-a"]


def test_what_was_left_behind_is_no_obstacle_to_the_next_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE_SECONDS", SHORT)
    journal = Journal()

    async def main() -> None:
        calls: list[int] = []
        may_open = asyncio.Event()

        async def hangs_at_first() -> AsyncGenerator[int]:
            calls.append(1)
            number = len(calls)
            while number == 1 and not may_open.is_set():
                with suppress(asyncio.CancelledError):
                    await may_open.wait()
            journal.append(f"+{number}")
            try:
                yield number
            finally:
                journal.append(f"-{number}")

        engine = async_engine_of(declare(a=providers.Resource(hangs_at_first)), open_timeout_seconds=SHORT)
        with pytest.raises(ResourceTimeoutError):
            await engine.aopen(engine.eager(), "first use")
        await engine.aopen(engine.eager(), "second use")
        container: Any = engine.instance
        assert container.a() == 2
        may_open.set()
        await apoll(lambda: "-1" in journal, "the first closes")
        assert container.a() == 2
        (await engine.aclose()).settle()

    run(main)
    assert journal == ["+2", "+1", "-1", "-2"]


def test_an_opening_that_ignores_its_limit_and_ends_is_closed_and_is_a_timeout() -> None:
    """As a blocking one that took too long; it was open."""
    journal = Journal()

    async def main() -> None:
        engine = async_engine_of(declare(a=journal.stubborn("a")), open_timeout_seconds=SHORT)
        with pytest.raises(ResourceTimeoutError, match=r"App\.a did not open within 0\.02 s"):
            await aopen_all(engine)
        assert journal == ["trying a", "ignored a", "+a", "-a"]
        (await engine.aclose()).settle()

    run(main)
