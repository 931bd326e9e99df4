"""Generators that run each of their steps under something, and whose caller goes on without it between two of them."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, NamedTuple

from prefect_lifespan.managers import GeneratorManager
from prefect_lifespan.signal_safe import awaited_within, within

InForce = Callable[[], GeneratorManager[None]]
Steps = AsyncGenerator[Any, Any]


async def _nothing(_: BaseException | None) -> None: ...


class AsyncSteps(NamedTuple):
    """An asynchronous generator whose steps `begin` gives: `aclose` is due whatever comes of that.

    Python has no `yield from` for them, so whoever yields them is the one to close.
    """

    begin: Callable[[], Awaitable[Steps]]
    aclose: Callable[[BaseException | None], Awaitable[None]] = _nothing


def stepping(generator: Generator[Any, Any, Any], in_force: InForce) -> Generator[Any, Any, Any]:
    """Run a generator with `in_force()` entered in each of its steps, and not for its caller between them."""
    step = functools.partial(next, generator)
    while True:
        try:
            item = within(in_force(), lambda _, step=step: step())
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            within(in_force(), lambda _: generator.close())
            raise
        except BaseException as error:
            step = functools.partial(generator.throw, error)
        else:
            step = functools.partial(generator.send, sent)


async def astepping(generator: AsyncGenerator[Any, Any], in_force: InForce) -> AsyncGenerator[Any, Any]:
    """The same for an asynchronous generator."""
    step = functools.partial(anext, generator)
    while True:
        try:
            item = await awaited_within(in_force(), lambda _, step=step: step())
        except StopAsyncIteration:
            return
        try:
            sent = yield item
        except GeneratorExit:
            await awaited_within(in_force(), lambda _: generator.aclose())
            raise
        except BaseException as error:
            step = functools.partial(generator.athrow, error)
        else:
            step = functools.partial(generator.asend, sent)
