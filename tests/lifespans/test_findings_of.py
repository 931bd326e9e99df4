"""Mistakes in flows, tasks, hooks and functions are data: a code, a severity, where, what, and the cure."""

from typing import Any

import pytest
from dependency_injector import containers, providers, wiring
from prefect import flow as typed_flow
from prefect import task as typed_task

from prefect_lifespan import Provide, Provider, inject, lifespan
from prefect_lifespan.lifespans.mistakes import findings_of

# What is tried here is what their types refuse.
flow: Any = typed_flow
task: Any = typed_task


class Gateways(containers.DeclarativeContainer):
    client = providers.Resource(object)


async def open_api() -> str:
    return "api"


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")
    api = providers.Resource(open_api)
    service = providers.Factory(dict, api=api)
    gateways = providers.Container(Gateways)


class Other(containers.DeclarativeContainer):
    mails = providers.Object("mails")
    gateways = providers.Container(Gateways)


def plain(db: Any = Provide[App.db]) -> Any:
    return db


def of_a_provider(db: Any = App.db) -> Any:
    return db


def told(run: Any, state: Any, db: Any = Provide[App.db]) -> None: ...


def codes(target: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings_of(target)]


@pytest.mark.parametrize(
    ("target", "code", "cure"),
    [
        (plain, "forgotten-inject", "put @inject on it"),
        (task(plain), "forgotten-inject", "put @inject below @task"),
        (task(inject(plain), on_completion=[told]), "forgotten-inject", "put @inject on it"),
        (flow(lambda: None, name="f", on_failure=[told]), "forgotten-inject", "put @inject on it"),
        (task(wiring.inject(plain)), "stock-inject", "import inject from prefect_lifespan"),
        (task(of_a_provider), "provider-as-default", "Provide[App.db]"),
        (task(plain).with_options(name="copy"), "forgotten-inject", "put @inject below @task"),
    ],
)
def test_a_mistake_has_a_code_file_and_line_and_a_cure(target: Any, code: str, cure: str):
    (finding,) = findings_of(target)
    assert (finding.code, finding.severity) == (code, "error")
    assert f"({__file__}:" in finding.path
    assert cure in finding.cure
    assert finding.told == f"{finding.message}: {finding.cure} (docs/errors.md#{code})"


@pytest.mark.filterwarnings("ignore:Default value Provide:UserWarning")  # Prefect reads the markers for its schema
def test_a_flow_with_markers_and_neither_decorator_has_forgotten_its_lifespan():
    assert codes(flow(plain)) == [("forgotten-lifespan", "error")]


@task
@inject
def of_the_inner(client: object = Provide[Gateways.client]) -> object:
    return client


@task
@inject
def by_id(mails: Any = Provide["mials"]) -> Any:
    return mails


@task
@inject
def served(db: Any = Provide["mails"]) -> Any:
    return db


def test_what_a_flow_names_is_looked_at_with_the_container_that_it_opens():
    @flow
    @lifespan(Other)
    def main() -> Any:
        return of_the_inner(), by_id(), served()

    assert sorted(codes(main)) == [("inner-container-marker", "error"), ("unknown-name", "error")]
    by_code = {finding.code: finding for finding in findings_of(main)}
    assert by_code["inner-container-marker"].cure == "write Provide[Other.gateways.container.client]"
    assert "mials" in by_code["unknown-name"].message
    assert by_code["unknown-name"].cure == "did you mean 'mails'?"
    state = main(return_state=True)
    assert state.is_failed()
    assert "2 mistakes" in state.message


def test_what_may_run_in_another_lifespan_is_not_judged():
    @flow
    @lifespan(App)
    def subflow() -> Any:
        return served()

    @flow
    @lifespan(Other)
    def around() -> Any:
        with lifespan(Gateways):
            return of_the_inner()

    @flow
    @lifespan(App)
    def sending() -> Any:
        return served.delay

    @flow
    @lifespan(App)
    def main() -> Any:
        return of_a_subflow()

    @flow
    @lifespan(Other)
    def of_a_subflow() -> Any:
        return served()

    assert codes(subflow) == [("unknown-name", "error")]
    assert codes(around) == []
    assert codes(sending) == []
    assert codes(main) == []
    assert around() is not None
    assert main() == "mails"


@inject
def helper(db: Any = Provide[App.db]) -> Any:
    return db


@task
@inject
def blocking(service: Any = Provide[App.service], db: Any = Provide[App.db]) -> Any:
    return service, db


@task
@inject
async def asynchronous(api: Any = Provide[App.api]) -> Any:
    return api


@task
@inject
def of_providers(api: Any = Provider[App.api]) -> Any:
    return api


def test_an_asynchronous_resource_that_a_blocking_flow_needs_is_a_warning_by_name():
    @flow
    @lifespan(App, eager=False)
    def main(api: Any = Provide[App.api]) -> Any:
        return api, blocking(), asynchronous, of_providers

    own, of_the_task = findings_of(main)
    assert {own.code, of_the_task.code} == {"asynchronous-in-blocking-flow"}
    assert {own.severity, of_the_task.severity} == {"warning"}
    assert "main" in own.path
    assert "api needs App.api, which is asynchronous" in own.message
    assert "blocking" in of_the_task.path
    assert "service needs App.api" in of_the_task.message
    assert "async def" in own.cure
    assert main(return_state=True).is_failed()

    @flow
    @lifespan(App)
    async def well(api: Any = Provide[App.api]) -> Any:
        return api, blocking(), await asynchronous()

    assert codes(well) == []


def test_what_is_well_has_no_findings():
    @flow(on_completion=[inject(told)])
    @lifespan(App)
    def main(db: Any = Provide["db"]) -> Any:
        return db, helper()

    assert findings_of(main) == findings_of(helper) == findings_of(task(inject(plain))) == ()
