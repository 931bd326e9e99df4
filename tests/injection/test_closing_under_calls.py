"""Threads that call while another one closes: whoever begins after that is told so, whatever was kept for the calls before."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Iterator

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanClosedError, Provide, inject, lifespan

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
