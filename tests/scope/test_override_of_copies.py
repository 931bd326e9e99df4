"""An override of a container class does not reach the copy that another container holds, and says so."""

import logging
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan, override
from prefect_lifespan.testing import override_everywhere


class Gateways(containers.DeclarativeContainer):
    client = providers.Object("client")
    other = providers.Object("other")


class App(containers.DeclarativeContainer):
    gateways = providers.Container(Gateways)


@inject
def client(client: Any = Provide[App.gateways.container.client]) -> Any:
    return client


@inject
def of_the_class(client: Any = Provide[Gateways.client]) -> Any:
    return client


CURE = (
    "override(Gateways, ...) of client does not reach the copy of Gateways that App holds and that is open here: write "
    "override(App, {'gateways.client': ...})"
)
WAYS = pytest.mark.parametrize("overriding", [override, override_everywhere])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@WAYS
def test_entered_in_a_lifespan_and_around_one(caplog: pytest.LogCaptureFixture, overriding: Any):
    with lifespan(App), overriding(Gateways, client="fake"):
        assert client() == "client"
        assert of_the_class() == "fake"
        assert warnings(caplog) == [CURE]
        with lifespan(App):  # which joins
            assert client() == "client"
    assert warnings(caplog) == [CURE]
    with overriding(Gateways, client="fake"), lifespan(App):
        assert client() == "client"
    assert warnings(caplog) == [CURE, CURE]


def test_of_a_derived_class_a_copy_is_one_of_its_base_too(caplog: pytest.LogCaptureFixture):
    class Special(Gateways):
        pass

    class Own(containers.DeclarativeContainer):
        gateways = providers.Container(Special)

    with override(Gateways, client="fake"), lifespan(Own):
        pass
    assert "'gateways.client'" in warnings(caplog)[0]


@WAYS
def test_nothing_is_said_where_the_copy_is_overridden_too_or_there_is_none(
    caplog: pytest.LogCaptureFixture, overriding: Any
):
    with overriding(Gateways, client="fake"), overriding(App, {"gateways.client": "fake"}), lifespan(App):
        assert client() == of_the_class() == "fake"
    with lifespan(App, overrides={"gateways.client": "fake"}), overriding(Gateways, client="fake"):
        assert client() == "fake"
    with overriding(Gateways, client="fake"), lifespan(Gateways):
        assert of_the_class() == "fake"
    with overriding(App, {"gateways.client": "fake"}), lifespan(Gateways):
        assert of_the_class() == "client"
    assert warnings(caplog) == []
