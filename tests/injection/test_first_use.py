"""First use from many threads and tasks: opened once, made once; one that gives up takes nothing from the others."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanClosedError, Provide, TaskResource, inject, lifespan

THREADS = 8


class Counted:
    """Counts what is made and closed; a maker waits until every thread had the time to ask."""

    def __init__(self) -> None:
        self.made: list[object] = []
        self.closed: list[object] = []
        self._lock = threading.Lock()
        self.gate = threading.Event()

    def make(self) -> object:
        value = object()
        with self._lock:
            self.made.append(value)
        self.gate.wait(0.2)  # an opening for a second maker to slip in; nothing waits for it to end
        return value

    def resource(self) -> Iterator[object]:
        value = self.make()
        yield value
        with self._lock:
            self.closed.append(value)

    async def aresource(self) -> AsyncIterator[object]:
        value = object()
        self.made.append(value)
        await asyncio.sleep(0.01)
        yield value
        self.closed.append(value)


def in_threads(call: Callable[[], Any], number: int = THREADS) -> list[Any]:
    """What `call` gives in threads that start together, each in a copy of this context."""
    barrier = threading.Barrier(number)
    results: list[Any] = []

    def work() -> None:
        barrier.wait(10)
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


@pytest.fixture
def counted() -> Counted:
    return Counted()


def container_of(counted: Counted, *, task_resource: bool = False) -> Any:
    class App(containers.DeclarativeContainer):
        resource = providers.Resource(counted.resource)
        singleton = providers.Singleton(counted.make)
        service = providers.Factory(dict, resource=resource, singleton=singleton)
        aresource = providers.Resource(counted.aresource)
        if task_resource:
            session = TaskResource(object)

    return App


@pytest.mark.parametrize("task_resource", [False, True], ids=["plain", "with a task resource"])
def test_threads_that_ask_at_once_open_a_lazy_resource_once(counted: Counted, task_resource: bool):
    app = container_of(counted, task_resource=task_resource)

    @inject
    def use(value: object = Provide[app.resource]) -> object:
        return value

    with lifespan(app, eager=False):
        values = in_threads(use)
        assert counted.closed == []
    assert values == counted.made * THREADS
    assert len(counted.made) == len(counted.closed) == 1


@pytest.mark.parametrize("task_resource", [False, True], ids=["plain", "with a task resource"])
def test_threads_that_ask_at_once_share_one_singleton(counted: Counted, task_resource: bool):
    app = container_of(counted, task_resource=task_resource)

    @inject
    def use(value: object = Provide[app.singleton]) -> object:
        return value

    @inject
    def through(service: dict[str, object] = Provide[app.service]) -> object:
        return service["singleton"]

    with lifespan(app, eager=False):
        values = in_threads(lambda: (use(), through()))
    singletons = {id(value) for pair in values for value in pair}
    assert len(singletons) == 1


def test_tasks_that_ask_at_once_open_a_lazy_resource_once(counted: Counted):
    app = container_of(counted)

    @inject
    async def use(value: object = Provide[app.aresource]) -> object:
        return value

    async def main() -> list[object]:
        async with lifespan(app, eager=False):
            return await asyncio.gather(*(use() for _ in range(THREADS)))

    assert asyncio.run(main()) == counted.made * THREADS
    assert len(counted.made) == len(counted.closed) == 1


def test_one_cancelled_waiter_cancels_nobody_elses_opening(counted: Counted):
    release, opening = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        opening.set()
        await release.wait()
        yield "open"

    class App(containers.DeclarativeContainer):
        slow_one = providers.Resource(slow)

    @inject
    async def use(value: str = Provide[App.slow_one]) -> str:
        return value

    async def main() -> None:
        async with lifespan(App, eager=False):
            first, second = asyncio.create_task(use()), asyncio.create_task(use())
            await opening.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            release.set()
            assert await second == "open"

    asyncio.run(main())


def test_a_failed_first_use_reaches_everybody_who_waited_and_the_next_one_tries_again():
    attempts: list[int] = []

    def unreliable() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("not yet")
        return "open"

    class App(containers.DeclarativeContainer):
        db = providers.Resource(unreliable)

    @inject
    def use(value: str = Provide[App.db]) -> str:
        return value

    with lifespan(App, eager=False):
        with pytest.raises(ConnectionError, match="not yet"):
            use()
        assert use() == "open"
    assert len(attempts) == 2


def test_a_use_after_the_lifespan_has_closed_names_the_resource_and_opens_nothing(counted: Counted):
    app = container_of(counted)

    @inject
    def use(value: object = Provide[app.resource]) -> object:
        return value

    with lifespan(app, eager=False):
        context = contextvars.copy_context()
    with pytest.raises(LifespanClosedError, match=r"App\.resource was asked for after the lifespan of `with lifespan"):
        context.run(use)
    assert counted.made == []


def test_a_use_after_closing_gets_no_closed_object_where_it_was_prepared_before(counted: Counted):
    app = container_of(counted)

    @inject
    def use(value: object = Provide[app.resource], service: Any = Provide[app.service]) -> object:
        return value

    with lifespan(app, eager=[app.resource]):
        use()
        use()
        context = contextvars.copy_context()
    with pytest.raises(LifespanClosedError):
        context.run(use)
    assert len(counted.made) == 2, "the resource and the singleton, once each"


def test_blocking_resources_that_one_call_needs_open_in_as_many_threads_as_the_lifespan_has() -> None:
    together = threading.Barrier(2)

    def meets(name: str) -> str:
        together.wait(20)
        return name

    class Pair(containers.DeclarativeContainer):
        one = providers.Resource(meets, "one")
        two = providers.Resource(meets, "two")
        both = providers.List(one, two)

    @inject
    def use(both: list[str] = Provide[Pair.both]) -> list[str]:
        return both

    with lifespan(Pair, eager=False, max_workers=2):
        assert use() == ["one", "two"]
