"""What a container declares beside what a function asks for costs its calls nothing that grows with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, TaskResource, inject, lifespan


def opened() -> Iterator[object]:
    yield object()


def declared(task_resources: int) -> type[containers.DeclarativeContainer]:
    sessions = {f"session_{number}": TaskResource(opened) for number in range(task_resources)}
    return type("App", (containers.DeclarativeContainer,), {"db": providers.Resource(opened), **sessions})


def calls_made_by(function: Callable[[], object]) -> int:
    made = 0

    def count(_: Any, event: str, __: object) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return made


def functions_of(container: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    @inject
    def helper(db: object = Provide[container.db]) -> object:
        return db

    @inject
    def outer(db: object = Provide[container.db]) -> tuple[object, object]:
        return helper(), helper()

    return helper, outer


def test_a_call_makes_as_many_calls_beside_one_task_resource_as_beside_many() -> None:
    made: list[tuple[int, int]] = []
    for task_resources in (1, 40):
        container = declared(task_resources)
        helper, outer = functions_of(container)
        with lifespan(container):
            helper()
            outer()
            made.append((calls_made_by(helper), calls_made_by(outer)))

    assert made[0] == made[1]
    assert made[0][0] < 60


@pytest.mark.parametrize("task_resources", [0, 1])
def test_a_helper_in_a_call_goes_by_what_is_kept(task_resources: int) -> None:
    container = declared(task_resources)
    helper, outer = functions_of(container)
    with lifespan(container):
        helper()
        outer()
        by_itself, with_helpers = calls_made_by(helper), calls_made_by(outer)

    assert with_helpers - by_itself < 30  # of two helpers; one that decides anew makes more than a hundred
