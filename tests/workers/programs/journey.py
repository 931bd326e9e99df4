"""What the runs do that show how lifespans behave on each task runner; they leave marks: who did what, in which order.

Worker processes import this module for its containers; tasks and flows come to them by value.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.transactions import transaction

from prefect_lifespan import LifespanError, ProcessResource, Provide, TaskResource, inject, lifespan, override

PATIENCE_SECONDS = 90
PROCESS_MARKS = "TESTS_PROCESS_MARKS"


def mark(marks: str, what: str) -> None:
    """Append a line at once: which process, and what."""
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{os.getpid()} {what}\n".encode())
    os.close(file)


def process_marks() -> Path:
    """Where what lives as long as a process leaves its marks."""
    return Path(os.environ[PROCESS_MARKS])


def wait_for(marks: str, what: str) -> None:
    """Wait until somebody has marked something."""
    path, deadline = Path(marks), time.monotonic() + PATIENCE_SECONDS
    while not (path.exists() and any(line.split(" ", 1)[1] == what for line in path.read_text().splitlines())):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


class Broken(Exception):
    """What bodies fail with."""


class Stuck(Exception):
    """What resources fail to close with."""


class Handle:
    """What is injected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = os.getpid()
        self.is_open = True

    def use(self) -> int:
        """Use it, which stands neither a closed one nor another process; the process."""
        assert self.is_open, f"{self.name} was used after it had been closed"
        assert self.pid == os.getpid(), f"{self.name} has come from another process"
        return self.pid


def opened(marks: str, name: str, *needs: object) -> Iterator[Handle]:
    """A resource that marks its opening, and its closing with the outcome that it is told."""
    mark(marks, f"open {name}")
    handle, outcome = Handle(name), "success"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        handle.is_open = False
        mark(marks, f"close {name} {outcome}")


async def aopened(marks: str, name: str) -> AsyncIterator[Handle]:
    """The same on an event loop."""
    mark(marks, f"open {name}")
    handle = Handle(name)
    try:
        yield handle
    finally:
        await asyncio.sleep(0)
        handle.is_open = False
        mark(marks, f"close {name}")


def brittle(marks: str) -> Iterator[Handle]:
    """A resource that cannot be closed."""
    mark(marks, "open brittle")
    try:
        yield Handle("brittle")
    finally:
        mark(marks, "fail to close brittle")
        raise Stuck("brittle is stuck")


def model() -> Iterator[Handle]:
    """What lives as long as the process."""
    marks = str(process_marks())
    mark(marks, "open model")
    yield Handle("model")
    mark(marks, "close model")


class App(containers.DeclarativeContainer):
    """The application of the runs; `marks` is what a run brings."""

    marks = providers.Object("")
    value = providers.Object("original")
    db = providers.Resource(opened, marks, "db")
    other = providers.Resource(opened, marks, "other")
    unused = providers.Resource(opened, marks, "unused")
    api = providers.Resource(aopened, marks, "api")
    brittle = providers.Resource(brittle, marks)
    session = TaskResource(opened, marks, "session", db)
    model = ProcessResource(model)


class Shelter(containers.DeclarativeContainer):
    """An application whose lifespan ends before the run does."""

    marks = providers.Object("")
    db = providers.Resource(opened, marks, "shelter")
    late = providers.Resource(opened, marks, "late")


# ------------------------------------------------------------------------------------------------------------- tasks


@task
@inject
def use(number: int, db: Handle = Provide[App.db], marks: str = Provide[App.marks]) -> tuple[int, int]:
    """Uses the resource, in whatever process."""
    mark(marks, f"use db {number}")
    return number, db.use()


@task
@inject
async def fetch(number: int, api: Handle = Provide[App.api], db: Handle = Provide[App.db]) -> tuple[int, int, int]:
    """An asynchronous task with an asynchronous resource, and a blocking one."""
    await asyncio.sleep(0)
    return number, api.use(), db.use()


@task
@inject
def reach_for(api: Handle = Provide[App.api]) -> None:
    """A synchronous task that asks for an asynchronous resource."""


@task
def tell() -> Any:
    """A task that is not injected calls one that is."""
    return told()


@task
@inject
def told(value: Any = Provide[App.value]) -> Any:
    return value


@inject
def helper(session: Handle = Provide[App.session]) -> Handle:
    """Shares the task's resource."""
    return session


@task(retries=1)
@inject
def store(session: Handle = Provide[App.session], marks: str = Provide[App.marks]) -> bool:
    """Fails the first time."""
    context = TaskRunContext.get()
    assert context is not None
    mark(marks, f"store, attempt {context.task_run.run_count}")
    assert helper() is session
    if context.task_run.run_count == 1:
        raise Broken("the first attempt")
    return True


@task
@inject
def predict(model: Handle = Provide[App.model]) -> int:
    """Uses what lives as long as the process."""
    return model.use()


@task
def nest() -> tuple[int, int, int]:
    """Tasks of tasks: called, and submitted."""
    called = use(10)
    submitted = use.submit(11).result()
    return os.getpid(), called[1], submitted[1]


@flow
def plain_child() -> int:
    """A subflow without a lifespan of its own: what is in force reaches it."""
    return use.submit(20).result()[1]


@flow
@lifespan(App, eager=False)
def joining_child() -> int:
    """A subflow that joins the lifespan in force."""
    return use.submit(21).result()[1]


@flow
@lifespan(App, eager=False, share=False, overrides=lambda marks: {"marks": marks})
def sheltered_child(marks: str) -> int:
    """A subflow with a lifespan of its own."""
    return use.submit(22).result()[1]


@task
def delegate(marks: str) -> list[int]:
    """Runs subflows in a worker process."""
    return [os.getpid(), plain_child(), joining_child(), sheltered_child(marks)]


def _noting(what: str) -> Callable[..., None]:
    @inject
    def note(*_: object, other: Handle = Provide[App.other], marks: str = Provide[App.marks]) -> None:
        other.use()
        mark(marks, what)

    return note


@task(on_completion=[_noting("hook on completion")])
def completes() -> None: ...


@task(on_failure=[_noting("hook on failure")])
def fails() -> None:
    """Rolls back what it has done, and fails."""
    with transaction():
        done()
        raise Broken("the task")


@task
def done() -> None: ...


done.on_rollback(_noting("hook on rollback"))


@task
@inject
def linger(number: int, marks: str = Provide[App.marks]) -> None:
    """Is not done before the body of the flow is; nobody waits for it."""
    wait_for(marks, "body ends")
    mark(marks, f"linger {use_now().name} {number}")


@inject
def use_now(db: Handle = Provide[App.db]) -> Handle:
    db.use()
    return db


@task
@inject
def outlive(db: Handle = Provide[Shelter.db], marks: str = Provide[Shelter.marks]) -> int:
    """Leaves something behind that asks for resources when their lifespan has ended."""

    def ask() -> None:
        wait_for(marks, "shelter left")
        for what, late in (("opened", late_db), ("new", late_other)):
            try:
                late()
                mark(marks, f"late {what} got through")
            except LifespanError as error:
                mark(marks, f"late {what} {type(error).__name__} {error}")
        mark(marks, "late done")

    threading.Thread(target=contextvars.copy_context().run, args=(ask,), daemon=True).start()
    return db.use()


@inject
def late_db(db: Handle = Provide[Shelter.db]) -> None: ...


@inject
def late_other(late: Handle = Provide[Shelter.late]) -> None: ...


@task
@inject
def touch_brittle(brittle: Handle = Provide[App.brittle], db: Handle = Provide[App.db]) -> int:
    """Needs what does not close."""
    brittle.use()
    return db.use()


@task
@inject
def meet(
    mine: str,
    theirs: str,
    value: str = Provide[App.value],
    db: Handle = Provide[App.db],
    marks: str = Provide[App.marks],
) -> tuple[str, bool]:
    """Meets a task of another run, while both have their resources open."""
    mark(marks, "here")
    wait_for(theirs, "here")
    db.use()
    return value, marks == mine


# ------------------------------------------------------------------------------------------------------------- flows


@flow
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
def journey(marks: str) -> dict[str, Any]:
    """A run that goes well."""
    seen: dict[str, Any] = {"driver": os.getpid()}
    seen["submitted"] = use.submit(0).result()
    seen["mapped"] = use.map(range(1, 4)).result()
    seen["asynchronous"] = [future.result() for future in fetch.map(range(2))]
    seen["reached for"] = reach_for.submit().result(raise_on_failure=False)
    seen["told"] = [tell.submit().result()]
    with override(App, value="between"):
        seen["told"].append(tell.submit().result())
    seen["told"].append(tell.submit().result())
    lock = threading.Lock()
    with override(App, value=lock):
        try:
            seen["lock"] = told.submit().result() is lock
        except LifespanError as error:
            seen["lock"] = error
    seen["stored"] = store.submit().result()
    seen["predicted"] = [predict.submit().result(), predict.submit().result()]
    seen["nested"] = nest.submit().result()
    seen["delegated"] = delegate.submit(f"{marks}.child").result()
    seen["child"] = plain_child.with_options(task_runner=_this_runner())()
    completes.submit().wait()
    fails.submit().wait()
    with lifespan(Shelter, eager=False, overrides={"marks": f"{marks}.shelter"}):
        seen["outlived"] = outlive.submit().result()
    mark(f"{marks}.shelter", "shelter left")
    wait_for(f"{marks}.shelter", "late done")
    for number in range(3):
        linger.submit(number)
    mark(marks, "body ends")
    return seen


def _this_runner() -> Any:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    return context.flow.task_runner


def _tells_what_it_raises(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def telling(marks: str) -> None:
        try:
            function(marks)
        except Exception as error:
            for note in getattr(error, "__notes__", ()):
                mark(marks, f"note {' '.join(note.split())}")
            mark(marks, f"raises {type(error).__name__}")
            raise
        finally:
            mark(marks, "attempt ends")

    return telling


@flow(retries=1)
@_tells_what_it_raises
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
def failing(marks: str) -> None:
    """Its first attempt fails at closing, its second by itself."""
    touch_brittle.submit().result()
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    if context.flow_run.run_count > 1:
        raise Broken("the body")


@flow
@lifespan(App, eager=False, overrides=lambda marks, **_: {"marks": marks})
async def meeting(marks: str, theirs: str) -> tuple[str, bool]:
    """One of two concurrent runs."""
    future: Any = meet.submit(marks, theirs)
    return await asyncio.to_thread(future.result)


async def _meets(run: Any, value: str, marks: str, theirs: str) -> tuple[str, bool]:
    with override(App, value=value):
        met = await run(marks, theirs)
    mark(marks, "returned")
    return met


async def meetings(run: Any, left: str, right: str) -> list[tuple[str, bool]]:
    """Two runs of one container, side by side, with overrides of their own."""
    return list(await asyncio.gather(_meets(run, "left", left, right), _meets(run, "right", right, left)))
