"""A signal where the main thread asks for what another one ends: that is not held up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

import pytest

from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.signal_safe import Promise
from tests.interrupting import interrupted_at, returns


def ask_to_be_told(future: Future[Any]) -> None:
    future.add_done_callback(lambda _: None)


@pytest.mark.parametrize("ask", [ask_to_be_told, Future.done, Future.cancelled])
@pytest.mark.parametrize(
    "make", [Promise, partial(Slot.new_waiter, cast("Any", None))], ids=["of a thread", "of an opening"]
)
def test_another_thread_ends_it_wherever_a_signal_has_come(
    make: Callable[[], Future[Any]], ask: Callable[[Future[Any]], object]
) -> None:
    def was_interrupted(number: int, future: Future[Any]) -> bool:
        return interrupted_at(number, partial(ask, future), "futures/_base.py", only_doors=True)

    number, future = 1, make()
    while was_interrupted(number, future):
        assert returns(partial(future.set_result, None)), f"a signal at step {number} holds it up"
        number, future = number + 1, make()
    assert returns(partial(future.set_result, None))
