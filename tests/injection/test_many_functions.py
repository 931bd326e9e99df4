"""Functions that are injected while a program runs: what a long lifespan keeps for them does not grow with their number."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.scope import MOST_PREPARED


def opened() -> Iterator[str]:
    yield "open"


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened)


def inject_and_call(functions: int) -> None:
    for number in range(functions):

        @inject
        def function(n: int, db: str = Provide[App.db]) -> tuple[int, str]:
            return n, db

        assert function(number) == (number, "open")


def objects_after(functions: int) -> int:
    inject_and_call(functions)
    gc.collect()
    return len(gc.get_objects())


def test_functions_that_come_and_go_leave_no_more_behind_the_more_there_are() -> None:
    with lifespan(App):
        before = objects_after(MOST_PREPARED + 100)
        after = objects_after(3_000)

    assert after - before < 500


def test_what_was_given_up_for_others_is_prepared_again() -> None:
    @inject
    def first(db: str = Provide[App.db]) -> str:
        return db

    with lifespan(App):
        first()
        inject_and_call(MOST_PREPARED)

        assert first() == "open"
