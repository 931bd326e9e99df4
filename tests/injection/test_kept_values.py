"""Calls are given singletons, and what factories make, without asking their providers; and still never what is out of date."""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanClosedError, Provide, current_container, inject, lifespan, override


class Database:
    is_open = True


class Settings:
    pass


class Ledger:
    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs


def opened() -> Iterator[Database]:
    database = Database()
    yield database
    database.is_open = False


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened)
    settings = providers.Singleton(Settings)
    shared = providers.ThreadSafeSingleton(Ledger, db)
    ledger = providers.Factory(Ledger, db, settings=settings, limit=3)


@inject
def settings(settings: Settings = Provide[App.settings]) -> Settings:
    return settings


@inject
def shared(shared: Ledger = Provide[App.shared]) -> Ledger:
    return shared


@inject
def ledger(ledger: Ledger = Provide[App.ledger]) -> Ledger:
    return ledger


@inject
def listed(limit: int, ledger: Ledger = Provide[App.shared], named: str = "a") -> tuple[object, ...]:
    return limit, ledger, named


@inject
def reported(limit: int, ledger: Ledger = Provide[App.shared], *, named: str = "a") -> tuple[object, ...]:
    return limit, ledger, named


@pytest.fixture
def app() -> Iterator[Any]:
    with lifespan(App) as container:
        for function in (settings, shared, ledger):
            function()
        yield container


def python_calls(function: Callable[[], object]) -> list[str]:
    made: list[str] = []

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            made.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return made


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("function", [settings, shared])
def test_a_singleton_is_given_without_a_call_of_anything_else(function: Callable[[], object]) -> None:
    assert python_calls(function) == [function.__name__] * 2  # the one that stands in, and the function


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("function", [listed, reported])
@pytest.mark.parametrize(("args", "kwargs"), [((1,), {}), ((), {"limit": 1}), ((1,), {"named": "b"})])
def test_however_its_arguments_are_given_nothing_else_is_called(
    function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    function(*args, **kwargs)
    assert python_calls(functools.partial(function, *args, **kwargs)) == [function.__name__] * 2


@pytest.mark.usefixtures("app")
def test_what_a_factory_makes_is_made_by_its_class_at_once() -> None:
    assert python_calls(ledger) == ["ledger", "<lambda>", "__init__", "ledger"]


@pytest.mark.parametrize("function", [settings, shared])
@pytest.mark.parametrize(
    "reset",
    [
        lambda app, name: app.providers[name].reset(),
        lambda app, name: app.providers[name].full_reset(),
        lambda app, _: app.reset_singletons(),
    ],
)
def test_a_singleton_that_was_reset_is_made_anew_for_the_next_call(
    app: Any, function: Callable[[], object], reset: Callable[[Any, str], None]
) -> None:
    before = function()

    reset(app, function.__name__)

    assert function() is not before
    assert function() is function()


@pytest.mark.parametrize("function", [settings, shared, ledger])
def test_an_override_in_the_container_instance_holds_for_the_next_call_and_no_longer_than_it_stands(
    app: Any, function: Callable[[], object]
) -> None:
    kind = type(function())
    provider = app.providers[function.__name__]

    with provider.override("another"):
        assert function() == "another"
    assert isinstance(function(), kind)

    provider.override(providers.Object("a third"))
    assert function() == "a third"
    provider.reset_override()
    assert isinstance(function(), kind)


@pytest.mark.parametrize(
    ("change", "args", "kwargs"),
    [
        (lambda factory: factory.add_args(4), (4,), {"limit": 3}),
        (lambda factory: factory.set_args(5), (5,), {"limit": 3}),
        (lambda factory: factory.clear_args(), (), {"limit": 3}),
        (lambda factory: factory.add_kwargs(limit=6), (), {"limit": 6}),
        (lambda factory: factory.set_kwargs(limit=7), (), {"limit": 7}),
        (lambda factory: factory.clear_kwargs(), (), {}),
    ],
)
def test_arguments_that_a_factory_is_given_later_are_those_of_the_next_object(
    app: Any, change: Callable[[Any], Any], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    change(app.ledger)

    made = ledger()

    assert [each for each in made.args if not isinstance(each, Database)] == list(args)
    assert {name: value for name, value in made.kwargs.items() if name != "settings"} == kwargs


def test_another_class_and_attributes_that_a_factory_is_given_later_are_those_of_the_next_object(app: Any) -> None:
    app.ledger.set_attributes(name="mine")
    assert vars(ledger())["name"] == "mine"

    app.ledger.clear_attributes().set_provides(dict).clear_args()
    assert ledger() == {"settings": settings(), "limit": 3}


def test_a_factory_is_given_the_singleton_that_was_made_anew(app: Any) -> None:
    before = ledger().kwargs["settings"]

    app.settings.reset()

    assert ledger().kwargs["settings"] is not before
    assert ledger().kwargs["settings"] is settings()


def test_a_factory_is_given_what_stands_in_for_its_resource(app: Any) -> None:
    with app.db.override("another"):
        assert ledger().args == ("another",)
    assert isinstance(ledger().args[0], Database)


@pytest.mark.usefixtures("app")
def test_overrides_of_a_block_are_seen_in_it_and_nowhere_else() -> None:
    mine = settings()
    with override(App, settings="theirs"):
        assert settings() == ledger().kwargs["settings"] == "theirs"
    assert settings() is ledger().kwargs["settings"] is mine


@pytest.mark.parametrize("function", [shared, ledger])
def test_nothing_made_of_a_resource_is_given_after_closing(function: Callable[[], object]) -> None:
    with lifespan(App):
        function()
        context = contextvars.copy_context()

    with pytest.raises(LifespanClosedError):
        context.run(function)


def test_a_singleton_that_has_made_none_is_made_anew_for_each_call_as_dependency_injector_has_it() -> None:
    made: list[int] = []

    class Odd(containers.DeclarativeContainer):
        nothing = providers.Singleton(made.append, 1)

    @inject
    def use(nothing: None = Provide[Odd.nothing]) -> None:
        return nothing

    with lifespan(Odd):
        for _ in range(3):
            use()

    assert len(made) >= 3


def test_a_call_that_begins_after_a_reset_is_never_given_what_was_made_before() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with lifespan(App):
            container = current_container(App)
            stop = threading.Event()

            def call() -> None:
                while not stop.is_set():
                    settings()

            threads = [threading.Thread(target=contextvars.copy_context().run, args=(call,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            old: list[Settings] = []
            for _ in range(200):
                old.append(settings())
                container.settings.reset()
                assert all(settings() is not each for each in old)
            stop.set()
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive()
    finally:
        sys.setswitchinterval(before)


def test_a_singleton_that_is_reset_while_a_factory_of_it_is_prepared_is_made_once_for_all_threads() -> None:
    made: list[Settings] = []
    being_made, made_beside = threading.Event(), threading.Event()

    class Made(Settings):
        def __init__(self) -> None:
            made.append(self)
            if len(made) == 2:  # by the thread that prepares the factory
                being_made.set()
                made_beside.wait(0.3)
            elif len(made) == 3:
                made_beside.set()

    class Reset(Ledger):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings)
            if len(made) == 1:
                current_container(Own).settings.reset()

    class Own(containers.DeclarativeContainer):
        settings = providers.Singleton(Made)
        ledger = providers.Factory(Reset, settings)

    @inject
    def use(ledger: Ledger = Provide[Own.ledger]) -> Ledger:
        return ledger

    @inject
    def ask(settings: Settings = Provide[Own.settings]) -> Settings:
        return settings

    with lifespan(Own):
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(call,)) for call in (use, ask)]
        threads[0].start()
        assert being_made.wait(10)
        threads[1].start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()

        assert use().args == (ask(),)
    assert len(made) == 2
