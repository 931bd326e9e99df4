"""Containers of a module that every process can import."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dependency_injector import containers, providers


def open_db(url: str) -> Iterator[str]:
    yield f"connection to {url}"


class Gateways(containers.DeclarativeContainer):
    db = providers.Dependency()
    stripe = providers.Factory(dict, db=db)


class Shop(containers.DeclarativeContainer):
    me = providers.Self()
    config = providers.Configuration(default={"db": {"url": "sqlite://", "port": 1}})
    db = providers.Resource(open_db, config.db.url)
    orders = providers.Factory(dict, db=db)
    cache = providers.ThreadSafeSingleton(dict, db=db)
    upper = orders.provided["db"].upper.call()
    gateways = providers.Container(Gateways, db=db)
    users = providers.DependenciesContainer(db=db)


class Corner(Shop):
    extra: Any = providers.Factory(dict, db=Shop.db)


def in_a_function() -> Any:
    """Containers that nobody can import, although their module can be."""

    class Inner(containers.DeclarativeContainer):
        db = providers.Dependency(instance_of=str)
        needed = providers.DependenciesContainer()
        ledger = providers.Factory(dict, db=db, user=needed.user)

    class Outer(containers.DeclarativeContainer):
        db = providers.Resource(open_db, "sqlite://")
        user = providers.Object("me")
        users = providers.DependenciesContainer(user=user)
        inner = providers.Container(Inner, db=db, needed=users)
        whole = providers.Factory(dict, ledger=inner.ledger)

    return Outer


_barrier = threading.Barrier(2)


def _meet() -> int:
    return _barrier.wait(60)


class Meeting:
    """Arrives when it does in two threads."""

    def __reduce__(self) -> Any:
        return _meet, ()


def with_a_meeting() -> Any:
    """A container of which two threads have unpickled a half, before any of them has the whole."""

    class Met(containers.DeclarativeContainer):
        db = providers.Resource(open_db, "sqlite://")
        ledger = providers.Factory(dict, db=db)
        fake = providers.Factory(str, "real")
        inner = providers.Container(Gateways, db=db)
        met = providers.Object(Meeting())
        whole = providers.Factory(dict, ledger=ledger, stripe=inner.stripe)

    Met.fake.override(providers.Object("fake"))
    return Met


def at_once(data: bytes) -> list[Any]:
    """What two threads unpickle at the same time."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(pickle.loads, (data, data)))
