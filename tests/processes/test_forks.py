"""Processes that fork while a lifespan is open: the child opens its own, and leaves to its parent what is the parent's."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from pydantic_settings import BaseSettings
from sqlalchemy import URL, Connection, create_engine, text

from prefect_lifespan import ProcessResource, Provide, TaskResource, current_container, inject, lifespan, override
from prefect_lifespan.engine import process_engines
from prefect_lifespan.forks import children

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")

PATIENCE_SECONDS = 60


class Opened:
    """A resource that knows the process that it was opened in."""

    def __init__(self) -> None:
        self.process = os.getpid()

    @property
    def whose(self) -> str:
        return "own" if self.process == os.getpid() else "the parent's"


def opened() -> Iterator[Opened]:
    yield Opened()


async def opened_on_a_loop() -> AsyncIterator[Opened]:
    yield Opened()


class App(containers.DeclarativeContainer):
    run = providers.Resource(opened)
    task = TaskResource(opened)
    process = ProcessResource(opened)
    of_run = providers.Singleton(lambda run: run, run)


class OnLoop(containers.DeclarativeContainer):
    run = providers.Resource(opened_on_a_loop)


@inject
def work(
    _: int = 0,
    run: Opened = Provide[App.run],
    of_task: Opened = Provide[App.task],
    process: Opened = Provide[App.process],
    of_run: Opened = Provide[App.of_run],
) -> set[str]:
    return {each.whose for each in (run, of_task, process, of_run)}


@inject
async def work_on_a_loop(run: Opened = Provide[OnLoop.run]) -> str:
    return run.whose


def in_child(function: Callable[[], object]) -> str:
    """What a function gives in a forked child, which ends there and then; a child that hangs is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            told = repr(function())
        except BaseException as error:  # the child must not go on with the tests
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        if not select.select([reading], [], [], PATIENCE_SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
            told = "it hung"
        else:
            told = answer.read().decode()
    os.waitpid(child, 0)
    return told


def in_thread(function: Callable[[], Any]) -> Any:
    """In another thread, as a task that was submitted runs: with the context variables of whoever submitted it."""
    results: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: results.append(context.run(function)))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("from_thread", [False, True], ids=["main thread", "another thread"])
def test_a_forked_child_opens_its_own(workers: int, from_thread: bool) -> None:
    with lifespan(App, max_workers=workers):
        assert work() == {"own"}
        forked = in_thread(lambda: in_child(work)) if from_thread else in_child(work)
        assert forked == "{'own'}"
        assert work() == {"own"}, "and the parent goes on with its own"


def test_a_child_of_an_asynchronous_block_opens_its_own() -> None:
    async def main() -> tuple[str, str]:
        async with lifespan(OnLoop):
            assert await work_on_a_loop() == "own"
            here = in_child(lambda: asyncio.run(work_on_a_loop()))
            return here, await asyncio.to_thread(in_child, lambda: asyncio.run(work_on_a_loop()))

    assert asyncio.run(main()) == ("'own'", "'own'")


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver"])
def test_the_workers_of_a_pool_open_their_own_however_they_are_started(kind: str) -> None:
    context: Any = multiprocessing.get_context(kind)
    with lifespan(App):
        work()
        with context.Pool(1) as pool:
            assert pool.map(work, range(2)) == [{"own"}] * 2
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            assert list(executor.map(work, range(2))) == [{"own"}] * 2


def test_a_lifespan_of_the_childs_own_is_not_its_parents() -> None:
    def child() -> object:
        with lifespan(App) as container:
            return work() | {container.run().whose, current_container(App).run().whose}

    with lifespan(App):
        work()
        assert in_child(child) == "{'own'}"


def test_overrides_are_in_force_in_a_child() -> None:
    with override(App, run="fake"), lifespan(App):
        assert in_child(lambda: inject_run()) == "'fake'"


@inject
def inject_run(run: Any = Provide[App.run]) -> Any:
    return run


@pytest.mark.parametrize("path", ["run", "process", "of_run"])
def test_the_parents_container_hands_out_nothing_in_a_child(path: str) -> None:
    with lifespan(App) as container:
        getattr(container, path)()
        told = in_child(lambda: getattr(container, path)())
    assert told.startswith("LifespanClosedError: App.")
    assert "stays in the process that this one was forked from" in told


@contextmanager
def held_by_another_thread(enter: Callable[[threading.Event, threading.Event], object]) -> Iterator[None]:
    """A thread that stands in the middle of something for the body."""
    inside, go_on = threading.Event(), threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(enter, inside, go_on))
    thread.start()
    assert inside.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def test_no_lock_that_a_thread_of_the_parent_holds_hangs_a_child() -> None:
    def stand(inside: threading.Event, go_on: threading.Event) -> str:
        inside.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return "made"

    class Busy(containers.DeclarativeContainer):
        opening = providers.Resource(stand)
        made = providers.ThreadSafeSingleton(stand)

    def open_it(*events: threading.Event) -> None:
        with lifespan(Busy, overrides={"opening": providers.Resource(stand, *events)}):
            pass

    def make_it(*events: threading.Event) -> None:
        providers.ThreadSafeSingleton(stand, *events)()

    def hold(lock: Any, inside: threading.Event, go_on: threading.Event) -> None:
        with lock:
            stand(inside, go_on)

    def with_locks(*events: threading.Event) -> None:
        hold(cast("Any", providers.Provider).overriding_lock, *events)

    def child() -> object:
        quick = providers.ThreadSafeSingleton(lambda: "made")
        return work() | {quick()}

    with lifespan(App), ExitStack() as busy:
        work()
        for enter in (open_it, make_it, with_locks):
            busy.enter_context(held_by_another_thread(enter))
        assert in_child(child) in ("{'own', 'made'}", "{'made', 'own'}")


FORKS_WHILE_A_THREAD_LOADS = """
import os, signal, sys, threading
from importlib.abc import MetaPathFinder
from dependency_injector import containers, providers
from prefect_lifespan import Provide, inject

class App(containers.DeclarativeContainer):
    db = providers.Object("db")

@inject
def query(db=Provide[App.db]):
    return db

class Slow(MetaPathFinder):
    begun, goes_on = threading.Event(), threading.Event()

    def find_spec(self, name, path, target=None):
        if name == "prefect_lifespan.engine.engine":
            self.begun.set()
            self.goes_on.wait()

sys.meta_path.insert(0, Slow())
first = threading.Thread(target=query)
first.start()
Slow.begun.wait()
os.register_at_fork(before=Slow.goes_on.set)  # the latest registered is the first called
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(0 if query() == "db" else 1)
first.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_waits_for_what_a_thread_loads_for_its_first_call() -> None:
    """The child's first call waited for a module that nobody would load any more, without end."""
    done = subprocess.run(  # noqa: S603 - the test's own program
        [sys.executable, "-c", FORKS_WHILE_A_THREAD_LOADS], check=False, capture_output=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr


def test_settings_that_a_thread_of_the_parent_is_making_are_made_anew_in_a_child() -> None:
    parent, waits = os.getpid(), list[tuple[threading.Event, threading.Event]]()

    class Slow(BaseSettings):
        def model_post_init(self, context: object) -> None:
            if os.getpid() == parent:
                inside, go_on = waits[0]
                inside.set()
                assert go_on.wait(PATIENCE_SECONDS)

    class Set(containers.DeclarativeContainer):
        settings = providers.Singleton(Slow)

    def make(inside: threading.Event, go_on: threading.Event) -> None:
        waits.append((inside, go_on))
        container.settings()

    with lifespan(Set, eager=False) as container, held_by_another_thread(make):
        assert in_child(container.settings) == "Slow()"


def test_a_thread_that_outlives_the_process_is_told_that_its_resources_have_closed() -> None:
    def child() -> object:
        assert work() == {"own"}
        process_engines.close_all()  # what the end of the process calls, while daemon threads go on
        return work()

    told = in_child(child)
    assert told.startswith(
        "LifespanClosedError: App.process was asked for after the lifespan of the process had closed"
    )


def run_program(program: str) -> list[str]:
    done = subprocess.run(  # noqa: S603 - the test's own program
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_is_told_to_end_before_it_has_begun_ends(number: signal.Signals) -> None:
    reading, writing = os.pipe()

    class SlowToBegin:
        forks = True

        def begin_anew(self) -> None:
            while self.forks:
                os.write(writing, b"beginning")
                signal.pause()

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    slow = SlowToBegin()
    children.begin_with(slow)
    before = signal.signal(number, end)
    try:
        child = os.fork()
        if not child:
            os._exit(0)  # it has swallowed the signal and goes on
    finally:
        signal.signal(number, before)
        slow.forks = False
    assert os.read(reading, 9) == b"beginning"
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    os.close(reading)
    os.close(writing)


def test_a_child_that_ends_in_order_closes_its_own_and_nothing_of_its_parents() -> None:
    program = """
        import multiprocessing, os, sys
        from dependency_injector import containers, providers
        from prefect_lifespan import ProcessResource, Provide, inject, lifespan

        parent = os.getpid()

        def opened(name):
            opener = os.getpid()
            try:
                yield name
            finally:
                whose = ["child", "parent"][opener == parent]
                closer = ["child", "parent"][os.getpid() == parent]
                os.write(1, f"{closer} closes {name} of {whose}\\n".encode())

        class App(containers.DeclarativeContainer):
            run = providers.Resource(opened, "run")
            process = ProcessResource(opened, "process")

        @inject
        def work(run=Provide[App.run], process=Provide[App.process]): ...

        with lifespan(App, max_workers=2):
            work()
            if not os.fork():
                work()
                sys.exit()  # through the parent's block
            os.wait()
            os.write(1, b"---\\n")
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
            os.write(1, b"---\\n")
    """
    own = ["child closes run of child", "child closes process of child"]
    assert run_program(program) == [
        *own,
        "---",
        *own,
        "---",
        "parent closes run of parent",
        "parent closes process of parent",
    ]


def connect(url: URL) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("from_thread", [False, True], ids=["main thread", "another thread"])
def test_on_postgresql_queries_work_on_both_sides(postgres_url: URL, from_thread: bool) -> None:
    class Store(containers.DeclarativeContainer):
        connection = providers.Resource(connect, providers.Object(postgres_url))

    @inject
    def backend(connection: Connection = Provide[Store.connection]) -> Any:
        return connection.execute(text("select pg_backend_pid()")).scalar_one()

    with lifespan(Store, max_workers=2):
        own = backend()
        told = [in_thread(lambda: in_child(backend)) if from_thread else in_child(backend) for _ in range(3)]
        assert all(number.isdigit() for number in told), told
        assert str(own) not in told
        assert backend() == own


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_a_child_of_an_asynchronous_opening_holds_no_signals_back(in_a_thread: bool) -> None:
    statuses: list[int] = []

    async def forking() -> AsyncIterator[None]:
        await asyncio.to_thread(fork) if in_a_thread else fork()
        yield

    def fork() -> None:
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(1)  # it was held back
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    class Forking(containers.DeclarativeContainer):
        it = providers.Resource(forking)

    async def main() -> None:
        async with lifespan(Forking):
            pass

    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert statuses == [7]
