"""Which functions would be given a marker: those that carry one which nobody provides, and no others."""

import functools
import sys
from types import FunctionType
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers, wiring

from prefect_lifespan import Closing, Provide, inject, lifespan, wire
from prefect_lifespan.errors import UsageError
from prefect_lifespan.injection.mistakes import mistake, unprovided


class Gateways(containers.DeclarativeContainer):
    client = providers.Resource(object)


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")
    gateways = providers.Container(Gateways)


Db = Annotated[str, Provide[App.db]]


def by_default(db: str = Provide[App.db]) -> str:
    return db


def by_annotation(db: Db) -> str:
    return db


def postponed(db: "Db" = "") -> str:
    return db


def by_provider(db: Any = App.db) -> str:
    return db


def by_path(db: str = Provide["db"]) -> str:
    return db


class Service:
    def method(self, db: str = Provide[App.db]) -> str:
        return db


def passing_on(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (by_default, "db: Provide[App.db]"),
        (by_annotation, "db: Provide[App.db]"),
        (postponed, "db: Provide[App.db]"),
        (by_provider, "db = App.db"),
        (by_path, "db: Provide['db']"),
        (Service().method, "db: Provide[App.db]"),
        (functools.partial(by_default), "db: Provide[App.db]"),
        (passing_on(by_default), "db: Provide[App.db]"),
        (wiring.inject(by_default), "db: Provide[App.db]"),
    ],
)
def test_a_marker_that_nobody_provides_is_found_and_told_with_file_line_and_cure(function: Any, told: str):
    (found,) = unprovided(function)
    assert found.told == told
    message = mistake("task", function, [found]).told
    assert told in message
    assert f"{__file__}:" in message or isinstance(function, functools.partial)
    assert "@inject" in message or "import inject from prefect_lifespan" in message


def test_a_marker_with_modifiers_and_one_inside_a_sub_container_are_told_as_they_are_written():
    def nested(client: Any = Closing[Provide[App.gateways.container.client]]) -> Any:
        return client

    assert [each.told for each in unprovided(nested)] == ["client: Closing[Provide[App.gateways.container.client]]"]


@pytest.mark.parametrize(
    "function",
    [inject(by_default), lifespan(App)(by_default), passing_on(inject(by_default)), len, int, App, object(), None],
)
def test_what_is_provided_and_what_is_no_function_is_well(function: Any):
    assert unprovided(function) == ()


def test_a_function_that_dependency_injector_wired_is_well_as_long_as_it_is():
    module = sys.modules[__name__]
    stock = wiring.inject(FunctionType(by_default.__code__, globals(), "wired_here", by_default.__defaults__))
    assert unprovided(stock)
    with wire(App, modules=[module]):
        assert unprovided(stock) == ()
    assert unprovided(stock)


def test_a_call_that_gives_a_value_of_its_own_leaves_nothing():
    (found,) = unprovided(by_default)
    assert not found.is_left({"db": "mine"})
    assert found.is_left({})
    assert found.is_left({"db": Provide[App.db]})
    (provider,) = unprovided(by_provider)
    assert provider.is_left({"db": App.db})
    assert not provider.is_left({"db": Gateways.client})


@pytest.mark.parametrize("decorate", [inject, lifespan(App)])
def test_a_provider_as_a_default_value_is_refused_at_decoration(decorate: Any):
    def both(other: str = Provide[App.db], db: Any = App.db) -> Any:
        return db

    with pytest.raises(UsageError, match=r"'db' is a provider; mark it, db=Provide\[App\.db\]"):
        decorate(both)


def test_inject_above_lifespan_is_told_to_go():
    with pytest.raises(UsageError, match=r"@lifespan below provides what it is marked with; drop this @inject"):
        inject(lifespan(App)(by_default))


def test_a_marker_on_the_inner_container_is_told_how_to_name_the_copy():
    @inject
    def call(client: object = Provide[Gateways.client]) -> object:
        return client

    assert call() is not None  # on its own, outside any lifespan
    with (
        lifespan(App),
        pytest.raises(
            UsageError, match=r"App has a copy of Gateways .* write Provide\[App\.gateways\.container\.client\]"
        ),
    ):
        call()
    with lifespan(App), lifespan(Gateways) as gateways:
        assert call() is gateways.client()


def test_a_dependency_inside_the_inner_container_does_not_lead_the_advice_astray():
    class Inner(containers.DeclarativeContainer):
        url: Any = providers.Dependency()
        client = providers.Resource(lambda url: url, url)

    class Outer(containers.DeclarativeContainer):
        inner = providers.Container(Inner, url=providers.Object("url"))

    @inject
    def call(client: object = Provide[Inner.client]) -> object:
        return client

    with lifespan(Outer), pytest.raises(UsageError, match=r"Outer\.inner\.container\.client\]"):
        call()


def test_too_many_positional_arguments_are_told_with_the_function_and_what_it_takes():
    def store(a: int, db: str = Provide[App.db], b: int = 0) -> Any:
        return a, db, b

    injected: Any = inject(store)

    with pytest.raises(
        TypeError, match=r"store\(\) got too many positional arguments: it takes \(a, b\), and db is injected"
    ):
        injected(1, 2, 3)
