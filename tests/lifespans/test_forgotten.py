"""A task, flow or hook whose markers nobody provides is refused by name: no run of one completes, and none is given a marker."""

import asyncio
import types
from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
from dependency_injector import containers, providers, wiring
from prefect import flow as typed_flow
from prefect import task as typed_task
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterBindError
from prefect.task_engine import run_task_sync

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.errors import UsageError
from prefect_lifespan.lifespans.reachable import reachable

# What is tried here is what their types refuse.
flow: Any = typed_flow
task: Any = typed_task
RAN: list[object] = []
BELOW = "put @inject below @task"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


class Gateways(containers.DeclarativeContainer):
    client = providers.Resource(object)


class App(containers.DeclarativeContainer):
    tenant = providers.Resource(lambda: RAN.append("opened") or "acme")
    gateways = providers.Container(Gateways)


def delete(tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    return tenant


async def adelete(tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    return tenant


def deletions(tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    yield tenant


async def adeletions(tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    yield tenant


def of_a_provider(tenant: Any = App.tenant) -> Any:
    RAN.append(tenant)
    return tenant


def keyword_only(*, tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    return tenant


def annotated(tenant: Annotated[Any, Provide[App.tenant]]) -> Any:
    RAN.append(tenant)
    return tenant


def tell(work: Any, run: Any, state: Any, tenant: Any = Provide[App.tenant]) -> None:
    RAN.append(tenant)


forgotten = task(delete, name="forgotten")
tasks = types.SimpleNamespace(hidden=task(delete))


def refused(state: State[Any], cure: str = BELOW) -> None:
    """The run has failed, by the name of what is at fault, and nothing of it has run with a marker."""
    assert state.is_failed()
    assert "UsageError" in str(state.message)
    assert cure in str(state.message)
    assert f"({__file__}:" in str(state.message)
    assert set(RAN) <= {"opened"}


def test_what_the_flow_names_is_refused_before_anything_opens():
    def helper() -> Any:
        return forgotten()

    @flow
    @lifespan(App)
    def main() -> Any:
        return helper()

    refused(main(return_state=True))
    assert RAN == []


@pytest.mark.parametrize("call", ["direct", "submit", "map", "on a thread"])
def test_what_cannot_be_seen_beforehand_is_refused_where_it_is_called(call: str):
    @flow
    @lifespan(App)
    def main() -> Any:
        hidden = tasks.hidden
        match call:
            case "direct":
                return hidden()
            case "submit":
                return hidden.submit().result()
            case "map":
                return hidden.map([Provide[App.tenant]]).result()
            case _:
                return run_task_sync(hidden, parameters={"tenant": Provide[App.tenant]})

    refused(main(return_state=True))
    assert RAN == ["opened"]


@pytest.mark.parametrize(
    ("carrying", "cure"),
    [
        (adelete, BELOW),
        (adeletions, BELOW),
        (deletions, BELOW),
        (annotated, BELOW),
        (of_a_provider, "mark it, `tenant=Provide[App.tenant]`"),
        (wiring.inject(keyword_only), "import inject from prefect_lifespan"),
    ],
)
def test_functions_of_every_kind_are_refused_in_flows_without_a_lifespan_too(carrying: Callable[..., Any], cure: str):
    work = task(carrying)

    @flow
    async def main() -> Any:
        result: Any = work()
        if hasattr(result, "__aiter__"):
            return [each async for each in result]
        return list(result) if hasattr(result, "__next__") else await result if asyncio.iscoroutine(result) else result

    state = cast("State[Any]", asyncio.run(main(return_state=True)))
    refused(state, cure)


@pytest.mark.filterwarnings("ignore:Default value Provide:UserWarning")  # Prefect reads the markers for its schema
def test_a_flow_with_markers_and_neither_decorator_is_refused():
    refused(flow(delete)(return_state=True), "put @lifespan(Container), or @inject, below @flow")
    with pytest.raises(UsageError, match="below @flow"):
        list(cast("Any", flow(deletions))())


def test_what_misses_a_marked_parameter_without_a_default_value_says_what_to_do():
    for call in (flow(annotated), task(annotated).submit, task(annotated).delay):
        with pytest.raises(
            UsageError, match=r"put @(lifespan\(Container\), or @inject, below @flow|inject below @task)"
        ):
            call()
    with pytest.raises(ParameterBindError, match="missing a required argument: 'row'"):
        task(stored)(tenant="mine")


def test_hooks_are_refused_before_the_run_that_would_call_them():
    @flow(on_running=[tell], on_completion=[tell], on_failure=[tell])
    @lifespan(App)
    def hooked() -> None:
        RAN.append("body")

    refused(hooked(return_state=True), "put @inject on it")

    @task(on_completion=[tell], on_failure=[tell], retries=3, retry_delay_seconds=100)
    def told() -> None:
        RAN.append("body")

    @flow
    def main() -> None:
        told()

    refused(main(return_state=True), "put @inject on it")


def test_a_marker_on_the_inner_container_is_refused_before_anything_opens():
    @task
    @inject
    def call(client: object = Provide[Gateways.client]) -> object:
        return client

    @flow
    @lifespan(App)
    def main() -> Any:
        return call()

    refused(main(return_state=True), "write Provide[App.gateways.container.client]")
    assert RAN == []


def test_what_is_well_runs():
    @task(on_completion=[inject(tell)])
    @inject
    def store(tenant: Any = Provide[App.tenant]) -> Any:
        return tenant

    def only_named(tenant: Any = Provide[App.tenant]) -> Any:
        raise AssertionError(tenant)

    @flow(on_completion=[inject(tell)])
    @lifespan(App)
    def main() -> Any:
        assert only_named is not None
        return store(), store.submit().result(), forgotten_elsewhere.fn(tenant="mine")

    forgotten_elsewhere = types.SimpleNamespace(fn=delete)
    assert main() == ("acme", "acme", "mine")


def test_a_task_that_is_given_its_value_where_no_lifespan_is_in_force_runs():
    @flow
    def main() -> Any:
        return forgotten(tenant="mine")

    assert main() == "mine"


def stored(row: int, tenant: Any = Provide[App.tenant]) -> Any:
    RAN.append(tenant)
    return row, tenant


@pytest.mark.parametrize(
    "call",
    [
        lambda given: given(1, "mine"),
        lambda given: given(1, tenant="mine"),
        lambda given: given(*(1, "mine")),
        lambda given: given(row=1, tenant="mine"),
        lambda given: given.with_options(name="copy").submit(1, tenant="mine").result(),
        lambda given: given.map([1], "mine").result()[0],
    ],
)
def test_a_task_that_is_given_its_value_in_a_lifespan_runs_and_is_refused_only_where_it_is_not(call: Any):
    given = task(stored)

    @flow
    @lifespan(App)
    def main() -> Any:
        return call(given)

    @flow
    @lifespan(App)
    def written() -> Any:
        first = given(1, tenant="mine")
        second = given.submit(2, "mine").result()
        return first, second, given(3, return_state=True)

    assert tuple(main()) == (1, "mine")
    first, second, third = written(return_state=True).result(raise_on_failure=False)
    assert (first, second) == ((1, "mine"), (2, "mine"))
    assert third.is_failed()
    assert BELOW in str(third.message)


def test_reachable_finds_tasks_in_globals_closures_modules_classes_and_collections_each_once():
    module = types.ModuleType("tasks_of_a_module")
    cast("Any", module).of_module = task(lambda: None, name="of module")
    cast("Any", module).unnamed = task(lambda: None, name="unnamed")

    class Tasks:
        of_class = task(lambda: None, name="of class")

    listed = [task(lambda: None, name="listed")]
    by_name = {"a": task(lambda: forgotten, name="by name")}

    def inner() -> Any:
        return by_name, later

    def function() -> Any:
        return module.of_module, Tasks.of_class, listed, lambda: (inner(), function())

    names = [work.name for work in reachable(function)]
    later = None
    assert sorted(names) == ["by name", "forgotten", "listed", "of class", "of module"]


def test_a_task_that_is_delayed_is_refused_where_it_is_delayed():
    def mapped() -> Any:
        return forgotten.map([Provide[App.tenant]], deferred=True)

    for delayed in (forgotten.delay, forgotten.apply_async, mapped):
        with pytest.raises(UsageError, match=BELOW):
            delayed()
    assert forgotten.delay(tenant="mine").task_run_id
    assert forgotten.apply_async(("mine",)).task_run_id


def test_a_task_that_dependency_injector_has_wired_is_refused_by_name():
    stock = task(wiring.inject(delete))
    namespace = types.ModuleType("wired_by_hand")
    cast("Any", namespace).delete = stock.fn
    stock.fn.__module__ = namespace.__name__
    container = App()
    container.wire(modules=[namespace])
    try:

        @flow
        def main() -> Any:
            return stock()

        refused(main(return_state=True), "import inject from prefect_lifespan")
    finally:
        container.unwire()


@pytest.mark.parametrize("call", [lambda work: work("mine"), lambda work: work.submit(tenant="mine")])
def test_what_is_given_for_an_injected_parameter_is_told_what_to_do(call: Any):
    work = task(inject(delete))

    @flow
    @lifespan(App)
    def main() -> Any:
        return call(work)

    message = str(main(return_state=True).message)
    assert "tenant is injected: put another in its place with `override(...)` around the call" in message
    assert work.fn(tenant="mine") == "mine"
