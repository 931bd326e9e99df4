"""The engines of the process close with the last lifespan that leaves, and not under one that has only just been made."""

import gc
from typing import Any

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
