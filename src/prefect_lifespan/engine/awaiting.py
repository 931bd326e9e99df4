"""Awaiting what ends elsewhere: in another thread, or whatever cancels the caller meanwhile.

An exception of a signal's handler that is raised in a callback of the loop is logged there and lost, with all that the
callback was to do. So the callbacks are the standard library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def uninterrupted(
    work: Coroutine[Any, Any, T], then: Callable[[T], object] = lambda _: None
) -> BaseException | None:
    """Await `work` to its end although the caller is cancelled meanwhile, and hand its result to `then`.

    Returns the cancellation, which is to go on.
    """
    task = asyncio.get_running_loop().create_task(work)
    interruption: BaseException | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as cancelled:
            interruption = interruption or cancelled
    then(task.result())
    return interruption


async def cancelled(
    tasks: Collection[asyncio.Task[None]], interrupted: Callable[[BaseException | None], object]
) -> None:
    """Cancel tasks and await their end, and hand on what interrupts that, or has ended one: a signal that nobody has heard of."""
    for task in tasks:
        task.cancel()
    if tasks:
        interrupted(await uninterrupted(asyncio.wait(tasks)))
    for error in [task.exception() for task in tasks if not task.cancelled()]:
        if not isinstance(error, Exception):
            interrupted(error)


def end_of(future: Future[Any], *, in_this_thread: bool = False) -> asyncio.Future[Future[Any]]:
    """Done on the running loop when a future is, which it gives: its result or exception is asked of that.

    `asyncio.wrap_future` hands on a new exception in the place of some, without cause and traceback. `in_this_thread`
    says that no other thread ends it.
    """
    loop = asyncio.get_running_loop()
    end: asyncio.Future[Future[Any]] = loop.create_future()
    note_end: Callable[[Future[Any]], object] = partial(cast("Any", loop.call_soon_threadsafe), end.set_result)

    def tell(done: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has closed since: nobody waits any more
            note_end(done)

    # A signal's handler interrupts the main thread only, where a callback of ours could be what it interrupts.
    future.add_done_callback(note_end if in_this_thread else tell)
    return end
