"""The engines of the process close with the last lifespan that leaves, and not under one that has only just been made."""

import gc
from typing import Any

from dependency_injector import providers

from prefect_lifespan.engine import process_engines
from prefect_lifespan.lifetimes import ProcessResource
from tests.engine.support import Journal, declare, engine_of


def test_what_the_process_shares_outlives_every_engine_that_was_made_with_it() -> None:
    """A lifespan counts as a user after its engine is made; in between, the end of another one closed it for both."""
    journal = Journal()
    container = declare(a=ProcessResource(journal.blocking("a")))
    first = engine_of(container)
    process_engines.enter(first.process_keys, "a lifespan")
    one: Any = first.instance
    assert one.a() == "a"
    second = engine_of(container)
    first.close().settle()
    assert process_engines.leave(first.process_keys, "a lifespan", closing=True) == []
    process_engines.enter(second.process_keys, "a lifespan")
    other: Any = second.instance
    assert other.a() == "a"
    second.close().settle()
    (ended,) = process_engines.leave(second.process_keys, "a lifespan", closing=False)
    process_engines.forget(ended)
    ended.close().settle()
    assert journal == ["+a", "-a"]


def test_an_engine_that_nobody_holds_any_more_keeps_nothing_open() -> None:
    """One that could not be made, or was never closed."""
    journal = Journal()
    container = declare(a=ProcessResource(journal.blocking("a")))
    engine = engine_of(container)
    process_engines.enter(engine.process_keys, "a lifespan")
    instance: Any = engine.instance
    assert instance.a() == "a"
    left = engine_of(container)
    del left
    gc.collect()
    engine.close().settle()
    (ended,) = process_engines.leave(engine.process_keys, "a lifespan", closing=True)
    process_engines.forget(ended)
    ended.close().settle()
    assert journal == ["+a", "-a"]


def test_what_is_declared_when_the_process_has_others_open_opens_beside_them() -> None:
    """As in a notebook, where one is added to the class of a lifespan before; it was a KeyError without a word."""
    journal = Journal()
    container = declare(a=ProcessResource(journal.blocking("a")))
    first: Any = engine_of(container)
    assert first.instance.a() == "a"
    container.b = ProcessResource(journal.blocking("b"))
    container.c = providers.Resource(journal.blocking("c"), container.b)
    second: Any = engine_of(container)
    assert (second.instance.c(), second.instance.b(), second.instance.a()) == ("c", "b", "a")
    third: Any = engine_of(container)
    assert third.instance.b() == "b"
    container.a = ProcessResource(journal.blocking("another a"))
    fourth: Any = engine_of(container)
    assert (fourth.instance.a(), fourth.instance.b()) == ("another a", "b")
    for engine in (first, second, third, fourth):
        engine.close().settle()
    assert journal == ["+a", "+b", "+c", "+another a", "-c"]
    for engine in reversed(process_engines.in_use()):
        if any(slot.path.startswith("App.") for slot in engine.open_slots()):
            process_engines.drop(engine)
            engine.close().settle()
    assert journal[-3:] == ["-another a", "-b", "-a"]
