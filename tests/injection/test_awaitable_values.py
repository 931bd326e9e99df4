"""A resource whose value could be awaited, a background task above all, is handed over and not awaited."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Closing, Provide, Provider, TaskResource, inject, lifespan


async def beat() -> None:
    await asyncio.Event().wait()


async def heartbeat() -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(beat())
    try:
        yield task
    finally:
        task.cancel()


async def promise() -> AsyncIterator[asyncio.Future[None]]:
    yield asyncio.get_running_loop().create_future()


async def coroutine() -> AsyncIterator[Coroutine[Any, Any, None]]:
    value = beat()
    try:
        yield value
    finally:
        value.close()


class Monitor:
    def __init__(self, value: object, name: str = "") -> None:
        self.value = value


async def open_monitor(value: object) -> AsyncIterator[Monitor]:
    yield Monitor(value)


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"which": "task", "name": "monitor"})
    task = providers.Resource(heartbeat)
    future = providers.Resource(promise)
    coroutine = providers.Resource(coroutine)
    of_call = TaskResource(heartbeat)
    monitor = providers.Factory(Monitor, task, name=config.name)
    single = providers.Singleton(Monitor, value=future)
    nested = providers.Factory(Monitor, providers.Dict(inner=providers.List(coroutine)))
    dependent = providers.Resource(open_monitor, task)
    plain_dependent = providers.Resource(Monitor, value=task)
    selected = providers.Selector(config.which, task=task, future=future)
    delegated = providers.Callable(lambda value: value, providers.Delegate(task))


def is_handed_over(task: Any, *made_of_it: Any) -> None:
    """It is the running task itself, and so is what it was made part of."""
    assert type(task) is asyncio.Task
    assert not task.done()
    assert all(each is task for each in made_of_it)


def everything(
    task: Any = Provide[App.task],
    future: Any = Provide[App.future],
    coroutine: Any = Provide[App.coroutine],
    whole: Any = Provide[App.task.provided],
    selected: Any = Provide[App.selected],
    provider: Any = Provider[App.task],
    monitor: Any = Provide[App.monitor],
    single: Any = Provide[App.single],
    nested: Any = Provide[App.nested],
    dependent: Any = Provide[App.dependent],
    plain_dependent: Any = Provide[App.plain_dependent],
) -> None:
    is_handed_over(task, whole, selected, provider(), monitor.value, dependent.value, plain_dependent.value)
    assert type(future) is asyncio.Future
    assert single.value is future
    assert asyncio.iscoroutine(coroutine)
    assert nested.value["inner"][0] is coroutine


async def aeverything(
    task: Any = Provide[App.task],
    coroutine: Any = Provide[App.coroutine],
    selected: Any = Provide[App.selected],
    provider: Any = Provider[App.task],
    monitor: Any = Provide[App.monitor],
    single: Any = Provide[App.single],
    dependent: Any = Provide[App.dependent],
    of_call: Any = Provide[App.of_call],
    closing: Any = Closing[Provide[App.task]],
) -> None:
    is_handed_over(task, selected, provider(), monitor.value, dependent.value)
    is_handed_over(of_call)
    is_handed_over(closing)
    assert len({task, of_call, closing}) == 3
    assert asyncio.iscoroutine(coroutine)
    assert type(single.value) is asyncio.Future


@pytest.mark.parametrize("eager", [True, False])
def test_it_is_handed_over_to_functions_and_to_what_is_made_of_it(eager: bool) -> None:
    """It was awaited, for ever, or refused to a synchronous function."""
    use, ause = inject(everything), inject(aeverything)

    async def main() -> None:
        async with lifespan(App, eager=eager), asyncio.timeout(60):
            for _ in range(2):  # decided, and prepared
                await ause()
                if eager:
                    use()
                    await asyncio.to_thread(use)

    asyncio.run(main())


def test_what_is_awaited_goes_by_what_a_provider_is_made_by_now() -> None:
    """It was found once for a class, and not again when a provider there got another function: a coroutine was given."""

    class Declared(containers.DeclarativeContainer):
        db = providers.Resource(lambda: "db")
        client: Any = providers.Factory(Monitor, db)
        service = providers.Singleton(Monitor, client, name=db)

    async def connect(db: str) -> str:
        return f"client of {db}"

    @inject
    async def its_client(service: Any = Provide[Declared.service]) -> object:
        return service.value

    async def main() -> object:
        async with lifespan(Declared):
            return await its_client()

    assert isinstance(asyncio.run(main()), Monitor)
    Declared.client.set_provides(connect)
    assert asyncio.run(main()) == "client of db"
    Declared.client.set_provides(Monitor)
    assert isinstance(asyncio.run(main()), Monitor)
