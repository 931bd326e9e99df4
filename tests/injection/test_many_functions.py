"""Functions that are injected while a program runs: what a long lifespan keeps for them does not grow with their number."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import cloudpickle
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.in_flight import Flight
from prefect_lifespan.provider_pickling import register
from prefect_lifespan.scope import MOST_PREPARED, current_scope


def opened() -> Iterator[str]:
    yield "open"


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened)


def inject_and_call(functions: int, kept: list[Callable[..., object]] | None = None) -> None:
    for number in range(functions):

        @inject
        def function(n: int, db: str = Provide[App.db]) -> tuple[int, str]:
            return n, db

        assert function(number) == (number, "open")
        if kept is not None:
            kept.append(function)


def objects_after(functions: int) -> int:
    inject_and_call(functions)
    gc.collect()
    return len(gc.get_objects())


def test_functions_that_come_and_go_leave_no_more_behind_the_more_there_are() -> None:
    with lifespan(App):
        before = objects_after(MOST_PREPARED + 100)
        after = objects_after(3_000)

    assert after - before < 500


def test_what_a_scope_keeps_for_a_function_goes_with_it() -> None:
    with lifespan(App):
        inject_and_call(1)
        gc.collect()
        before = set(current_scope().ground.prepared)
        inject_and_call(100)
        gc.collect()

        assert set(current_scope().ground.prepared) == before


def test_what_is_kept_for_a_function_from_another_process_serves_its_next_task() -> None:
    @inject
    def function(n: int, db: str = Provide[App.db]) -> tuple[int, str]:
        return n, db

    register()
    as_it_travels = cloudpickle.dumps(function)
    with lifespan(App):
        before = set(current_scope().ground.prepared)
        assert cloudpickle.loads(as_it_travels)(1) == (1, "open")
        gc.collect()
        kept = set(current_scope().ground.prepared) - before

        assert cloudpickle.loads(as_it_travels)(2) == (2, "open")
        gc.collect()
        assert len(kept - {Flight}) == 1
        assert set(current_scope().ground.prepared) - before == kept


def test_what_was_given_up_for_others_is_prepared_again() -> None:
    @inject
    def first(db: str = Provide[App.db]) -> str:
        return db

    kept: list[Callable[..., object]] = []
    with lifespan(App):
        first()
        inject_and_call(MOST_PREPARED, kept)

        assert first() == "open"
