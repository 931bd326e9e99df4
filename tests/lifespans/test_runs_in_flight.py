"""A lifespan closes after the runs that have begun in it, whoever has left them behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.futures import PrefectFuture

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from prefect_lifespan.lifespans import grace
from tests.lifespans.witness import Gate, Handle, Witness

pytestmark = pytest.mark.usefixtures("prefect_server")


class App(containers.DeclarativeContainer):
    db = providers.Resource(Witness().blocking)
    session = TaskResource(Witness().blocking)


def opened_by(witness: Witness) -> lifespan:
    overrides: dict[str, Any] = {
        "db": providers.Resource(witness.blocking),
        "session": TaskResource(witness.blocking, "session"),
    }
    return lifespan(App, overrides=overrides)


@task
@inject
async def slow(
    began: asyncio.Event,
    released: asyncio.Event,
    witness: Witness,
    db: Handle = Provide[App.db],
    session: Handle = Provide[App.session],
) -> None:
    witness.tell("began")
    began.set()
    await released.wait()
    db.use()
    session.use()
    witness.tell("used")


class No(Exception):
    pass


@task
async def failing(released: asyncio.Event, before: asyncio.Event | None) -> None:
    if before is not None:
        await before.wait()
    asyncio.get_running_loop().call_later(0.2, released.set)
    raise No


def test_what_gather_leaves_running_ends_first_with_the_outcome_that_it_has_itself(witness: Witness) -> None:
    async def main() -> None:
        released, began = asyncio.Event(), asyncio.Event()

        @flow
        @opened_by(witness)
        async def run() -> None:
            await asyncio.gather(slow(began, released, witness), failing(released, began))

        with pytest.raises(No):
            await run()

    asyncio.run(main())
    assert witness.record == ["open db", "open session", "began", "used", "close session", "close db"]
    assert witness.outcomes[0] is None
    assert isinstance(witness.outcomes[1], No)


def test_a_run_that_has_not_come_to_its_function_yet_is_waited_for(witness: Witness) -> None:
    async def main() -> None:
        released = asyncio.Event()
        released.set()
        started: list[asyncio.Task[None]] = []

        @flow
        @opened_by(witness)
        async def run() -> None:
            started.append(asyncio.ensure_future(slow(asyncio.Event(), released, witness)))

        await run()
        await started[0]

    asyncio.run(main())
    assert witness.record == ["open db", "open session", "began", "used", "close session", "close db"]


@pytest.mark.parametrize("share", [True, False])
def test_a_subflow_that_gather_leaves_running_ends_first(witness: Witness, share: bool) -> None:
    async def main() -> None:
        released, began = asyncio.Event(), asyncio.Event()

        @flow
        @lifespan(App, share=share, eager=False)
        async def child(db: Handle = Provide[App.db]) -> None:
            if share:
                witness.tell("began")
            began.set()
            await released.wait()
            witness.tell("used")

        @flow
        @opened_by(witness)
        async def run() -> None:
            await asyncio.gather(child(), failing(released, began))

        with pytest.raises(No):
            await run()

    asyncio.run(main())
    assert witness.record == ["open db", *["began"] * share, "used", "close db"]


def test_a_run_in_a_thread_of_the_users_own_ends_first(witness: Witness) -> None:
    gate = Gate()

    @task
    @inject
    def waiting(db: Handle = Provide[App.db]) -> None:
        gate.wait()
        db.use()
        witness.tell("used")

    async def main() -> None:
        left: list[asyncio.Future[None]] = []

        @flow
        @opened_by(witness)
        async def run() -> None:
            left.append(asyncio.ensure_future(asyncio.to_thread(waiting)))
            await asyncio.to_thread(gate.arrived)
            asyncio.get_running_loop().call_later(0.2, gate.open)

        await run()
        await left[0]

    asyncio.run(main())
    assert witness.record == ["open db", "used", "close db"]


def test_a_task_may_call_the_flow_that_has_a_lifespan_of_its_own(witness: Witness) -> None:
    @flow
    @opened_by(witness)
    async def child(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @task
    @inject
    async def calling(db: Handle = Provide[App.db]) -> int:
        return await child() + db.use()

    @flow
    @opened_by(witness)
    async def run() -> int:
        return await calling()

    assert asyncio.run(asyncio.wait_for(run(), 30)) == 3
    assert witness.record == ["open db", "open db", "close db", "close db"]


def test_a_task_that_outlasts_the_grace_is_named_once(
    witness: Witness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grace, "TERMINATION_GRACE_SECONDS", 0.1)
    gate, left = Gate(), list[PrefectFuture[None]]()

    @inject
    def helper(db: Handle = Provide[App.db]) -> None:
        gate.wait()

    @task
    @inject
    def waiting(db: Handle = Provide[App.db]) -> None:
        helper()

    @flow
    @opened_by(witness)
    def run() -> None:
        left.append(waiting.submit())
        gate.arrived()
        threading.Timer(1, gate.open).start()
        raise KeyboardInterrupt

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run()
    [line] = [each.getMessage() for each in caplog.records if "Still running" in each.getMessage()]
    assert line.endswith(f"their resources close now: 'waiting' (task run {left[0].task_run_id})")
