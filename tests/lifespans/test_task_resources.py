"""Task resources: one for each attempt of a task run, shared by the helpers it calls, closed with its outcome."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from tests.lifespans.witness import SECONDS, Handle, Witness


class Ledger:
    def __init__(self, session: Handle) -> None:
        self.session = session


def test_a_task_and_its_helpers_share_one(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")
        ledger = providers.Factory(Ledger, session)

    @inject
    def helper(ledger: Ledger = Provide[App.ledger]) -> int:
        return ledger.session.use()

    @inject
    def outer_helper(session: Handle = Provide[App.session]) -> set[int]:
        return {session.use(), helper()}

    @task
    @inject
    def store(session: Handle = Provide[App.session], db: Handle = Provide[App.db]) -> set[int]:
        return {session.use(), helper(), *outer_helper()}

    @flow
    @lifespan(App)
    def run() -> list[set[int]]:
        return [store(), store.submit().result()]

    first, second = run()

    assert len(first) == len(second) == 1
    assert first != second
    assert witness.record == ["open db", *["open session", "close session"] * 2, "close db"]


def test_one_is_not_opened_with_the_run_and_only_by_tasks_that_use_it(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")

    @task
    @inject
    def look(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow
    @lifespan(App)
    def run() -> int:
        return look()

    run()

    assert witness.record == ["open db", "close db"]


def test_a_task_that_fails_rolls_its_own_back_and_only_that(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")

    @task
    @inject
    def store(fails: bool, db: Handle = Provide[App.db], session: Handle = Provide[App.session]) -> None:
        if fails:
            raise ValueError("the task fails")

    @flow
    @lifespan(App)
    def run() -> None:
        store(True, return_state=True)
        store.submit(True).wait()
        store(False)

    run()

    assert [type(outcome) for outcome in witness.outcomes] == [ValueError, ValueError, type(None), type(None)]


@pytest.mark.parametrize("kind", ["submitted", "mapped"])
def test_tasks_at_the_same_time_never_share_one(witness: Witness, kind: str) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    meeting = threading.Barrier(4)
    numbers: list[tuple[int, int]] = []

    @inject
    def helper(session: Handle = Provide[App.session]) -> int:
        return session.use()

    @task
    @inject
    def store(_: int, session: Handle = Provide[App.session]) -> None:
        meeting.wait(SECONDS)
        numbers.append((session.use(), helper()))
        meeting.wait(SECONDS)

    @flow
    @lifespan(App)
    def run() -> None:
        if kind == "mapped":
            store.map(range(4)).wait()
        else:
            for future in [store.submit(number) for number in range(4)]:
                future.wait()

    run()

    assert sorted(numbers) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert witness.count("close session") == 4


def test_async_tasks_at_the_same_time_never_share_one(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.asynchronous, "session")

    async def main() -> Any:
        everybody = asyncio.Barrier(3)

        @inject
        async def helper(session: Handle = Provide[App.session]) -> int:
            return session.use()

        @task
        @inject
        async def store(session: Handle = Provide[App.session]) -> tuple[int, int]:
            await everybody.wait()
            return session.use(), await helper()

        @flow
        @lifespan(App)
        async def run() -> Any:
            return await asyncio.gather(store(), store(), store())

        return await run()

    assert sorted(asyncio.run(main())) == [(1, 1), (2, 2), (3, 3)]
    assert witness.count("close session") == 3


def test_a_task_called_by_a_task_has_its_own(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @task
    @inject
    def inner(session: Handle = Provide[App.session]) -> int:
        return session.use()

    @task
    @inject
    def outer(session: Handle = Provide[App.session]) -> tuple[int, int, int, int]:
        return session.use(), inner(), inner.submit().result(), session.use()

    @flow
    @lifespan(App)
    def run() -> tuple[int, int, int, int]:
        return outer()

    assert run() == (1, 2, 3, 1)
    assert witness.record[-1] == "close session"


def test_a_block_in_a_task_hands_out_the_one_of_the_task(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @task
    @inject
    def store(session: Handle = Provide[App.session]) -> bool:
        with lifespan(App) as container:
            return container.session() is session

    @flow
    @lifespan(App)
    def run() -> bool:
        return store()

    assert run()
    assert witness.record == ["open session", "close session"]


def test_a_task_whose_resource_does_not_close_fails(witness: Witness) -> None:
    def not_closing() -> object:
        yield "session"
        raise OSError("it does not commit")

    class App(containers.DeclarativeContainer):
        session = TaskResource(not_closing)

    @task
    @inject
    def store(session: str = Provide[App.session]) -> str:
        return session

    @flow
    @lifespan(App)
    def run() -> bool:
        return store(return_state=True).is_failed()

    assert run()


def test_the_helpers_of_a_task_that_is_not_injected_itself_have_one_each(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @inject
    def helper(session: Handle = Provide[App.session]) -> int:
        return session.use()

    @task
    def store() -> set[int]:
        return {helper(), helper()}

    @flow
    @lifespan(App)
    def run() -> set[int]:
        return store()

    assert run() == {1, 2}
    assert witness.record == ["open session", "close session"] * 2


def test_in_a_flow_function_one_lives_as_long_as_the_call(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @inject
    def helper(session: Handle = Provide[App.session]) -> int:
        return session.use()

    @flow
    @lifespan(App)
    def run(session: Handle = Provide[App.session]) -> list[int]:
        return [session.use(), helper(), helper()]

    assert run() == [1, 1, 1]
    assert witness.record == ["open session", "close session"]


def test_a_generator_task_holds_one_until_it_is_done(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @task
    @inject
    def rows(session: Handle = Provide[App.session]) -> object:
        for _ in range(3):
            witness.tell("row")
            yield session.use()

    @flow
    @lifespan(App)
    def run() -> list[int]:
        return list(rows())  # type: ignore[call-overload]

    assert run() == [1, 1, 1]
    assert witness.record == ["open session", "row", "row", "row", "close session"]
