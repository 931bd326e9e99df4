"""State hooks and transaction hooks that use injected resources."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.states import Cancelling
from prefect.transactions import transaction

from prefect_lifespan import Provide, TaskResource, inject, lifespan
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


def test_a_hook_of_a_crashed_flow_opens_what_it_needs_for_itself(witness: Witness) -> None:
    app = make(witness)

    @inject
    def after(flow: Any, flow_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"{state.name} with {db.use()}")

    @flow(on_crashed=[after])
    @lifespan(app)
    def run() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run()
    assert witness.record == ["open db", "close db", "open db", "Crashed with 2", "close db"]
    assert isinstance(witness.outcomes[0], SystemExit)


def test_a_hook_of_a_cancelling_flow_opens_what_it_needs_for_itself(witness: Witness) -> None:
    app = make(witness)

    @inject
    def after(flow: Any, flow_run: Any, state: Any, db: Handle = Provide[app.db]) -> None:
        witness.tell(f"{state.name} with {db.use()}")

    @flow(on_cancellation=[after])
    @lifespan(app)
    def run() -> Any:
        return Cancelling()

    run(return_state=True)
    assert witness.record == ["open db", "close db", "open db", "Cancelling with 2", "close db"]


def test_every_hook_of_a_tasks_states_and_of_its_commit_is_injected(witness: Witness) -> None:
    app = make(witness)

    def hook(name: str) -> Any:
        @inject
        def told(*_: Any, db: Handle = Provide[app.db]) -> None:
            witness.tell(f"{name} with {db.use()}")

        return told

    @task(on_running=[hook("running")], on_completion=[hook("completion")])
    def good() -> None:
        return None

    @task(on_running=[hook("running")], on_failure=[hook("failure")])
    def bad() -> None:
        raise ValueError("the task fails")

    good.on_commit(hook("commit"))

    @flow
    @lifespan(app)
    def run() -> None:
        good()
        bad(return_state=True)

    run()
    assert witness.record[0] == "open db"
    assert witness.record[-1] == "close db"
    assert sorted(witness.record[1:-1]) == [
        "commit with 1", "completion with 1", "failure with 1", "running with 1", "running with 1",
    ]  # fmt: skip


def test_a_hook_of_a_task_has_a_task_resource_of_its_own(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    @inject
    def after(task: Any, task_run: Any, state: Any, session: Handle = Provide[App.session]) -> None:
        witness.tell(f"{state.name} with {session.use()}")

    @task(on_completion=[after])
    @inject
    def work(session: Handle = Provide[App.session]) -> None:
        witness.tell(f"task with {session.use()}")

    @flow
    @lifespan(App)
    def run() -> None:
        work()

    run()
    assert witness.record == [
        "open session", "task with 1", "close session",
        "open session", "Completed with 2", "close session",
    ]  # fmt: skip
