"""What needs what, read from a container class: transitively, through every kind of provider between two resources."""

from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan.graph import Graph, graph_of, read


class Service:
    def __init__(self, *args: object, **kwargs: object) -> None: ...


async def coroutine(*_: object) -> None: ...


def resource(*args: Any, **kwargs: Any) -> Any:
    return providers.Resource(Service, *args, **kwargs)


def declare(**declared: Any) -> Any:
    return type("App", (containers.DeclarativeContainer,), declared)


def order(graph: Graph) -> list[str]:
    return [node.path for node in graph.eager]


def needs(graph: Graph, path: str) -> set[str]:
    return {graph.nodes[key].path for key in graph.direct[graph.by_path[path]]}


BETWEEN: dict[str, Any] = {
    "itself": lambda db: db,
    "factory": lambda db: providers.Factory(Service, db),
    "factory keyword": lambda db: providers.Factory(Service, db=db),
    "factory attribute": lambda db: providers.Factory(Service).add_attributes(db=db),
    "singleton": lambda db: providers.Singleton(Service, db),
    "thread-safe singleton": lambda db: providers.ThreadSafeSingleton(Service, db),
    "thread-local singleton": lambda db: providers.ThreadLocalSingleton(Service, db),
    "context-local singleton": lambda db: providers.ContextLocalSingleton(Service, db),
    "callable": lambda db: providers.Callable(Service, db),
    "coroutine": lambda db: providers.Coroutine(coroutine, db),
    "list": lambda db: providers.List(1, db),
    "dict": lambda db: providers.Dict(a=db),
    "aggregate": lambda db: providers.Aggregate(a=providers.Factory(Service, db)),
    "factory aggregate": lambda db: providers.FactoryAggregate(a=providers.Factory(Service, db)),
    "provided attribute": lambda db: db.provided.url,
    "provided item": lambda db: db.provided["url"],
    "provided call": lambda db: db.provided.connect.call(1),
    "provided call's argument": lambda db: providers.Object("x").provided.join.call(db),
    "provided chain": lambda db: db.provided.engine["primary"].connect.call().url,
    "delegate": lambda db: db.provider,
    "delegated factory": lambda db: providers.DelegatedFactory(Service, db),
    "callable made by a provider": lambda db: providers.Callable(db),
    "four steps": lambda db: providers.List(providers.Singleton(Service, providers.Factory(Service, db.provided.x))),
    "dependency with a default": lambda db: providers.Dependency(default=db),
}


@pytest.mark.parametrize("kind", BETWEEN)
@pytest.mark.parametrize("named", [True, False], ids=["declared", "in place"])
def test_a_resource_opens_after_what_it_reaches_through(kind: str, named: bool) -> None:
    db = resource()
    between = BETWEEN[kind](db)
    user = resource(between)
    graph = read(declare(user=user, db=db, between=between) if named else declare(user=user, db=db))
    assert order(graph) == ["db", "user"]
    assert needs(graph, "user") == {"db"}


def test_declaration_order_otherwise() -> None:
    c, a, b = resource(), resource(), resource()
    assert order(read(declare(c=c, user=resource(b), a=a, b=b))) == ["c", "b", "user", "a"]


def test_a_diamond_stands_once() -> None:
    root = resource()
    left, right = providers.Singleton(Service, root), resource(root)
    graph = read(declare(top=resource(left, right), left=left, right=right, root=root))
    assert order(graph) == ["root", "right", "top"]


def test_a_selector_needs_its_selector_and_every_branch_until_it_has_chosen() -> None:
    by, one, two = resource(), resource(), resource()
    graph = read(declare(user=resource(providers.Selector(by, one=one, two=two)), by=by, one=one, two=two))
    assert needs(graph, "user") == {"by", "one", "two"}


def test_what_an_object_holds_is_not_needed() -> None:
    db = resource()
    graph = read(declare(user=resource(providers.Object(db)), db=db))
    assert needs(graph, "user") == set()


class Gateways(containers.DeclarativeContainer):
    db: Any = providers.Dependency()
    api: Any = providers.Resource(Service, db)
    client: Any = providers.Factory(Service, api)


class Services(containers.DeclarativeContainer):
    gateways: Any = providers.DependenciesContainer()
    worker: Any = providers.Resource(Service, gateways.client)


class Nested(containers.DeclarativeContainer):
    db: Any = providers.Resource(Service)
    gateways: Any = providers.Container(Gateways, db=db)
    services: Any = providers.Container(Services, gateways=gateways)
    last: Any = providers.Resource(Service, services.worker)


def test_sub_containers_are_seen_through_dependencies_and_containers_of_dependencies() -> None:
    graph = read(Nested)
    assert order(graph) == ["db", "gateways.api", "services.worker", "last"]
    assert needs(graph, "services.worker") == {"gateways.api"}
    assert needs(graph, "gateways.api") == {"db"}


def test_the_needed_subset_is_what_a_marker_reaches() -> None:
    graph = read(Nested)
    assert [node.path for node in graph.needed([graph.by_path["gateways.client"]])] == ["db", "gateways.api"]
    assert [node.path for node in graph.needed([])] == []


def test_an_overridden_resource_is_left_out_and_what_only_it_needed() -> None:
    only, both = resource(), resource()
    db: Any = resource(only, both)
    container = declare(only=only, both=both, db=db, user=resource(both), asks=providers.Factory(Service, db))
    assert order(read(container, {id(container.db): providers.Object("fake")})) == ["both", "user"]


def test_what_only_an_overridden_factory_needed_is_left_out() -> None:
    db = resource()
    container = declare(db=db, user=resource(providers.Factory(Service, db)), repository=providers.Factory(Service, db))
    assert order(read(container, {id(container.repository): providers.Object("fake")})) == ["db", "user"]
    container = declare(db=db, repository=providers.Factory(Service, db))
    assert order(read(container, {id(container.repository): providers.Object("fake")})) == []


def test_what_an_override_needs_opens_in_its_place() -> None:
    other, real = resource(), resource()
    container = declare(other=other, real=real, user=resource(real))
    graph = read(container, {id(container.real): providers.Factory(Service, container.other)})
    assert order(graph) == ["other", "user"]


def test_a_resource_as_an_override_is_opened_instead() -> None:
    container = declare(db=resource(), user=resource())
    graph = read(container, {id(container.db): resource()})
    assert order(graph) == ["db(override)", "user"]


@pytest.mark.parametrize("shape", ["independent", "chained", "chained backwards", "factories"])
def test_a_thousand_providers_are_read_without_recursion(shape: str) -> None:
    made: list[Any] = []
    for _ in range(1000):
        needed = made[-1:] if shape != "independent" else []
        made.append(providers.Factory(Service, *needed) if shape == "factories" else resource(*needed))
    declared = {f"p{index}": provider for index, provider in enumerate(made)}
    if shape == "chained backwards":
        declared = dict(reversed(declared.items()))
    graph = read(declare(**declared, user=resource(made[-1])))
    wanted = [] if shape == "factories" else [f"p{index}" for index in range(1000)]
    assert order(graph) == [*wanted, "user"]
    assert graph.eager[-1].path == "user"


def test_reading_again_gives_the_same_graph_until_something_is_overridden() -> None:
    container = declare(db=resource(), user=resource())
    graph = graph_of(container)
    assert graph_of(container) is graph
    with container.db.override(providers.Object("fake")):
        assert order(graph_of(container)) == ["user"]
    assert order(graph_of(container)) == ["db", "user"]


def test_an_override_inside_a_sub_container_is_seen() -> None:
    class App(containers.DeclarativeContainer):
        gateways: Any = providers.Container(Gateways, db=providers.Object("url"))

    assert order(graph_of(App)) == ["gateways.api"]
    with App.gateways.api.override(providers.Object("fake")):
        assert order(graph_of(App)) == []


def test_a_subclass_has_a_graph_of_its_own() -> None:
    base = declare(db=resource(), user=resource())
    graph = graph_of(base)
    derived: Any = type("Derived", (base,), {"extra": resource(base.user)})
    assert order(graph_of(derived)) == ["db", "user", "extra"]
    assert graph_of(derived).container == "Derived"
    assert graph_of(base) is graph


def nested(**declared: Any) -> Any:
    """A container that gives its `db` to a sub-container, whose `api` needs it."""
    up: Any = providers.Dependency()
    sub = declare(up=up, api=resource(up), **declared)
    db = resource()
    return declare(db=db, sub=providers.Container(sub, up=db))


@pytest.mark.parametrize("overridden", ["sub.api", "sub.up"])
def test_what_only_an_overridden_part_of_a_sub_container_was_given_is_left_out(overridden: str) -> None:
    app = nested()
    graph = read(app, {graph_of(app).by_path[overridden]: providers.Object("other")})
    assert order(graph_of(app)) == ["db", "sub.api"]
    assert order(graph) == [path for path in ["sub.api"] if path != overridden]


def test_what_a_sub_container_is_given_opens_also_where_nothing_in_it_asks() -> None:
    db = resource()
    app = declare(db=db, sub=providers.Container(declare(up=providers.Dependency()), up=db))
    assert order(graph_of(app)) == ["db"]


def test_a_dependency_opens_what_it_is_given_without_a_name() -> None:
    app = declare(sub=providers.Container(declare(up=providers.Dependency()), up=resource()))
    assert len(order(graph_of(app))) == 1
