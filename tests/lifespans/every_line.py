"""One exception, as a signal handler raises it, at each line that the library runs in the main thread: what is then left?

`python every_line.py MODES STEP OFFSET [HOW]` tries every STEP-th line from OFFSET on of each mode (parted by commas, each
in a process of its own), each in a forked child, and prints what it found as JSON, a line for each mode: how many were
tried, and the findings, each with its line. HOW is "raise", at the line itself, or
"signal": a real one arrives there, whose handler raises where it is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from dependency_injector import containers, providers

import prefect_lifespan
from prefect_lifespan import ProcessResource, Provide, TaskResource, carried, inject, lifespan
from prefect_lifespan.scope import current_scope

ROOT = os.path.dirname(prefect_lifespan.__file__)  # noqa: PTH120 - compared with the file names of code objects
PATIENCE_SECONDS = 60

opened: list[str] = []
closed: list[str] = []
failed_beside: list[str] = []  # in threads of the modes, where nobody else would hear of it


class Terminated(BaseException):
    """What a handler of SIGTERM raises."""


class Refused(Exception):
    """What an initialiser raises."""


class Connection:
    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __enter__(self) -> Any:
        opened.append(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        closed.append(self.name)


class AsyncConnection:
    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    async def __aenter__(self) -> Any:
        await asyncio.sleep(0)
        opened.append(self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        closed.append(self.name)
        await asyncio.sleep(0)


def refusing(*_: object) -> None:
    raise Refused


async def arefusing(*_: object) -> None:
    await asyncio.sleep(0)
    raise Refused


class App(containers.DeclarativeContainer):
    a = providers.Resource(Connection, "a")
    b = providers.Resource(Connection, "b", a)
    c = providers.Resource(Connection, "c")
    model = ProcessResource(Connection, "model")
    session = TaskResource(Connection, "session", b, model)


class Failing(containers.DeclarativeContainer):
    a = providers.Resource(Connection, "a")
    b = providers.Resource(refusing, a)


class AsyncApp(containers.DeclarativeContainer):
    a = providers.Resource(AsyncConnection, "a")
    b = providers.Resource(AsyncConnection, "b", a)
    c = providers.Resource(AsyncConnection, "c")
    s = providers.Resource(Connection, "s", b)
    session = TaskResource(AsyncConnection, "session", b)


class AsyncFailing(containers.DeclarativeContainer):
    a = providers.Resource(AsyncConnection, "a")
    c = providers.Resource(AsyncConnection, "c")
    b = providers.Resource(arefusing, a)


@inject
def use(session: Any = Provide[App.session]) -> None: ...


@inject
def ask(c: Any = Provide[App.c]) -> None: ...


@inject
def ask_slowly(begun: threading.Event, c: Any = Provide[App.c]) -> None:
    begun.set()
    time.sleep(0.02)


@lifespan(App)
def decorated() -> None:
    use()


def with_block() -> None:
    with lifespan(App):
        use()


def joined() -> None:
    with lifespan(App):
        decorated()


def first_use() -> None:
    with lifespan(App, eager=False):
        ask()
        use()


def in_flight() -> None:
    begun = threading.Event()
    with lifespan(App):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask_slowly, begun), daemon=True)
        thread.start()
        begun.wait()
    thread.join()


def lanes() -> None:
    with lifespan(App, max_workers=3):
        use()


def failing() -> None:
    with suppress(Refused), lifespan(Failing):
        pass


@inject
async def ause(session: Any = Provide[AsyncApp.session]) -> None: ...


@inject
async def aask(c: Any = Provide[AsyncApp.c]) -> None: ...


@inject
async def aask_slowly(c: Any = Provide[AsyncApp.c]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@lifespan(AsyncApp)
async def adecorated() -> None:
    await ause()


async def async_with_block() -> None:
    async with lifespan(AsyncApp):
        await ause()


async def async_joined() -> None:
    async with lifespan(AsyncApp):
        await adecorated()


async def async_first_use() -> None:
    async with lifespan(AsyncApp, eager=False):
        await aask()
        await ause()


async def async_in_flight() -> None:
    async with lifespan(AsyncApp):
        calling = asyncio.create_task(aask_slowly())
    await calling


async def async_lanes() -> None:
    async with lifespan(AsyncApp, max_workers=3):
        await ause()


async def async_failing() -> None:
    with suppress(Refused):
        async with lifespan(AsyncFailing):
            pass


@inject
def use_in_steps(session: Any = Provide[App.session]) -> Iterator[Any]:
    yield session


@lifespan(App)
def decorated_steps() -> Iterator[Any]:
    yield from use_in_steps()


def generator() -> None:
    for _ in decorated_steps():
        pass


@inject
async def ause_in_steps(session: Any = Provide[AsyncApp.session]) -> AsyncIterator[Any]:
    yield session


@lifespan(AsyncApp)
async def adecorated_steps() -> AsyncIterator[Any]:
    async for session in ause_in_steps():
        yield session


async def async_generator() -> None:
    async for _ in adecorated_steps():
        pass


def in_other_scopes() -> None:
    with lifespan(App):
        carried(use)()


def on_a_loop(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: asyncio.run(function())


MODES: dict[str, Callable[[], None]] = {
    "with": with_block,
    "decorated": decorated,
    "call": use,
    "joined": joined,
    "first_use": first_use,
    "in_flight": in_flight,
    "lanes": lanes,
    "failing": failing,
    "generator": generator,
    "carried": in_other_scopes,
    "async_with": on_a_loop(async_with_block),
    "async_decorated": on_a_loop(adecorated),
    "async_call": on_a_loop(ause),
    "async_joined": on_a_loop(async_joined),
    "async_first_use": on_a_loop(async_first_use),
    "async_in_flight": on_a_loop(async_in_flight),
    "async_lanes": on_a_loop(async_lanes),
    "async_failing": on_a_loop(async_failing),
    "async_generator": on_a_loop(async_generator),
}


def terminate(*_: object) -> NoReturn:
    raise Terminated


def send(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


HOW: dict[str, Callable[[], None]] = {"raise": terminate, "signal": send}


def left_open(function: Callable[[], None]) -> list[str]:
    # What lives as long as the process closes with the outermost block; where there was none, with the process.
    left = sorted(set(opened) - set(closed) - ({"model"} if function in (use, decorated, generator) else set()))
    return [f"left open: {left}"] if left else []


def trial(function: Callable[[], None], number: int, arrive: Callable[[], None]) -> tuple[int, str | None, list[str]]:
    """Let it arrive at the line of that number: how many lines ran, which one it was, and what is wrong afterwards."""
    count, where = 0, None

    def local(frame: Any, event: str, _: object) -> Any:
        nonlocal count, where
        if event == "line" and where is None:
            count += 1
            if count == number:
                name = os.path.relpath(frame.f_code.co_filename, ROOT)
                where = f"{name}:{frame.f_lineno} {frame.f_code.co_qualname}"
                arrive()
        return local

    def tracer(frame: Any, _: str, __: object) -> Any:
        return local if frame.f_code.co_filename.startswith(ROOT) and where is None else None

    findings: list[str] = []
    sys.settrace(tracer)
    try:
        function()
        findings += ["swallowed"] if where else []
    except Terminated as error:  # whose traceback keeps generators alive that would close when they are dropped
        findings += left_open(function)
        del error
    except BaseException as error:
        findings.append(f"another error: {error!r}")
    finally:
        sys.settrace(None)
    findings += [finding for finding in left_open(function) if finding not in findings]
    findings += [f"a thread failed: {error}" for error in failed_beside]
    findings += ["closed twice"] if len(closed) != len(set(closed)) else []
    findings += ["a lifespan is still in force"] if current_scope().lifespans else []
    findings += [] if signal.getsignal(signal.SIGTERM) is terminate else ["signals are still held back"]
    return count, where, findings


def tried_in_a_child(
    function: Callable[[], None], number: int, arrive: Callable[[], None]
) -> tuple[int, str | None, list[str]]:
    """The same in a process of its own, which is ended when it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(trial(function, number, arrive)).encode())
        os._exit(0)
    os.close(writing)
    ready = select.select([reading], [], [], PATIENCE_SECONDS)[0]
    answer = os.read(reading, 65536) if ready else b""
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not answer:
        return number, f"line number {number}", ["hangs"]
    lines, where, findings = json.loads(answer)
    return lines, where, findings


def main(mode: str, step: int, offset: int, how: str = "raise") -> None:
    logging.getLogger("prefect_lifespan").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, terminate)
    threading.excepthook = lambda failed: failed_beside.append(repr(failed.exc_value))
    function, arrive = MODES[mode], HOW[how]
    function()  # what is done once in a process is done
    opened.clear()
    closed.clear()
    assert not failed_beside, failed_beside
    # In a child as well: it opens its own of what lives as long as a process.
    lines, _, _ = tried_in_a_child(function, -1, arrive)
    numbers = range(1 + offset, lines + 1, step)
    results = [tried_in_a_child(function, number, arrive) for number in numbers]
    findings = [f"{finding} at {where}" for _, where, found in results if where for finding in found]
    print(json.dumps({"mode": mode, "lines": lines, "tried": len(numbers), "findings": findings}), flush=True)


def each_in_a_child(modes: str, step: int, offset: int, how: str = "raise") -> None:
    """Python and the library are loaded once for all of them."""
    for mode in modes.split(","):
        child = os.fork()
        if not child:
            try:
                main(mode, step, offset, how)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0, mode


if __name__ == "__main__":
    assert threading.active_count() == 1, "a fork takes the main thread only along"
    each_in_a_child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
