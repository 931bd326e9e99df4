"""Errors of closing as Prefect sees them: of the type that the resource raised, for retries and in the run's state."""

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan
from tests.lifespans.witness import state_of


class IntegrityError(Exception):
    pass


class Conflict(Exception):
    pass


class Frozen(Exception):
    """As one that is a frozen dataclass."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name}")


told: list[str] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    told.clear()


def session() -> Generator[None]:
    """Does not commit; calls what the body raised a conflict."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict("there is one already") from error
    except BaseException as error:
        told.append(type(error).__name__)
        raise
    raise IntegrityError("FOREIGN KEY constraint failed")


async def async_session() -> AsyncGenerator[None]:
    for value in session():
        try:
            yield value
        except IntegrityError as error:
            raise Conflict("there is one already") from error


class App(containers.DeclarativeContainer):
    of_task = TaskResource(session)
    of_async_task = TaskResource(async_session)


async def worth_another(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(await state.aresult(raise_on_failure=False), IntegrityError)


again: Any = {"retries": 1, "retry_delay_seconds": 0, "retry_condition_fn": worth_another}


@task(**again)
@inject
def order(of_task: None = Provide[App.of_task]) -> None:
    told.append("attempt")


@task(**again)
@inject
async def order_async(of_async_task: None = Provide[App.of_async_task]) -> None:
    told.append("attempt")


Told = tuple[Any, str]


@flow
@lifespan(App)
def called() -> Told:
    state: Any = order(return_state=True)
    return state.result(raise_on_failure=False), state.message


@flow
@lifespan(App)
def submitted() -> Told:
    future: Any = order.submit()
    future.wait()
    return future.state.result(raise_on_failure=False), future.state.message


@flow
@lifespan(App)
async def awaited() -> Told:
    calling: Any = order_async(return_state=True)
    state = await calling
    return await state.aresult(raise_on_failure=False), state.message


@pytest.mark.parametrize("run", [called, submitted, awaited])
def test_an_error_at_commit_is_the_tasks_own_to_its_retries_and_in_its_state(run: Any) -> None:
    error, message = state_of(run).result()
    assert (type(error), told) == (IntegrityError, ["attempt", "attempt"])
    assert error.__notes__ == ["while closing App.of_async_task" if run is awaited else "while closing App.of_task"]
    assert "IntegrityError: FOREIGN KEY constraint failed" in message


class OfRun(containers.DeclarativeContainer):
    db = providers.Resource(session)


class OfAsyncRun(containers.DeclarativeContainer):
    db = providers.Resource(async_session)


class OfProcess(containers.DeclarativeContainer):
    db = ProcessResource(session)


def _succeeds() -> None: ...


def _fails() -> None:
    raise IntegrityError("duplicate key")


Body = Callable[[], None]


def in_flow(body: Body) -> Any:
    @flow
    @lifespan(OfRun)
    def run() -> None:
        body()

    return state_of(run).result(raise_on_failure=False)


def in_lanes(body: Body) -> Any:
    @flow
    @lifespan(OfRun, max_workers=2)
    def run() -> None:
        body()

    return state_of(run).result(raise_on_failure=False)


def in_async_flow(body: Body) -> Any:
    @flow
    @lifespan(OfAsyncRun)
    async def run() -> None:
        body()

    return state_of(run).result(raise_on_failure=False)


def in_generator_flow(body: Body) -> Any:
    @flow
    @lifespan(OfRun)
    def run() -> Generator[int]:
        yield 1
        body()

    with pytest.raises((IntegrityError, Conflict)) as raised:
        list(run())
    return raised.value


def in_block_of_the_process(body: Body) -> Any:
    with pytest.raises((IntegrityError, Conflict)) as raised, lifespan(OfProcess) as container:
        container.db()
        body()
    return raised.value


each_run = pytest.mark.parametrize(
    "run", [in_flow, in_lanes, in_async_flow, in_generator_flow, in_block_of_the_process]
)


@each_run
def test_the_one_close_error_of_a_run_that_succeeded_is_raised_as_itself(run: Callable[[Body], Any]) -> None:
    error = run(_succeeds)
    assert (type(error), str(error)) == (IntegrityError, "FOREIGN KEY constraint failed")
    assert len(error.__notes__) == 1
    assert error.__notes__[0].startswith("while closing Of")


@each_run
def test_what_a_resource_raises_from_the_exception_of_the_run_goes_on(run: Callable[[Body], Any]) -> None:
    error = run(_fails)
    assert (type(error), type(error.__cause__)) == (Conflict, IntegrityError)


def test_an_exception_that_takes_no_attributes_comes_out_of_an_injected_task_and_its_flow() -> None:
    """It came out as contextlib's failure to set one."""

    @task
    @inject
    def fails(of_task: None = Provide[App.of_task]) -> None:
        raise Frozen

    @lifespan(App)
    def run(of_run: None = None) -> None:
        fails.fn()

    with pytest.raises(Frozen):
        run()
    assert told == ["Frozen"]
