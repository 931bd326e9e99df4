"""Generators whose steps each run inside a context manager, which is left whenever their caller has its turn."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

InForce = Callable[[], AbstractContextManager[None]]


def stepping(generator: Generator[Any, Any, Any], in_force: InForce) -> Generator[Any, Any, Any]:
    """Run a generator with `in_force()` entered in each of its steps, and not for its caller between them."""
    step = functools.partial(next, generator)
    while True:
        with in_force():
            try:
                item = step()
            except StopIteration as stop:
                return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            with in_force():
                generator.close()
            raise
        except BaseException as error:
            step = functools.partial(generator.throw, error)
        else:
            step = functools.partial(generator.send, sent)


async def astepping(generator: AsyncGenerator[Any, Any], in_force: InForce) -> AsyncGenerator[Any, Any]:
    """The same for an asynchronous generator."""
    step = functools.partial(anext, generator)
    while True:
        with in_force():
            try:
                item = await step()
            except StopAsyncIteration:
                return
        try:
            sent = yield item
        except GeneratorExit:
            with in_force():
                await generator.aclose()
            raise
        except BaseException as error:
            step = functools.partial(generator.athrow, error)
        else:
            step = functools.partial(generator.asend, sent)
