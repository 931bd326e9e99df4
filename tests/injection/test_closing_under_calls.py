"""Threads that call while another one closes: whoever begins after that is told so, and nothing closes under who began before."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanClosedError, Provide, inject, lifespan
from prefect_lifespan.engine import State
from prefect_lifespan.in_flight import Calls
from prefect_lifespan.injection.call import Call
from prefect_lifespan.lifespans import futures
from prefect_lifespan.scope import activated, current_scope
from prefect_lifespan.workers.references import ScopeReference, lifespan_reference
from prefect_lifespan.workers.worker_lifespans import WorkerLifespans
from tests.overlapping import is_followed

ROUNDS = 25
THREADS = 3


class Handle:
    is_open = True


def opened() -> Iterator[Handle]:
    handle = Handle()
    yield handle
    handle.is_open = False


class App(containers.DeclarativeContainer):
    first = providers.Resource(opened)
    second = providers.Resource(opened)


@inject
def use(first: Handle = Provide[App.first], second: Handle = Provide[App.second]) -> tuple[Handle, Handle]:
    return first, second


class ClosedUnder(Exception):
    pass


def work_with(*handles: Handle) -> None:
    """Use them for a while in which other threads go on."""
    for _ in range(20):
        if not all(handle.is_open for handle in handles):
            raise ClosedUnder


@inject
def work(first: Handle = Provide[App.first]) -> None:
    work_with(first)
    try:
        work_further(first)
    except LifespanClosedError as error:
        raise ClosedUnder from error


@inject
def work_further(first: Handle, second: Handle = Provide[App.second]) -> None:
    work_with(first, second)


@inject
async def awork(first: Handle = Provide[App.first]) -> None:
    work_with(first)
    await asyncio.sleep(0)
    try:
        await awork_further(first)
    except LifespanClosedError as error:
        raise ClosedUnder from error


@inject
async def awork_further(first: Handle, second: Handle = Provide[App.second]) -> None:
    work_with(first, second)


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_call_is_given_a_value_once_its_lifespan_has_closed() -> None:
    given = 0
    late: list[LifespanClosedError] = []
    for _ in range(ROUNDS):
        is_over = threading.Event()
        ready = threading.Barrier(THREADS + 1)

        def call(ready: threading.Barrier = ready, is_over: threading.Event = is_over) -> None:
            nonlocal given
            ready.wait(10)
            while True:
                began_late = is_over.is_set()
                try:
                    use()
                except LifespanClosedError as error:
                    late.append(error)
                    return
                given += began_late

        with lifespan(App):
            use()  # what a scope keeps is there when the threads begin
            contexts = [contextvars.copy_context() for _ in range(THREADS)]
            threads = [threading.Thread(target=context.run, args=(call,)) for context in contexts]
            for thread in threads:
                thread.start()
            ready.wait(10)
            use()
        is_over.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()

    assert given == 0
    assert len(late) == ROUNDS * THREADS


def without_a_pause() -> None:
    while True:
        work()


async def awithout_a_pause() -> None:
    while True:
        await awork()


def on_a_loop_of_its_own() -> None:
    asyncio.run(awithout_a_pause())


def called_in_threads(calling: Callable[[], None], number: int) -> tuple[list[threading.Thread], list[BaseException]]:
    """Threads that call until they are refused, and how each of them has ended."""
    work()  # what a scope keeps is there when the threads begin
    return in_threads(calling, number)


def in_threads(calling: Callable[[], None], number: int) -> tuple[list[threading.Thread], list[BaseException]]:
    ends: list[BaseException] = []

    def called() -> None:
        try:
            calling()
        except BaseException as error:
            ends.append(error)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(called,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, ends


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(10)
    return not any(thread.is_alive() for thread in threads)


def test_nothing_closes_under_a_call_that_begins_as_the_last_one_ends() -> None:
    for _ in range(ROUNDS):
        with lifespan(App):
            threads, ends = called_in_threads(without_a_pause, 2)

        assert ended(threads)
        assert [type(error) for error in ends] == [LifespanClosedError] * 2


def test_nor_where_the_lifespan_closes_on_an_event_loop() -> None:
    async def closing_under_calls() -> tuple[list[threading.Thread], list[BaseException]]:
        async with lifespan(App):
            return called_in_threads(on_a_loop_of_its_own, 1)

    for _ in range(ROUNDS):
        threads, ends = asyncio.run(closing_under_calls())

        assert ended(threads)
        assert [type(error) for error in ends] == [LifespanClosedError]


class Outer(containers.DeclarativeContainer):
    outer = providers.Resource(opened)


@inject
def work_outside(outer: Handle = Provide[Outer.outer]) -> None:
    work_with(outer)


def of_more_threads_than_ever_pause(calling: Callable[[], None]) -> tuple[list[threading.Thread], list[BaseException]]:
    return in_threads(calling, 8)


@pytest.fixture
def soon_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(futures, "_PATIENCE_SECONDS", 0.1)


@pytest.mark.usefixtures("soon_impatient")
def test_calls_of_which_one_always_runs_do_not_keep_a_lifespan_from_closing(caplog: pytest.LogCaptureFixture) -> None:
    with lifespan(App):
        threads, ends = of_more_threads_than_ever_pause(without_a_pause)

    assert ended(threads)
    assert [type(error) for error in ends] == [LifespanClosedError] * 8
    assert "waits for" in caplog.text


@pytest.mark.usefixtures("soon_impatient")
def test_calls_for_an_outer_lifespan_alone_go_on_while_an_inner_one_closes_and_do_not_hold_it_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_over = threading.Event()

    def outside_without_a_pause() -> None:
        while not is_over.is_set():
            work_outside()

    with lifespan(Outer):
        with lifespan(App):
            threads, ends = of_more_threads_than_ever_pause(outside_without_a_pause)
        assert all(thread.is_alive() for thread in threads)
        # Not again for those that have begun when it lets nobody in any more.
        assert caplog.text.count("waits for") == 1
        is_over.set()
        assert ended(threads)

    assert ends == []


@pytest.mark.usefixtures("soon_impatient")
def test_a_call_that_has_begun_in_time_goes_on_calling_also_where_an_inner_lifespan_has_closed_already() -> None:
    refused = threading.Event()
    begun: list[threading.Event] = []
    given: list[bool] = []

    @inject
    def until_another_begins_or_is_refused(outer: Handle = Provide[Outer.outer]) -> None:
        if is_followed(begun, refused):
            return
        try:
            given.append(is_open_still())
        except LifespanClosedError as error:
            raise ClosedUnder from error

    @inject
    def is_open_still(outer: Handle = Provide[Outer.outer]) -> bool:
        return outer.is_open

    def without_a_pause() -> None:
        try:
            while True:
                until_another_begins_or_is_refused()
        except LifespanClosedError:
            refused.set()
            raise

    with lifespan(Outer), lifespan(App):
        threads, ends = in_threads(without_a_pause, 3)

    assert ended(threads)
    assert given
    assert all(given)
    assert [type(error) for error in ends] == [LifespanClosedError] * 3


def test_a_call_under_way_in_a_context_of_its_own_goes_on_with_what_is_open_everywhere_until_it_has_ended() -> None:
    has_begun = threading.Event()
    used: list[Handle] = []

    @inject
    def request(calls: Calls, first: Handle = Provide[App.first]) -> None:
        has_begun.set()
        while not calls.is_awaited:
            pass
        use_also()
        used.append(first)

    @inject
    def use_also(first: Handle = Provide[App.first]) -> None:
        work_with(first)
        used.append(first)

    with lifespan(App, everywhere=True):
        (in_force,) = current_scope().lifespans
        assert in_force.pending is not None
        thread = threading.Thread(target=request, args=(in_force.pending.calls,))
        thread.start()
        assert has_begun.wait(10)

    assert ended([thread])
    assert len(used) == 2
    assert used[0] is used[1]


def begin(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def begin_on_a_loop(function: Callable[[], Coroutine[Any, Any, None]]) -> threading.Thread:
    return begin(lambda: asyncio.run(function()))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_comes_into_force_everywhere_after_a_call_was_counted_closes_after_that_call_too(
    monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    is_counted, is_in_force, is_used, has_closed = (threading.Event() for _ in range(4))
    used: list[bool] = []

    class Decided(Call):
        def decide(self, flight: object = None) -> bool:
            monkeypatch.undo()
            is_counted.set()
            assert is_in_force.wait(10)
            return super().decide(flight)

    def use_until_closed(first: Handle) -> None:
        is_used.set()
        has_closed.wait(0.3)  # which does not come before this has ended
        used.append(first.is_open)

    @inject
    def request(first: Handle = Provide[App.first]) -> None:
        use_until_closed(first)

    @inject
    async def arequest(first: Handle = Provide[App.first]) -> None:
        use_until_closed(first)

    monkeypatch.setattr("prefect_lifespan.injection.call.Call", Decided)
    thread = begin_on_a_loop(arequest) if asynchronous else begin(request)
    assert is_counted.wait(10)
    with lifespan(App, everywhere=True):
        is_in_force.set()
        assert is_used.wait(10)
    has_closed.set()

    assert ended([thread])
    assert used == [True]


def test_nothing_closes_in_a_worker_process_under_a_thread_that_has_outlived_its_task() -> None:
    for number in range(ROUNDS):
        with lifespan(App):
            (in_force,) = current_scope().lifespans
            sent = lifespan_reference(in_force, None, pickle.dumps, is_stored=False)
            workers = WorkerLifespans()
            with workers.holding(ScopeReference(str(number), (sent,), (), attached=True)) as scope, activated(scope):
                threads, ends = called_in_threads(without_a_pause, 1)
            workers.end(sent.id, None, None)
            slots = scope.lifespans[0].engine.slots.values()
            assert {slot.state for slot in slots} == {State.CLOSED}

        assert ended(threads)
        assert [type(error) for error in ends] == [LifespanClosedError]
