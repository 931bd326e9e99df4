"""Settings in a configuration: a class of them is read when a run opens, and what is wrong is told as that."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from pydantic import BaseModel, SecretStr

from prefect_lifespan import ProcessResource, Provide, check, inject, lifespan, override
from prefect_lifespan.graph.reader import qualified_name
from prefect_lifespan.settings import FlowSettings

SECRET = "hunter2-swordfish"

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


class Warehouse(BaseModel):
    url: SecretStr
    pool_size: int = 5


class Settings(FlowSettings):
    warehouse: Warehouse
    page_size: int = 100

    def model_post_init(self, context: object) -> None:
        made.append(self)


made: list[Settings] = []
opened: list[object] = []


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()
    opened.clear()


class App(containers.DeclarativeContainer):
    config = providers.Configuration(pydantic_settings=[cast("Any", Settings)])
    first = providers.Resource(opened.append, "first")
    engine = providers.Resource(
        lambda url, size: (url.get_secret_value(), size), config.warehouse.url, config.warehouse.pool_size
    )


@task
@inject
def use(engine: Any = Provide[App.engine], size: int = Provide[App.config.page_size]) -> tuple[Any, int]:
    return engine, size


@flow
@lifespan(App)
def blocking() -> set[Any]:
    return {use.submit().result() for _ in range(3)}


@flow
@lifespan(App)
async def asynchronous() -> set[Any]:
    return {use.submit().result() for _ in range(3)}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_class_of_settings_is_read_once_a_run_and_a_nested_secret_stays_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", SECRET)
    assert made == []
    for number in (1, 2):
        found: Any = blocking() if kind == "sync" else asyncio.run(asynchronous())
        assert found == {((SECRET, 5), 100)}
        assert len(made) == number


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_missing_one_fails_the_run_as_that_before_anything_opens(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    state: Any = (
        blocking(return_state=True) if kind == "sync" else asyncio.run(cast("Any", asynchronous(return_state=True)))
    )
    assert state.is_failed()
    assert "SettingsError: Settings cannot be made: 1 problem" in str(state.message)
    assert "warehouse.url is missing; looked for in environment variable APP_WAREHOUSE__URL" in str(state.message)
    assert opened == []
    assert [r for r in caplog.records if "engine" in r.getMessage() and "lifespan" in r.name] == []


def test_an_override_stands_in_for_it_and_nothing_is_read() -> None:
    with override(App, {"config": {"warehouse": {"url": SecretStr("x"), "pool_size": 1}}}), lifespan(App) as container:
        assert container.engine() == ("x", 1)
    given = Settings(warehouse=Warehouse(url=SecretStr("given")))
    made.clear()
    for settings in (given, Settings):
        brought = providers.Configuration(pydantic_settings=[cast("Any", settings)])
        with override(App, config=brought):
            if settings is given:
                with lifespan(App) as container:
                    assert container.engine() == ("given", 5)
                assert made == []
            else:
                with pytest.raises(ValueError, match=r"warehouse\.url is missing") as raised, lifespan(App):
                    pytest.fail("the body does not run")
                assert raised.value.__notes__ == ["while making the settings App.config(override)"]


def test_single_options_stand_over_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", SECRET)
    with override(App, {"config.warehouse.pool_size": 9}), lifespan(App) as container:
        assert container.engine() == (SECRET, 9)
    assert len(made) == 1


def test_a_resource_of_the_process_and_a_call_outside_any_lifespan_are_told_the_same() -> None:
    class Wide(containers.DeclarativeContainer):
        config = providers.Configuration(pydantic_settings=[cast("Any", Settings)])
        model = ProcessResource(str, config.warehouse.url)

    @inject
    def outside(model: str = Provide[Wide.model]) -> str:
        return model

    with pytest.raises(ValueError, match=r"warehouse\.url is missing") as raised:
        outside()
    assert raised.value.__notes__ == [f"while making the settings {qualified_name(Wide)}.config"]


def test_check_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", SECRET)
    assert check(App) == ()
    assert made == []


def test_that_of_a_sub_container_is_read_for_each_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", "when it is declared")

    class Outer(containers.DeclarativeContainer):
        inner = providers.Container(App)
        engine = providers.Resource(tuple, inner.engine)

    for number in range(2):
        monkeypatch.setenv("APP_WAREHOUSE__URL", f"run {number}")
        with lifespan(Outer) as container:
            assert container.engine() == (f"run {number}", 5)
