"""docs/how-to/fastapi.md as it stands there, and what it says, under a real server and in flows that are called there."""

import asyncio
import re
import socket
import sys
import threading
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
from dependency_injector import containers, providers
from fastapi import Depends, FastAPI
from prefect import flow, task

from prefect_lifespan import (
    LifespanError,
    ProcessResource,
    Provide,
    TaskResource,
    UsageError,
    current_container,
    inject,
    lifespan,
)
from tests.lifespans.witness import SECONDS, Handle, Witness, until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "fastapi.md"

pytestmark = [
    # Starlette's client wants a successor of httpx, which Prefect does not install.
    pytest.mark.filterwarnings("ignore:Using `httpx` with:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:websockets.*is deprecated:DeprecationWarning"),
]


# The page


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """The page's programs, one after another, as a module that its flows can be found in."""
    module = types.ModuleType("the_fastapi_page")
    sys.modules[module.__name__] = module
    with pytest.MonkeyPatch.context() as patch:
        import warnings

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using `httpx` with")
            for program in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
                exec(compile(program, PAGE.name, "exec"), module.__dict__)  # noqa: S102 - the documentation's own
        patch.setitem(sys.modules, module.__name__, module)
        yield module


TESTS_OF_THE_PAGE = re.findall(r"^def (test_\w+)", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", TESTS_OF_THE_PAGE)
def test_a_test_of_the_page_passes(page: Any, name: str, prefect_api: str) -> None:
    getattr(page, name)()


def test_fastapi_does_not_see_what_is_injected(page: Any) -> None:
    paths = page.api.openapi()["paths"]
    assert [p["name"] for p in paths["/prices/{item}"]["get"]["parameters"]] == ["item"]
    assert [p["name"] for p in paths["/orders/{item}"]["post"]["parameters"]] == ["item"]
    assert "requestBody" not in paths["/prices/{item}"]["get"]


# Under a server


class Application:
    """A FastAPI application with one container, whose endpoints tell which handles they were given."""

    def __init__(self, witness: Witness) -> None:
        class App(containers.DeclarativeContainer):
            db = providers.Resource(witness.blocking, "db")
            client = providers.Resource(witness.asynchronous, "client")
            session = TaskResource(witness.blocking, "session")
            model = ProcessResource(witness.blocking, "model")
            late = providers.Resource(witness.blocking, "late")

        @asynccontextmanager
        async def application(_: FastAPI) -> AsyncIterator[None]:
            async with lifespan(App, everywhere=True, eager=[App.db, App.client]):
                yield

        @inject
        async def client(client: Handle = Provide[App.client]) -> Handle:
            return client

        @inject
        def session(session: Handle = Provide[App.session]) -> Iterator[Handle]:
            yield session

        self.App = App
        self.api = api = FastAPI(lifespan=application)

        @api.get("/async")
        @inject
        async def asynchronous(db: Handle = Provide[App.db], client: Handle = Provide[App.client]) -> list[int]:
            return [client.use(), db.use()]

        @api.get("/sync")
        @inject
        def blocking(db: Handle = Provide[App.db], client: Handle = Provide[App.client]) -> list[int]:
            return [client.use(), db.use()]

        @api.get("/depends")
        def depending(
            client: Annotated[Handle, Depends(client)],
            session: Annotated[Handle, Depends(session)],
            again: Annotated[Handle, Depends(session)],
        ) -> list[int]:
            return [client.use(), session.use(), again.use()]

        @api.get("/fails")
        def failing(session: Annotated[Handle, Depends(session)]) -> None:
            raise ZeroDivisionError(session.use())

        @api.get("/late")
        @inject
        def first_use(late: Handle = Provide[App.late], model: Handle = Provide[App.model]) -> list[int]:
            return [late.use(), model.use()]


@contextmanager
def served(api: FastAPI) -> Iterator[httpx.Client]:
    """The application under a real server, on loopback, in a thread of its own."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api, log_level="error", lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, "the server has started")
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=SECONDS) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(SECONDS)


def test_under_a_server_every_request_uses_what_the_application_has_opened(witness: Witness) -> None:
    app = Application(witness)
    with served(app.api) as client:
        for path in ("/async", "/sync", "/async"):
            assert client.get(path).json() == [1, 2]
        assert client.get("/depends").json() == [1, 3, 3], "a task resource lives as long as the request"
        assert client.get("/late").json() == client.get("/late").json() == [4, 5]
        with pytest.raises(LifespanError, match="No lifespan"):
            current_container(type("Another", (containers.DeclarativeContainer,), {}))
        assert current_container(app.App).db().number == 2, "in the test's own thread, too"
    assert sorted(witness.record[-4:]) == ["close client", "close db", "close late", "close model"]
    with pytest.raises(LifespanError, match="No lifespan"):
        current_container(app.App)


def test_a_failed_request_is_told_to_what_lived_as_long(witness: Witness) -> None:
    app = Application(witness)
    with served(app.api) as client:
        assert client.get("/fails").status_code == 500
        until(lambda: len(witness.outcomes) == 1, "the session has closed")
        assert isinstance(witness.outcomes[0], ZeroDivisionError)


def test_an_application_can_be_started_again(witness: Witness) -> None:
    app = Application(witness)
    for number in (1, 3):
        with served(app.api) as client:
            assert client.get("/sync").json() == [number, number + 1]


def test_without_a_server_a_transport_of_httpx_finds_it_in_force(witness: Witness) -> None:
    app = Application(witness)

    async def main() -> None:
        async with lifespan(app.App, everywhere=True, eager=[app.App.db, app.App.client]):
            transport = httpx.ASGITransport(app=app.api)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answers = await asyncio.gather(*(client.get(path) for path in ("/async", "/sync") * 3))
                assert [answer.json() for answer in answers] == [[1, 2]] * 6

    asyncio.run(main())


# Flows


def test_endpoints_as_dependency_injectors_documentation_has_them_work_as_they_are(witness: Witness) -> None:
    """`Depends(Provide[...])` was no marker to the library, and none of the endpoints could be defined."""
    application = Application(witness)

    @application.api.get("/theirs/{item}")
    @inject
    async def theirs(
        item: str,
        session: Annotated[Handle, Depends(Provide[application.App.session])],
        client: Handle = Depends(Provide[application.App.client]),
    ) -> list[Any]:
        return [item, client.use(), session.use()]

    with served(application.api) as client:
        assert [client.get("/theirs/tea").json() for _ in range(2)] == [["tea", 1, 3], ["tea", 1, 4]]
        parameters = client.get("/openapi.json").json()["paths"]["/theirs/{item}"]["get"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["item"]


def test_flows_that_endpoints_call_join_the_application(witness: Witness, prefect_api: str) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking, "db")

    @task
    @inject
    def ask(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow
    @lifespan(App)
    def decorated() -> list[int]:
        return [ask(), ask.submit().result()]

    @flow
    def undecorated() -> list[int]:
        return [ask(), ask.submit().result()]

    @flow
    @lifespan(App)
    async def asynchronous() -> list[int]:
        return [ask(), ask.submit().result()]

    @flow
    @lifespan(App, share=False)
    def of_its_own() -> list[int]:
        return [ask(), ask.submit().result()]

    @asynccontextmanager
    async def application(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan(App, everywhere=True):
            yield

    api = FastAPI(lifespan=application)
    api.get("/decorated")(lambda: decorated())
    api.get("/undecorated")(lambda: undecorated())
    api.get("/own")(lambda: of_its_own())

    @api.get("/async")
    async def endpoint() -> list[int]:
        return await asynchronous()

    with served(api) as client:
        assert client.get("/decorated").json() == client.get("/undecorated").json() == [1, 1]
        assert client.get("/async").json() == [1, 1]
        assert client.get("/own").json() == [2, 2]
        assert client.get("/decorated").json() == [1, 1]
    assert witness.record == ["open db", "open db", "close db", "close db"]


def test_a_lifespan_is_no_applications_lifespan_by_itself() -> None:
    class Empty(containers.DeclarativeContainer):
        pass

    given: Any = lifespan(Empty)
    with pytest.raises(UsageError, match=r"not a FastAPI; in an application's own lifespan write `async with lifespan"):
        given(FastAPI())
