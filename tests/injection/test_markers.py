"""Markers in all their forms: by provider, by path, with modifiers, as providers, for whole containers and chains."""

import inspect
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.errors import Error
from dependency_injector.wiring import as_, as_float, as_int, invariant, provided, required
from fastapi import Depends

from prefect_lifespan import Provide, Provider, TaskResource, inject, lifespan


class Api:
    def __init__(self, key: str = "k") -> None:
        self.key = key
        self.headers = {"token": "t"}

    def path(self, *parts: str) -> str:
        return "/".join(parts)


class Gateways(containers.DeclarativeContainer):
    key = providers.Dependency(instance_of=str, default="default key")
    api = providers.Singleton(Api, key)


class App(containers.DeclarativeContainer):
    config = providers.Configuration()
    config.from_dict(
        {
            "port": "8080",
            "ratio": "0.5",
            "mode": "fast",
            "nested": {"name": "deep"},
            "speeds": {"fast": "100", "slow": "1"},
        }
    )
    api = providers.Resource(Api)
    rows = providers.Factory(list, (1, 2))
    gateways = providers.Container(Gateways, key="of the app")
    mode = providers.Selector(config.mode, fast=providers.Object("FAST"), slow=providers.Object("SLOW"))
    add = providers.Callable(lambda a, b: a + b, 1)
    engines = providers.Aggregate(one=providers.Object("engine 1"), two=providers.Object("engine 2"))
    pair = providers.List(api, rows)
    table = providers.Dict(api=api)


class WithTaskResource(App):
    """The same, where every injected call has a view of the container to itself."""

    session = TaskResource(lambda: "session")


@pytest.fixture(params=[App, WithTaskResource], ids=["plain", "with a task resource"], autouse=True)
def container(request: pytest.FixtureRequest) -> Any:
    """The container of the lifespan in force."""
    with lifespan(request.param) as container:
        yield container


def test_by_provider_and_by_path_give_the_same(container: Any):
    @inject
    def both(
        a: Api = Provide[App.api],
        b: Api = Provide["api"],
        c: Annotated[Api, Provide[App.api]] = None,  # pyright: ignore[reportArgumentType]
        d: Annotated[Api, Provide["api"]] = None,  # pyright: ignore[reportArgumentType]
    ) -> set[int]:
        return {id(a), id(b), id(c), id(d)}

    assert both() == {id(container.api())} == both()


def test_configuration_options_by_provider_by_path_and_with_modifiers():
    @inject
    def read(
        port: int = Provide[App.config.port.as_int()],
        same: int = Provide["config.port", as_int()],
        ratio: float = Provide["config.ratio", as_float()],
        text: str = Provide["config.port"],
        other: Any = Provide["config.port", as_(complex)],
        deep: str = Provide[App.config.nested.name],
        whole: dict[str, Any] = Provide[App.config.nested],
        absent: Any = Provide[App.config.absent],
    ) -> tuple[Any, ...]:
        return port, same, ratio, text, other, deep, whole, absent

    assert read() == (8080, 8080, 0.5, "8080", 8080 + 0j, "deep", {"name": "deep"}, None)


def test_a_required_option_that_is_not_set_says_so():
    @inject
    def read(
        port: str = Provide["config.port", required()], absent: str = Provide["config.absent", required()]
    ) -> None:
        raise AssertionError((port, absent))

    with pytest.raises(Error, match=r'Undefined configuration option "config\.absent"'):
        read()


def test_chains_of_provided_values_by_provider_and_by_modifier():
    @inject
    def read(
        key: str = Provide[App.api.provided.key],
        token: str = Provide[App.api.provided.headers["token"]],
        path: str = Provide[App.api.provided.path.call("a", "b")],
        by_modifier: str = Provide["api", provided().path.call("c")],
        item: str = Provide["api", provided().headers["token"]],
        of_factory: int = Provide[App.rows.provided[1]],
    ) -> tuple[Any, ...]:
        return key, token, path, by_modifier, item, of_factory

    assert read() == ("k", "t", "a/b", "c", "t", 2)


def test_an_invariant_names_the_option_that_another_option_chooses():
    @inject
    def read(chosen: str = Provide[App.mode], speed: str = Provide["config.speeds", invariant("config.mode")]) -> Any:
        return chosen, speed

    assert read() == ("FAST", "100")


def test_providers_of_sub_containers_by_provider_and_by_dotted_path(container: Any):
    @inject
    def read(a: Api = Provide[App.gateways.api], b: Api = Provide["gateways.api"]) -> tuple[Api, Api]:
        return a, b

    first, second = read()
    assert first is second is container.gateways.api()
    assert first.key == "of the app"


def test_the_container_itself_by_class_and_by_its_own_path(container: Any):
    @inject
    def read(a: Any = Provide[App], b: Any = Provide["<container>"]) -> tuple[Any, Any]:
        return a, b

    a, b = read()
    assert a is b
    assert a.api() is container.api()


def test_a_provider_marker_gives_the_provider_to_call(container: Any):
    @inject
    def make(
        rows: Any = Provider[App.rows], api: Any = Provider["api"], add: Any = Provider[App.add]
    ) -> tuple[Any, Any, Any]:
        return rows(), api(), add(5)

    rows, api, total = make()
    assert rows == [1, 2]
    assert api is container.api()
    assert total == 6


def test_a_provider_marker_on_a_delegate_gives_the_provider_that_it_stands_for(container: Any):
    """As dependency-injector has it; the delegate itself was given, whose call gives a provider."""

    @inject
    def make(rows: Any = Provider[App.rows.provider], api: Any = Provider[App.api.provider]) -> tuple[Any, Any]:
        return rows(), api()

    for _ in range(2):
        assert make() == ([1, 2], container.api())


def test_a_marker_in_depends_is_one_as_fastapi_users_of_dependency_injector_write_it(container: Any):
    class Odd:
        """A default value that nothing can be asked of."""

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("outside of a request")

    @inject
    def read(
        n: int,
        api: Api = Depends(Provide[App.api]),
        *,
        rows: Annotated[Any, Depends(Provide[App.rows])],
        make: Annotated[Any, "a note", Depends(Provider["api"])],
        own: Any = Depends(Api),
        odd: Any = Odd(),
    ) -> tuple[Any, ...]:
        return n, api, rows, make(), type(own), type(odd)

    reading: Any = read
    assert list(inspect.signature(reading).parameters) == ["n", "own", "odd"]
    assert reading(1) == (1, container.api(), [1, 2], container.api(), type(Depends(Api)), Odd)


def test_markers_may_be_nested():
    @inject
    def make(rows: Any = Provide[Provider[App.rows]]) -> Any:
        return rows()

    assert make() == [1, 2]


def test_a_factory_makes_a_new_one_for_each_call_and_a_singleton_one_for_the_run():
    @inject
    def make(rows: list[int] = Provide[App.rows], api: Api = Provide[App.gateways.api]) -> tuple[list[int], Api]:
        return rows, api

    (rows, api), (more, same) = make(), make()
    assert rows == more
    assert rows is not more
    assert api is same


def test_lists_dicts_and_aggregates(container: Any):
    @inject
    def read(
        pair: list[Any] = Provide[App.pair],
        table: dict[str, Any] = Provide[App.table],
        one: str = Provide[App.engines.one],
    ) -> tuple[Any, ...]:
        return pair[0], pair[1], table["api"], one

    api = container.api()
    assert read() == (api, [1, 2], api, "engine 1")


class Other(containers.DeclarativeContainer):
    api = providers.Object("the other api")


def test_one_function_injects_from_two_containers(container: Any):
    @inject
    def read(mine: Api = Provide[App.api], other: str = Provide[Other.api]) -> tuple[Api, str]:
        return mine, other

    with lifespan(Other):
        assert read() == (container.api(), "the other api")
    assert read() == (container.api(), "the other api"), "the one that no lifespan is open for opens for the call"


def test_a_path_is_looked_up_in_the_innermost_lifespan_that_has_it(container: Any):
    @inject
    def read(api: Any = Provide["api"], rows: Any = Provide["rows"]) -> tuple[Any, Any]:
        return api, rows

    with lifespan(Other):
        assert read() == ("the other api", [1, 2])
    assert read() == (container.api(), [1, 2])
