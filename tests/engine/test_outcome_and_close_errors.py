"""The outcome reaches every resource, none can swallow it, and one failing close never skips another."""

import logging
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import said_of
from prefect_lifespan.errors import ResourceCloseError
from prefect_lifespan.lifetimes import resource
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run

seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    seen.clear()
    yield
    seen.clear()


class Manager:
    def __init__(self, *, swallow: bool = False) -> None:
        self.swallow = swallow

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        assert (kind is None) == (error is None)
        assert traceback is getattr(error, "__traceback__", None)
        seen.append(repr(error))
        return self.swallow


def generator(*, swallow: bool = False) -> Generator[None]:
    try:
        yield
    except Exception as error:
        seen.append(repr(error))
        if not swallow:
            raise
    else:
        seen.append("None")


async def async_generator(*, swallow: bool = False) -> AsyncGenerator[None]:
    try:
        yield
    except Exception as error:
        seen.append(repr(error))
        if not swallow:
            raise
    else:
        seen.append("None")


manager = contextmanager(generator)
async_manager = asynccontextmanager(async_generator)


def make_async_manager(*, swallow: bool = False) -> Any:
    class Only:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *args: object) -> bool:
            return Manager(swallow=swallow).__exit__(*args)

    return Only()


KINDS: dict[str, Any] = {
    "generator": generator,
    "contextmanager": manager,
    "class": Manager,
    "async generator": async_generator,
    "asynccontextmanager": async_manager,
    "async class": make_async_manager,
}


@pytest.mark.parametrize("swallow", [False, True], ids=["raising", "swallowing"])
@pytest.mark.parametrize("failed", [False, True], ids=["well", "failed"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_outcome_reaches_it_and_closes_it_well_whether_it_would_swallow_it_or_not(
    kind: str, failed: bool, swallow: bool
) -> None:
    async def main() -> None:
        events: list[Event] = []
        initialiser = KINDS[kind]
        engine = async_engine_of(declare(a=providers.Resource(initialiser, swallow=swallow)), events=events)
        await aopen_all(engine)
        outcome = ValueError("of the body") if failed else None
        report = await engine.aclose(outcome)
        report.settle()
        assert seen == [repr(outcome)]
        assert (report.raising, report.outcome) == ([], outcome)
        assert [(event.kind, event.outcome_type) for event in events] == [
            ("opened", ""),
            ("closed", "ValueError" if failed else ""),
        ]

    run(main)


@pytest.mark.parametrize("kind", ["generator", "contextmanager", "class"])
def test_the_outcome_reaches_a_blocking_one_without_an_event_loop(kind: str) -> None:
    engine = engine_of(declare(a=providers.Resource(KINDS[kind], swallow=True)))
    open_all(engine)
    engine.close(ValueError("of the body")).settle()
    assert seen == ["ValueError('of the body')"]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_outcome_reaches_a_resource_in_a_lane(workers: int) -> None:
    engine = engine_of(declare(a=providers.Resource(generator)), max_workers=workers)
    open_all(engine)
    engine.close(ValueError("of the body")).settle()
    assert seen == ["ValueError('of the body')"]


def test_one_that_swallows_does_not_hide_the_outcome_from_the_next() -> None:
    engine = engine_of(declare(a=providers.Resource(generator), b=providers.Resource(generator, swallow=True)))
    open_all(engine)
    engine.close(ValueError("x")).settle()
    assert seen == ["ValueError('x')", "ValueError('x')"]


def broken(name: str, journal: Journal) -> Any:
    def initialiser(*_: object) -> Generator[str]:
        yield name
        journal.append(f"-{name}")
        raise OSError(f"{name} is stuck")

    return initialiser


def async_broken(name: str, journal: Journal) -> Any:
    async def initialiser(*_: object) -> AsyncGenerator[str]:
        yield name
        journal.append(f"-{name}")
        raise OSError(f"{name} is stuck")

    return initialiser


@pytest.mark.parametrize("make", [broken, async_broken], ids=["blocking", "async"])
def test_all_close_and_all_errors_are_in_one_group_each_with_a_note(make: Any) -> None:
    journal = Journal()

    async def main() -> None:
        a = providers.Resource(make("a", journal))
        b = journal.resource("b", a)
        engine = async_engine_of(declare(a=a, b=b, c=providers.Resource(make("c", journal), b)))
        await aopen_all(engine)
        with pytest.raises(ResourceCloseError) as raised:
            (await engine.aclose()).settle()
        assert raised.value.message == (
            "2 resources of App failed to close: App.c (OSError: c is stuck); App.a (OSError: a is stuck)"
        )
        assert [str(error) for error in raised.value.exceptions] == ["c is stuck", "a is stuck"]
        assert [error.__notes__ for error in raised.value.exceptions] == [
            ["while closing App.c"],
            ["while closing App.a"],
        ]

    run(main)
    assert journal.closed == ["c", "b", "a"]


def test_where_the_body_failed_its_exception_is_seen_and_the_close_errors_are_its_notes() -> None:
    journal = Journal()

    def breaks(_: object = None) -> Generator[None]:
        try:
            yield
        finally:
            raise OSError("stuck")

    engine = engine_of(declare(a=journal.resource("a"), b=providers.Resource(breaks)))
    open_all(engine)
    outcome = ValueError("of the body")
    engine.close(outcome).settle()
    assert outcome.__notes__ == ["while closing App.b, OSError was raised: stuck"]
    assert journal == ["+a", "-a"]


def test_warn_lets_the_run_succeed_and_its_log_line_is_an_error() -> None:
    journal, events = Journal(), list[Event]()
    engine = engine_of(declare(a=providers.Resource(broken("a", journal))), events=events, on_close_error="warn")
    open_all(engine)
    report = engine.close()
    report.settle()
    assert [str(error) for error in report.warned] == ["a is stuck"]
    assert (events[-1].kind, events[-1].level) == ("close-failed", logging.ERROR)


def test_a_resources_own_policy_on_close_errors_stands_over_the_lifespans() -> None:
    journal = Journal()
    lenient = resource(on_close_error="warn")(broken("a", journal))
    engine = engine_of(declare(a=providers.Resource(lenient), b=providers.Resource(broken("b", journal))))
    open_all(engine)
    with pytest.raises(OSError, match="b is stuck"):
        engine.close().settle()


def test_an_observer_that_raises_is_dropped_with_a_log_line_and_harms_no_resource(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(list[Event]):
        def append(self, event: Event, /) -> None:
            raise RuntimeError("observer")

    journal = Journal()
    engine = engine_of(declare(a=journal.resource("a"), b=journal.resource("b")), events=Bad())
    open_all(engine)
    engine.close().settle()
    assert journal == ["+a", "+b", "-b", "-a"]
    assert [record.getMessage() for record in caplog.records] == [
        "An observer raised and is dropped: RuntimeError: observer"
    ]


def test_log_lines_carry_paths_seconds_and_errors_without_their_secrets() -> None:
    secret = OSError("no password=hunter2 there")
    told = [
        Event("opened", "App", "a", 0.25).message,
        Event("open-failed", "App", "a", 0.25, **said_of(secret)).message,
        Event("open-retried", "App", "a", 0.25, **said_of(secret)).message,
        Event("closed", "App", "a", 0.25).message,
        Event("closed", "App", "a", 0.25, **said_of(None, ValueError())).message,
        Event("close-failed", "App", "a", 0.25, **said_of(secret)).message,
    ]
    assert told == [
        "Opened App.a in 0.250 s",
        "Opening App.a failed after 0.250 s: OSError",
        "Opening App.a failed after 0.250 s, and will be tried again: OSError: no password=*** there",
        "Closed App.a in 0.250 s",
        "Closed App.a in 0.250 s after a failure",
        "Closing App.a failed after 0.250 s: OSError: no password=*** there",
    ]
