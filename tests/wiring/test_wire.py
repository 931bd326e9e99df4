"""Functions with dependency-injector's own `@inject` get the resources of the lifespan in force where they are called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

import prefect_lifespan
from prefect_lifespan import LifespanError, Provide, lifespan, override, wire
from tests.wiring import wired_services
from tests.wiring.wired_services import Jobs, Services, events


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    events.clear()


@pytest.fixture
def wired() -> Iterator[None]:
    with wire(Services, modules=[wired_services]):
        yield


def test_a_wired_function_gets_the_open_resource_of_the_lifespan(wired: None) -> None:
    with lifespan(Services, eager=[Services.db]):
        assert wired_services.query("orders") == "orders in db at main"
        assert wired_services.query("customers") == "customers in db at main"
    assert events == ["open main", "close main"]


def test_what_is_not_open_opens_at_first_use_and_once(wired: None) -> None:
    with lifespan(Services, eager=False):
        assert events == []
        wired_services.query("orders")
        wired_services.query("orders")
    assert events == ["open main", "close main"]


def test_every_kind_of_marker_is_served(wired: None) -> None:
    with lifespan(Services, eager=False):
        assert wired_services.everything() == ("db at main", "db at main", 3, "db at mail", "db at main", "main")


def test_an_asynchronous_function_gets_asynchronous_resources(wired: None) -> None:
    async def main() -> None:
        async with lifespan(Services, eager=False):
            assert await wired_services.ask() == ("api", "db at main")
            assert await wired_services.ask() == ("api", "db at main")

    asyncio.run(main())
    assert events.count("open api") == events.count("close api") == 1


def test_two_lifespans_that_overlap_in_two_threads_each_serve_their_own_callers(wired: None) -> None:
    both_open = threading.Barrier(2, timeout=60)
    answers: dict[str, str] = {}

    def run(url: str) -> None:
        with lifespan(Services, eager=False, overrides={"config": {"url": url, "retries": "1"}}):
            both_open.wait()
            answers[url] = wired_services.query("orders")
            both_open.wait()

    threads = [threading.Thread(target=run, args=(url,)) for url in ("north", "south")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"north": "orders in db at north", "south": "orders in db at south"}
    assert sorted(events) == ["close north", "close south", "open north", "open south"]


def test_an_option_of_the_configuration_is_read_anew_in_each_lifespan(wired: None) -> None:
    for retries in (1, 2):
        with lifespan(Services, eager=False, overrides={"config": {"url": "x", "retries": retries}}):
            assert wired_services.everything()[2] == retries


def test_an_override_inside_an_open_lifespan_is_seen_and_undone(wired: None) -> None:
    with lifespan(Services, eager=False):
        with override(Services, db="a fake"):
            assert wired_services.query("orders") == "orders in a fake"
        assert wired_services.query("orders") == "orders in db at main"


def test_a_closing_marker_leaves_the_resource_to_the_lifespan(wired: None) -> None:
    with lifespan(Services, eager=False):
        assert wired_services.closing() == wired_services.closing() == "db at main"
        assert events == ["open main"]
    assert events == ["open main", "close main"]


def test_outside_any_lifespan_the_error_says_what_to_do(wired: None) -> None:
    with pytest.raises(
        LifespanError, match=r"a wired function asks for Services\.db, and no lifespan .* in force here"
    ):
        wired_services.query("orders")


def test_an_explicit_argument_needs_no_lifespan(wired: None) -> None:
    assert wired_services.query("orders", db="mine") == "orders in mine"


def test_unwiring_leaves_the_function_as_it_was() -> None:
    wiring = wire(Services, modules=[wired_services])
    wiring.unwire()
    with lifespan(Services, eager=False):
        assert "Provide" in wired_services.query("orders")
    assert events == []


def test_wiring_again_after_unwiring_works() -> None:
    for _ in range(2):
        with wire(Services, modules=[wired_services]), lifespan(Services, eager=False):
            assert wired_services.query("orders") == "orders in db at main"


def test_what_is_no_container_class_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a container class"):
        wire(Services(), modules=[wired_services])  # pyright: ignore[reportArgumentType]


def test_a_wired_function_in_a_flow_that_is_drawn_opens_nothing(wired: None) -> None:
    from prefect.utilities.visualization import TaskVizTracker

    with lifespan(Services, eager=False), TaskVizTracker():
        wired_services.query("orders")
    assert events == []


def test_a_wired_function_gets_the_task_resource_of_the_call_it_is_in() -> None:
    @prefect_lifespan.inject
    def call(session: str = Provide[Jobs.session]) -> bool:
        return wired_services.save() is session

    with wire(Jobs, modules=[wired_services]), lifespan(Jobs):
        assert call()
        assert call()
    assert events == ["open session", "close session"] * 2


def test_a_wired_function_in_no_such_call_is_given_no_task_resource_that_all_tasks_would_share() -> None:
    with (
        wire(Jobs, modules=[wired_services]),
        lifespan(Jobs),
        pytest.raises(LifespanError, match="TaskResource: it lives as long as a task run or an injected call"),
    ):
        wired_services.save()
    assert events == []
