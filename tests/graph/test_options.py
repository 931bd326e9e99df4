"""Options of configurations without a value: told by `check` where something needs them, refused before anything opens."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from pydantic_settings import BaseSettings

from prefect_lifespan import InvalidContainerError, check, lifespan, override
from prefect_lifespan.graph import Finding

OPENED: list[object] = []


@pytest.fixture(autouse=True)
def nothing_opened() -> None:
    OPENED.clear()


def open_db(url: str, pool: int | None = 5, name: Any = None) -> Iterator[str]:
    OPENED.append(url)
    yield url


def first() -> str:
    OPENED.append("first")
    return "first"


def declare(config: Any = None, **declared: Any) -> Any:
    """A container with a configuration; what is declared is made of it."""
    config = providers.Configuration() if config is None else config
    made = {name: make(config) for name, make in declared.items()}
    return type("App", (containers.DeclarativeContainer,), {"config": config, **made})


def found(container: Any) -> list[tuple[str, str, str]]:
    findings: tuple[Finding, ...] = check(container)
    return [(finding.code, finding.severity, finding.path) for finding in findings]


@pytest.mark.parametrize(
    "make",
    [
        lambda config: providers.Resource(open_db, config.db.url),
        lambda config: providers.Resource(open_db, url=config.db.url),
        lambda config: providers.Resource(open_db, url=config.db["url"].as_(str)),
        lambda config: providers.Resource(open_db, providers.Factory(dict, url=config.db.url)),
        lambda config: providers.Singleton(dict, [], a=config.db.url),
        lambda config: providers.Selector(config.db.url, a=providers.Object(1)),
        lambda config: providers.Resource(open_db, config.db.url.provided.lower.call()),
    ],
)
def test_an_option_that_nobody_has_given_and_something_needs_is_a_warning(make: Any):
    container = declare(db=make)
    assert found(container) == [("option-without-value", "warning", "config.db.url")]
    (finding,) = check(container)
    assert finding.way[0].startswith("App.db  (")
    assert finding.way[-1] == "App.config.db.url  (option of a configuration)"
    assert "overrides={'config.db.url': ...}" in finding.cure
    container.config.from_dict({"db": {"url": "sqlite://"}})
    assert found(container) == []


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (None, lambda config: providers.Resource(open_db, config.db.url.required())),
        (providers.Configuration(strict=True), lambda config: providers.Resource(open_db, config.db.url)),
        (None, lambda config: providers.Resource(open_db, providers.Singleton(str, config.db.url.required()))),
    ],
)  # fmt: skip
def test_an_option_that_may_not_be_without_is_an_error_before_anything_opens(config: Any, make: Any):
    container = declare(config, first=lambda _: providers.Resource(first), db=make)
    assert found(container) == [("required-option", "error", "config.db.url")]
    with (
        pytest.raises(InvalidContainerError, match=r"required-option: App\.config\.db\.url has no value"),
        lifespan(container),
    ):
        pass
    assert OPENED == []


def test_it_is_refused_before_anything_opens_in_an_asynchronous_lifespan_too():
    container = declare(
        first=lambda _: providers.Resource(first), db=lambda config: providers.Resource(open_db, config.url.required())
    )

    async def main() -> None:
        async with lifespan(container):
            pass

    with pytest.raises(InvalidContainerError, match="required-option"):
        asyncio.run(main())
    assert OPENED == []


def test_what_fills_the_configuration_before_it_is_needed_is_in_time():
    container = declare(
        db=lambda config: providers.Resource(open_db, config.db.url.required()),
    )
    with lifespan(container, overrides={"config.db.url": "by option"}) as instance:
        assert instance.db() == "by option"
    with override(container, config={"db": {"url": "whole"}}), lifespan(container) as instance:
        assert instance.db() == "whole"
    with lifespan(container, overrides={"db": "fake"}) as instance:
        assert instance.db() == "fake"
    with lifespan(container, eager=False) as instance:
        cast("Any", instance).config.from_dict({"db": {"url": "late"}})
        assert instance.db() == "late"
    with (
        lifespan(container, eager=False) as instance,
        pytest.raises(InvalidContainerError, match=r"config\.db\.url has no value"),
    ):
        instance.db()


def test_a_resource_that_fills_the_configuration_is_in_time():
    def load(config: Any) -> None:
        config.from_dict({"url": "loaded"})

    config = providers.Configuration()
    loaded = providers.Resource(load, config.provider)
    container = declare(
        config,
        loaded=lambda _: loaded,
        db=lambda config: providers.Resource(open_db, config.url.required(), name=loaded),
    )
    with lifespan(container) as instance:
        assert instance.db() == "loaded"


def test_no_alarm_for_what_is_given_may_be_none_is_not_needed_or_cannot_be_told():
    assert (
        found(declare(providers.Configuration(default={"u": 1}), db=lambda c: providers.Resource(open_db, c.u))) == []
    )
    assert found(declare(db=lambda config: providers.Resource(open_db, "u", config.pool))) == []
    assert found(declare(db=lambda config: providers.Resource(open_db, "u", pool=config.pool, name=config.name))) == []
    assert found(declare(spare=lambda config: config.url)) == []
    assert found(declare(db=lambda config: providers.Resource(dict, config.url.provider))) == []
    key = providers.Object("url")
    assert found(declare(key=lambda _: key, db=lambda config: providers.Resource(open_db, config.options[key]))) == []
    chosen = providers.Configuration(default={"kind": "a"})
    other = declare(chosen, db=lambda c: providers.Selector(c.kind, a=providers.Object(1), b=providers.List(c.url)))
    assert found(other) == []


def test_a_configuration_with_sources_is_asked_as_an_instance_would_load_it(tmp_path: Path):
    class Settings(BaseSettings):
        url: str = "from settings"

    ini = tmp_path / "config.ini"
    ini.write_text("[db]\nurl = sqlite://\n")
    for config in (
        providers.Configuration(pydantic_settings=[Settings()]),
        providers.Configuration(ini_files=[str(tmp_path / "absent.ini")], default={"url": 1}),
    ):
        assert found(declare(config, db=lambda config: providers.Resource(open_db, config.url))) == []
    ours = declare(
        providers.Configuration(ini_files=[str(ini)]), db=lambda config: providers.Resource(open_db, config.db.url)
    )
    assert found(ours) == []
    with lifespan(ours) as instance:
        assert instance.db() == "sqlite://"
    other = declare(
        providers.Configuration(ini_files=[str(ini)]), db=lambda config: providers.Resource(open_db, config.db.usr)
    )
    assert found(other) == [("option-without-value", "warning", "config.db.usr")]
    unreadable = providers.Configuration(ini_files=[str(tmp_path / "absent.ini")], strict=True)
    assert found(declare(unreadable, db=lambda config: providers.Resource(open_db, config.url))) == []


def test_an_option_of_a_sub_container_is_told_by_its_path():
    class Inner(containers.DeclarativeContainer):
        config = providers.Configuration()
        db = providers.Resource(open_db, config.url.required())

    class Outer(containers.DeclarativeContainer):
        inner = providers.Container(Inner)

    assert found(Outer) == [("required-option", "error", "inner.config.url")]
    with lifespan(Outer, overrides={"inner.config.url": "given"}) as instance:
        assert cast("Any", instance).inner.db() == "given"
