"""A recording sees every opening and closing of the process while it is entered, and says what is missing."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan, override
from prefect_lifespan.engine import observers
from prefect_lifespan.engine.events import Happening, watchers
from prefect_lifespan.testing import Event, recording


def opened(*needs: Any) -> Iterator[str]:
    yield "opened"


async def opened_on_a_loop(*needs: Any) -> AsyncIterator[str]:
    yield "opened on a loop"


def failing_to_close() -> Iterator[str]:
    yield "opened"
    raise OSError("disk full")


class Api(containers.DeclarativeContainer):
    client = providers.Resource(opened)


class App(containers.DeclarativeContainer):
    model = ProcessResource(opened)
    api = providers.Container(Api)
    db = providers.Resource(opened, api.container.client)
    session = TaskResource(opened, db)


class Asynchronous(containers.DeclarativeContainer):
    first = providers.Resource(opened_on_a_loop)
    blocking = providers.Resource(opened)


class Other(containers.DeclarativeContainer):
    cache = providers.Resource(opened)


class Broken(containers.DeclarativeContainer):
    db = providers.Resource(failing_to_close)


@inject
def work(session: str = Provide[App.session], model: str = Provide[App.model]) -> str:
    return session


def test_resources_of_runs_tasks_and_the_process_are_seen_in_their_order():
    with recording() as record, lifespan(App):
        work()
        assert record.still_open == ["api.client", "db", "model"]
    assert record.opened == ["api.client", "db", "session", "model"]
    assert record.closed == ["session", "db", "api.client", "model"]
    assert record.still_open == []


def test_asynchronous_resources_and_those_in_lanes_are_seen():
    async def main() -> None:
        async with lifespan(Asynchronous):
            assert set(record.still_open) == {"first", "blocking"}

    with recording() as record:
        asyncio.run(main())
        record.assert_all_closed()
        with lifespan(App, max_workers=2):
            assert record.still_open == ["api.client", "db"]
    assert {"first", "blocking", "db"} <= set(record.closed)


def test_other_threads_are_seen_and_other_containers_are_where_none_is_named():
    def run() -> None:
        with lifespan(App), lifespan(Other):
            pass

    with recording() as everything, recording(App) as mine:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(10)
    assert set(everything.opened) == {"api.client", "db", "cache"}
    assert mine.opened == ["api.client", "db"]


def test_a_container_is_the_class_and_those_that_derive_from_it_and_not_its_name():
    class Deriving(App):
        cache = providers.Resource(opened)

    mine = App

    def named_alike() -> Any:
        class App(containers.DeclarativeContainer):
            db = providers.Resource(opened)

        App.__qualname__ = mine.__qualname__
        return App

    with recording(App) as record, lifespan(named_alike()), lifespan(Other):
        assert str(record) == "recorded:\n  nothing"
    with recording(App) as record, recording(Deriving) as derived, lifespan(Deriving):
        pass
    record.assert_opened("api.client", "db", "cache")
    derived.assert_opened("api.client", "db", "cache")
    with recording(Deriving) as derived, lifespan(App):
        pass
    derived.assert_opened()


def test_what_lives_as_long_as_the_process_is_that_of_all_classes_that_inherit_it():
    class Deriving(App):
        other = ProcessResource(opened)

    with recording(App) as record, recording(Deriving) as derived, lifespan(Deriving, eager=False) as container:
        container.model()
        container.other()
    assert (record.opened, sorted(record.closed)) == (["model", "other"], ["model", "other"])
    assert derived.opened == ["model", "other"]
    with recording(Deriving) as derived, recording(Other) as other, lifespan(App, eager=False) as container:
        container.model()
    assert (derived.opened, derived.closed) == (["model"], ["model"])
    assert other.events == []


def test_a_recording_that_is_entered_twice_records_once_until_it_is_left_twice():
    record = recording(Other)
    with record:
        with record, lifespan(Other):
            pass
        record.assert_opened("cache")
        with lifespan(Other):
            pass
    with lifespan(Other):
        pass
    record.assert_opened("cache", "cache")


def test_a_closing_tells_the_outcome_and_each_event_its_lifespan_and_seconds():
    error = ValueError("of the body")
    with recording(Other) as record, pytest.raises(ValueError, match="of the body"), lifespan(Other):
        raise error
    opening, closing = record.of("cache")
    assert (opening.kind, closing.kind) == ("opened", "closed")
    assert (opening.outcome, closing.outcome) == (None, error)
    assert (opening.outcome_type, closing.outcome_type) == ("", "ValueError")
    assert opening.lifespan == "`with lifespan(Other)`"
    assert opening.opening == closing.opening
    assert (opening.container, opening.resource) == ("Other", "cache")
    assert 0 <= opening.seconds < 1


def test_an_overriding_resource_goes_by_the_path_of_what_it_overrides():
    with override(App, {"api.client": providers.Resource(opened)}), recording() as record, lifespan(App):
        assert record.opened == ["api.client", "db"]
        assert record.events[0].resource == "api.client(override)"


def test_failures_and_retries_are_events_and_not_openings():
    broken = override(Other, cache=providers.Resource(lambda: 1 / 0))
    with recording() as record, broken, pytest.raises(ZeroDivisionError):
        lifespan(Other, retries=1, retry_delay_seconds=0).__enter__()
    assert [event.kind for event in record.of("cache")] == ["open-retried", "open-failed"]
    assert record.events[-1].error == "ZeroDivisionError: division by zero"
    assert isinstance(record.events[-1].raised, ZeroDivisionError)
    assert record.opened == record.closed == record.still_open == []


def test_what_happens_before_and_afterwards_is_not_recorded():
    with lifespan(Other), recording() as record:
        pass
    with lifespan(Other):
        pass
    assert record.events == []


def test_an_assertion_that_fails_says_what_was_recorded():
    with recording() as record, lifespan(App):
        record.assert_opened("api.client", "db")
        record.assert_closed()
        with pytest.raises(AssertionError) as failed:
            record.assert_opened("db")
        with pytest.raises(AssertionError, match=r"api.client opened and did not close; db opened and did not"):
            record.assert_all_closed()
        with pytest.raises(AssertionError, match="closed nothing, not db"):
            record.assert_closed("db")
    told = str(failed.value)
    assert told.startswith("opened api.client, db, not db\nrecorded:\n  Opened App.api.client in 0.0")
    assert repr(record) == str(record)
    assert str(recording()) == "recorded:\n  nothing"


def test_a_failed_closing_is_a_closing_and_not_a_clean_one():
    with recording() as record, lifespan(Broken, on_close_error="warn"):
        pass
    record.assert_closed("db")
    with pytest.raises(AssertionError, match="db failed to close\nrecorded:(.|\n)*Closing Broken.db failed after"):
        record.assert_all_closed()


def test_an_opening_told_after_its_closing_is_not_still_open_and_two_closings_are_found():
    record = recording()

    def tell(kind: Any) -> None:
        event = Event(kind, container="App", resource="db", seconds=0.0, opening="1-1")
        for watcher in watchers:
            watcher(Happening(event, None, None, None))

    with record:
        tell("closed")
        tell("opened")
        assert record.still_open == []
        tell("closed")
    with pytest.raises(AssertionError, match="db closed 2 times"):
        record.assert_all_closed()


def test_only_container_classes_are_recorded():
    with pytest.raises(TypeError, match="expected a container class"):
        recording("App")  # pyright: ignore[reportArgumentType]


def test_an_observer_that_raises_is_dropped_and_harms_nobody(caplog: pytest.LogCaptureFixture):
    calls: list[str] = []

    def failing(event: Event) -> None:
        calls.append(event.path)
        raise RuntimeError("of the observer")

    observers.add(failing)
    with caplog.at_level(logging.ERROR), recording() as record, lifespan(App):
        pass
    assert calls == ["api.client"]
    assert record.opened == ["api.client", "db"]
    assert "An observer raised and is dropped" in caplog.text
    observers.remove(failing)
