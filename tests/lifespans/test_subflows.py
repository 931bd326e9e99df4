"""Lifespans inside lifespans: a subflow joins its parent's, or stands alone where it asks to or needs something else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, current_container, inject, lifespan, override
from tests.lifespans.witness import Handle, Witness


class App(containers.DeclarativeContainer):
    db = providers.Resource(Witness().blocking)


@task
@inject
def ask(db: Handle = Provide[App.db]) -> int:
    return db.use()


def opened_by(witness: Witness) -> override:
    return override(App, db=providers.Resource(witness.blocking))


def test_a_subflow_joins_the_lifespan_of_its_parent(witness: Witness) -> None:
    @flow
    @lifespan(App)
    def child(db: Handle = Provide[App.db]) -> tuple[int, int]:
        return db.use(), ask.submit().result()

    @flow
    @lifespan(App)
    def parent() -> tuple[int, ...]:
        return (*child(), ask(), *child())

    with opened_by(witness):
        assert parent() == (1, 1, 1, 1, 1)
    assert witness.record == ["open db", "close db"]


def test_a_subflow_waits_for_its_own_tasks_before_it_returns(witness: Witness) -> None:
    @task
    @inject
    def store(db: Handle = Provide[App.db]) -> None:
        witness.tell("stored")

    @flow
    @lifespan(App)
    def child() -> None:
        for _ in range(3):
            store.submit()

    @flow
    @lifespan(App)
    def parent() -> None:
        child()
        witness.tell("child returned")

    with opened_by(witness):
        parent()
    assert witness.record == ["open db", "stored", "stored", "stored", "child returned", "close db"]


def test_a_subflow_with_share_false_stands_alone(witness: Witness) -> None:
    @flow
    @lifespan(App, share=False)
    def child(db: Handle = Provide[App.db]) -> tuple[int, int]:
        return db.use(), ask()

    @flow
    @lifespan(App)
    def parent() -> tuple[int, ...]:
        return (ask(), *child(), ask())

    with opened_by(witness):
        assert parent() == (1, 2, 2, 1)
    assert witness.record == ["open db", "open db", "close db", "close db"]


def test_a_subflow_with_overrides_of_its_own_stands_alone(witness: Witness) -> None:
    @flow
    @lifespan(App, overrides={"db": Handle("fake", 99)})
    def child(db: Handle = Provide[App.db]) -> tuple[int, int]:
        return db.use(), ask.submit().result()

    @flow
    @lifespan(App)
    def parent() -> tuple[int, ...]:
        return (ask(), *child(), ask())

    @flow
    @lifespan(App, overrides={"db": providers.Resource(witness.blocking)})
    def grandparent() -> tuple[int, ...]:
        return parent()

    assert grandparent() == (1, 99, 99, 1)
    assert witness.record == ["open db", "close db"]


def test_an_override_around_a_subflow_reaches_it_and_nobody_else(witness: Witness) -> None:
    @flow
    @lifespan(App)
    def child(db: Handle = Provide[App.db]) -> tuple[int, int]:
        return db.use(), ask.submit().result()

    @flow
    @lifespan(App)
    def parent() -> tuple[int, ...]:
        with override(App, db=Handle("fake", 99)):
            inside = child()
        return (ask(), *inside, ask())

    with opened_by(witness):
        assert parent() == (1, 99, 99, 1)
    assert witness.record == ["open db", "close db"]


def test_flows_in_a_with_block_share_its_resources(witness: Witness) -> None:
    @flow
    @lifespan(App)
    def first() -> int:
        return ask()

    @flow
    def undecorated() -> int:
        return ask.submit().result()

    with opened_by(witness), lifespan(App):
        assert [first(), undecorated(), first()] == [1, 1, 1]
        assert witness.record == ["open db"]
    assert witness.record == ["open db", "close db"]


def test_a_failing_subflow_leaves_the_resources_of_its_parent_open(witness: Witness) -> None:
    @flow
    @lifespan(App)
    def child() -> None:
        raise ValueError("the child fails")

    @flow
    @lifespan(App)
    def parent() -> int:
        with pytest.raises(ValueError, match="the child fails"):
            child()
        return ask()

    with opened_by(witness):
        assert parent() == 1
    assert witness.outcomes == [None]


@pytest.mark.parametrize("shares", [True, False], ids=["joined", "alone"])
def test_three_deep(witness: Witness, shares: bool) -> None:
    numbers: list[int] = []

    @flow
    @lifespan(App)
    def innermost(db: Handle = Provide[App.db]) -> None:
        numbers.extend((db.use(), ask.submit().result()))

    @flow
    @lifespan(App, share=shares)
    def middle(db: Handle = Provide[App.db]) -> None:
        numbers.append(db.use())
        innermost()
        numbers.append(ask())

    @flow
    @lifespan(App)
    def outermost(db: Handle = Provide[App.db]) -> None:
        numbers.append(db.use())
        middle()
        numbers.append(ask())

    with opened_by(witness):
        outermost()
    assert numbers == ([1, 1, 1, 1, 1, 1] if shares else [1, 2, 2, 2, 2, 1])
    assert witness.count("open db") == witness.count("close db") == (1 if shares else 2)


def test_async_subflows_three_deep_share_what_belongs_to_the_loop(witness: Witness) -> None:
    class Async(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)

    numbers: list[int] = []

    @task
    @inject
    async def call(api: Handle = Provide[Async.api]) -> int:
        return api.use()

    @flow
    @lifespan(Async)
    async def innermost(api: Handle = Provide[Async.api]) -> None:
        numbers.extend((api.use(), await call()))

    @flow
    @lifespan(Async)
    async def middle() -> None:
        await asyncio.gather(innermost(), innermost())

    @flow
    @lifespan(Async)
    async def outermost() -> None:
        await middle()
        numbers.append(await call())

    asyncio.run(outermost())

    assert numbers == [1] * 5
    assert witness.record == ["open api", "close api"]


def test_a_sync_subflow_of_an_async_flow_joins_it(witness: Witness) -> None:
    class Mixed(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)
        db = providers.Resource(witness.blocking)

    @flow
    @lifespan(Mixed)
    def child(db: Handle = Provide[Mixed.db], api: Handle = Provide[Mixed.api]) -> int:
        return db.use() + api.use()

    @flow
    @lifespan(Mixed)
    async def parent() -> int:
        return child()

    assert asyncio.run(parent()) == 3
    assert witness.count("open db") == witness.count("open api") == 1
    assert witness.record[2:] == ["close db", "close api"]


def test_an_async_flow_in_a_blocking_with_block_shares_what_is_blocking(witness: Witness) -> None:
    class Mixed(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        api = providers.Resource(witness.asynchronous)

    @flow
    @lifespan(Mixed)
    async def child(db: Handle = Provide[Mixed.db], api: Handle = Provide[Mixed.api]) -> int:
        return db.use() * 10 + api.use()

    with lifespan(Mixed, eager=[Mixed.db]):
        assert asyncio.run(child()) == 12
        assert witness.record == ["open db", "open api", "close api"]
        assert asyncio.run(child()) == 13
    assert witness.record[-1] == "close db"


def test_an_async_with_block_is_shared_by_the_flows_in_it(witness: Witness) -> None:
    class Async(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)

    @flow
    @lifespan(Async)
    async def child(api: Handle = Provide[Async.api]) -> int:
        return api.use()

    async def main() -> Any:
        async with lifespan(Async):
            return await asyncio.gather(child(), child())

    assert list(asyncio.run(main())) == [1, 1]
    assert witness.record == ["open api", "close api"]


def test_lifespans_of_two_containers_are_in_force_at_once(witness: Witness) -> None:
    class Other(containers.DeclarativeContainer):
        queue = providers.Resource(witness.blocking, "queue")

    @task
    @inject
    def both(db: Handle = Provide[App.db], queue: Handle = Provide[Other.queue]) -> tuple[int, int]:
        assert current_container(App).db() is db
        return db.use(), queue.use()

    @flow
    @lifespan(Other)
    def child() -> tuple[int, int]:
        return both.submit().result()

    @flow
    @lifespan(App)
    def parent() -> tuple[int, int]:
        return child()

    with opened_by(witness):
        assert parent() == (1, 2)
    assert witness.record == ["open db", "open queue", "close queue", "close db"]
