"""Which edges dependency-injector shows between providers: what `graph` can read off `related`, and what it cannot."""

from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import containers, providers


def resource() -> Any:
    return providers.Resource(str, "engine")


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda engine: providers.Factory(dict).add_attributes(engine=engine), id="an attribute"),
        pytest.param(lambda engine: providers.Dict(engine=engine), id="the value of a dict"),
        pytest.param(lambda engine: providers.List(engine), id="an item of a list"),
        pytest.param(lambda engine: providers.Selector(engine, a=providers.Object(1)), id="what a selector asks"),
        pytest.param(lambda engine: providers.Selector(lambda: "a", a=engine), id="what a selector chooses from"),
        pytest.param(lambda engine: providers.Aggregate(engine=engine), id="a member of an aggregate"),
        pytest.param(lambda engine: engine.provided.upper.call(), id="the root of a provided chain"),
        pytest.param(lambda engine: providers.Object("").provided.join.call(engine), id="an argument of a chain"),
        pytest.param(lambda engine: providers.Dependency(default=engine), id="a default"),
        pytest.param(lambda engine: providers.DependenciesContainer(engine=engine), id="a dependencies container"),
    ],
)
def test_traversing_reaches_what_a_provider_calls(use: Callable[[Any], Any]) -> None:
    """If this fails, `graph` misses an edge and opens in the wrong order."""
    engine = resource()

    assert engine in set(use(engine).traverse())


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda engine: engine.provider, id="a delegate"),
        pytest.param(lambda engine: providers.Object(engine), id="the value of an object"),
    ],
)
def test_traversing_reaches_what_is_only_handed_over_as_a_provider(use: Callable[[Any], Any]) -> None:
    """An edge that opens nothing: `graph` must not make what is behind it a dependency."""
    engine = resource()
    user = use(engine)

    assert user() is engine
    assert not engine.initialized
    assert engine in set(user.traverse())


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda engine: providers.Factory(list, [engine]), id="inside a plain list"),
        pytest.param(lambda engine: providers.Dict({engine: 1}), id="the key of a dict"),
    ],
)
def test_traversing_misses_providers_that_copying_finds(use: Callable[[Any], Any]) -> None:
    """A resource there is copied as a plain one unless the memo names it: ours looks for these places itself."""
    engine, replacement = resource(), resource()
    user = use(engine)

    copy = providers.deepcopy({"user": user}, {id(engine): replacement})["user"]

    assert engine not in set(user.traverse())
    assert replacement in list(copy())


def test_an_object_provider_leads_from_a_copy_back_to_the_class() -> None:
    """`init_resources` of an instance then opens the resource of the class: ours opens only what it has copied."""

    class Declared(containers.DeclarativeContainer):
        engine = resource()
        handed_over = providers.Object(engine)

    container = Declared()
    container.init_resources()
    try:
        assert Declared.engine.initialized
        assert Declared.engine in set(container.traverse())
    finally:
        container.shutdown_resources()
    assert not Declared.engine.initialized


def test_an_option_of_a_configuration_shows_no_edge_to_its_configuration() -> None:
    """`check` finds the configuration of an option by `_get_root`."""
    config = providers.Configuration()

    assert config not in set(config.url.traverse())
    assert config.url._get_root() is config


def test_a_context_local_resource_is_no_resource_but_a_base_resource() -> None:
    """`graph` asks for `BaseResource`: what it does not replace it must refuse."""
    local = providers.ContextLocalResource(str)

    assert isinstance(local, providers.BaseResource)
    assert not isinstance(local, providers.Resource)


def test_related_yields_what_is_provided_arguments_keywords_and_overrides() -> None:
    """`graph` draws its edges from `related`; literals are no edges, containers in arguments neither."""
    made_by, argument, keyword, inside, override = (providers.Object(name) for name in "abcde")
    resource = providers.Resource(made_by, argument, "literal", [inside], named=keyword)
    resource.override(override)

    assert list(resource.related) == [made_by, argument, keyword, override]


def test_providers_inside_plain_collections_are_handed_over_as_providers() -> None:
    """If this fails, a list of providers is an edge that `graph` does not see."""
    inside = providers.Object("inside")

    assert providers.Factory(dict, items=[inside])() == {"items": [inside]}
