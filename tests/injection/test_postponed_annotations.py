"""The same markers where annotations are text: postponed evaluation, aliases, names for type checkers only."""
# pyright: reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from dependency_injector import containers, providers
from typing_extensions import TypeAliasType

from prefect_lifespan import Closing, Provide, Provider, inject, lifespan
from prefect_lifespan.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal


class App(containers.DeclarativeContainer):
    one = providers.Object("ONE")
    make = providers.Factory(list, "ab")
    opened = providers.Resource(lambda: ["opened"])


Db = Annotated[str, Provide[App.one]]
Modern = TypeAliasType("Modern", Annotated[str, Provide[App.one]])


@inject
def by_annotation(a: int, db: Annotated[str, Provide[App.one]], *, made: Annotated[Any, Provider[App.make]]) -> Any:
    return a, db, made()


@inject
def by_default(a: int, db: str = Provide[App.one]) -> Any:
    return a, db


@inject
def by_alias(a: int, db: Db) -> Any:
    return a, db


@inject
def by_type_alias(a: int, db: Modern) -> Any:
    return a, db


@inject
def closing(a: int, own: Annotated[list[str], Closing[Provide[App.opened]]]) -> Any:
    return a, own


def test_markers_in_postponed_annotations_are_found():
    with lifespan(App):
        assert by_annotation(1) == (1, "ONE", ["a", "b"])
        assert by_default(1) == (1, "ONE")
        assert closing(1) == (1, ["opened"])


def test_markers_behind_aliases_are_found():
    with lifespan(App):
        assert by_alias(1) == (1, "ONE")
        assert by_type_alias(1) == (1, "ONE")


@pytest.mark.parametrize("function", [by_annotation, by_default, by_alias, by_type_alias, closing])
def test_what_others_see_is_evaluated_and_without_the_injected_parameters(function: Any):
    signature = inspect.signature(function)
    assert list(signature.parameters) == ["a"]
    assert signature.parameters["a"].annotation is int


def test_a_type_for_type_checkers_only_is_left_as_it_is():
    @inject
    def price(amount: Decimal, db: Annotated[str, Provide[App.one]]) -> Any:
        return amount, db

    with lifespan(App):
        assert price(1) == (1, "ONE")
    assert list(inspect.signature(price).parameters) == ["amount"]


@pytest.mark.parametrize("marker", ["Provide[Local.one]", "Provider[Local.one]", "Closing[Local.one]"])
def test_a_marker_that_cannot_be_evaluated_is_refused_with_the_cure(marker: str):
    def store(db: Any) -> Any:
        return db

    store.__annotations__["db"] = f"Annotated[str, {marker}]"
    with pytest.raises(
        UsageError, match=r"cannot be evaluated here \(NameError: name 'Local' is not defined\).*default"
    ):
        inject(store)
