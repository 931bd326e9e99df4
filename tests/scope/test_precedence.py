"""Which override wins, which container is current, and what a lifespan's own overrides may be."""

from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanError, ProcessResource, Provide, current_container, inject, lifespan, override
from prefect_lifespan.errors import UsageError


class Base(containers.DeclarativeContainer):
    value = providers.Object("declared")
    text = providers.Factory("text of {}".format, value)


class Derived(Base):
    extra = providers.Object("extra")


class Redeclared(Base):
    value = providers.Object("redeclared")


class Other(containers.DeclarativeContainer):
    value = providers.Object("other")


@inject
def value(value: Any = Provide[Base.value]) -> Any:
    return value


@inject
def text(text: Any = Provide[Base.text]) -> Any:
    return text


@pytest.fixture
def overridden_on_the_class() -> Any:
    with Base.value.override(providers.Object("on the class")):
        yield


@pytest.mark.usefixtures("overridden_on_the_class")
def test_override_stands_over_the_lifespans_overrides_and_these_over_the_classes():
    assert value() == "on the class"
    with lifespan(Base):
        assert value() == "on the class"
    with lifespan(Base, overrides={"value": "of the lifespan"}):
        assert (value(), text()) == ("of the lifespan", "text of of the lifespan")
    with override(Base, value="by override"):
        assert value() == "by override"
        with lifespan(Base, overrides={"value": "of the lifespan"}) as container:
            assert (value(), container.text()) == ("by override", "text of by override")
    with lifespan(Base, overrides={"value": "of the lifespan"}), override(Base, value="by override"):
        assert (value(), text()) == ("by override", "text of by override")
    assert Base.value() == "on the class"


def test_a_lifespans_overrides_may_depend_on_the_flows_parameters():
    @lifespan(Base, overrides=lambda tenant, **_: {"value": f"db of {tenant}"})
    def run(tenant: str, limit: int = 1, value: Any = Provide[Base.value]) -> Any:
        return tenant, limit, value, text()

    assert run("acme") == ("acme", 1, "db of acme", "text of db of acme")
    assert run(tenant="other", limit=2) == ("other", 2, "db of other", "text of db of other")


def test_a_wrong_name_in_a_lifespans_overrides_speaks_at_once_or_when_it_is_computed():
    with pytest.raises(UsageError, match="did you mean 'value'"):
        lifespan(Base, overrides={"valeu": 1})

    @lifespan(Base, overrides=lambda **_: {"valeu": 1})
    def run() -> None: ...

    with pytest.raises(UsageError, match="did you mean 'value'"):
        run()


def test_a_lifespan_with_overrides_inside_another_one_is_its_own():
    with lifespan(Base) as outer:
        with lifespan(Base, overrides={"value": "inner"}) as inner:
            assert inner is not outer
            assert value() == "inner"
        assert value() == "declared"


def test_an_override_of_a_base_class_holds_for_what_derives_from_it():
    with override(Base, value="fake"), lifespan(Derived) as container:
        assert (value(), container.value(), container.text()) == ("fake", "fake", "text of fake")


def test_a_marker_of_a_base_class_is_served_by_a_lifespan_of_a_derived_one():
    @inject
    def container_of(container: Any = Provide[Base]) -> Any:
        return container

    with lifespan(Derived) as container:
        assert value() == "declared"
        assert container_of() is container
        assert current_container(Base) is container


def test_what_a_derived_container_declares_anew_takes_the_place_of_the_bases():
    @inject
    def upper(text: str = Provide[Base.value.provided.upper.call()]) -> str:
        return text

    with lifespan(Redeclared):
        assert (value(), upper()) == ("redeclared", "REDECLARED")
        with override(Redeclared, value="fake"):
            assert (value(), upper()) == ("fake", "FAKE")


def test_the_current_container_is_the_innermost_one_or_the_innermost_of_a_class():
    with lifespan(Base) as base, lifespan(Other) as other:
        assert current_container() is current_container(Other) is other
        assert current_container(Base) is base
    with pytest.raises(LifespanError, match=r"No lifespan is open here \(open: none\)"):
        current_container()


def test_a_missing_current_container_is_named_with_what_is_open():
    with lifespan(Base), pytest.raises(LifespanError, match=r"No lifespan of Other is open here \(open: Base\). Call"):
        current_container(Other)


def test_joined_lifespans_share_the_container_and_others_have_their_own():
    with lifespan(Base) as outer:
        with lifespan(Base) as joined, lifespan(Base, share=False) as own:
            assert joined is outer
            assert own is not outer
            assert current_container(Base) is own
        assert current_container(Base) is outer


class OfTheProcess(containers.DeclarativeContainer):
    tenant = providers.Dependency(instance_of=str)
    greeting = providers.Callable("hello {}".format, tenant)
    model = ProcessResource(lambda: "model")
    cache = ProcessResource("cache of {}".format, tenant)


@pytest.mark.parametrize("tenant", ["acme", "umbrella"])
def test_a_dependency_that_a_run_provides_is_nothing_that_resources_of_the_process_lack(tenant: str) -> None:
    with lifespan(OfTheProcess, overrides={"tenant": tenant}) as container:
        assert (container.greeting(), container.model(), container.cache()) == (
            f"hello {tenant}",
            "model",
            f"cache of {tenant}",
        )


def test_a_copy_that_the_lifespan_in_force_holds_is_named():
    class Outer(containers.DeclarativeContainer):
        inner = providers.Container(Other)

    with (
        lifespan(Outer),
        pytest.raises(LifespanError, match=r"Its copy there is `current_container\(.*Outer\)\.inner`"),
    ):
        current_container(Other)
