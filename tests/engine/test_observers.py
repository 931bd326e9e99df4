"""Observers: who hears of openings and closings, what an event says of them, and that it can travel."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Generator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Event, UsageError, observe
from prefect_lifespan.engine import Engine, Observers, Options, logging_to, observers
from prefect_lifespan.engine.events import NOBODY
from prefect_lifespan.lifetimes import Lifetime, Policy, TaskResource
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run


def failing_to_close() -> Generator[str]:
    password = "hunter22"
    yield "db"
    raise OSError(f"cannot say goodbye to postgresql://me:{password}@db/app")


def test_observers_of_a_lifespan_hear_of_that_one_and_those_of_the_process_of_all() -> None:
    journal, one, other, all_of_them = Journal(), list[Event](), list[Event](), list[Event]()
    container = declare(db=journal.resource("db"))
    with observe(all_of_them.append):
        for events in (one, other):
            engine = engine_of(container, events=events)
            open_all(engine)
            engine.close()
    assert [event.kind for event in one] == [event.kind for event in other] == ["opened", "closed"]
    assert all_of_them == one + other
    engine = engine_of(container)
    open_all(engine)
    engine.close()
    assert len(all_of_them) == 4  # nobody listens any more


def test_what_stands_on_a_lifespan_tells_the_same_observers() -> None:
    journal, events = Journal(), list[Event]()
    engine = engine_of(declare(session=TaskResource(journal.blocking("session"))), events=events)
    view = engine.derive(lambda node: True, name="a task")
    view.serves_tasks = True
    view.demand(next(iter(view.slots.values())))
    view.close()
    engine.close()
    assert [(event.kind, event.lifespan) for event in events] == [("opened", "a task"), ("closed", "a task")]


def test_on_an_event_loop_the_same_is_told() -> None:
    journal, events = Journal(), list[Event]()

    async def main() -> None:
        engine = async_engine_of(
            declare(db=journal.async_resource("db"), plain=journal.resource("plain")), events=events
        )
        await aopen_all(engine)
        await engine.aclose()

    run(main)
    assert sorted((event.kind, event.path) for event in events) == [
        *(("closed", "db"), ("closed", "plain"), ("opened", "db"), ("opened", "plain")),
    ]


def test_an_event_says_what_happened_when_and_where_and_is_data_that_travels() -> None:
    events, before = list[Event](), time.time()
    engine = engine_of(declare(db=providers.Resource(failing_to_close)), events=events)
    open_all(engine)
    engine.close()
    opened, failed = events
    assert (opened.kind, failed.kind, failed.container, failed.path) == ("opened", "close-failed", "App", "db")
    assert before <= opened.at <= failed.at <= time.time()
    assert opened.pid == os.getpid()
    assert failed.error_type == "OSError"
    assert failed.error_text == "cannot say goodbye to postgresql://me:***@db/app"
    left, arrived = (pickle.loads(pickle.dumps(event)) for event in events)  # noqa: S301
    assert [left, arrived] == events
    assert left.opening == arrived.opening
    assert "in failing_to_close" in failed.error_traceback
    assert failed.text.endswith(failed.error_traceback)
    assert b"hunter22" not in pickle.dumps(events)


def test_observers_that_raise_are_dropped_with_one_line_each_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal, calls, events = Journal(), list[str](), list[Event]()

    def failing(event: Event) -> None:
        calls.append(event.path)
        raise RuntimeError("api_key=hunter22")

    engine = engine_of(declare(one=journal.resource("one"), two=journal.resource("two")), events=events)
    engine.options.observers.add(failing)
    with caplog.at_level(logging.ERROR), observe(failing):
        open_all(engine)
        engine.close()
    assert calls == ["one", "one"]
    assert [event.kind for event in events] == ["opened", "opened", "closed", "closed"]
    assert [record.message for record in caplog.records] == [
        "An observer raised and is dropped: RuntimeError: api_key=***"
    ] * 2


def test_where_nobody_hears_of_it_nothing_is_made_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of a `TaskResource` are of the level DEBUG, and the log is at INFO."""
    made: list[str] = []
    make = Event.__init__

    def making(event: Event, kind: Any, container: str, path: str, *args: Any, **values: Any) -> None:
        made.append(f"{kind} {path}")
        make(event, kind, container, path, *args, **values)

    monkeypatch.setattr(Event, "__init__", making)
    monkeypatch.setattr(observers, "observers", ())  # without the leak check of the tests themselves
    logger = logging.getLogger("a log of the level INFO")
    logger.setLevel(logging.INFO)
    container = declare(db=providers.Resource(lambda: "db"), session=TaskResource(lambda: "session"))
    engine = Engine.of(container, name="the run", options=Options(Policy(), log=logging_to(logger)))
    open_all(engine)
    view = engine.derive(lambda node: node.lifetime is Lifetime.TASK, name="a task", log=logging_to(logger))
    view.serves_tasks = True
    for slot in view.slots.values():
        view.demand(slot)
    view.close()
    engine.close()
    assert made == ["opened db", "closed db"]


def test_an_observer_may_have_attributes_of_any_name() -> None:
    """Ones of the library's own are asked by `hears`, and told by `used`."""

    class Counting:
        hears, used = "all", 0

        def __call__(self, event: Event) -> None:
            self.used += 1

    counting = Counting()
    heard = Observers([counting])
    assert not heard.hear_uses
    assert heard.hear(logging.DEBUG)
    heard.tell_use(("db",), NOBODY)
    heard.tell(Event("opened", "App", "db", 0.0))
    assert (counting.used, heard.observers) == (1, (counting,))


async def asynchronous(event: Event) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(("observer", "why"), [("log", "str cannot be called"), (asynchronous, "nobody awaits it")])
def test_what_is_no_observer_is_refused(observer: Any, why: str) -> None:
    from prefect_lifespan import lifespan

    with pytest.raises(UsageError, match=why), observe(observer):
        raise NotImplementedError
    with pytest.raises(UsageError, match=why):
        lifespan(containers.DeclarativeContainer, observers=[observer])
    with pytest.raises(UsageError, match="give a list of them"):
        lifespan(containers.DeclarativeContainer, observers=print)  # pyright: ignore[reportArgumentType]
