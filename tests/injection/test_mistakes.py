"""Mistakes speak at decoration: what, where, and what to do; a marker object never reaches a user's function."""

import asyncio
import re
from collections.abc import Callable
from typing import Annotated, Any, Optional

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Closing, LifespanError, Provide, Provider, inject, lifespan
from prefect_lifespan.errors import UsageError


class Gateways(containers.DeclarativeContainer):
    billing = providers.Object("billing")


class App(containers.DeclarativeContainer):
    warehouse = providers.Object("warehouse")
    gateways = providers.Container(Gateways)


def refusal(decorate: Callable[[], Any]) -> str:
    """The message of a decoration that is refused."""
    with pytest.raises(UsageError) as caught:
        decorate()
    assert isinstance(caught.value, (LifespanError, TypeError))
    return str(caught.value)


def test_inject_above_task_says_where_it_belongs():
    from prefect import task

    @task
    def store(db: str = Provide[App.warehouse]) -> str:
        return db

    message = refusal(lambda: inject(store))
    assert "not a Task" in message
    assert "below it" in message


def test_inject_above_flow_says_where_it_belongs():
    from prefect import flow

    @flow
    def history() -> None: ...

    message = refusal(lambda: inject(history))
    assert "not a Flow" in message
    assert "below it" in message


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (print, "not a builtin_function_or_method"),
        ("text", "not a str"),
        (staticmethod(len), "not a staticmethod; put @inject below it, next to the function"),
        (Gateways, "not the container Gateways; write it without parentheses, and name providers in markers"),
        (int, "not the class int; put it on the method that is to be injected, such as `__init__`"),
    ],
)
def test_what_is_no_function_is_named(what: Any, told: str):
    assert told in refusal(lambda: inject(what))


def test_a_marker_as_an_annotation_says_where_it_belongs():
    namespace: dict[str, Any] = {"Provide": Provide, "App": App}
    exec("def annotated(db: Provide[App.warehouse]): ...", namespace)  # noqa: S102 - no type, as checkers say too
    assert "write it as the default value, db=Provide[Container.name]" in refusal(
        lambda: inject(namespace["annotated"])
    )


def test_lifespan_without_its_container_says_how_it_is_written():
    def flow_function() -> None: ...

    bare: Any = lifespan
    assert refusal(lambda: bare(flow_function)) == (
        "@lifespan is written with its container: @lifespan(Container) (docs/errors.md#usageerror)"
    )


def test_a_function_without_markers_is_told_how_to_mark():
    def plain(db: str) -> str:
        return db

    message = refusal(lambda: inject(plain))
    assert "plain has no parameter to inject" in message
    assert "Provide[" in message


def test_injecting_twice_is_refused():
    @inject
    def once(db: str = Provide[App.warehouse]) -> str:
        return db

    assert "once has no parameter to inject" in refusal(lambda: inject(once))


def test_a_positional_only_injected_parameter_is_refused_by_name():
    def store(a: int, db: str = Provide[App.warehouse], /) -> str:
        return db * a

    message = refusal(lambda: inject(store))
    assert "store" in message
    assert "'db' is positional-only" in message
    assert "after the `/`" in message


@pytest.mark.parametrize("marker", [Provide, Provider, Closing])
def test_a_bare_marker_is_asked_what_of(marker: Any):
    def by_default(db: Any = marker) -> Any:
        return db

    def by_annotation(db: Annotated[str, marker]) -> Any:
        return db

    for function in (by_default, by_annotation):
        message = refusal(lambda function=function: inject(function))
        assert f"db has a bare {marker.__name__}" in message
        assert function.__qualname__ in message


@pytest.mark.parametrize("what", [42, None, object(), len, [App.warehouse]])
def test_a_marker_of_no_provider_names_what_it_was_given(what: Any):
    def store(db: Any = Provide[what]) -> Any:
        return db

    message = refusal(lambda: inject(store))
    assert type(what).__name__ in message
    assert "no provider" in message


def test_a_marker_of_a_provider_that_no_container_declares_is_refused():
    loose = providers.Object("loose")

    def store(db: str = Provide[loose]) -> str:
        return db

    message = refusal(lambda: inject(store))
    assert "'db'" in message
    assert "no container class declares" in message


def test_a_marker_of_a_container_instances_provider_is_refused():
    instance = App()

    def store(db: str = Provide[instance.warehouse]) -> str:
        return db

    assert "no container class declares" in refusal(lambda: inject(store))


Warehouse = Annotated[str, Provide[App.warehouse]]


@pytest.mark.parametrize("annotation", [Warehouse | None, Optional[Warehouse], list[Warehouse], "Warehouse | None"])  # noqa: UP045
def test_a_marker_inside_another_type_is_refused_as_nothing_reads_it(annotation: Any):
    def store(billing: Any = Provide[Gateways.billing], db: Any = None) -> Any:
        return db

    store.__annotations__["db"] = annotation
    message = refusal(lambda: inject(store))
    assert "the annotation of 'db' has its marker inside another type" in message
    assert "write db: Annotated[... | None, Provide[Container.name]] = injected" in message


def test_markers_on_star_parameters_are_refused():
    def positional(*dbs: Annotated[str, Provide[App.warehouse]]) -> Any:
        return dbs

    def named(**dbs: Annotated[str, Provide[App.warehouse]]) -> Any:
        return dbs

    assert "*dbs" in refusal(lambda: inject(positional))
    assert "**dbs" in refusal(lambda: inject(named))


@pytest.mark.parametrize(
    ("path", "meant"),
    [("warehose", "'warehouse'"), ("gateways.biling", "'gateways.billing'"), ("gateway", "'gateways'")],
)
def test_a_misspelt_path_is_told_what_it_may_have_meant(path: str, meant: str):
    def flow_function(db: str = Provide[path]) -> str:
        return db

    at_decoration = refusal(lambda: lifespan(App)(flow_function))
    assert re.search(
        rf"db asks for '{re.escape(path)}', which App does not declare; did you mean .*{meant}", at_decoration
    )

    injected = inject(flow_function)
    with lifespan(App):
        assert refusal(injected) == at_decoration


def test_a_path_that_resembles_nothing_is_shown_all_there_is():
    def flow_function(db: str = Provide["xyz"]) -> str:
        return db

    message = refusal(lambda: lifespan(App)(flow_function))
    assert "it declares gateways, gateways.billing, warehouse" in message


def test_a_path_outside_any_lifespan_says_that_it_needs_one():
    @inject
    def store(db: str = Provide["warehouse"]) -> str:
        return db

    message = refusal(store)
    assert "'warehouse'" in message
    assert "no lifespan in force" in message


def test_lifespan_on_a_task_points_to_inject():
    from prefect import task

    @task
    def store() -> None: ...

    assert "@inject" in refusal(lambda: lifespan(App)(store))


def test_a_default_value_that_answers_every_attribute_is_no_marker():
    class Obliging:
        def __getattr__(self, name: str) -> Any:
            return self

    class Unavailable:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("working outside of application context")

    obliging, unavailable = Obliging(), Unavailable()

    @inject
    def store(db: str = Provide[App.warehouse], a: Any = obliging, b: Any = unavailable) -> tuple[Any, ...]:
        return db, a, b

    assert store() == ("warehouse", obliging, unavailable)


def test_a_function_for_overrides_that_does_not_take_the_flows_parameters_is_refused_at_decoration():
    def flow_function(tenant: str, day: int = 1) -> None: ...

    message = refusal(lambda: lifespan(App, overrides=lambda tenant: {})(flow_function))
    assert "unexpected keyword argument 'day'" in message
    assert "`**_` for the others" in message
    assert __file__ in message
    message = refusal(lambda: lifespan(App, overrides=lambda region, **_: {})(flow_function))
    assert "missing a required argument: 'region'" in message
    lifespan(App, overrides=lambda tenant, **_: {})(flow_function)
    lifespan(App, overrides=lambda tenant, day: {})(flow_function)


def test_a_function_for_overrides_that_is_none_is_refused():
    async def coroutine() -> dict[str, object]:
        return {}

    def flow_function() -> None: ...

    given: Any = coroutine
    assert "write a plain function" in refusal(lambda: lifespan(App, overrides=given)(flow_function))
    assert "write a plain function" in refusal(lifespan(App, overrides=given).__enter__)


def test_a_block_has_no_parameters_to_give_to_a_function_for_overrides():
    block = lifespan(App, overrides=lambda tenant: {"warehouse": tenant})

    async def entered() -> None:
        async with block:
            pass

    for enter in (block.__enter__, lambda: asyncio.run(entered())):
        message = refusal(enter)
        assert "missing a required argument: 'tenant'" in message
        assert "a block has none" in message
        assert "give a mapping" in message
        assert __file__ in message
    with lifespan(App, overrides=lambda tenant="acme", **_: {"warehouse": tenant}) as container:
        assert container.warehouse() == "acme"


def test_inject_with_parentheses_says_to_write_it_without():
    called: Any = inject
    assert refusal(called) == ("@inject takes no arguments; write it without parentheses (docs/errors.md#usageerror)")
