"""Whoever keeps values of open resources to give them without asking is told before one must not be given any more."""

from __future__ import annotations

from dependency_injector import providers

from prefect_lifespan.engine import Engine
from tests.engine.support import Journal, declare, engine_of, open_all


class Keeper:
    """Notes when it is told, and what was at hand by then."""

    def __init__(self, engine: Engine, journal: list[str]) -> None:
        self._engine = engine
        self._journal = journal
        for slot in engine.slots.values():
            slot.kept_by(self)

    def withdraw(self) -> None:
        at_hand = [slot.node.path for slot in self._engine.slots.values() if slot.at_hand]
        self._journal.append(f"withdrawn, at hand {at_hand}")


def test_values_are_withdrawn_before_anything_closes() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a"), b=journal.resource("b")))
    open_all(engine)
    keeper = Keeper(engine, journal)

    engine.close().settle()

    assert keeper is not None
    assert journal == ["+a", "+b", "withdrawn, at hand ['a']", "-b", "-a"]


def test_values_are_withdrawn_when_something_stands_in_for_the_providers_own() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a")))
    container = open_all(engine)
    keeper = Keeper(engine, journal)

    container.a.override(providers.Object("another"))

    assert keeper is not None
    assert journal == ["+a", "withdrawn, at hand []"]
    engine.close().settle()


def test_who_keeps_something_is_not_kept_alive() -> None:
    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a")))
    open_all(engine)
    Keeper(engine, journal)

    engine.close().settle()

    assert journal == ["+a", "-a"]
