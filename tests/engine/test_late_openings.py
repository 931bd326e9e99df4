"""What finishes opening after its lifespan has ended closes with the lifespan's outcome, and says so; its errors are told."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import Engine, Event
from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import PATIENCE_SECONDS, aopen_all, apoll, async_engine_of, declare, engine_of, poll, run

pytestmark = pytest.mark.timeout(30, method="thread")


class Ledger:
    """A transaction that opens when its lifespan has ended."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun = threading.Event()
        self.engine: Engine | None = None
        self.told: list[BaseException | None] = []
        self.events: list[Event] = []
        self.fails = fails

    @property
    def has_ended(self) -> bool:
        return self.engine is not None and self.engine.schedule.ended

    def blocking(self) -> Generator[None]:
        self.begun.set()
        poll(lambda: self.has_ended, "the lifespan ends")
        yield from self.open()

    async def hosted(self) -> AsyncGenerator[None]:
        self.begun.set()
        await apoll(lambda: self.has_ended, "the lifespan ends")
        try:
            yield
        except BaseException as error:
            self.told.append(error)
            raise
        self.told.append(None)

    def open(self) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            self.told.append(error)
            raise
        self.told.append(None)
        if self.fails:
            raise OSError("close failed")

    def used_in_a_thread(self, outcome: BaseException | None, *, on_loop: bool) -> Any:
        """The report of closing while a thread is at it."""

        def use() -> None:
            container: Any = self.engine and self.engine.instance
            with pytest.raises(LifespanClosedError):
                container.a()

        declared = declare(a=providers.Resource(self.blocking))
        user = threading.Thread(target=use)

        async def main() -> Any:
            self.engine = async_engine_of(declared, events=self.events)
            user.start()
            await apoll(self.begun.is_set, "it is opening")
            return await self.engine.aclose(outcome)

        if on_loop:
            report = run(main)
        else:
            self.engine = engine_of(declared, events=self.events)
            user.start()
            self.begun.wait(PATIENCE_SECONDS)
            report = self.engine.close(outcome)
        user.join(PATIENCE_SECONDS)
        return report


on_both = pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])


@on_both
@pytest.mark.parametrize("outcome", [None, ValueError("of the body"), KeyboardInterrupt()], ids=repr)
def test_a_late_opening_is_told_the_lifespans_outcome_and_has_its_two_lines(
    outcome: BaseException | None, on_loop: bool
) -> None:
    """It was told success whatever had happened, and nobody heard of it."""
    ledger = Ledger()
    ledger.used_in_a_thread(outcome, on_loop=on_loop).settle()
    assert ledger.told == [outcome]
    told = "" if outcome is None else type(outcome).__name__
    assert [(event.kind, event.outcome_type) for event in ledger.events] == [("opened", ""), ("closed", told)]


@on_both
def test_an_error_of_a_late_closing_reaches_observers_and_the_lifespans_end(on_loop: bool) -> None:
    ledger = Ledger(fails=True)
    report = ledger.used_in_a_thread(None, on_loop=on_loop)
    assert [event.kind for event in ledger.events] == ["opened", "close-failed"]
    with pytest.raises(OSError, match="close failed") as raised:
        report.settle()
    assert raised.value.__notes__ == ["while closing App.a"]


def test_an_asynchronous_one_is_told_it_as_well() -> None:
    ledger = Ledger()
    outcome = ValueError("of the body")

    async def main() -> None:
        engine = ledger.engine = async_engine_of(declare(a=providers.Resource(ledger.hosted)), events=ledger.events)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(ledger.begun.is_set, "it is opening")
        (await engine.aclose(outcome)).settle()
        with pytest.raises(LifespanClosedError):
            await opening

    run(main)
    assert ledger.told == [outcome]
    assert [event.kind for event in ledger.events] == ["opened", "closed"]


def test_one_that_was_left_behind_by_its_limit_is_told_that_and_has_its_lines() -> None:
    go, events = threading.Event(), list[Event]()
    told: list[BaseException] = []

    def hangs() -> Generator[None]:
        go.wait()
        try:
            yield
        except BaseException as error:
            told.append(error)
            raise OSError("close failed") from None

    engine = engine_of(declare(a=providers.Resource(hangs)), max_workers=2, open_timeout_seconds=0.02, events=events)
    with pytest.raises(TimeoutError) as raised:
        engine.open(engine.eager(), "the run", in_callers_context=True)
    go.set()
    poll(lambda: len(events) == 3, "it closes")
    assert told == [raised.value]
    assert [event.kind for event in events] == ["open-failed", "opened", "close-failed"]
    engine.close(raised.value).settle()
