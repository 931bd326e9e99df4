"""Lifespans and overrides may be left in any order: what was left does not come back, what is entered stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanError, Provide, current_container, inject, lifespan, override


def opened(log: list[str], name: str) -> Iterator[str]:
    log.append(f"open {name}")
    yield name
    log.append(f"close {name}")


class App(containers.DeclarativeContainer):
    log = providers.Singleton(list[str])
    value = providers.Object("real")
    db = providers.Resource(opened, log, "db")


class Other(containers.DeclarativeContainer):
    log = providers.Singleton(list[str])
    x = providers.Resource(opened, log, "x")


@inject
def value(value: str = Provide[App.value]) -> str:
    return value


def in_force() -> list[str]:
    """The containers of the lifespans in force."""
    found: list[str] = []
    for container in (App, Other):
        try:
            current_container(container)
        except LifespanError:
            continue
        found.append(container.__name__)
    return found


@pytest.mark.parametrize("left", [*itertools.permutations(range(3))])
def test_each_leaving_takes_back_its_own(left: tuple[int, ...]) -> None:
    made: list[tuple[Callable[[], Any], str]] = [
        (lambda: lifespan(Other), "Other"),
        (lambda: override(App, value="fake"), "fake"),
        (lambda: lifespan(App), "App"),
    ]
    entered = [make() for make, _ in made]
    for each in entered:
        each.__enter__()
    remaining = {name for _, name in made}

    for number in left:
        entered[number].__exit__(None, None, None)
        remaining.discard(made[number][1])

        assert set(in_force()) == remaining - {"fake"}
        if "App" not in remaining:  # a lifespan keeps what it was opened with
            assert value() == ("fake" if "fake" in remaining else "real")


def test_an_override_entered_inside_a_lifespan_outlives_it() -> None:
    inner = override(App, value="fake")
    with lifespan(App):
        inner.__enter__()

    assert value() == "fake"
    inner.__exit__(None, None, None)
    assert value() == "real"


def test_a_lifespan_of_a_container_that_is_left_first_closes_its_own_resources_only() -> None:
    log: list[str] = []
    first, second = (lifespan(container, overrides={"log": log}) for container in (App, Other))
    first.__enter__()
    second.__enter__()

    first.__exit__(None, None, None)
    assert log == ["open db", "open x", "close db"]
    second.__exit__(None, None, None)
    assert log == ["open db", "open x", "close db", "close x"]


def test_one_object_entered_twice_is_left_from_the_inside_out() -> None:
    twice = lifespan(App, share=False)
    with twice as outer, twice as inner:
        assert current_container(App) is inner
        twice.__exit__(None, None, None)
        assert current_container(App) is outer
        twice.__enter__()
    assert in_force() == []
