"""Blocks as resources, loaded from a real API: of two collections, and of the test's own."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.blocks.abstract import DatabaseBlock
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import StateType
from pydantic import SecretStr

from prefect_lifespan import Provide, TaskResource, UsageError, inject, lifespan
from prefect_lifespan.blocks import BlockNotFoundError, open_block

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]

NAME = f"b{uuid.uuid4().hex[:8]}"


class Both(Block):
    """A context manager of both kinds."""

    journal: ClassVar[list[str]] = []
    url: str = ""

    def __enter__(self) -> Self:
        self.journal.append(f"+{self.url}")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.journal.append(f"-{self.url} {kind.__name__ if kind else None}")

    async def __aenter__(self) -> Self:
        self.journal.append(f"async +{self.url}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.journal.append(f"async -{self.url} {kind.__name__ if kind else None}")


class OnLoopOnly(Block):
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *outcome: object) -> None: ...


class Unregistered(Block):
    url: str = ""


@pytest.fixture(autouse=True)
def journal() -> list[str]:
    Both.journal.clear()
    return Both.journal


def app_of(*arguments: Any) -> Any:
    class App(containers.DeclarativeContainer):
        block = providers.Resource(open_block, *arguments)

    return App


async def opened(app: Any) -> Any:
    async with lifespan(app) as container:
        return container.block()


def test_its_own_context_manager_is_entered_and_left_with_the_outcome(journal: list[str]) -> None:
    Both(url="db").save(NAME, overwrite=True)
    with pytest.raises(OSError), lifespan(app_of(Both, NAME)) as container:
        assert container.block().url == "db"
        raise OSError
    assert journal == ["+db", "-db OSError"]
    asyncio.run(opened(app_of(Both, NAME)))
    assert journal[2:] == ["async +db", "async -db None"]


def test_by_slug_and_a_block_that_is_no_context_manager() -> None:
    Secret(value=SecretStr("s3cret")).save(NAME, overwrite=True)
    for arguments in ((Secret, NAME), ("secret", NAME), (f"secret/{NAME}",)):
        with lifespan(app_of(*arguments)) as container:
            assert container.block().get() == "s3cret"
        assert asyncio.run(opened(app_of(*arguments))).get() == "s3cret"


def test_a_block_that_is_not_there_is_told_with_what_to_run() -> None:
    for block in (Secret, "secret"):
        with (
            pytest.raises(BlockNotFoundError, match=r"no block secret/no-such.*prefect block create secret"),
            lifespan(app_of(block, "no-such")),
        ):
            pytest.fail("the body does not run")
    with pytest.raises(BlockNotFoundError, match=r"prefect block register -m"):
        asyncio.run(opened(app_of(Unregistered, "no-such")))


def test_mistakes_are_told_by_name() -> None:
    with pytest.raises(UsageError, match="has no name"):
        open_block("secret")
    with pytest.raises(UsageError, match=r"was given a block, of Both") as raised:
        open_block(cast("Any", Both(url="hunter2")), NAME)
    assert "hunter2" not in str(raised.value)
    OnLoopOnly().save(NAME, overwrite=True)
    with (
        pytest.raises(UsageError, match=f"onlooponly/{NAME} can only be entered with `async with`"),
        open_block(OnLoopOnly, NAME),
    ):
        pytest.fail("it was not entered")
    assert isinstance(asyncio.run(opened(app_of(OnLoopOnly, NAME))), OnLoopOnly)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_database_of_prefect_sqlalchemy_is_disposed_of(warehouse_url: Any) -> None:
    sqlalchemy = pytest.importorskip("prefect_sqlalchemy")
    if warehouse_url.database and warehouse_url.get_backend_name() == "sqlite":
        Path(warehouse_url.database).parent.mkdir(parents=True, exist_ok=True)
    url = warehouse_url.render_as_string(hide_password=False)
    sqlalchemy.SqlAlchemyConnector(connection_info=url).save(NAME, overwrite=True)

    async def fetched() -> Any:
        async with lifespan(app_of(sqlalchemy.SqlAlchemyConnector, NAME)) as container:
            return container.block().fetch_one("SELECT 1")

    with lifespan(app_of(sqlalchemy.SqlAlchemyConnector, NAME)) as container:
        block = container.block()
        assert tuple(block.fetch_one("SELECT 1")) == (1,)
    assert block._engine is None or block._engine.pool.checkedout() == 0
    assert tuple(asyncio.run(fetched())) == (1,)


@pytest.fixture
def async_database(tmp_path: Path) -> Any:
    """A block of prefect-sqlalchemy's for a SQLite that is reached by aiosqlite, saved."""
    sqlalchemy = pytest.importorskip("prefect_sqlalchemy")
    url = f"sqlite+aiosqlite:///{tmp_path / 'warehouse.db'}"
    sqlalchemy.AsyncSqlAlchemyConnector(connection_info=url).save(NAME, overwrite=True)
    return sqlalchemy.AsyncSqlAlchemyConnector


def test_an_asynchronous_database_of_prefect_sqlalchemy_is_disposed_of_on_its_event_loop(async_database: Any) -> None:
    app = app_of(async_database, NAME)

    @task
    @inject
    async def count(block: Any = Provide[app.block]) -> int:
        return (await block.fetch_one("SELECT count(*) FROM runs"))[0]

    @flow
    @lifespan(app)
    async def run(block: Any = Provide[app.block]) -> tuple[Any, list[int]]:
        await block.execute("CREATE TABLE runs (id INTEGER)")
        await block.execute("INSERT INTO runs VALUES (1)")
        return block, list(await asyncio.gather(count(), count()))

    block, counted = asyncio.run(run())
    assert counted == [1, 1]
    assert block._engine is None, "disposed of"


def test_one_that_a_lifespan_without_an_event_loop_cannot_enter_is_refused_rather_than_left_open(
    async_database: Any,
) -> None:
    for block in (async_database, "async-sqlalchemy-connector"):
        with (
            pytest.raises(UsageError, match=f"{NAME} can only be entered with `async with`"),
            lifespan(app_of(block, NAME)),
        ):
            pytest.fail("the body does not run")


class Refusing(Block):
    """An asynchronous database that cannot be reached."""

    async def __aenter__(self) -> Self:
        raise RuntimeError("no route")

    async def __aexit__(self, *outcome: object) -> None: ...


class Bare(DatabaseBlock):
    """Of Prefect's base of databases, and no context manager of any kind."""

    async def fetch_one(self, *args: Any, **kwargs: Any) -> Any: ...
    async def fetch_many(self, *args: Any, **kwargs: Any) -> Any: ...
    async def fetch_all(self, *args: Any, **kwargs: Any) -> Any: ...
    async def execute(self, *args: Any, **kwargs: Any) -> Any: ...
    async def execute_many(self, *args: Any, **kwargs: Any) -> Any: ...


class Unreachable(Bare):
    async def __aenter__(self) -> Self:
        raise RuntimeError("no route")

    async def __aexit__(self, *outcome: object) -> None: ...


@pytest.mark.parametrize("block", [Refusing, Unreachable])
def test_what_entering_raises_goes_on(block: Any) -> None:
    block().save(NAME, overwrite=True)
    with pytest.raises(RuntimeError, match="no route"):
        asyncio.run(opened(app_of(block, NAME)))


def test_a_database_that_is_no_context_manager_is_given_as_it_is() -> None:
    Bare().save(NAME, overwrite=True)
    assert isinstance(asyncio.run(opened(app_of(Bare, NAME))), Bare)
    with lifespan(app_of(Bare, NAME)) as container:
        assert isinstance(container.block(), Bare)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_block_of_a_task_is_entered_in_the_way_of_the_task_and_told_its_outcome(
    kind: str, journal: list[str]
) -> None:
    Both(url="db").save(NAME, overwrite=True)

    class App(containers.DeclarativeContainer):
        block = TaskResource(open_block, Both, NAME)

    @task
    @inject
    def use(number: int, block: Both = Provide[App.block]) -> str:
        if number:
            raise OSError
        return block.url

    @task
    @inject
    async def ause(number: int, block: Both = Provide[App.block]) -> str:
        return use.fn(number, block=block)

    @flow
    @lifespan(App)
    def run() -> list[Any]:
        return [use(number, return_state=True).type for number in range(2)]

    @flow
    @lifespan(App)
    async def arun() -> list[Any]:
        return [(await cast("Any", ause(number, return_state=True))).type for number in range(2)]

    found: Any = run() if kind == "sync" else asyncio.run(arun())
    assert found == [StateType.COMPLETED, StateType.FAILED]
    before = "async " if kind == "async" else ""
    assert journal == [f"{before}+db", f"{before}-db None", f"{before}+db", f"{before}-db OSError"]


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A Redis of its own."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server is installed here (on Debian and Ubuntu: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:  # noqa: S603 - ours
        assert program.stdout is not None
        assert any("Ready to accept connections" in line for line in program.stdout)
        yield port
        program.terminate()


def test_a_block_of_prefect_redis_is_handed_over_and_what_it_makes_can_be_a_resource_on_it(redis_port: int) -> None:
    redis = pytest.importorskip("prefect_redis")
    redis.RedisDatabase(host="127.0.0.1", port=redis_port).save(NAME, overwrite=True)

    def connect(database: Any) -> Iterator[Any]:
        with database.get_client() as client:
            yield client

    class App(containers.DeclarativeContainer):
        database = providers.Resource(open_block, redis.RedisDatabase, NAME)
        client = providers.Resource(connect, database)

    with lifespan(App) as container:
        container.client().set("a", "b")
        assert container.client().get("a") == b"b"
