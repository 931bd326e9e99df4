"""What `lifespan` can be told, in runs: what to open, with what, for how long, and what it refuses at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import (
    AsyncResourceError,
    InvalidContainerError,
    Provide,
    ResourceTimeoutError,
    current_container,
    inject,
    lifespan,
    override,
)
from prefect_lifespan.errors import UsageError
from prefect_lifespan.lifespans.prefect_run import is_being_drawn
from tests.lifespans.witness import SECONDS, Handle, Witness, state_of


def make(witness: Witness) -> Any:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        queue = providers.Resource(witness.blocking, "queue")
        ledger = providers.Resource(lambda db: witness.opens("ledger"), db)

    return App


@pytest.mark.parametrize(
    ("eager", "opened"),
    [
        (True, ["open db", "open queue", "open ledger"]),
        (False, []),
        (["queue"], ["open queue"]),
        (["ledger"], ["open db", "open ledger"]),
    ],
)
def test_eager_says_what_is_open_when_the_body_starts(witness: Witness, eager: Any, opened: list[str]) -> None:
    seen: list[list[str]] = []

    @flow
    @lifespan(make(witness), eager=eager)
    def run() -> None:
        seen.append(list(witness.record))

    run()

    assert seen == [opened]


def test_what_is_not_opened_eagerly_opens_once_for_all_tasks(witness: Witness) -> None:
    app = make(witness)
    meeting = threading.Barrier(6)

    @inject
    def ask(db: Handle = Provide[app.db]) -> int:
        return db.use()

    @task
    def work(_: int) -> int:
        meeting.wait(SECONDS)
        return ask()

    @flow
    @lifespan(app, eager=False)
    def run() -> list[int]:
        return work.map(range(6)).result()

    assert run() == [1] * 6
    assert witness.record == ["open db", "close db"]


def test_overrides_may_depend_on_the_parameters_of_the_flow(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        tenant = providers.Object("nobody")
        db = providers.Resource(witness.blocking, tenant)

    @task
    @inject
    def ask(db: Handle = Provide[App.db]) -> str:
        return db.name

    @flow
    @lifespan(App, overrides=lambda tenant, **_: {"tenant": tenant})
    def run(tenant: str, number: int = 1) -> str:
        return ask.submit().result()

    assert [run("acme"), run(tenant="umbrella")] == ["acme", "umbrella"]


def test_a_function_for_overrides_is_given_what_has_a_name_each_by_its_own() -> None:
    class App(containers.DeclarativeContainer):
        tenant = providers.Object("nobody")

    def run(tenant: str, *rows: int, limit: int = 3, given: str = Provide[App.tenant], **options: Any) -> str:
        return given

    named = lifespan(App, overrides=lambda tenant, limit: {"tenant": f"{tenant} {limit}"})(run)
    all_others = lifespan(App, overrides=lambda tenant, **others: {"tenant": others})(run)

    assert named("acme", 1, 2) == "acme 3"
    assert all_others("acme", 1, page=7) == {"limit": 3, "page": 7}


def test_an_override_around_a_run_stands_over_those_of_the_lifespan(witness: Witness) -> None:
    app = make(witness)

    @flow
    @lifespan(app, overrides={"db": "the flow's"}, eager=[app.db])
    def run(db: Any = Provide[app.db]) -> Any:
        return db

    assert run() == "the flow's"
    with override(app, db="the test's"):
        assert run() == "the test's"
    assert witness.record == []


def test_blocking_resources_open_side_by_side_where_workers_are_allowed(witness: Witness) -> None:
    meeting = threading.Barrier(3)

    def waits_for_the_others() -> Iterator[str]:
        meeting.wait(SECONDS)
        thread = threading.get_ident()
        yield threading.current_thread().name
        witness.tell(f"closed in its own thread: {thread == threading.get_ident()}")

    class App(containers.DeclarativeContainer):
        first = providers.Resource(waits_for_the_others)
        second = providers.Resource(waits_for_the_others)
        third = providers.Resource(waits_for_the_others)

    @flow
    @lifespan(App, max_workers=3)
    def run(first: str = Provide[App.first], second: str = Provide[App.second]) -> bool:
        return first != second

    assert run()
    assert witness.record == ["closed in its own thread: True"] * 3


def test_opening_that_takes_too_long_fails_the_run(witness: Witness) -> None:
    async def slow() -> Any:
        await asyncio.sleep(SECONDS)
        yield

    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        slow_one = providers.Resource(slow)

    @flow
    @lifespan(App, open_timeout_seconds=0.5)
    async def run() -> None:
        witness.tell("body")

    with pytest.raises(ResourceTimeoutError, match=r"App\.slow_one did not open within 0\.5 s"):
        asyncio.run(run())
    assert "body" not in witness.record
    assert witness.count("open db") == witness.count("close db")


def test_closing_that_takes_too_long_fails_the_run_and_holds_nobody_up(witness: Witness) -> None:
    async def slow() -> Any:
        yield
        await asyncio.sleep(SECONDS)

    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        slow_one = providers.Resource(slow)

    @flow
    @lifespan(App, close_timeout_seconds=0.5)
    async def run() -> None: ...

    started = time.monotonic()
    state: Any = state_of(run)

    assert state.is_failed()
    assert "ResourceTimeoutError" in state.message
    assert witness.record == ["open db", "close db"]
    assert time.monotonic() - started < SECONDS


def test_a_sync_flow_leaves_what_is_asynchronous_to_its_first_use(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        api = providers.Resource(witness.asynchronous)

    @flow
    @lifespan(App)
    def run() -> None: ...

    run()
    assert witness.record == ["open db", "close db"]


def test_a_sync_flow_cannot_open_the_async_resources_that_it_names_and_says_which(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        api = providers.Resource(witness.asynchronous)

    @flow
    @lifespan(App, eager=[App.db, App.api])
    def run() -> None: ...

    with pytest.raises(AsyncResourceError, match=r"App\.api"):
        run()
    assert witness.record == []


def test_a_broken_container_fails_the_run_before_anything_opens(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        missing = providers.Dependency()
        broken = providers.Resource(witness.blocking, missing)

    @flow
    @lifespan(App)
    def run() -> None: ...

    with pytest.raises(InvalidContainerError, match="missing"):
        run()
    assert witness.record == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_workers": 0}, ValueError, "max_workers is 0"),
        ({"max_workers": "3"}, ValueError, "max_workers is '3'"),
        ({"max_workers": True}, ValueError, "max_workers is True"),
        ({"share": "no"}, ValueError, "share is 'no'; it must be True or False"),
        ({"everywhere": 1}, ValueError, "everywhere is 1; it must be True or False"),
        ({"report": "report.html"}, ValueError, "report is 'report.html'; it must be True or False"),
        ({"retries": "3"}, ValueError, "retries is '3'"),
        ({"retries": True}, ValueError, "retries is True"),
        ({"retries": 1.5}, ValueError, "retries is 1.5"),
        ({"open_timeout_seconds": "5"}, ValueError, "open_timeout_seconds is '5'"),
        ({"close_timeout_seconds": True}, ValueError, "close_timeout_seconds is True"),
        ({"retry_delay_seconds": [1, True]}, ValueError, r"retry_delay_seconds is \[1, True\]"),
        ({"pending": "drop"}, ValueError, "'wait' or 'cancel'"),
        ({"on_close_error": "ignore"}, ValueError, "'raise' or 'warn'"),
        ({"retries": -1}, ValueError, "retries is -1"),
        ({"retry_delay_seconds": -1}, ValueError, "retry_delay_seconds is -1"),
        ({"open_timeout_seconds": 0}, ValueError, "open_timeout_seconds is 0"),
        ({"close_timeout_seconds": -1}, ValueError, "close_timeout_seconds is -1"),
        ({"overrides": {"dp": 1}}, UsageError, "did you mean 'db'"),
        ({"eager": ["dp"]}, UsageError, "did you mean 'db'"),
        ({"overrides": ["db"]}, UsageError, "are a list; give a mapping"),
        ({"eager": [providers.Object(1)]}, UsageError, "no provider of"),
        ({"eager": "db"}, UsageError, r"eager is one str; give a list"),
        ({"eager": providers.Object(1)}, UsageError, r"eager is one Object; give a list"),
        ({"eager": None}, UsageError, r"eager is None; it must be True, False, or a list"),
    ],
)
def test_what_it_cannot_be_told_is_refused_at_once(
    witness: Witness, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lifespan(make(witness), **options)


def test_something_else_than_a_container_class_is_refused_at_once(witness: Witness) -> None:
    app = make(witness)
    nothings: list[Any] = [app(), providers.Container(app), "App", None]
    for nothing in nothings:
        with pytest.raises(TypeError):
            lifespan(nothing)


def test_drawing_a_flow_opens_nothing(witness: Witness) -> None:
    from prefect.utilities.visualization import TaskVizTracker

    app = make(witness)

    @task(viz_return_value=[1, 2])
    @inject
    def work(number: int, db: Handle = Provide[app.db]) -> list[int]:
        return [db.use()]

    @flow
    @lifespan(app)
    def run(number: int, db: Handle = Provide[app.db]) -> None:
        assert is_being_drawn()
        db.execute("anything").fetchall()  # type: ignore[attr-defined]
        for each in work(number):
            work(each)

    @flow
    @lifespan(app)
    async def run_async(number: int, db: Handle = Provide[app.db]) -> None:
        assert is_being_drawn()
        work(number)

    with TaskVizTracker() as tracker:
        run.fn(1)
        asyncio.run(run_async.fn(1))

    assert [each.name for each in tracker.tasks] == ["work-0", "work-1", "work-2", "work-3"]
    assert witness.record == []


def test_whatever_a_drawn_flow_does_itself_opens_nothing(witness: Witness) -> None:
    from prefect.utilities.visualization import TaskVizTracker

    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking, "db")
        api = providers.Resource(witness.asynchronous, "api")

    @inject
    def helper(number: int, db: Handle = Provide[App.db]) -> object:
        return db.use() or number

    @inject
    async def async_helper(api: Handle = Provide[App.api]) -> object:
        async with api.session() as session:  # type: ignore[attr-defined]
            rows = [row async for row in session.rows]
        return await api.fetch()["rows"] or rows  # type: ignore[attr-defined]

    @flow
    @inject
    def injected(number: int, db: Handle = Provide[App.db]) -> None:
        helper(number)
        db.use()

    @flow
    def block(number: int) -> None:
        with shared as container:
            container.db().use()
            current_container(App).db().use()
            helper(number)

    @flow
    async def async_block(number: int) -> None:
        async with lifespan(App) as container:
            container.api().use()
            await async_helper()
            assert isinstance(helper(number, db=Handle("its own", number)), int)

    shared = lifespan(App)
    with TaskVizTracker():
        injected.fn(1)
        block.fn(1)
        asyncio.run(async_block.fn(1))
    assert witness.record == []

    with override(App, api="none"), shared:
        with TaskVizTracker():
            block.fn(1)
        witness.tell("drawn")
    assert witness.record == ["open db", "drawn", "close db"]
