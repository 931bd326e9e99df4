"""`lifespan(App, everywhere=True)`: one container for an application, in force where nobody has entered it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import (
    AsyncResourceError,
    LifespanError,
    Provide,
    UsageError,
    current_container,
    inject,
    lifespan,
    override,
    wire,
)
from prefect_lifespan.testing import recording
from tests.lifespans.witness import SECONDS, Handle, Witness

T = TypeVar("T")


def elsewhere(function: Callable[[], T]) -> T:
    """Call a function in a thread and a context that nobody has entered anything in."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.Context().run, function).result(SECONDS)


def declared(witness: Witness) -> type[Any]:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking, "db")
        repository = providers.Singleton(lambda db: [db], db)
        late = providers.Resource(witness.blocking, "late")

    return App


def asking(provider: Any) -> Callable[[], Any]:
    @inject
    def ask(value: Any = Provide[provider]) -> Any:
        return value

    return ask


def test_it_is_in_force_in_threads_that_were_there_before_and_in_none_after_it(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.db)
    with ThreadPoolExecutor(1) as pool:

        def there() -> Handle:
            return pool.submit(ask).result(SECONDS)

        there()
        with lifespan(app, everywhere=True, eager=[app.db]) as container:
            assert there() is there() is container.db()
        before = witness.count("open db")
        there()
        assert not container_is_in_force(pool, app)
    assert (before, witness.count("open db")) == (2, 3), "one for the call before, one for all, one for the call after"
    assert witness.count("close db") == 3


def container_is_in_force(pool: ThreadPoolExecutor, app: type[Any]) -> bool:
    def found() -> bool:
        try:
            current_container(app)
        except LifespanError:
            return False
        return True

    return pool.submit(found).result(SECONDS)


def test_a_singleton_that_a_thread_has_been_given_is_not_given_again_when_the_lifespan_has_ended(
    witness: Witness,
) -> None:
    app = declared(witness)
    ask = asking(app.repository)
    with ThreadPoolExecutor(1) as pool:
        with lifespan(app, everywhere=True):
            (first,) = pool.submit(ask).result(SECONDS)
            assert pool.submit(ask).result(SECONDS) == [first]
        with lifespan(app, everywhere=True) as container:
            (second,) = pool.submit(ask).result(SECONDS)
            assert second is container.db()
    assert second is not first


def test_a_context_that_has_a_lifespan_of_its_own_keeps_it(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.db)

    def own() -> Handle:
        with lifespan(app, share=False):
            return ask()

    with lifespan(app, everywhere=True) as container:
        assert elsewhere(own) is not container.db()
        assert elsewhere(ask) is container.db()


def test_a_lifespan_in_another_context_joins_it_and_leaves_it_open(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.db)

    def joining() -> Handle:
        with lifespan(app) as container:
            assert container.db() is ask()
            return container.db()

    with lifespan(app, everywhere=True) as container:
        assert elsewhere(joining) is container.db()
        assert elsewhere(ask).is_open


def test_a_container_that_it_knows_nothing_of_is_not_in_force(witness: Witness) -> None:
    app = declared(witness)

    class Other(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking, "other")

    with lifespan(app, everywhere=True) as container:
        assert elsewhere(asking(Other.db)).is_open is False, "it was opened for the call"
        with lifespan(Other, everywhere=True) as other:
            assert elsewhere(asking(Other.db)) is other.db()
            assert elsewhere(asking(app.db)) is container.db()


def test_there_is_one_at_a_time_for_a_container(witness: Witness) -> None:
    app = declared(witness)
    again = lifespan(app, everywhere=True, share=False)
    with lifespan(app, everywhere=True):
        with pytest.raises(UsageError, match=r"App is in force everywhere already.*leave that one first"), again:
            pass
        with pytest.raises(UsageError, match="already"):
            elsewhere(lambda: lifespan(app, everywhere=True).__enter__())
        assert witness.count("open db") == 1
    with again:
        pass
    assert witness.count("open db") == witness.count("close db") == 2


def test_one_that_does_not_open_leaves_the_place_to_the_next(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking, "db")
        broken = providers.Resource(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError), lifespan(App, everywhere=True):
        pass
    with lifespan(App, everywhere=True, eager=[App.db]) as container:
        assert elsewhere(asking(App.db)) is container.db()


def test_it_is_for_blocks_and_a_decorator_is_refused_with_what_to_do(witness: Witness) -> None:
    app = declared(witness)
    with pytest.raises(UsageError, match=r"everywhere=True\) is for a block.*join what it has open"):

        @lifespan(app, everywhere=True)
        def report() -> None: ...


def test_an_override_around_an_injected_call_is_seen_there_and_nowhere_else(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.repository)

    def overridden() -> Any:
        with override(app, db="a fake"):
            return ask()

    with lifespan(app, everywhere=True) as container:
        assert elsewhere(overridden) == ["a fake"]
        assert elsewhere(ask) == [container.db()]


def test_what_opens_at_first_use_in_another_thread_opens_once_and_closes_with_it(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.late)
    barrier = threading.Barrier(4)

    def at_once() -> Handle:
        barrier.wait(SECONDS)
        return ask()

    with lifespan(app, everywhere=True, eager=False), ThreadPoolExecutor(4) as pool:
        handles = {pool.submit(at_once) for _ in range(4)}
        (handle,) = {each.result(SECONDS) for each in handles}
    assert (witness.record, handle.is_open) == (["open late", "close late"], False)


def test_functions_with_dependency_injectors_own_inject_find_it(witness: Witness) -> None:
    import sys
    import types

    app = declared(witness)
    module = types.ModuleType("served_elsewhere")
    module.App = app  # pyright: ignore[reportAttributeAccessIssue]
    source = (
        "from dependency_injector.wiring import Provide, inject\n@inject\ndef ask(db=Provide[App.db]):\n    return db\n"
    )
    sys.modules[module.__name__] = module
    try:
        exec(source, module.__dict__)  # noqa: S102 - a module of the test's own
        with wire(app, modules=[module]), lifespan(app, everywhere=True) as container:
            assert elsewhere(module.ask) is container.db()
    finally:
        del sys.modules[module.__name__]


# On an event loop


def test_asynchronous_resources_are_the_loops_and_a_blocking_function_in_a_thread_gets_the_open_value() -> None:
    opened: list[asyncio.AbstractEventLoop] = []

    async def connect() -> AsyncIterator[object]:
        opened.append(asyncio.get_running_loop())
        yield object()

    class App(containers.DeclarativeContainer):
        client = providers.Resource(connect)
        not_open = providers.Resource(connect)

    @inject
    async def on_the_loop(client: object = Provide[App.client]) -> object:
        return client

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with lifespan(App, everywhere=True, eager=[App.client]) as container:
            request = loop.create_task(on_the_loop(), context=contextvars.Context())
            assert await request is container.client()
            in_a_thread = await loop.run_in_executor(None, contextvars.Context().run, asking(App.client))
            assert in_a_thread is container.client()
            with pytest.raises(AsyncResourceError):
                await loop.run_in_executor(None, contextvars.Context().run, asking(App.not_open))
            on_another = await loop.run_in_executor(None, contextvars.Context().run, lambda: asyncio.run(on_the_loop()))
            assert on_another is not container.client(), "another loop gets its own, for the call"
        assert opened[0] is loop
        assert len(opened) == 2

    asyncio.run(main())


def test_a_blocking_resource_may_open_first_on_the_loop_of_a_request(witness: Witness) -> None:
    app = declared(witness)

    @inject
    async def request(db: Handle = Provide[app.db]) -> Handle:
        return db

    async def main() -> None:
        async with lifespan(app, everywhere=True, eager=False) as container:
            task = asyncio.get_running_loop().create_task(request(), context=contextvars.Context())
            assert await task is container.db()

    asyncio.run(main())
    assert witness.record == ["open db", "close db"]


def test_the_end_of_a_cancelled_application_withdraws_it(witness: Witness) -> None:
    app = declared(witness)

    async def serve(ready: asyncio.Event) -> None:
        async with lifespan(app, everywhere=True):
            ready.set()
            await asyncio.Event().wait()

    async def main() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(serve(ready))
        await ready.wait()
        serving.cancel()
        await asyncio.wait([serving])
        with lifespan(app, everywhere=True):
            pass

    asyncio.run(main())
    assert witness.count("open db") == witness.count("close db") == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_it_is_not_in_force_in_a_forked_child(witness: Witness) -> None:
    app = declared(witness)
    ask = asking(app.db)
    with lifespan(app, everywhere=True), recording(app):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:  # in the child: nothing of pytest's may run
            try:
                found = contextvars.Context().run(lambda: ask().number)
                os.write(writing, str(found).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            number = answer.read()
        os.waitpid(child, 0)
    assert number == "3", "the child has opened its own: the parent's are 1 and 2"


def test_current_container_is_the_applications_in_every_context(witness: Witness) -> None:
    app = declared(witness)
    with lifespan(app, everywhere=True) as container:
        assert elsewhere(lambda: current_container(app)) is container
        assert elsewhere(current_container) is container
