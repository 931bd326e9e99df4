"""State hooks and transaction hooks that use injected resources."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.transactions import transaction

from prefect_lifespan import Provide, inject, lifespan
from tests.lifespans.witness import Handle, Witness, state_of


def make(witness: Witness) -> Any:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    return App


def test_hooks_of_tasks_use_the_resources_of_the_run(witness: Witness) -> None:
    app = make(witness)

    @inject
    def on_completion(task: Any, task_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"completed with {db.use()}")

    @inject
    def on_failure(task: Any, task_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"failed with {db.use()}")

    @task(on_completion=[on_completion], on_failure=[on_failure])
    def work(fails: bool) -> None:
        if fails:
            raise ValueError("the task fails")

    @flow
    @lifespan(app)
    def run() -> None:
        work.submit(False)
        work.submit(True)

    run()

    assert witness.record[0] == "open db"
    assert sorted(witness.record[1:3]) == ["completed with 1", "failed with 1"]
    assert witness.record[3:] == ["close db"]


def test_async_hooks_of_tasks_in_an_async_flow(witness: Witness) -> None:
    app = make(witness)

    @inject
    async def on_completion(task: Any, task_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"completed with {db.use()}")

    @task(on_completion=[on_completion])
    async def work() -> None:
        return None

    @flow
    @lifespan(app)
    async def run() -> None:
        await work()

    asyncio.run(run())

    assert witness.record == ["open db", "completed with 1", "close db"]


@pytest.mark.parametrize("fails", [False, True], ids=["completed", "failed"])
def test_hooks_of_flows_open_what_they_need_for_themselves(witness: Witness, fails: bool) -> None:
    app = make(witness)

    @inject
    def before(flow: Any, flow_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"running with {db.use()}")

    @inject
    def after(flow: Any, flow_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"{state.name} with {db.use()}")

    @flow(on_running=[before], on_completion=[after], on_failure=[after])
    @lifespan(app)
    def run(db: Handle = Provide[app.db]) -> None:
        witness.tell(f"body with {db.use()}")
        if fails:
            raise ValueError("the body fails")

    state_of(run)

    assert witness.record == [
        "open db", "running with 1", "close db",
        "open db", "body with 2", "close db",
        "open db", f"{'Failed' if fails else 'Completed'} with 3", "close db",
    ]  # fmt: skip


def test_hooks_of_flows_in_a_with_block_share_its_resources(witness: Witness) -> None:
    app = make(witness)

    @inject
    def after(flow: Any, flow_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"after with {db.use()}")

    @flow(on_completion=[after])
    @lifespan(app)
    def run(db: Handle = Provide[app.db]) -> int:
        return db.use()

    with lifespan(app):
        run()
    assert witness.record == ["open db", "after with 1", "close db"]


def test_rollback_and_commit_hooks_use_the_resources_of_the_run(witness: Witness) -> None:
    app = make(witness)

    @task
    @inject
    def store(db: Handle = Provide[app.db]) -> None:
        witness.tell(f"stored with {db.use()}")

    @store.on_rollback
    @inject
    def undo(txn: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"undone with {db.use()}")

    @store.on_commit
    @inject
    def keep(txn: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"kept with {db.use()}")

    @flow
    @lifespan(app)
    def run(fails: bool) -> None:
        with transaction():
            store()
            if fails:
                raise ValueError("after storing")

    state_of(run, True)
    assert witness.record == ["open db", "stored with 1", "undone with 1", "close db"]

    witness.record.clear()
    run(False)
    assert witness.record == ["open db", "stored with 2", "kept with 2", "close db"]


def test_a_submitted_task_rolls_back_with_the_resources_of_the_run(witness: Witness) -> None:
    app = make(witness)

    @task
    @inject
    def store(db: Handle = Provide[app.db]) -> None:
        raise ValueError("the task fails")

    @store.on_rollback
    @inject
    def undo(txn: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"undone with {db.use()}")

    @flow
    @lifespan(app)
    def run() -> None:
        with transaction():
            store.submit().result()

    state_of(run)

    assert witness.record[0] == "open db"
    assert witness.record[-1] == "close db"
    assert witness.count("open db") == 1
