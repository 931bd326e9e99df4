"""Configurations that load, in what stands in for a container's own: they hold what dependency-injector's would."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers
from pydantic_settings import BaseSettings

from prefect_lifespan import Provide, inject, lifespan, override


def opened(url: str | None) -> Iterator[str]:
    yield f"db at {url}"


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"url": "default"})
    db = providers.Resource(opened, config.url)


@inject
def used(url: Any = Provide[App.config.url], db: Any = Provide[App.db]) -> tuple[Any, Any]:
    return url, db


class Settings(BaseSettings):
    url: str = "pydantic"


SOURCES = ["ini", "yaml", "json", "pydantic", "from_dict", "from_env", "default"]


@pytest.fixture(params=SOURCES)
def configuration(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A configuration whose `url` is the name of where it comes from, as far as one is declared with it."""
    kind: str = request.param
    file = tmp_path / f"app.{kind}"
    match kind:
        case "ini":
            # An ini file has sections: the test asks for `url` in one that the configuration is made of.
            file.write_text("[url]\nof = ini\n")
            return providers.Configuration(ini_files=[file])
        case "yaml":
            file.write_text("url: yaml\n")
            return providers.Configuration(yaml_files=[file])
        case "json":
            file.write_text(json.dumps({"url": "json"}))
            return providers.Configuration(json_files=[file])
        case "pydantic":
            return providers.Configuration(pydantic_settings=[Settings()])
        case "from_dict":
            made: Any = providers.Configuration()
            made.from_dict({"url": "from_dict"})
            return made
        case "from_env":
            monkeypatch.setenv("APP_URL", "from_env")
            made = providers.Configuration()
            made.url.from_env("APP_URL")
            return made
        case _:
            return providers.Configuration(default={"url": "default of the test"})


def expected(configuration: Any) -> Any:
    """What dependency-injector's own container gives."""

    class Own(containers.DeclarativeContainer):
        config = configuration

    return Own().config.url()


def both(url: Any) -> tuple[Any, str]:
    return url, f"db at {url}"


def test_a_configuration_of_a_derived_container_has_loaded(configuration: Any):
    class TestApp(App):
        config = configuration
        db = providers.Resource(opened, config.url)

    url = expected(configuration)
    assert url is not None
    with override(App, TestApp), lifespan(App):
        assert used() == both(url)
    with lifespan(App, overrides=TestApp):
        assert used() == both(url)
    with lifespan(App):
        with override(App, TestApp):
            assert used() == both(url)
        assert used() == both("default")
    with override(App, TestApp):
        assert used() == both(url)


def test_what_the_container_itself_declares_gets_the_values_of_an_overriding_configuration(configuration: Any):
    class Fakes(containers.DeclarativeContainer):
        config = configuration

    url = expected(configuration)
    with override(App, Fakes), lifespan(App):
        assert used() == both(url)
    with lifespan(App), override(App, Fakes):
        assert used() == both(url)


def test_a_configuration_by_itself_in_an_override_has_loaded(configuration: Any):
    url = expected(configuration)
    with override(App, config=configuration), lifespan(App):
        assert used() == both(url)
    with lifespan(App), override(App, config=configuration):
        assert used() == both(url)


async def _on_a_loop(overrides: Any) -> Any:
    async with lifespan(App, overrides=overrides):
        return used()


def test_a_configuration_has_loaded_on_an_event_loop_too(configuration: Any):
    class TestApp(App):
        config = configuration

    assert asyncio.run(_on_a_loop(TestApp)) == both(expected(configuration))


def test_a_container_that_does_not_have_its_configuration_loaded_overrides_with_what_it_holds(tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text("url: yaml\n")

    class Lazy(containers.DeclarativeContainer):
        auto_load_config = False
        config = providers.Configuration(yaml_files=[file], default={"url": "held"})

    with override(App, Lazy), lifespan(App):
        assert used() == both("held")


def test_what_was_loaded_by_hand_into_a_configuration_of_no_container_stays_as_it_is(tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text("url: yaml\n")
    configuration: Any = providers.Configuration(yaml_files=[file])
    configuration.load()
    configuration.from_dict({"url": "by hand"})
    with override(App, config=configuration), lifespan(App):
        assert used() == both("by hand")


def test_a_lifespan_loads_once_and_each_lifespan_anew(tmp_path: Path):
    file = tmp_path / "app.yaml"

    class Fakes(containers.DeclarativeContainer):
        config = providers.Configuration(yaml_files=[file])

    file.write_text("url: first\n")
    with override(App, Fakes):
        with lifespan(App):
            file.write_text("url: second\n")
            assert used() == both("first")
            with override(App, db="fake"):
                assert used() == ("first", "fake")
        with lifespan(App):
            assert used() == both("second")
    assert Fakes.config() == {}


def test_single_options_stand_over_a_configuration_that_loads(tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text("url: yaml\nport: 1\n")

    class Fakes(containers.DeclarativeContainer):
        config = providers.Configuration(yaml_files=[file])

    @inject
    def port(port: int = Provide[App.config.port]) -> int:
        return port

    with override(App, Fakes, **{"config.url": "option"}), lifespan(App):
        assert (used(), port()) == (both("option"), 1)
    with lifespan(App), override(App, Fakes), override(App, {"config.url": "option"}):
        assert (used(), port()) == (both("option"), 1)


def test_configurations_of_sub_containers_load_where_these_stand_in(tmp_path: Path):
    file = tmp_path / "app.yaml"
    file.write_text("api: {url: given}\nurl: own\n")

    class Gateways(containers.DeclarativeContainer):
        config = providers.Configuration()
        api = providers.Resource(opened, config.url)

    class Whole(containers.DeclarativeContainer):
        config = providers.Configuration()
        gateways = providers.Container(Gateways, config=config.api)

    class FakeGateways(Gateways):
        config = providers.Configuration(yaml_files=[file])
        api = providers.Resource(opened, config.url)

    class Given(containers.DeclarativeContainer):
        config = providers.Configuration(yaml_files=[file])
        gateways = providers.Container(Gateways, config=config.api)

    class Own(containers.DeclarativeContainer):
        gateways = providers.Container(FakeGateways)

    @inject
    def api(api: str = Provide[Whole.gateways.container.api]) -> str:
        return api

    for fakes, url in [(Given, "given"), (Own, "own"), ({"gateways": FakeGateways}, "own")]:
        with override(Whole, fakes), lifespan(Whole):
            assert api() == f"db at {url}"
        with lifespan(Whole), override(Whole, fakes):
            assert api() == f"db at {url}"


def test_an_overriding_configuration_that_has_travelled_loads_where_it_arrives(tmp_path: Path):
    file = tmp_path / "app.yaml"

    class Fakes(containers.DeclarativeContainer):
        config = providers.Configuration(yaml_files=[file])
        db = providers.Resource(opened, config.url)

    arrived: Any = cloudpickle.loads(cloudpickle.dumps({"config": Fakes.config, "db": Fakes.db}))
    file.write_text("url: there\n")
    with override(App, arrived), lifespan(App):
        assert used() == both("there")
