"""Settings are made before anything that needs them opens, once, and what is wrong with them is told as theirs."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from prefect_lifespan import ProcessResource, inject, lifespan, override, resource
from prefect_lifespan.engine import Event
from prefect_lifespan.injection import Provide
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, in_threads, open_all, run


class Missing(BaseSettings):
    no_such_value_anywhere: str


class Counted(BaseSettings):
    url: str = "there"

    def model_post_init(self, context: object) -> None:
        made.append(threading.get_ident())


made: list[int] = []


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


def declared(journal: Journal, settings: Any, *, asynchronous: bool = False) -> Any:
    kind = journal.async_resource if asynchronous else journal.resource
    return declare(
        first=kind("first"), settings=settings, engine=kind("engine", settings.provided.url), last=kind("last")
    )


def test_a_missing_setting_is_told_before_anything_opens_and_not_as_the_failure_of_a_resource() -> None:
    journal, events = Journal(), list[Event]()
    engine = engine_of(declared(journal, providers.Singleton(Missing)), events=events)

    with pytest.raises(ValidationError, match="no_such_value_anywhere") as raised:
        open_all(engine)

    assert journal == []
    assert events == [], "no resource has failed"
    assert raised.value.__notes__ == ["while making the settings App.settings"]
    engine.close().settle()


def test_on_an_event_loop_too_which_goes_on_meanwhile() -> None:
    journal, events = Journal(), list[Event]()

    async def main() -> None:
        engine = async_engine_of(declared(journal, providers.Singleton(Missing), asynchronous=True), events=events)
        with pytest.raises(ValidationError, match="no_such_value_anywhere"):
            await aopen_all(engine)
        (await engine.aclose()).settle()

        good = async_engine_of(declared(journal, providers.Singleton(Counted), asynchronous=True))
        await aopen_all(good)
        assert made != [threading.get_ident()], "an API may be asked meanwhile, for which the loop must not stand still"
        assert len(made) == 1
        (await good.aclose()).settle()

    run(main)
    assert events == []


def test_a_retry_of_the_resource_does_not_try_wrong_settings_again() -> None:
    tries: list[str] = []

    class Wrong(BaseSettings):
        def model_post_init(self, context: object) -> None:
            tries.append("tried")
            raise OSError

    @resource(retries=3, retry_delay_seconds=0)
    def open_engine(url: str) -> str:
        return url

    wrong = providers.Singleton(Wrong)
    engine = engine_of(declare(settings=wrong, engine=providers.Resource(open_engine, wrong.provided.url)))
    with pytest.raises(OSError):
        open_all(engine)
    assert tries == ["tried"]
    engine.close().settle()


def test_many_that_are_the_first_to_use_a_resource_read_its_settings_once() -> None:
    settings = providers.Singleton(Counted)
    engine = engine_of(declare(settings=settings, engine=providers.Resource(str, settings.provided.url)))
    engine.schedule.home_thread = None

    assert in_threads(8, engine.instance.engine) == ["there"] * 8
    assert len(made) == 1
    engine.close().settle()


def test_what_only_an_overridden_resource_needed_is_not_asked_for() -> None:
    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Missing)
        engine = providers.Resource(str, settings.provided.url)

    with override(App, engine="sqlite"), lifespan(App) as container:
        assert container.engine() == "sqlite"
    with override(App, settings=Counted()), lifespan(App) as container:
        assert container.engine() == "there"


def test_settings_that_only_factories_use_are_validated_at_the_start_and_with_eager_false_not_before_they_are_used() -> (
    None
):
    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Missing)
        engine = providers.Resource(str)
        service = providers.Factory(dict, url=settings.provided.url)

    with pytest.raises(ValidationError), lifespan(App):
        pytest.fail("the body does not run")
    with lifespan(App, eager=False) as container:
        assert container.engine() == ""
        with pytest.raises(ValidationError):
            container.service()
    with lifespan(App, eager=[App.engine]) as container:
        assert container.engine() == ""


def test_a_late_use_is_refused_without_reading_anything() -> None:
    settings = providers.Singleton(Counted)
    engine = engine_of(declare(settings=settings, engine=providers.Resource(str, settings.provided.url)))
    instance = engine.instance
    engine.close().settle()
    with pytest.raises(Exception, match="after the lifespan"):
        instance.engine()
    assert made == []


def test_settings_that_a_resource_is_needed_for_are_made_when_that_is_open() -> None:
    journal = Journal()
    vault = journal.resource("vault")
    settings = providers.Singleton(Counted, url=vault)
    engine = engine_of(declare(vault=vault, settings=settings, db=journal.resource("db", settings.provided.url)))
    assert open_all(engine).settings().url == "vault"
    assert journal == ["+vault", "+db"]
    engine.close().settle()


def test_outside_a_lifespan_and_for_a_resource_of_the_process_it_is_the_same() -> None:
    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Missing)
        model = ProcessResource(str, settings.provided.url)

    @inject
    def use(model: str = Provide[App.model]) -> str:
        return model

    with pytest.raises(ValidationError, match="no_such_value_anywhere") as raised:
        use()
    assert "while making the settings" in str(raised.value.__notes__)


def test_many_threads_that_are_the_first_to_ask_for_the_settings_themselves_share_them() -> None:
    beginning = threading.Barrier(8)
    inside = threading.Semaphore(0)

    class Slow(Counted):
        def model_post_init(self, context: object) -> None:
            super().model_post_init(context)
            inside.acquire(timeout=0.2)  # long enough for others to come, where nobody keeps them out

    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Slow)
        derived = providers.Factory(dict, url=settings.provided.url)

    with lifespan(App, eager=False) as container:

        def ask() -> Any:
            beginning.wait(60)
            return container.derived()["url"], container.settings()

        found = in_threads(8, ask)
        assert {url for url, _ in found} == {"there"}
        assert len({id(settings) for _, settings in found}) == 1
        assert len(made) == 1
        container.settings.reset()
        assert container.settings() is not found[0][1]
    assert len(made) == 2


def test_settings_with_arguments_and_attributes_are_made_as_they_are_declared() -> None:
    class Given(BaseSettings):
        url: str
        size: int = 0

    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Given, url="given")
        settings.add_attributes(size=3)

    for _ in range(2):  # what a run sets stays its own
        with lifespan(App) as container:
            assert (container.settings().url, container.settings().size) == ("given", 3)
            container.settings.override(Given(url="other"))
            assert container.settings().url == "other"


def test_a_class_of_settings_in_a_configuration_is_made_for_each_lifespan_before_anything_opens() -> None:
    journal = Journal()

    class Outer(BaseSettings):
        inner: dict[str, str] = {"url": "there"}

        def model_post_init(self, context: object) -> None:
            made.append(threading.get_ident())

    config = providers.Configuration(pydantic_settings=[cast("Any", Outer)])
    first = journal.resource("first")
    container = declare(config=config, first=first, engine=journal.resource("engine", config.inner.url))
    assert made == [], "not when it is declared"
    for number in (1, 2):
        engine = engine_of(container)
        assert open_all(engine).config.inner.url() == "there"
        assert len(made) == number
        engine.close().settle()


@pytest.mark.parametrize("overridden", [False, True])
def test_a_missing_setting_of_a_configuration_is_told_as_that(overridden: bool) -> None:
    journal = Journal()

    class App(containers.DeclarativeContainer):
        config = providers.Configuration(pydantic_settings=[cast("Any", Counted if overridden else Missing)])
        first = journal.resource("first")
        engine = journal.resource("engine", config.url)

    class Other(containers.DeclarativeContainer):
        config = providers.Configuration(pydantic_settings=[cast("Any", Missing)])

    with (
        pytest.raises(ValidationError, match="no_such_value_anywhere") as raised,
        lifespan(App, overrides=Other if overridden else None),
    ):
        pytest.fail("the body does not run")
    assert journal == []
    (note,) = raised.value.__notes__
    assert note.startswith("while making the settings ")
    assert note.endswith("App.config(override)" if overridden else "App.config")


def test_a_coroutine_that_is_given_settings_alone_leaves_its_event_loop_free_meanwhile() -> None:
    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Counted)
        derived = providers.Factory(dict, url=settings.provided.url)

    @inject
    async def use(settings: Counted = Provide[App.settings], derived: Any = Provide[App.derived]) -> str:
        return settings.url + derived["url"]

    async def main() -> list[str]:
        outside = await use()
        async with lifespan(App, eager=False):
            return [outside, await use(), await use()]

    assert run(main) == ["therethere"] * 3
    assert len(made) == 2, "once for a call outside any lifespan, once for the lifespan"
    assert threading.get_ident() not in made


def test_settings_that_a_function_is_given_alone_are_told_as_such() -> None:
    class App(containers.DeclarativeContainer):
        settings = providers.Singleton(Missing)

    @inject
    def use(settings: Missing = Provide[App.settings]) -> None: ...

    with pytest.raises(ValidationError) as raised:
        use()
    assert raised.value.__notes__ == [
        "while making the settings test_settings_that_a_function_is_given_alone_are_told_as_such.App.settings"
    ]
