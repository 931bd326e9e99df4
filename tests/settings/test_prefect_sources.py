"""Variables and Secret blocks of a real API, in flows of both kinds, in threads, in a running loop and on a pool."""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.variables import Variable
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from prefect_lifespan import Provide, inject, lifespan, override
from prefect_lifespan.settings import (
    FlowSettings,
    PrefectSecretsSettingsSource,
    PrefectVariablesSettingsSource,
    SettingsError,
    explain,
)

SECRET = "hunter2-swordfish"
PREFIX = f"S{uuid.uuid4().hex[:8]}_"  # the API is the whole session's
NAME = PREFIX.lower()

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


class Warehouse(BaseModel):
    url: SecretStr
    pool_size: int = 5
    options: dict[str, int] = {}


class Settings(FlowSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)

    warehouse: Warehouse
    page_size: int = 100


@pytest.fixture
def variable(prefect_server: str) -> Iterator[Callable[..., None]]:
    """Sets Variables, which are gone after the test."""
    names: list[str] = []

    def add(name: str, value: Any) -> None:
        names.append(NAME + name)
        Variable.set(NAME + name, value)

    yield add
    for name in names:
        Variable.unset(name)


@pytest.fixture
def secret(prefect_server: str) -> Iterator[Callable[..., None]]:
    """Saves Secret blocks, which are gone after the test."""
    names: list[str] = []

    def add(name: str, value: Any) -> None:
        names.append((NAME + name).replace("_", "-"))
        Secret(value=value).save(names[-1])

    yield add
    for name in names:
        Secret.delete(name)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The routes of the API that settings were looked up at."""
    asked: list[str] = []
    real = SyncPrefectClient.request

    def request(self: SyncPrefectClient, method: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name.startswith("settings from"):
            asked.append(path)
        return real(self, method, path, *args, **kwargs)

    monkeypatch.setattr(SyncPrefectClient, "request", request)
    return asked


def made(**values: Any) -> Settings:
    return Settings(**values)


def test_values_come_from_secret_blocks_and_variables_and_a_json_one_fills_a_table(
    variable: Any, secret: Any, monkeypatch: pytest.MonkeyPatch, requests: list[str]
) -> None:
    variable("warehouse", {"pool_size": 7, "url": "from the variable", "options": {"a": 1}})
    variable("warehouse__options__b", 2)
    variable("page_size", "30")
    secret("warehouse__url", SECRET)

    settings = made()

    assert settings.warehouse.url == SecretStr(SECRET), "a Secret block stands over a Variable"
    assert (settings.warehouse.pool_size, settings.page_size) == (7, 30)
    assert settings.warehouse.options == {"a": 1, "b": 2}
    assert {f.path: f.source for f in explain(Settings).fields} == {
        "warehouse.url": f"Secret block {NAME}warehouse--url".replace("_", "-"),
        "warehouse.pool_size": f"Variable {NAME}warehouse",
        "warehouse.options": f"Variable {NAME}warehouse",
        "page_size": f"Variable {NAME}page_size",
    }
    requests.clear()
    made(page_size=1)
    assert requests == ["/block_documents/filter", "/block_documents/filter"] + ["/variables/filter"] * 2
    requests.clear()
    monkeypatch.setenv(f"{PREFIX}PAGE_SIZE", "4")
    made(warehouse=settings.warehouse)
    assert requests == [], "nothing is asked that stronger sources have said"


def test_a_json_secret_fills_a_table_and_no_problem_holds_it(secret: Any) -> None:
    secret("warehouse", {"url": SECRET, "pool_size": SECRET})
    with pytest.raises(SettingsError, match=r"warehouse\.pool_size.*from Secret block") as raised:
        made()
    assert SECRET not in str(raised.value)
    assert SECRET not in str(explain(Settings))


def test_a_wrong_kind_of_value_is_told_with_the_variable_that_has_it(variable: Any) -> None:
    variable("page_size", [1])
    variable("warehouse__url", None)
    with pytest.raises(SettingsError) as raised:
        made()
    assert [p.partition(";")[0] for p in raised.value.problems] == [
        "warehouse.url is missing",
        "page_size: Input should be a valid integer",
    ]
    assert raised.value.problems[1].endswith(f"from Variable {NAME}page_size")


class Postgres(BaseModel):
    kind: Literal["postgres"]
    url: str
    pin: SecretStr


class Lite(BaseModel):
    kind: Literal["lite"]


@dataclass
class Mail:
    host: str = "localhost"
    port: int = 25


class Mixed(FlowSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)

    db: Annotated[Postgres | Lite, Field(discriminator="kind")]
    mail: Mail = Field(default_factory=Mail)
    labels: dict[str, int] = Field(default_factory=dict)


def test_parts_of_unions_dictionaries_and_dataclasses_come_from_several_places(
    variable: Any, secret: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}DB__KIND", "postgres")
    monkeypatch.setenv(f"{PREFIX}LABELS__A", "1")
    variable("db", {"kind": "lite", "url": "from the variable"})
    secret("db__pin", SECRET)
    variable("labels", {"a": 2, "b": 2})
    variable("mail__port", 26)

    settings = cast("Any", Mixed)()

    assert settings.db == Postgres(kind="postgres", url="from the variable", pin=SecretStr(SECRET))
    assert settings.labels == {"a": 1, "b": 2}
    assert settings.mail == Mail("localhost", 26)
    assert SECRET not in str(explain(Mixed))


def test_each_source_stands_alone_for_a_class_of_ones_own(variable: Any, secret: Any) -> None:
    class Own(BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX)
        page_size: int = 0
        token: SecretStr = SecretStr("")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **sources: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return PrefectSecretsSettingsSource(settings_cls), PrefectVariablesSettingsSource(settings_cls)

    variable("page_size", 3)
    secret("token", SECRET)
    assert (Own().page_size, Own().token.get_secret_value()) == (3, SECRET)
    assert PrefectSecretsSettingsSource(Own)() == {"token": SecretStr(SECRET)}
    assert f"Variable {NAME}page_size" in str(explain(Own))


def test_a_prefix_that_one_making_is_given_holds_for_the_api_too(
    variable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable("other_page_size", 4)
    variable("page_size", 3)
    given: dict[str, Any] = {"_env_prefix": f"{PREFIX}OTHER_"}
    assert made(warehouse=Warehouse(url=SecretStr("x")), **given).page_size == 4


def test_made_in_coroutines_and_threads_at_once_each_gets_the_same(variable: Any) -> None:
    variable("page_size", 3)
    warehouse = Warehouse(url=SecretStr("x"))

    async def main() -> list[int]:
        here = made(warehouse=warehouse)
        others = await asyncio.gather(*(asyncio.to_thread(made, warehouse=warehouse) for _ in range(4)))
        return [settings.page_size for settings in (here, *others)]

    assert asyncio.run(main()) == [3] * 5
    with ThreadPoolExecutor(20) as pool:
        assert [s.page_size for s in pool.map(lambda _: made(warehouse=warehouse), range(20))] == [3] * 20


def test_what_a_test_gives_in_their_place_asks_no_api(requests: list[str]) -> None:
    given = made(warehouse=Warehouse(url=SecretStr("x")), page_size=1)
    with override(App, settings=given), lifespan(App) as container:
        assert container.settings() is given
        assert container.engine() == "x"
    assert requests == []


class App(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)
    engine = providers.Resource(str, settings.provided.warehouse.url.get_secret_value.call())


@task
@inject
def use(engine: str = Provide[App.engine], settings: Settings = Provide[App.settings]) -> tuple[str, int, int]:
    return engine, settings.page_size, id(settings)


@flow
@lifespan(App)
def blocking() -> set[tuple[str, int, int]]:
    return {future.result() for future in [use.submit() for _ in range(6)]}


@flow
@lifespan(App)
async def asynchronous() -> set[tuple[str, int, int]]:
    return {future.result() for future in [use.submit() for _ in range(6)]}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_reads_once_however_many_tasks_use_it(kind: str, variable: Any, secret: Any, requests: list[str]) -> None:
    variable("page_size", 3)
    secret("warehouse__url", SECRET)
    for _ in range(2):
        found: Any = blocking() if kind == "sync" else asyncio.run(asynchronous())
        ((engine, page_size, _),) = found
        assert (engine, page_size) == (SECRET, 3)
    # Two for each: one for the names, one for what a dictionary may hold.
    assert len(requests) == 2 * 4


def test_a_run_without_its_settings_fails_with_them_and_not_with_what_asked(caplog: pytest.LogCaptureFixture) -> None:
    state = blocking(return_state=True)
    assert state.is_failed()
    assert "SettingsError: Settings cannot be made: 1 problem" in str(state.message)
    assert f"Variable {NAME}warehouse__url" in str(state.message)
    assert "engine" not in str(state.message)
    assert [r for r in caplog.records if "engine" in r.getMessage() and "lifespan" in r.name] == []


def test_an_import_path_and_no_value_is_what_travels_to_worker_processes(secret: Any) -> None:
    secret("warehouse__url", SECRET)
    import cloudpickle

    with lifespan(App) as container:
        assert container.settings().warehouse.url.get_secret_value() == SECRET
        for what in (App, use.fn, Provide[App.settings], App.settings, container.settings):
            assert SECRET.encode() not in cloudpickle.dumps(what)
    assert SECRET.encode() in pickle.dumps(made()), "who hands on the object itself hands on its values"
