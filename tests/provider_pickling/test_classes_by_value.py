"""A container that nobody can import arrives whole, with one of each provider in a process."""

from __future__ import annotations

import pickle
import types
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide

from tests.provider_pickling.travelling import Elsewhere, open_db, travelled


def test_a_container_of_a_script_arrives_whole_with_a_marker(elsewhere: Elsewhere, script: list[bytes]) -> None:
    marker, *_ = script

    assert elsewhere("first.provider().db, type(first.provider()).__name__", marker) == (
        "('connection to sqlite://', 'Client')"
    )


def test_a_container_of_a_script_is_the_same_however_often_it_arrives(
    elsewhere: Elsewhere, script: list[bytes]
) -> None:
    """So that a marker of the second task finds what was opened for the first."""
    marker, both, _ = script
    facts = (
        "last[0].client is first.provider is last[1].provider",
        "last[0].client.kwargs['db'] is last[0].db is last[0].__mro__[1].db",
        "last[0].url.provides.provides is last[0].client",
        "last[0].me is last[0].__self__ and last[0].__self__() is last[0]",
        "last[0].__self__.alt_names",
        "last[0].fake()",
        "len(last[0].fake.overridden)",
        "last[0]().client().db",
        "last[0].wiring_config.modules",
        "list(last[0].providers)",
    )

    seen = elsewhere(", ".join(facts), marker, both, both)

    assert seen == (
        "(True, True, True, True, ('me',), 'fake', 1, 'connection to sqlite://', ['json'], "
        "['config', 'db', 'client', 'url', 'fake'])"
    )


def test_what_a_derived_container_declares_anew_does_not_arrive_as_what_it_inherits(elsewhere: Elsewhere) -> None:
    class Base(containers.DeclarativeContainer):
        value = providers.Object("base")
        inherited = providers.Object("inherited")

    class Derived(Base):
        value = providers.Object("derived")

    overrides = cloudpickle.dumps((Base, {"value": Derived.value, "inherited": Derived.inherited}, Derived))
    base, own, derived = "first[0]", "first[1]['value']", "first[2]"
    assert elsewhere(f"{base}.value(), {own}(), {derived}.value(), {derived}.value is {own}", overrides) == repr(
        ("base", "derived", "derived", True)
    )
    assert elsewhere(f"{derived}.inherited is {base}.inherited is first[1]['inherited']", overrides) == "True"


def test_a_container_instance_of_a_script_arrives(elsewhere: Elsewhere, script: list[bytes]) -> None:
    *_, instance = script

    assert elsewhere("first.client().db, first.fake()", instance) == "('connection to sqlite://', 'fake')"


def test_what_comes_back_to_its_own_process_finds_what_is_in_use_there(shop: Any) -> None:
    """Dask unpickles in the client as well: the class there must keep its providers, and they what they hold."""
    outer = shop.in_a_function()
    before = dict(outer.providers)
    outer.db.init()
    outer.user.override("you")

    arrived, provider = travelled((outer, outer.inner.ledger))

    assert arrived is outer
    assert outer.providers == before
    assert provider is outer.inner.ledger
    assert outer.db.initialized
    assert len(outer.user.overridden) == 1
    outer.db.shutdown()


def test_a_container_that_two_threads_unpickle_for_the_first_time_has_one_of_each_provider(
    shop: Any, elsewhere: Elsewhere
) -> None:
    """As the threads of a Dask worker do, when a container of a script or a notebook is new there."""
    met = shop.with_a_meeting()
    data = cloudpickle.dumps(cloudpickle.dumps((met, Provide[met.whole], Provide[met.inner.stripe])))
    facts = (
        "one[0] is other[0]",
        "one[1].provider is other[1].provider is one[0].whole",
        "one[2].provider is other[2].provider is one[0].inner.stripe",
        "one[0].whole.kwargs['ledger'].kwargs['db'] is one[0].db",
        "len(one[0].fake.overridden)",
        "other[1].provider()",
    )

    seen = elsewhere(f"[({', '.join(facts)}) for one, other in [__import__('shop').at_once(first)]][0]", data)

    db = "{'db': 'connection to sqlite://'}"
    assert seen == f"(True, True, True, True, 1, {{'ledger': {db}, 'stripe': {db}}})"


def test_sub_containers_and_dependencies_of_a_local_container_arrive_connected(shop: Any, elsewhere: Elsewhere) -> None:
    data = cloudpickle.dumps(shop.in_a_function())
    facts = (
        "first().whole()",
        "first.inner.db.parent_name",
        "first.users.user is first.user",
        "first.inner.container.parent is first.inner",
        "first.whole()",
        "first.inner.db.last_overriding is first.db",
    )

    whole = "{'ledger': {'db': 'connection to sqlite://', 'user': 'me'}}"
    assert elsewhere(", ".join(facts), data) == f"({whole}, 'Outer.inner.db', True, True, {whole}, True)"


def test_a_long_chain_of_declared_providers_arrives() -> None:
    names: dict[str, Any] = {"a0": providers.Resource(open_db)}
    for depth in range(1, 1001):
        names[f"a{depth}"] = providers.Factory(dict, given=names[f"a{depth - 1}"])
    chain: Any = types.new_class("Chain", (containers.DeclarativeContainer,), exec_body=lambda body: body.update(names))

    for sent in (chain, Provide[chain.a1000], chain.a1000):
        assert travelled(sent) is not None
    copied = travelled(chain())
    assert copied.a1000.kwargs["given"] is copied.a999


def test_a_chain_of_nameless_providers_is_refused_where_the_stack_ends() -> None:
    provider: Any = providers.Factory(dict)
    for _ in range(1000):
        provider = providers.Factory(dict, given=provider)

    with pytest.raises(pickle.PicklingError, match="excessively deep recursion"):
        cloudpickle.dumps(provider)
