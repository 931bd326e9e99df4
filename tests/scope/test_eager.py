"""What a lifespan opens at its start: all that can be opened there, or what it is told to, the process's included."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import AsyncResourceError, ProcessResource, Provide, TaskResource, inject, lifespan
from prefect_lifespan.errors import UsageError

RECORD: list[str] = []


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


def blocking(name: str, *_: object) -> Iterator[str]:
    RECORD.append(f"open {name}")
    yield name
    RECORD.append(f"close {name}")


async def asynchronous(name: str, *_: object) -> AsyncIterator[str]:
    RECORD.append(f"open {name}")
    yield name
    RECORD.append(f"close {name}")


def client_of_both_looks() -> Any:
    """An initialiser that does not look asynchronous, and is."""
    return asynccontextmanager(asynchronous)("client")


class App(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    api = providers.Resource(asynchronous, "api")
    service = providers.Factory(list, api)
    user = providers.Resource(blocking, "user of api", service)
    last = providers.Resource(blocking, "last", db)


OPENED_WITHOUT_A_LOOP = ["open db", "open last"]


@pytest.mark.parametrize("max_workers", [1, 3])
def test_without_an_event_loop_what_is_asynchronous_and_what_needs_it_are_left_and_one_line_says_so(
    max_workers: int, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, logger="prefect_lifespan")
    with lifespan(App, max_workers=max_workers) as container:
        assert sorted(RECORD) == OPENED_WITHOUT_A_LOOP
        with pytest.raises(AsyncResourceError, match=r"App\.api") as raised:
            container.user()
        assert "eager" not in str(raised.value)
    (line,) = (record for record in caplog.records if "event loop" in record.getMessage())
    assert line.levelno == logging.DEBUG
    assert line.getMessage().endswith(": App.api, App.user")


def test_what_was_left_opens_at_its_first_use_on_an_event_loop():
    @inject
    async def use(api: str = Provide[App.api], user: str = Provide[App.user]) -> tuple[str, str]:
        return api, user

    with lifespan(App):
        assert asyncio.run(use()) == ("api", "user of api")


def test_what_turns_out_to_be_asynchronous_is_left_too():
    class Late(containers.DeclarativeContainer):
        first = providers.Resource(blocking, "first")
        client = providers.Resource(client_of_both_looks)
        user = providers.Resource(blocking, "user", client)
        last = providers.Resource(blocking, "last")

    with lifespan(Late) as container:
        assert RECORD == ["open first", "open last"]
        with pytest.raises(AsyncResourceError):
            container.client()
    assert RECORD == ["open first", "open last", "close last", "close first"]


def test_an_error_of_a_users_that_is_of_the_same_kind_is_no_reason_to_go_on():
    def refusing() -> None:
        raise AsyncResourceError(["mine"], "an initialiser")

    class Refusing(containers.DeclarativeContainer):
        db = providers.Resource(refusing)

    with pytest.raises(AsyncResourceError, match="mine"), lifespan(Refusing):
        pass


def test_with_an_event_loop_everything_opens():
    async def main() -> None:
        async with lifespan(App):
            assert sorted(RECORD) == ["open api", "open db", "open last", "open user of api"]

    asyncio.run(main())


@pytest.mark.parametrize("eager", [[App.api], ["user"], [App.db, App.service]])
def test_naming_what_needs_an_event_loop_where_there_is_none_is_refused(eager: list[Any]):
    with pytest.raises(AsyncResourceError, match=r"App\.api") as raised, lifespan(App, eager=eager):
        pass
    assert RECORD == []
    assert raised.value.__notes__ == ["eager=[...] names it: what is left out there opens at its first use"]


def test_a_process_resource_that_is_named_opens_with_what_it_needs():
    class Models(containers.DeclarativeContainer):
        weights = ProcessResource(blocking, "weights")
        model = ProcessResource(blocking, "model", weights)
        unnamed = ProcessResource(blocking, "unnamed")
        db = providers.Resource(blocking, "db", model)

    with lifespan(Models, eager=[Models.model]):
        assert RECORD == ["open weights", "open model"]
    assert RECORD[2:] == ["close model", "close weights"]
    RECORD.clear()

    async def main() -> None:
        async with lifespan(Models, eager=["db"]):
            assert RECORD == ["open weights", "open model", "open db"]

    asyncio.run(main())
    RECORD.clear()
    with lifespan(Models, eager=["unnamed"], max_workers=2):
        assert RECORD == ["open unnamed"]


def test_a_task_resource_is_refused_where_the_lifespan_is_written():
    class Sessions(containers.DeclarativeContainer):
        session = TaskResource(blocking, "session")

    for eager in ([Sessions.session], ["session"], [Sessions.session.provided.name]):
        with pytest.raises(UsageError, match=r"Sessions\.session, a TaskResource: it opens in each task"):
            lifespan(Sessions, eager=eager)


def test_a_provider_of_the_inner_container_is_told_how_to_name_the_copy():
    class Outer(containers.DeclarativeContainer):
        app = providers.Container(App)

    with pytest.raises(UsageError, match=r"no provider of .*Outer; write Outer\.app\.container\.db"):
        lifespan(Outer, eager=[App.db])
