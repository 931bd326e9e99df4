"""Routes of Prefect's API that settings are read from, and the functions that blocks are loaded by."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prefect.blocks.abstract import DatabaseBlock
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable
from pydantic import SecretStr

pytestmark = pytest.mark.usefixtures("prefect_server", "garbage_collected")

NAME = f"c{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True, httpx_settings={"timeout": 60.0}) as client:
        yield client


@pytest.fixture
def variables() -> Iterator[dict[str, Any]]:
    """Of names with two underscores, and values of every kind."""
    values = {f"{NAME}_a": "text", f"{NAME}_b__c": {"d": [1, None]}, f"other_{NAME}_a": 3}
    for name, value in values.items():
        Variable.set(name, value)
    yield values
    for name in values:
        Variable.unset(name)


def asked(client: SyncPrefectClient, route: Any, **body: Any) -> list[Any]:
    response = client.request("POST", route, json={"limit": 200, "offset": 0, **body})
    response.raise_for_status()
    return response.json()


def test_variables_are_found_by_their_names_with_their_values_as_json(
    client: SyncPrefectClient, variables: dict[str, Any]
) -> None:
    found = asked(client, "/variables/filter", variables={"name": {"any_": [*variables, f"{NAME}_none"]}})
    assert {each["name"]: each["value"] for each in found} == variables


def test_like_finds_a_part_of_a_name_anywhere_so_beginnings_are_looked_at_afterwards(
    client: SyncPrefectClient, variables: dict[str, Any]
) -> None:
    found = asked(client, "/variables/filter", variables={"name": {"like_": f"{NAME}_a"}})
    assert {each["name"] for each in found} == {f"{NAME}_a", f"other_{NAME}_a"}


def test_pages_hold_200_documents_and_no_more(client: SyncPrefectClient) -> None:
    for route in ("/variables/filter", "/block_documents/filter"):
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            asked(client, route, limit=201)


def test_secret_blocks_are_found_by_name_and_type_with_their_values_where_that_is_asked_for(
    client: SyncPrefectClient,
) -> None:
    Secret(value=SecretStr("hunter2")).save(f"{NAME}--a")
    as_json: Any = {"b": ["hunter2"]}
    Secret(value=as_json).save(f"{NAME}-b")
    wanted = {
        "block_documents": {"name": {"any_": [f"{NAME}--a", f"{NAME}-b"]}},
        "block_types": {"slug": {"any_": ["secret"]}},
    }
    found = asked(client, "/block_documents/filter", include_secrets=True, **wanted)
    assert {each["name"]: each["data"]["value"] for each in found} == {
        f"{NAME}--a": "hunter2",
        f"{NAME}-b": {"b": ["hunter2"]},
    }
    hidden = asked(client, "/block_documents/filter", **wanted)
    assert "hunter2" not in {str(each["data"]["value"]) for each in hidden}


def test_a_client_made_in_one_thread_is_entered_and_asked_in_another_one() -> None:
    client = get_client(sync_client=True, httpx_settings={"timeout": 60.0})
    found: list[Any] = []

    def ask() -> None:
        with client:
            found.append(asked(client, "/variables/filter", variables={"name": {"any_": [NAME]}}))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(120)
    assert found == [[]]


def test_an_api_that_is_not_there_is_an_error_of_httpx() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        get_client(sync_client=True) as client,
        pytest.raises(httpx.ConnectError),
    ):
        asked(client, "/variables/filter")


def test_a_block_is_loaded_by_class_and_by_slug_at_once_also_where_a_loop_runs() -> None:
    Secret(value=SecretStr("hunter2")).save(f"{NAME}-loaded")

    async def load() -> list[Any]:
        named: list[tuple[Any, str]] = [(Secret, f"{NAME}-loaded"), (Block, f"secret/{NAME}-loaded")]
        return [kind.load(name, validate=True, _sync=True) for kind, name in named]

    assert [block.get() for block in asyncio.run(load())] == ["hunter2", "hunter2"]


def test_a_block_that_is_not_there_is_a_value_error_caused_by_that() -> None:
    named: list[tuple[Any, str]] = [(Secret, "no-such"), (Block, "secret/no-such"), (Block, "no-such-type/no-such")]
    for kind, name in named:
        with pytest.raises(ValueError, match="no-such") as raised:
            kind.load(name, _sync=True)
        assert isinstance(raised.value.__cause__, ObjectNotFound)


def test_a_type_of_blocks_that_is_not_registered_is_told(client: SyncPrefectClient) -> None:
    assert client.read_block_type_by_slug("secret").slug == "secret"
    with pytest.raises(ObjectNotFound):
        client.read_block_type_by_slug("no-such-type")


class Database(DatabaseBlock):
    async def fetch_one(self, *args: Any, **kwargs: Any) -> Any: ...
    async def fetch_many(self, *args: Any, **kwargs: Any) -> Any: ...
    async def fetch_all(self, *args: Any, **kwargs: Any) -> Any: ...
    async def execute(self, *args: Any, **kwargs: Any) -> Any: ...
    async def execute_many(self, *args: Any, **kwargs: Any) -> Any: ...


def test_the_base_of_databases_is_a_context_manager_by_its_methods_alone() -> None:
    """If this fails, `blocks` need not look whether a database implements them."""
    with pytest.raises(NotImplementedError), Database():
        pytest.fail("it was entered")
    with pytest.raises(NotImplementedError):
        asyncio.run(Database().__aenter__())
