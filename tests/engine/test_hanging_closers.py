"""A closer that hangs costs its own limit: what has a thread of its own closes all the same, in its turn."""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.errors import ResourceTimeoutError
from tests.engine.support import (
    PATIENCE_SECONDS,
    aopen_all,
    async_engine_of,
    declare,
    engine_of,
    in_threads,
    open_all,
    run,
)

LIMIT = 0.5


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hangs goes on when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def with_workers(container: Any) -> CloseReport:
    engine = engine_of(container, max_workers=2, close_timeout_seconds=LIMIT)
    open_all(engine)
    return engine.close()


def at_first_use(container: Any) -> CloseReport:
    """In threads, where there is one worker."""
    engine = engine_of(container, close_timeout_seconds=LIMIT)
    for name in container.providers:
        in_threads(1, getattr(engine.instance, name))
    return engine.close()


def with_workers_on_a_loop(container: Any) -> CloseReport:
    async def main() -> CloseReport:
        engine = async_engine_of(container, max_workers=2, close_timeout_seconds=LIMIT)
        await aopen_all(engine)
        return await engine.aclose()

    report: CloseReport = run(main)
    return report


def in_a_worker_process(container: Any) -> CloseReport:
    """There no thread is the lifespan's own."""
    engine = engine_of(container, close_timeout_seconds=LIMIT)
    engine.schedule.home_thread = None
    open_all(engine)
    return engine.close()


WAYS = [with_workers, at_first_use, with_workers_on_a_loop, in_a_worker_process]


@pytest.mark.parametrize("chained", [False, True], ids=["independent", "chained"])
@pytest.mark.parametrize("way", WAYS)
def test_what_has_a_thread_of_its_own_closes_behind_one_that_hangs(
    way: Callable[[Any], CloseReport], chained: bool, released: threading.Event
) -> None:
    closed: list[str] = []

    def initialiser(name: str, *_: object) -> Generator[str]:
        thread = threading.current_thread()
        yield name
        if name == "r5":
            released.wait()
        assert threading.current_thread() is thread
        closed.append(name)

    declared: dict[str, Any] = {}
    for number in range(6):
        needs = [declared[f"r{number - 1}"]] if chained and number else []
        declared[f"r{number}"] = providers.Resource(initialiser, f"r{number}", *needs)
    report = way(declare(**declared))
    assert [type(error) for error in report.raising] == [ResourceTimeoutError]
    assert "App.r5 did not close" in str(report.raising[0])
    assert sorted(closed) == ["r0", "r1", "r2", "r3", "r4"]
    if chained:
        assert closed == ["r4", "r3", "r2", "r1", "r0"]


def test_what_shares_the_thread_of_one_that_hangs_is_an_error_without_a_wait(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beyond the most threads that there are: what stays in its thread cannot be moved, and closes if that goes on."""
    monkeypatch.setattr("prefect_lifespan.engine.threads._MOST_THREADS", 1)
    closed = threading.Event()

    def hangs() -> Generator[None]:
        yield
        released.wait()

    def waits() -> Generator[None]:
        yield
        closed.set()

    container = declare(a=providers.Resource(waits), b=providers.Resource(hangs))
    engine = engine_of(container, close_timeout_seconds=LIMIT)
    for name in ("a", "b"):
        in_threads(1, getattr(engine.instance, name))
    report = engine.close()
    assert [str(error).split(". Raise")[0] for error in report.raising] == [
        f"App.b did not close within {LIMIT:g} s",
        f"App.a did not close within {LIMIT:g} s. Still at it: App.b",
    ]
    released.set()
    assert closed.wait(PATIENCE_SECONDS)


def test_a_thousand_open_resources_share_a_bounded_number_of_threads() -> None:
    threads: set[int] = set()

    def initialiser() -> Generator[None]:
        threads.add(threading.get_ident())
        yield

    engine = engine_of(
        declare(**{f"r{number}": providers.Resource(initialiser) for number in range(1000)}), max_workers=2
    )
    open_all(engine)
    assert len(threads) == 64
    engine.close().settle()


def test_what_needs_no_closing_keeps_no_thread() -> None:
    threads: set[int] = set()

    def initialiser() -> None:
        threads.add(threading.get_ident())

    engine = engine_of(declare(**{f"r{number}": providers.Resource(initialiser) for number in range(50)}))
    engine.schedule.home_thread = None
    open_all(engine)
    engine.close().settle()
    assert len(threads) == 1


def test_a_thread_is_free_again_when_what_was_open_in_it_has_closed() -> None:
    threads: set[int] = set()

    def initialiser() -> Generator[None]:
        threads.add(threading.get_ident())
        yield

    engine = engine_of(declare(**{f"r{number}": providers.Resource(initialiser) for number in range(5)}))
    engine.schedule.home_thread = None
    for provider in engine.instance.providers.values():
        resource: Any = provider
        resource.init()
        resource.shutdown()
    engine.close().settle()
    assert len(threads) == 1
