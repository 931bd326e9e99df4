"""Retries: an attempt of a flow starts with fresh resources, an attempt of a task goes on with the run's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, TaskResource, inject, lifespan, resource
from tests.lifespans.witness import Handle, Witness


class NotYetError(Exception):
    pass


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_attempt_of_a_flow_has_fresh_resources(witness: Witness, kind: str) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    numbers: list[int] = []

    def attempt(db: Handle) -> str:
        numbers.append(db.use())
        if len(numbers) < 3:
            raise NotYetError
        return "done"

    @flow(retries=2)
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> str:
        return attempt(db)

    @flow(retries=2)
    @lifespan(App)
    async def run_async(db: Handle = Provide[App.db]) -> str:
        return attempt(db)

    assert (run() if kind == "sync" else asyncio.run(run_async())) == "done"
    assert numbers == [1, 2, 3]
    assert witness.record == ["open db", "close db"] * 3
    assert [type(outcome) for outcome in witness.outcomes] == [NotYetError, NotYetError, type(None)]


def test_each_attempt_of_a_task_has_the_same_run_resources_and_its_own_task_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")

    seen: list[tuple[int, int]] = []

    @task(retries=2)
    @inject
    def store(db: Handle = Provide[App.db], session: Handle = Provide[App.session]) -> str:
        seen.append((db.use(), session.use()))
        if len(seen) < 3:
            raise NotYetError
        return "done"

    @flow
    @lifespan(App)
    def run() -> str:
        return store.submit().result()

    assert run() == "done"
    assert seen == [(1, 2), (1, 3), (1, 4)]
    assert witness.record == ["open db", *["open session", "close session"] * 3, "close db"]
    assert [type(outcome) for outcome in witness.outcomes] == [NotYetError, NotYetError, type(None), type(None)]


def test_a_resource_that_fails_to_open_at_first_opens_in_the_next_attempt_of_the_flow(witness: Witness) -> None:
    attempts: list[int] = []

    def flaky() -> Iterator[Handle]:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("not up yet")
        yield from witness.blocking()

    class App(containers.DeclarativeContainer):
        db = providers.Resource(flaky)

    @flow(retries=2)
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> int:
        return db.use()

    assert run() == 1
    assert len(attempts) == 3
    assert witness.record == ["open db", "close db"]


def test_a_resource_that_fails_to_open_at_first_is_tried_again_within_one_attempt(witness: Witness) -> None:
    attempts: list[int] = []

    def flaky() -> Iterator[Handle]:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("not up yet")
        yield from witness.blocking()

    class App(containers.DeclarativeContainer):
        db = providers.Resource(flaky)

    @flow
    @lifespan(App, retries=2, retry_delay_seconds=0)
    def run(db: Handle = Provide[App.db]) -> int:
        return db.use()

    assert run() == 1
    assert len(attempts) == 3


def test_a_resource_says_itself_how_often_it_is_tried(witness: Witness) -> None:
    attempts: list[int] = []

    @resource(retries=1, retry_delay_seconds=0)
    def flaky() -> Iterator[Handle]:
        attempts.append(1)
        if len(attempts) < 2:
            raise ConnectionError("not up yet")
        yield from witness.blocking()

    class App(containers.DeclarativeContainer):
        db = providers.Resource(flaky)

    @flow
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> int:
        return db.use()

    assert run() == 1


def test_a_task_retry_opens_lazily_what_failed_to_open_in_the_attempt_before(witness: Witness) -> None:
    attempts: list[int] = []

    def flaky() -> Iterator[Handle]:
        attempts.append(1)
        if len(attempts) < 2:
            raise ConnectionError("not up yet")
        yield from witness.blocking()

    class App(containers.DeclarativeContainer):
        db = providers.Resource(flaky)

    @task(retries=1)
    @inject
    def ask(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow
    @lifespan(App, eager=False)
    def run() -> tuple[int, int]:
        return ask.submit().result(), ask()

    assert run() == (1, 1)
    assert witness.record == ["open db", "close db"]


def test_futures_of_a_failed_attempt_end_before_its_resources_close(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    attempts: list[int] = []

    @task
    @inject
    def store(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow(retries=1)
    @lifespan(App)
    def run() -> list[int]:
        futures = [store.submit() for _ in range(3)]
        attempts.append(1)
        if len(attempts) < 2:
            raise NotYetError
        return [future.result() for future in futures]

    assert run() == [2, 2, 2]
    assert witness.record == ["open db", "close db"] * 2
