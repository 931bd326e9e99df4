"""A lifespan closes after the last task that was submitted under it, awaited or not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.futures import PrefectConcurrentFuture

from prefect_lifespan import LifespanClosedError, Provide, current_container, inject, lifespan
from prefect_lifespan.lifespans import futures
from prefect_lifespan.lifespans.futures import PendingFutures
from prefect_lifespan.scope import current_scope
from tests.interrupting import interrupted_at, returns
from tests.lifespans.witness import Gate, Handle, Witness, state_of, threads, until
from tests.overlapping import is_followed


class App(containers.DeclarativeContainer):
    db = providers.Resource(Witness().blocking)


def opened_by(witness: Witness, **options: Any) -> lifespan:
    return lifespan(App, overrides={"db": providers.Resource(witness.blocking)}, **options)


@task
@inject
def store(gate: Gate | None, witness: Witness, db: Handle = Provide[App.db]) -> int:
    if gate is not None:
        gate.wait()
    witness.tell("stored")
    return db.use()


@task
@inject
async def store_async(witness: Witness, db: Handle = Provide[App.db]) -> int:
    witness.tell("stored")
    return db.use()


def test_submitted_tasks_that_nobody_awaits_finish_before_resources_close(witness: Witness) -> None:
    @flow(task_runner=threads(2))
    @opened_by(witness)
    def run() -> None:
        for _ in range(6):
            store.submit(None, witness)

    run()

    assert witness.record == ["open db", *["stored"] * 6, "close db"]


def test_mapped_tasks_that_nobody_awaits_finish_before_resources_close(witness: Witness) -> None:
    @task
    @inject
    def store_one(number: int, db: Handle = Provide[App.db]) -> int:
        witness.tell("stored")
        return db.use() + number

    @flow(task_runner=threads(2))
    @opened_by(witness)
    def run() -> None:
        store_one.map(range(6))

    run()

    assert witness.record == ["open db", *["stored"] * 6, "close db"]


@pytest.mark.parametrize("kind", ["sync task", "async task"])
def test_an_async_flow_waits_for_what_it_submitted(witness: Witness, kind: str) -> None:
    @flow(task_runner=threads(2))
    @opened_by(witness)
    async def run() -> None:
        for _ in range(6):
            if kind == "sync task":
                store.submit(None, witness)
            else:
                store_async.submit(witness)

    asyncio.run(run())

    assert witness.record == ["open db", *["stored"] * 6, "close db"]


@task
def fan_out(depth: int, witness: Witness) -> None:
    if depth:
        fan_out.submit(depth - 1, witness)
        return
    store.submit(None, witness)


def test_tasks_that_tasks_submit_are_waited_for_too(witness: Witness) -> None:
    @flow
    @opened_by(witness)
    def run() -> None:
        fan_out.submit(3, witness)

    run()

    assert witness.record == ["open db", "stored", "close db"]


def test_an_async_flow_waits_for_tasks_that_tasks_submit_while_it_waits(witness: Witness) -> None:
    @flow
    @opened_by(witness)
    async def run() -> None:
        fan_out.submit(3, witness)

    asyncio.run(run())

    assert witness.record == ["open db", "stored", "close db"]


@task
def wait_for(event: threading.Event) -> None:
    event.wait(10)


def test_a_task_that_begins_when_the_call_in_time_that_has_submitted_it_has_ended_is_let_in(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(futures, "_PATIENCE_SECONDS", 0.1)
    refused, has_ended = threading.Event(), threading.Event()
    begun: list[threading.Event] = []

    @inject
    def submits_when_another_is_refused(db: Handle = Provide[App.db]) -> None:
        if is_followed(begun, refused):
            return
        wait_for.submit(has_ended)
        store.submit(None, witness)

    def without_a_pause() -> None:
        try:
            while True:
                submits_when_another_is_refused()
        except LifespanClosedError:
            (has_ended if refused.is_set() else refused).set()

    @flow(task_runner=threads(1))
    @opened_by(witness)
    def run() -> None:
        for _ in range(2):
            threading.Thread(target=contextvars.copy_context().run, args=(without_a_pause,)).start()

    run()

    assert has_ended.is_set()
    assert witness.record == ["open db", "stored", "close db"]


def test_calls_that_submit_tasks_without_a_pause_do_not_keep_a_lifespan_from_closing(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(futures, "_PATIENCE_SECONDS", 0.1)
    refused: list[LifespanClosedError] = []
    calling: list[threading.Thread] = []
    waited_for = threading.Barrier(3)

    @task
    @inject
    def meet(db: Handle = Provide[App.db]) -> None:
        waited_for.wait(10)

    @inject
    def submit(db: Handle = Provide[App.db]) -> None:
        meet.submit().wait()

    def without_a_pause() -> None:
        try:
            while True:
                submit()
        except LifespanClosedError as error:
            refused.append(error)
            waited_for.abort()

    @flow(task_runner=threads(4))
    @opened_by(witness)
    def run() -> None:
        for _ in range(4):
            calling.append(threading.Thread(target=contextvars.copy_context().run, args=(without_a_pause,)))
            calling[-1].start()

    run()

    assert witness.record == ["open db", "close db"]
    for thread in calling:
        thread.join(10)
    assert len(refused) == len(calling)


def test_futures_that_a_flow_returns_are_resolved_first(witness: Witness) -> None:
    @flow(task_runner=threads(1))
    @opened_by(witness)
    def run() -> Any:
        return [store.submit(None, witness) for _ in range(3)]

    state = state_of(run)

    assert state.is_completed()
    assert witness.record == ["open db", "stored", "stored", "stored", "close db"]


def test_cancelling_drops_what_is_queued_and_waits_for_what_runs(witness: Witness) -> None:
    gate = Gate()

    @flow(task_runner=threads(1))
    @opened_by(witness, pending="cancel")
    def run() -> None:
        store.submit(gate, witness)
        gate.arrived()
        for _ in range(3):
            store.submit(None, witness).add_done_callback(lambda _: gate.open())

    assert state_of(run).is_completed()
    assert witness.record == ["open db", "stored", "close db"]


def test_cancelling_keeps_the_futures_that_the_flow_returns(witness: Witness) -> None:
    gate = Gate()

    @flow(task_runner=threads(1))
    @opened_by(witness, pending="cancel")
    def run() -> Any:
        store.submit(gate, witness)
        gate.arrived()
        returned = [store.submit(None, witness), {"second": store.submit(None, witness)}]
        store.submit(None, witness)
        gate.open()
        return returned

    state = state_of(run)

    assert state.is_completed()
    assert witness.count("stored") >= 3
    assert witness.record[-1] == "close db"


def test_a_body_that_raises_cancels_what_is_queued_and_closes_after_what_runs(witness: Witness) -> None:
    gate = Gate()

    @flow(task_runner=threads(1))
    @opened_by(witness)
    def run() -> None:
        store.submit(gate, witness)
        gate.arrived()
        for _ in range(3):
            store.submit(None, witness).add_done_callback(lambda _: gate.open())
        raise ValueError("the body fails")

    with pytest.raises(ValueError, match="the body fails"):
        run()
    assert witness.record == ["open db", "stored", "close db"]
    assert isinstance(witness.outcomes[0], ValueError)


def test_the_same_in_an_async_flow(witness: Witness) -> None:
    gate = Gate()

    @flow(task_runner=threads(1))
    @opened_by(witness)
    async def run() -> None:
        store.submit(gate, witness)
        gate.arrived()
        for _ in range(3):
            store.submit(None, witness).add_done_callback(lambda _: gate.open())
        raise ValueError("the body fails")

    with pytest.raises(ValueError, match="the body fails"):
        asyncio.run(run())
    assert witness.record == ["open db", "stored", "close db"]


def test_a_failed_task_that_nobody_awaits_does_not_fail_the_run(witness: Witness) -> None:
    @task
    @inject
    def fail(db: Handle = Provide[App.db]) -> None:
        db.use()
        raise ValueError("a task fails")

    @flow
    @opened_by(witness)
    def run() -> str:
        fail.submit()
        return "done"

    assert run() == "done"
    assert witness.outcomes == [None]


def test_finished_futures_are_not_kept_alive(witness: Witness) -> None:
    @flow
    @opened_by(witness)
    def run() -> None:
        future: Any = store.submit(None, witness)
        future.wait()
        seen, wrapped = weakref.ref(future), weakref.ref(future.wrapped_future)
        del future

        def is_gone() -> bool:
            gc.collect()
            return seen() is None and wrapped() is None

        until(is_gone, "the finished future is collected while the run goes on")
        pending: Any = current_scope().lifespans[-1].pending
        assert pending.names() == []

    run()


def test_a_with_block_waits_for_what_was_submitted_in_it(witness: Witness) -> None:
    @flow(task_runner=threads(1))
    def run() -> None:
        with opened_by(witness):
            for _ in range(3):
                store.submit(None, witness)
        witness.tell("left")

    run()

    assert witness.record == ["open db", "stored", "stored", "stored", "close db", "left"]


def test_the_container_is_the_same_for_every_task_of_a_run(witness: Witness) -> None:
    @task
    def look() -> int:
        return id(current_container(App))

    @flow
    @opened_by(witness)
    def run() -> set[int]:
        return {id(current_container(App)), look(), look.submit().result()}

    assert len(run()) == 1


def of_futures() -> tuple[PendingFutures, PrefectConcurrentFuture[None]]:
    return PendingFutures(), PrefectConcurrentFuture(uuid4(), concurrent.futures.Future())


def submitting(pending: PendingFutures, future: PrefectConcurrentFuture[None]) -> None:
    pending.add(future)
    pending.names()
    pending.cancel_queued()


def waiting(pending: PendingFutures, _: object) -> None:
    pending.wait(0.001)


def waiting_on_a_loop(pending: PendingFutures, _: object) -> None:
    asyncio.run(pending.wait_async(0.001))


@pytest.mark.parametrize("interrupted", [submitting, waiting, waiting_on_a_loop])
def test_a_signal_where_a_lifespan_waits_for_tasks_keeps_none_from_ending(
    interrupted: Callable[[PendingFutures, PrefectConcurrentFuture[None]], None],
) -> None:
    number = 1
    while interrupted_at(number, partial(interrupted, *(made := of_futures())), "lifespans/futures.py"):
        pending, future = made
        pending.cancel_queued()
        if future.wrapped_future.set_running_or_notify_cancel():
            assert returns(partial(future.wrapped_future.set_result, None)), f"after line {number} a task does not end"
        assert returns(pending.wait), f"after line {number} its end is not seen"
        number += 1
    assert number > 1
