"""What a container declares, as data: providers by their paths, and what each is made with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, TaskResource, describe, override


class Service:
    def __init__(self, *args: object, **kwargs: object) -> None: ...


def opened(*_: object, **__: object) -> Iterator[str]:
    raise AssertionError("nothing is opened")
    yield ""


async def opened_asynchronously() -> AsyncIterator[str]:
    raise AssertionError("nothing is opened")
    yield ""


class Gateways(containers.DeclarativeContainer):
    database: Any = providers.Dependency()
    client = providers.Factory(Service, database)


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"url": "sqlite://"})
    database = providers.Resource(opened, url=config.url)
    feed = providers.Resource(opened_asynchronously)
    session = TaskResource(opened, database)
    model = ProcessResource(opened)
    gateways = providers.Container(Gateways, database=database)
    ledger = providers.Factory(Service, database.provided.name, session, again=session)
    maker = providers.Factory(Service, ledger.provider)


def nodes(container: Any) -> dict[str, Any]:
    return {node.path: node for node in describe(container).nodes}


def edges(container: Any) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in describe(container).edges}


def test_each_provider_that_is_declared_by_name_is_a_node_sub_containers_included() -> None:
    assert {path: (node.kind, node.lifetime, node.asynchronous) for path, node in nodes(App).items()} == {
        "config": ("Configuration", None, False),
        "database": ("Resource", "run", False),
        "feed": ("Resource", "run", True),
        "session": ("TaskResource", "task", False),
        "model": ("ProcessResource", "process", False),
        "gateways": ("Container", None, False),
        "gateways.database": ("Dependency", None, False),
        "gateways.client": ("Factory", None, False),
        "ledger": ("Factory", None, False),
        "maker": ("Factory", None, False),
    }


def test_an_edge_passes_through_what_is_written_in_place() -> None:
    assert edges(App) == {
        ("database", "config"),
        ("session", "database"),
        ("gateways.database", "database"),
        ("gateways.client", "gateways.database"),
        ("ledger", "database"),
        ("ledger", "session"),
        ("maker", "ledger"),
    }


def test_nodes_come_in_the_order_in_which_they_can_be_opened() -> None:
    paths = list(nodes(App))
    assert all(paths.index(target) < paths.index(source) for source, target in edges(App))


def test_a_resource_that_is_written_in_place_is_a_node() -> None:
    container: Any = type("Inline", (containers.DeclarativeContainer,), {
        "user": providers.Factory(Service, providers.Resource(opened))
    })  # fmt: skip
    assert list(nodes(container)) == ["user(argument 0)", "user"]
    assert edges(container) == {("user", "user(argument 0)")}


def test_what_is_overridden_on_the_class_is_marked_and_made_with_what_stands_in_for_it() -> None:
    container: Any = type("Overridden", (containers.DeclarativeContainer,), {
        "url": providers.Object("sqlite://"), "database": providers.Resource(opened),
        "user": providers.Factory(Service),
    })  # fmt: skip
    container.user.add_args(container.database)
    with container.database.override(providers.Factory(Service, container.url)):
        assert [path for path, node in nodes(container).items() if node.overridden] == ["database"]
        assert edges(container) == {("user", "database"), ("database", "url")}
    assert not nodes(container)["database"].overridden


def test_an_override_of_a_context_is_no_change_of_the_class() -> None:
    with override(App, database=object()):
        assert not nodes(App)["database"].overridden


def test_providers_that_need_each_other_are_described_all_the_same() -> None:
    first: Any = providers.Factory(Service)
    second = providers.Factory(Service, first)
    first.add_args(second)
    container: Any = type("Cyclic", (containers.DeclarativeContainer,), {"first": first, "second": second})
    assert edges(container) == {("first", "second"), ("second", "first")}


def test_as_plain_data_it_is_what_json_can_hold() -> None:
    plain = describe(Gateways).as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain == {
        "container": "Gateways",
        "nodes": [
            {
                "path": "database", "kind": "Dependency", "lifetime": None, "asynchronous": False, "overridden": False,
            },
            {"path": "client", "kind": "Factory", "lifetime": None, "asynchronous": False, "overridden": False},
        ],
        "edges": [{"from": "client", "to": "database"}],
    }  # fmt: skip


def test_what_is_no_container_class_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a container class"):
        describe(Service)  # pyright: ignore[reportArgumentType]
