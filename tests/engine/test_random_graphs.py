"""Over random graphs of both kinds: order is respected, closing reverses it, a failure closes exactly what was opened."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from dependency_injector import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run, turns

NONE = -1


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[bool, set[int], int]], list[int]]:
    """Nodes that need earlier ones, directly (0), through a factory (1) or an attribute (2), and a declaration order."""
    size = draw(st.integers(1, 10))
    nodes = [
        (
            draw(st.booleans()),
            draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set[int](),
            draw(st.integers(0, 2)),
        )
        for number in range(size)
    ]
    return nodes, draw(st.permutations(range(size)))


def through(how: int, provider: Any) -> Any:
    return [provider, providers.Factory(dict, a=provider), provider.provided.upper][how]


def fails(*_: object) -> None:
    raise OSError("on purpose")


def container_of(graph: Any, journal: Journal, *, only_blocking: bool, failing: int = NONE) -> Any:
    nodes, order = graph
    made: list[Any] = []

    for number, (asynchronous, needs, how) in enumerate(nodes):
        make = journal.asynchronous if asynchronous and not only_blocking else journal.blocking
        initialiser = fails if number == failing else make(str(number))
        made.append(providers.Resource(initialiser, *(through(how, made[needed]) for needed in sorted(needs))))
    return declare(**{f"r{number}": made[number] for number in order})


def check_order(graph: Any, journal: Journal) -> None:
    opened, closed = journal.opened, journal.closed
    assert len(set(opened)) == len(opened)
    assert sorted(closed) == sorted(opened), "exactly what was opened is closed, once"
    for number, (_, needs, _) in enumerate(graph[0]):
        for needed in needs:
            if str(number) in opened:
                assert opened.index(str(needed)) < opened.index(str(number))
                assert closed.index(str(needed)) > closed.index(str(number))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(NONE, 9), st.sampled_from([1, 3]))
def test_without_a_loop(graph: Any, failing: int, workers: int) -> None:
    journal = Journal()
    engine = engine_of(container_of(graph, journal, only_blocking=True, failing=failing), max_workers=workers)
    outcome: BaseException | None = None
    try:
        open_all(engine)
    except OSError as error:
        outcome = error
    assert (outcome is not None) == (0 <= failing < len(graph[0]))
    engine.close(outcome).settle()
    check_order(graph, journal)
    if workers == 1:
        assert journal.closed == journal.opened[::-1]
    if outcome is None:
        assert len(journal.opened) == len(graph[0])


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(NONE, 9), st.sampled_from([1, 3]))
def test_on_a_loop(graph: Any, failing: int, workers: int) -> None:
    journal = Journal()

    async def main() -> None:
        container = container_of(graph, journal, only_blocking=False, failing=failing)
        engine = async_engine_of(container, max_workers=workers)
        outcome: BaseException | None = None
        try:
            await aopen_all(engine)
        except OSError as error:
            outcome = error
        assert (outcome is not None) == (0 <= failing < len(graph[0]))
        (await engine.aclose(outcome)).settle()
        if outcome is None:
            assert len(journal.opened) == len(graph[0])

    run(main)
    check_order(graph, journal)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.data())
def test_first_use_opens_just_what_is_needed(graph: Any, data: st.DataObject) -> None:
    journal = Journal()
    container: Any = (engine := engine_of(container_of(graph, journal, only_blocking=True))).instance
    wanted = data.draw(st.integers(0, len(graph[0]) - 1))
    assert getattr(container, f"r{wanted}")() == str(wanted)
    needed, todo = set[int](), [wanted]
    while todo:
        number = todo.pop()
        needed.add(number)
        todo += graph[0][number][1]
    assert set(journal.opened) == {str(number) for number in needed}
    engine.close().settle()
    assert journal.closed == journal.opened[::-1]


async def hangs(*_: object) -> None:
    await asyncio.Event().wait()


async def afails(*_: object) -> None:
    await turns(3)
    raise OSError("on purpose")


async def translates(*_: object) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise OSError("on purpose") from None


WAYS = ["opens", "opens", "opens", "blocking", "fails", "afails", "hangs", "translates", "stubborn"]


def way_of(way: str, name: str, journal: Journal) -> Any:
    """An initialiser that opens, fails, or hangs until it is cancelled, and then ends by it, fails or opens."""
    if way == "stubborn":
        return journal.stubborn(name).provides
    makers = {"opens": journal.asynchronous, "blocking": journal.blocking}
    return makers[way](name) if way in makers else globals()[way]


@pytest.mark.timeout(120, method="thread")
@settings(max_examples=150, deadline=None)
@given(graphs(), st.data(), st.sampled_from([1, 3]), st.booleans())
def test_openings_that_fail_hang_or_ignore_their_cancellation(
    graph: Any, data: st.DataObject, workers: int, eager: bool
) -> None:
    """Opened by one, or used first by three at once, each of which is cancelled at some turn, if nothing fails before."""
    journal = Journal()
    nodes, order = graph
    made: list[Any] = []
    for number, (_, needs, how) in enumerate(nodes):
        initialiser = way_of(data.draw(st.sampled_from(WAYS)), str(number), journal)
        made.append(providers.Resource(initialiser, *(through(how, made[needed]) for needed in sorted(needs))))
    cancelled_after = data.draw(st.lists(st.integers(0, 15), min_size=1, max_size=1 if eager else 3))
    close_first = data.draw(st.booleans())

    async def main() -> None:
        engine = async_engine_of(declare(**{f"r{number}": made[number] for number in order}), max_workers=workers)
        opening = aopen_all if eager else lambda engine: engine.aopen(engine.eager(), "first use")
        callers: list[asyncio.Task[Any]] = []
        for count in cancelled_after:
            callers.append(asyncio.create_task(opening(engine)))
            await turns(count)
        if not eager and close_first:
            (await engine.aclose()).settle()
        for caller in callers:
            caller.cancel()
            with suppress(OSError, asyncio.CancelledError, LifespanClosedError):
                await caller
        (await engine.aclose()).settle()

    run(main)
    check_order(graph, journal)
