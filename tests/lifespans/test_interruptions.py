"""Timeouts and cancellation end a run early; its resources close all the same, and nothing is used after that."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import LifespanClosedError, Provide, TaskResource, current_container, inject, lifespan
from tests.lifespans.witness import SECONDS, Gate, Handle, Witness, in_threads, state_of, threads


def test_a_sync_flow_that_times_out_closes_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @flow(timeout_seconds=0.5)
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> None:
        while db.use():
            time.sleep(0.01)

    state = state_of(run)

    assert state.name == "TimedOut"
    assert witness.record == ["open db", "close db"]
    assert witness.outcomes[0] is not None


def test_a_sync_flow_in_another_thread_that_times_out_closes_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @flow(timeout_seconds=0.5)
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> None:
        while db.use():
            time.sleep(0.01)

    [future] = in_threads(lambda: run(return_state=True))

    assert future.result().name == "TimedOut"
    assert witness.record == ["open db", "close db"]
    assert witness.outcomes[0] is not None


def test_an_async_flow_that_times_out_closes_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)
        db = providers.Resource(witness.blocking)

    @flow(timeout_seconds=0.5)
    @lifespan(App)
    async def run() -> None:
        await asyncio.sleep(SECONDS)

    state: Any = state_of(run)

    assert state.name == "TimedOut"
    assert witness.record == ["open api", "open db", "close db", "close api"]
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in witness.outcomes)


def test_a_timeout_waits_for_running_tasks_before_it_closes(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)

    gate = Gate()

    @task
    @inject
    def hold(db: Handle = Provide[App.api]) -> None:
        gate.wait()
        witness.tell("used")
        db.use()

    @flow(timeout_seconds=0.5)
    @lifespan(App)
    async def run() -> None:
        hold.submit()
        await asyncio.to_thread(gate.arrived)
        try:
            await asyncio.sleep(SECONDS)
        finally:
            gate.open()

    state: Any = state_of(run)

    assert state.name == "TimedOut"
    assert witness.record == ["open api", "used", "close api"]


def test_cancelling_the_task_of_an_async_flow_closes_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)
        db = providers.Resource(witness.blocking)

    async def main() -> None:
        inside = asyncio.Event()

        @flow
        @lifespan(App)
        async def run() -> None:
            inside.set()
            await asyncio.sleep(SECONDS)

        running = asyncio.ensure_future(run())
        await inside.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert witness.record == ["open api", "open db", "close db", "close api"]


def test_cancelling_again_while_resources_close_does_not_leave_one_open(witness: Witness) -> None:
    async def slow_to_close(entered: asyncio.Event, go_on: asyncio.Event) -> Any:
        handle = witness.opens("slow")
        yield handle
        entered.set()
        await go_on.wait()
        witness.closes(handle, None)

    async def main() -> None:
        inside, closing, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class App(containers.DeclarativeContainer):
            api = providers.Resource(witness.asynchronous)
            slow = providers.Resource(slow_to_close, providers.Object(closing), providers.Object(go_on))

        @flow
        @lifespan(App)
        async def run() -> None:
            inside.set()

        running = asyncio.ensure_future(run())
        await closing.wait()
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert sorted(witness.record[:2]) == ["open api", "open slow"]
    assert sorted(witness.record[2:]) == ["close api", "close slow"]


def test_after_a_timeout_closing_takes_its_time_and_the_processor_rests(witness: Witness) -> None:
    async def slow_to_close() -> AsyncIterator[str]:
        try:
            yield "slow"
        finally:
            await asyncio.sleep(1)
            witness.tell("closed")

    class App(containers.DeclarativeContainer):
        slow = providers.Resource(slow_to_close)

    seconds: list[float] = []

    @flow(timeout_seconds=0.3)
    @lifespan(App)
    async def run() -> None:
        try:
            await asyncio.sleep(SECONDS)
        finally:
            seconds.append(time.process_time())

    async def main() -> Any:
        state: Any = run(return_state=True)
        ended = await state
        seconds.append(time.process_time())
        return ended

    assert asyncio.run(main()).name == "TimedOut"
    assert witness.record == ["closed"]
    assert seconds[1] - seconds[0] < 0.8, "a second of waiting is no second of work"


@pytest.mark.parametrize("body_takes_too_long", [True, False], ids=["in the body", "while closing"])
def test_an_async_flow_times_out_wherever_its_time_goes(witness: Witness, body_takes_too_long: bool) -> None:
    async def slow_to_close() -> AsyncIterator[str]:
        try:
            yield "slow"
        finally:
            await asyncio.sleep(1)
            witness.tell("closed")

    class App(containers.DeclarativeContainer):
        slow = providers.Resource(slow_to_close)

    @flow(timeout_seconds=0.5)
    @lifespan(App)
    async def run() -> None:
        if body_takes_too_long:
            await asyncio.sleep(SECONDS)

    assert state_of(run).name == "TimedOut"
    assert witness.record == ["closed"]


@pytest.mark.parametrize("submitted", [False, True], ids=["called", "submitted"])
def test_a_task_that_times_out_rolls_its_own_resources_back(witness: Witness, submitted: bool) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")

    @task(timeout_seconds=0.3)
    @inject
    def hang(db: Handle = Provide[App.db], session: Handle = Provide[App.session]) -> None:
        while session.use():
            time.sleep(0.01)

    @flow
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> str | None:
        state = hang.submit(return_state=True) if submitted else hang(return_state=True)
        db.use()
        return state.name

    assert run() == "TimedOut"
    assert witness.record[-1] == "close db"
    assert witness.outcomes[0] is not None
    assert witness.outcomes[-1] is None


def test_an_async_task_that_times_out_rolls_its_own_resources_back(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.asynchronous, "session")

    @task(timeout_seconds=0.3)
    @inject
    async def hang(session: Handle = Provide[App.session]) -> None:
        await asyncio.sleep(SECONDS)

    @flow
    @lifespan(App)
    async def run() -> str | None:
        states: Any = hang(return_state=True)
        return (await states).name

    assert asyncio.run(run()) == "TimedOut"
    assert witness.record == ["open session", "close session"]
    assert isinstance(witness.outcomes[0], asyncio.CancelledError)


def test_a_thread_that_outlives_the_run_is_told_so(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        ledger = providers.Factory(lambda db: db.use(), db)

    closed = threading.Event()
    errors: list[BaseException] = []

    @inject
    def ask(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @inject
    def ask_ledger(ledger: int = Provide[App.ledger]) -> int:
        return ledger

    def late() -> None:
        assert closed.wait(SECONDS)
        for use in (ask, ask_ledger, lambda: current_container(App).db()):
            try:
                use()
            except LifespanClosedError as error:
                errors.append(error)

    @flow(name="short")
    @lifespan(App)
    def run() -> threading.Thread:
        ask()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(late,))
        thread.start()
        return thread

    threads: list[Any] = []

    @flow
    def outer() -> None:
        threads.append(run())

    outer()
    closed.set()
    threads[0].join(SECONDS)

    assert len(errors) == 3
    assert all("App.db" in str(error) and "of flow 'short'" in str(error) for error in errors)
    assert witness.count("open db") == 1


def test_a_run_may_be_followed_by_another_after_a_timeout(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @flow(timeout_seconds=0.4, task_runner=threads(1))
    @lifespan(App)
    def run(hangs: bool, db: Handle = Provide[App.db]) -> int:
        while hangs:
            time.sleep(0.01)
        return db.use()

    assert state_of(run, True).name == "TimedOut"
    longer: Any = run.with_options(timeout_seconds=SECONDS)
    assert longer(False) == 2
    assert witness.record == ["open db", "close db"] * 2
