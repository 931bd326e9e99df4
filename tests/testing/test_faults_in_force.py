"""Faults strike whatever initialiser opens the resource, wherever it comes from and wherever it is opened, until left."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, ResourceCloseError, inject, lifespan, override
from prefect_lifespan.engine import interceptors
from prefect_lifespan.testing import Faults, InjectedFault, override_everywhere, recording

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> Iterator[None]:
    LOG.clear()
    yield
    assert interceptors._entered == (), "a test has left faults in force"


def opened(name: str) -> Iterator[str]:
    LOG.append(f"open {name}")
    try:
        yield name
    finally:
        LOG.append(f"close {name}")


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened, "the real one")
    service = providers.Resource("service of {}".format, db)


class Redeclaring(App):
    db = providers.Resource(opened, "the test's")


class Shared(containers.DeclarativeContainer):
    model = ProcessResource(opened, "model")
    user = ProcessResource("user of {}".format, model)


class Deriving(Shared):
    other = providers.Object("other")


@inject
def model(model: str = Provide[Shared.model], user: str = Provide[Shared.user]) -> str:
    return f"{model}, {user}"


def fails(container: Any, **arguments: Any) -> bool:
    """Whether a lifespan does not open, by a fault."""
    try:
        with lifespan(container, share=False, **arguments):
            return False
    except InjectedFault:
        return True


def test_where_the_lifespan_itself_overrides_the_real_one_stays_closed():
    stand_in = providers.Resource(opened, "stand-in")

    @lifespan(App, overrides=lambda tenant, **_: {"db": providers.Resource(opened, tenant)})
    def run(tenant: str, db: str = Provide[App.db]) -> str:
        return db

    with Faults(App).fail("db", "close"):
        with pytest.raises(InjectedFault, match="db does not close"), lifespan(App, overrides={"db": stand_in}):
            pass
        with pytest.raises(InjectedFault, match="db does not close"):
            run("acme")
    assert LOG == ["open stand-in", "close stand-in", "open acme", "close acme"]
    with Faults(App).fail("db", "open"):
        assert fails(App, overrides={"db": stand_in})
        with override(App, db=providers.Resource(opened, "inner")):
            assert fails(App, overrides={"db": stand_in})
        with override_everywhere(App, db=stand_in):
            assert fails(App)


def test_what_a_lifespan_overrides_by_a_value_has_nothing_to_fail():
    with Faults(App).fail("db", "open").fail("db", "close"), lifespan(App, overrides={"db": "a value"}) as container:
        assert container.service() == "service of a value"
    assert LOG == []


def test_a_derived_containers_own_initialiser_is_the_one_that_is_used():
    faults = Faults(App).fail("db", "close")
    with faults, pytest.raises(ResourceCloseError, match="2 resources"), lifespan(Redeclaring) as container:
        assert container.db() == "the test's"
        assert container.service() == "service of the real one", "it has inherited that"
    assert LOG == ["open the test's", "open the real one", "close the real one", "close the test's"]
    with Faults(App).fail("db", "open"), override(App, db=providers.Resource(opened, "stand-in")):
        assert fails(Redeclaring)
    with Faults(Redeclaring).fail("db", "open"):
        assert fails(Redeclaring)
        assert not fails(App), "the faults are those of a container that derives from it"


def test_what_is_entered_inside_an_open_lifespan_strikes_what_opens_from_then_on():
    with lifespan(App, eager=False) as container, Faults(App).fail("db", "open", nth=1):
        with pytest.raises(InjectedFault, match="db does not open"):
            container.db()
        assert container.db() == "the real one"
    with recording() as record, lifespan(App) as container, Faults(App).fail("db", "close"):
        assert container.db() == "the real one"
    record.assert_all_closed()


def test_a_resource_of_the_process_that_is_open_already_is_the_runs_own_with_a_fault():
    with lifespan(Shared, share=False):
        assert model() == "model, user of model"
        faults = Faults(Shared).fail("model", "open")
        with faults, lifespan(Shared, share=False) as own, pytest.raises(InjectedFault):
            own.user()
        faults = Faults(Deriving).fail("model", "close")
        with faults, pytest.raises(InjectedFault), lifespan(Deriving, share=False) as own:
            assert own.user() == "user of model"
        assert LOG == ["open model", "open model", "close model"]
        assert model() == "model, user of model"
    assert LOG == ["open model", "open model", "close model", "close model"]


def test_a_resource_of_the_process_that_is_not_open_yet_meets_the_fault_in_an_open_lifespan():
    with lifespan(Deriving) as container, Faults(Deriving).fail("model", "open", nth=1):
        with pytest.raises(InjectedFault):
            container.model()
        assert container.model() == "model"
    assert LOG == ["open model", "close model"]


def everywhere(function: Callable[[], bool]) -> list[bool]:
    """What a function returns here, in a thread, and in a context that was made before."""
    found: list[bool] = [function()]
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(10)
    return [*found, contextvars.Context().run(function)]


def test_they_are_in_force_in_every_thread_and_context_and_gone_from_all():
    with Faults(App).fail("db", "open"):
        assert everywhere(lambda: fails(App)) == [True, True, True]
    assert everywhere(lambda: fails(App)) == [False, False, False]


def test_each_leaving_ends_its_own_entering_in_whatever_order_and_thread():
    faults = Faults(App).fail("db", "open")
    barrier = threading.Barrier(2)

    def first() -> None:
        with faults:
            barrier.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    with faults:
        barrier.wait(10)
        thread.join(10)
        assert fails(App), "it is still entered here"
    assert not fails(App)

    fails_to_open, slow = Faults(App).fail("db", "open"), Faults(App).delay("db", "close", 0)
    fails_to_open.__enter__()
    slow.__enter__()
    fails_to_open.__exit__(None, None, None)
    assert not fails(App), "what is still entered does not bring it back"
    slow.__exit__(None, None, None)


def test_what_is_entered_twice_strikes_once_and_counts_once():
    faults = Faults(App).fail("db", "open", nth=2)
    with faults, faults:
        assert [fails(App) for _ in range(3)] == [False, True, False]


def test_several_faults_objects_all_strike():
    with Faults(App).fail("db", "close"), Faults(App).fail("db", "open", nth=1):
        assert fails(App)
        with pytest.raises(InjectedFault), lifespan(App):
            pass


def test_a_closing_fails_of_what_was_opened_meanwhile_though_they_have_been_left():
    with Faults(App).fail("db", "close"):
        entered = lifespan(App)
        entered.__enter__()
    with pytest.raises(InjectedFault, match="db does not close"):
        entered.__exit__(None, None, None)
