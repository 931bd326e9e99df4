"""The same under Prefect: parameters invisible to flows and tasks, values injected on every path, keys of its own."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, get_run_logger, task
from prefect.cache_policies import INPUTS
from prefect.context import TaskRunContext
from pydantic import BaseModel

from prefect_lifespan import Provide, TaskResource, inject, lifespan, override

RECORD: list[str] = []


class Db:
    """Neither picklable nor anything that pydantic would take."""

    def __reduce__(self) -> str:
        raise TypeError("a live database was pickled")


class Window(BaseModel):
    days: int = 7


def open_db() -> Iterator[Db]:
    RECORD.append("open")
    yield Db()
    RECORD.append("close")


def open_session() -> Iterator[object]:
    RECORD.append("session")
    try:
        yield object()
    except ValueError:
        RECORD.append("rollback")
        raise
    RECORD.append("commit")


class App(containers.DeclarativeContainer):
    db = providers.Resource(open_db)
    session = TaskResource(open_session)


@task
@inject
def store(row: int, db: Db = Provide[App.db], factor: int = 2) -> tuple[int, str]:
    return row * factor, type(db).__name__


@task
@inject
async def astore(row: int, db: Annotated[Db, Provide[App.db]], factor: int = 2) -> tuple[int, str]:
    return row * factor, type(db).__name__


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


@pytest.mark.usefixtures("prefect_api")
def test_tasks_are_injected_called_submitted_and_mapped_and_the_resource_opens_once():
    @flow
    @lifespan(App)
    def history(window: Window, db: Db = Provide[App.db]) -> list[Any]:
        assert isinstance(db, Db)
        return [
            store(window.days),
            store.submit(2, factor=3).result(),
            *store.map([1, 2, 3], factor=5).result(),
        ]

    values = history({"days": "4"})  # pyright: ignore[reportArgumentType] - as the API sends it
    assert values == [(8, "Db"), (6, "Db"), (5, "Db"), (10, "Db"), (15, "Db")]
    assert RECORD == ["open", "close"]


@pytest.mark.usefixtures("prefect_api")
def test_asynchronous_tasks_are_injected_awaited_and_submitted():
    @flow
    @lifespan(App)
    async def history() -> list[Any]:
        call: Any = astore  # type checkers count a marker in `Annotated` as an argument to give
        submitted = call.submit(2)
        return [await call(1), *await asyncio.gather(call(3), call(4)), submitted.result()]

    assert asyncio.run(history()) == [(2, "Db"), (6, "Db"), (8, "Db"), (4, "Db")]
    assert RECORD == ["open", "close"]


def test_the_injected_parameter_is_in_no_flows_schema():
    @flow
    @lifespan(App)
    def history(window: Window, limit: int = 1, db: Db = Provide[App.db]) -> None: ...

    assert list(history.parameters.properties) == ["window", "limit"]
    assert history.parameters.required == ["window"]
    assert history.validate_parameters({"window": {"days": "3"}, "limit": "2"}) == {
        "window": Window(days=3),
        "limit": 2,
    }


@pytest.mark.usefixtures("prefect_api")
def test_the_injected_parameter_is_in_no_tasks_inputs_and_no_cache_key():
    keys: list[str | None] = []
    inputs: list[set[str]] = []

    @task(cache_policy=INPUTS)
    @inject
    def store(row: int, db: Db = Provide[App.db]) -> int:
        context = TaskRunContext.get()
        assert context is not None
        inputs.append(set(context.parameters))
        keys.append(INPUTS.compute_key(context, context.parameters, {}))
        return row

    @flow
    @lifespan(App)
    def history() -> None:
        store(1)
        store(1)
        store(2)

    history()
    history()
    assert inputs == [{"row"}] * len(inputs)
    assert len(set(keys)) == 2, "by the row alone, in whatever run"


@pytest.mark.usefixtures("prefect_api")
def test_an_explicit_keyword_on_the_tasks_function_needs_no_container():
    fake: Any = object()
    assert store.fn(3, db=fake) == (6, "object")
    assert RECORD == []


@pytest.mark.usefixtures("prefect_api")
def test_an_override_reaches_tasks_in_threads():
    @flow
    @lifespan(App)
    def history() -> list[Any]:
        return store.map([1, 2]).result()

    with override(App, db="fake"):
        assert history() == [(2, "str"), (4, "str")]
    assert RECORD == []


@pytest.mark.usefixtures("prefect_api")
def test_a_retried_task_has_the_same_run_resource_and_a_fresh_task_resource():
    seen: list[tuple[Any, Any]] = []

    @inject
    def helper(session: object = Provide[App.session]) -> object:
        return session

    @task(retries=1)
    @inject
    def work(db: Db = Provide[App.db], session: object = Provide[App.session]) -> None:
        assert helper() is session
        seen.append((db, session))
        if len(seen) == 1:
            raise ValueError("once")

    @flow
    @lifespan(App)
    def history() -> None:
        work()

    history()
    assert seen[0][0] is seen[1][0]
    assert seen[0][1] is not seen[1][1]
    assert RECORD == ["open", "session", "rollback", "session", "commit", "close"]


@pytest.mark.usefixtures("prefect_api")
def test_what_prefect_offers_inside_a_task_is_there_under_inject():
    @task
    @inject
    def work(db: Db = Provide[App.db]) -> str:
        get_run_logger().info("inside")
        context = TaskRunContext.get()
        assert context is not None
        return context.task.name

    @flow
    @lifespan(App)
    def history() -> str:
        return work()

    assert history() == "work"
