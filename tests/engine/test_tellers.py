"""Stand-ins for singletons and factories tell who keeps what they give of each change that dependency-injector offers."""

from __future__ import annotations

from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine.tellers import (
    CHANGES_OF_FACTORIES,
    CHANGES_OF_SINGLETONS,
    Teller,
    TellingFactory,
    TellingSingleton,
    TellingThreadSafeSingleton,
)

# What changes nothing that is given: reading, and what leads to a change of another provider or by another name.
READING = {
    *("args", "async_", "attributes", "cls", "delegate", "kwargs", "last_overriding", "overridden", "overrides"),
    *("is_async_mode_disabled", "is_async_mode_enabled", "is_async_mode_undefined", "overriding_lock", "provided"),
    *("provided_type", "provider", "provides", "register_overrides", "related", "traverse", "unregister_overrides"),
}
# A singleton that has been made stays what it is, whatever it is declared with; `full_reset` resets it.
OF_NO_CONCERN_TO_WHAT_IS_MADE = (set(CHANGES_OF_FACTORIES) - set(CHANGES_OF_SINGLETONS)) | {
    "full_reset",
    "storage_lock",
}

GIVEN: dict[str, tuple[Any, ...]] = {"override": (providers.Object(1),), "set_provides": (dict,)}


class Keeper:
    withdrawn = 0

    def withdraw(self) -> None:
        self.withdrawn += 1


def public(provider_class: Any) -> set[str]:
    return {name for name in dir(provider_class) if not name.startswith("_")}


def test_every_method_of_a_factory_that_changes_what_it_makes_is_known() -> None:
    assert public(providers.Factory) - READING == set(CHANGES_OF_FACTORIES)


@pytest.mark.parametrize("kind", [providers.Singleton, providers.ThreadSafeSingleton])
def test_every_method_of_a_singleton_that_changes_what_it_gives_is_known(kind: Any) -> None:
    assert public(kind) - READING - OF_NO_CONCERN_TO_WHAT_IS_MADE == set(CHANGES_OF_SINGLETONS)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((TellingFactory, change) for change in CHANGES_OF_FACTORIES),
        *((TellingSingleton, change) for change in CHANGES_OF_SINGLETONS),
        *((TellingThreadSafeSingleton, change) for change in CHANGES_OF_SINGLETONS),
    ],
)
def test_who_keeps_something_is_told_of_each_change(kind: Any, change: str) -> None:
    provider, keeper = kind(dict), Keeper()
    provider.override(providers.Object(0))  # for what takes it back
    provider.kept_by(keeper)

    getattr(provider, change)(*GIVEN.get(change, ()))

    assert keeper.withdrawn > 0


def test_who_keeps_something_is_told_once_and_is_not_kept_alive() -> None:
    provider, keeper = TellingSingleton(dict), Keeper()
    provider.kept_by(Keeper())
    provider.kept_by(keeper)

    provider.reset()
    provider.reset()

    assert keeper.withdrawn == 1


def test_a_copy_is_a_teller_that_nobody_keeps_anything_of() -> None:
    provider, keeper = TellingFactory(dict, a=1), Keeper()
    assert provider() == {"a": 1}  # called for the first time, it finds out that nothing is to be awaited
    provider.kept_by(keeper)

    copied: Any = providers.deepcopy(provider)
    copied.add_kwargs(b=2)

    assert (copied(), provider()) == ({"a": 1, "b": 2}, {"a": 1})
    assert isinstance(copied, Teller)
    assert keeper.withdrawn == 0
