"""A provider of a container that can be imported pickles by class and path: what arrives is what that process declares."""

from __future__ import annotations

import operator
from typing import Annotated, Any, get_args

import cloudpickle
import pytest
from dependency_injector import providers
from dependency_injector.wiring import Closing, Provide, as_int

from prefect_lifespan import LifespanError
from tests.provider_pickling.travelling import Elsewhere, loads, travelled


def test_a_provider_of_an_importable_container_arrives_as_the_one_declared_there(
    shop: Any, elsewhere: Elsewhere
) -> None:
    names = ("db", "orders", "config", "cache", "upper", "gateways", "gateways.db", "gateways.stripe", "users.db", "me")
    sent = {name: operator.attrgetter(name)(shop.Shop) for name in names}

    data = {name: cloudpickle.dumps(provider) for name, provider in sent.items()}

    assert all(loads(data[name]) is sent[name] for name in names)
    assert all(len(each) < 120 for each in data.values())
    same = "[one is __import__('operator').attrgetter(name)(__import__('shop').Shop)"
    assert elsewhere(f"{same} for one, name in zip(arrived, {names!r})]", *data.values()) == str([True] * len(names))


def test_what_goes_on_from_a_declared_provider_brings_no_copy_of_it(shop: Any) -> None:
    chain = travelled(shop.Shop.cache.provided.db)

    assert chain.provides.provides is shop.Shop.cache
    assert travelled(shop.Shop.config.db.port) is shop.Shop.config.db.port
    assert travelled(shop.Shop.db.provider).provides is shop.Shop.db


def test_an_inherited_provider_is_that_of_the_class_that_declares_it(shop: Any) -> None:
    assert b"Corner" not in cloudpickle.dumps(shop.Corner.db)
    assert travelled(shop.Corner.db) is shop.Shop.db
    assert travelled(shop.Corner.extra) is shop.Corner.extra


def test_markers_arrive_with_the_declared_provider(shop: Any) -> None:
    marked = (
        Provide[shop.Shop.db],
        Closing[Provide[shop.Shop.db]],
        Provide["config.db.port", as_int()],
        Provide[shop.Shop],
        Annotated[str, Provide[shop.Shop.db]],
    )

    given, closing, by_id, whole, annotated = travelled(marked)

    assert given.provider is shop.Shop.db
    assert closing.provider.provider is shop.Shop.db
    assert (by_id.provider, type(by_id.modifier)) == ("config.db.port", type(as_int()))
    assert whole.provider is getattr(shop.Shop, "__self__")  # noqa: B009
    assert get_args(annotated)[1].provider is shop.Shop.db


def test_overrides_on_an_importable_class_stay_in_the_process_that_set_them(shop: Any, elsewhere: Elsewhere) -> None:
    """They are sent as overrides of one opening; to set them on the class there would reach into other runs."""
    with shop.Shop.db.override("fake"):
        data = cloudpickle.dumps((shop.Shop.db, shop.Shop))

    assert elsewhere("first[0].overridden, first[0]()", data) == "((), 'connection to sqlite://')"


def test_a_provider_that_the_other_process_does_not_declare_is_named(shop: Any) -> None:
    shop.Shop.late = providers.Object(1)
    data = cloudpickle.dumps(shop.Shop.late)
    del shop.Shop.late

    with pytest.raises(LifespanError, match="Shop declares no 'late' in this process"):
        loads(data)


def test_a_provider_that_was_replaced_on_the_class_no_longer_travels_as_its_own(shop: Any) -> None:
    replaced = shop.Shop.orders
    assert travelled(replaced) is replaced
    shop.Shop.orders = providers.Factory(dict)
    try:
        assert travelled(replaced) is not shop.Shop.orders
        assert travelled(shop.Shop.orders) is shop.Shop.orders
    finally:
        shop.Shop.orders = replaced


def test_a_container_instance_arrives_by_value_without_what_is_open(shop: Any) -> None:
    instance = shop.Shop()
    instance.orders()

    arrived = travelled(instance)

    assert arrived.declarative_parent is shop.Shop
    assert not arrived.db.initialized
    assert arrived.orders.kwargs["db"] is arrived.db
    assert arrived.gateways.stripe() == {"db": "connection to sqlite://"}
    assert getattr(arrived, "__self__")() is arrived  # noqa: B009
    instance.shutdown_resources()
    arrived.shutdown_resources()


def test_modules_that_a_user_sends_by_value_take_their_containers_along(shop: Any, elsewhere: Elsewhere) -> None:
    cloudpickle.register_pickle_by_value(shop)
    try:
        data = cloudpickle.dumps(Provide[shop.Shop.orders])
    finally:
        cloudpickle.unregister_pickle_by_value(shop)

    assert b"connection to" in data
    assert elsewhere("first.provider()", data) == "{'db': 'connection to sqlite://'}"
