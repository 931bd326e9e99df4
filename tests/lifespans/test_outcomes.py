"""How a run ends: its resources are told, and nothing they do in closing changes what the body came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow

from prefect_lifespan import Provide, ResourceCloseError, lifespan
from tests.lifespans.witness import Handle, Witness, state_of


class BodyError(Exception):
    pass


def failing_to_close(witness: Witness, name: str) -> Iterator[str]:
    handle = witness.opens(name)
    try:
        yield name
    finally:
        witness.closes(handle, None)
        raise OSError(f"{name} does not close")


async def failing_to_close_async(witness: Witness, name: str) -> AsyncIterator[str]:
    handle = witness.opens(name)
    try:
        yield name
    finally:
        witness.closes(handle, None)
        raise OSError(f"{name} does not close")


def swallowing(witness: Witness) -> Iterator[str]:
    handle = witness.opens("swallower")
    try:
        yield "swallower"
    except BodyError as error:
        witness.closes(handle, error)


def test_a_body_that_succeeds_lets_its_resources_commit(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @flow
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> int:
        return db.use()

    assert run(return_state=True).is_completed()
    assert witness.outcomes == [None]


def test_the_exception_of_the_body_is_thrown_into_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)
        db = providers.Resource(witness.blocking)

    failure = BodyError("the body fails")

    @flow
    @lifespan(App)
    async def run() -> None:
        raise failure

    with pytest.raises(BodyError) as caught:
        asyncio.run(run())
    assert caught.value is failure
    assert witness.outcomes == [failure, failure]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_resource_that_swallows_the_exception_does_not_save_the_run(witness: Witness, kind: str) -> None:
    class App(containers.DeclarativeContainer):
        swallower = providers.Resource(swallowing, witness=providers.Object(witness))

    @flow
    @lifespan(App)
    def run() -> None:
        raise BodyError("the body fails")

    @flow
    @lifespan(App)
    async def run_async() -> None:
        raise BodyError("the body fails")

    state = state_of(run if kind == "sync" else run_async)

    assert state.is_failed()
    assert state.message == "Flow run encountered an exception: BodyError: the body fails"
    assert isinstance(witness.outcomes[0], BodyError)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_fails_to_close_fails_a_run_whose_body_succeeded(witness: Witness, kind: str) -> None:
    class App(containers.DeclarativeContainer):
        first = providers.Resource(failing_to_close, providers.Object(witness), "first")
        second = providers.Resource(witness.blocking, "second")
        third = providers.Resource(failing_to_close, providers.Object(witness), "third")

    class AsyncApp(App):
        fourth = providers.Resource(failing_to_close_async, providers.Object(witness), "fourth")

    @flow
    @lifespan(App)
    def run() -> str:
        return "done"

    @flow
    @lifespan(AsyncApp)
    async def run_async() -> str:
        return "done"

    state = state_of(run if kind == "sync" else run_async)
    error: Any = state.result(raise_on_failure=False)

    names = ["first", "third"] if kind == "sync" else ["first", "third", "fourth"]
    assert state.is_failed()
    assert "ResourceCloseError" in (state.message or "")
    assert isinstance(error, ResourceCloseError)
    assert sorted(str(each) for each in error.exceptions) == sorted(f"{name} does not close" for name in names)
    assert all("while closing" in each.__notes__[0] for each in error.exceptions)
    assert witness.count("close second") == 1


def test_close_errors_are_notes_of_the_exception_of_the_body(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        first = providers.Resource(failing_to_close, providers.Object(witness), "first")
        second = providers.Resource(failing_to_close, providers.Object(witness), "second")

    @flow
    @lifespan(App)
    def run() -> None:
        raise BodyError("the body fails")

    state = state_of(run)
    with pytest.raises(BodyError, match="the body fails") as caught:
        run()

    assert state.message == "Flow run encountered an exception: BodyError: the body fails"
    notes = "\n".join(caught.value.__notes__)
    assert "first does not close" in notes
    assert "second does not close" in notes
    assert "App.first" in notes


def test_on_close_error_warn_lets_the_run_succeed(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        first = providers.Resource(failing_to_close, providers.Object(witness), "first")

    @flow
    @lifespan(App, on_close_error="warn")
    def run() -> str:
        return "done"

    state = state_of(run)

    assert state.is_completed()
    assert witness.record == ["open first", "close first"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_fails_to_open_fails_the_run_with_its_own_exception(witness: Witness, kind: str) -> None:
    def refusing(db: Handle) -> Handle:
        raise ConnectionRefusedError("nobody listens")

    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        broken = providers.Resource(refusing, db)

    @flow
    @lifespan(App)
    def run() -> None:
        witness.tell("the body ran")

    @flow
    @lifespan(App)
    async def run_async() -> None:
        witness.tell("the body ran")

    with pytest.raises(ConnectionRefusedError, match="nobody listens") as caught:
        run() if kind == "sync" else asyncio.run(run_async())
    assert "App.broken" in caught.value.__notes__[0]
    assert witness.record == ["open db", "close db"]
    assert isinstance(witness.outcomes[0], ConnectionRefusedError)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_exception_in_a_task_that_the_flow_lets_through_reaches_the_resources(witness: Witness, kind: str) -> None:
    from prefect import task

    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @task
    def fail() -> None:
        raise BodyError("the task fails")

    @flow
    @lifespan(App)
    def run() -> None:
        fail.submit().result()

    @flow
    @lifespan(App)
    async def run_async() -> None:
        fail()

    with pytest.raises(BodyError):
        run() if kind == "sync" else asyncio.run(run_async())
    assert isinstance(witness.outcomes[0], BodyError)
