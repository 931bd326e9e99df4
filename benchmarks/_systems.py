"""The contestants of `injected_call`: one small adapter for each library, all of them given the same work.

Every adapter opens its container, hands out one function with its dependencies injected, and closes the container.
That function is the same for all (`make_target`); only the way in which each library is told what to inject differs.
A library that is not installed raises ModuleNotFoundError when its adapter is entered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal

from dependency_injector import providers, wiring

from benchmarks._harness import ContainerClass, declare
from prefect_lifespan import TaskResource, inject, lifespan

Kind = Literal["Resource", "Singleton", "Factory", "async Resource"]


class Engine:
    """What a Factory's products are made from: a resource, opened once."""


class First:
    """A dependency; there are ten types of them because some libraries look dependencies up by type."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine


NAMES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
PARTS: tuple[type[First], ...] = (First, *(type(name.title(), (First,), {}) for name in NAMES[1:]))


@dataclass(frozen=True)
class Case:
    """One row of the benchmark: what is injected, how many of it, into what kind of function."""

    kind: Kind
    count: int
    is_async: bool
    beside_a_task_resource: bool = False  # which the container declares, and the function does not ask for
    outside_lifespans: bool = False  # where each call opens and closes what it needs

    def __str__(self) -> str:
        beside = ", beside a TaskResource" if self.beside_a_task_resource else ""
        outside = ", outside any lifespan" if self.outside_lifespans else ""
        return f"{'async' if self.is_async else 'sync'}, {self.count} x {self.kind}{beside}{outside}"

    @property
    def parts(self) -> tuple[type[First], ...]:
        return PARTS[: self.count]


Adapter = Callable[[Case], AbstractAsyncContextManager[Callable[[int], Any]]]


def make_target(case: Case, *, defaults: Sequence[object] = (), annotations: Sequence[object] = ()) -> Any:
    """A fresh function of one argument of its own and `case.count` injected parameters.

    `defaults` are what stands behind the `=` of the injected parameters, `annotations` what stands behind their `:`.
    It returns the first of them, so that whoever measures it can see that something was injected.
    """

    def sync_one(number: int, first: Any) -> Any:
        return first

    def sync_three(number: int, first: Any, second: Any, third: Any) -> Any:
        return first

    def sync_ten(
        number: int, first: Any, second: Any, third: Any, fourth: Any, fifth: Any,
        sixth: Any, seventh: Any, eighth: Any, ninth: Any, tenth: Any,
    ) -> Any:  # fmt: skip
        return first

    async def async_one(number: int, first: Any) -> Any:
        return first

    async def async_three(number: int, first: Any, second: Any, third: Any) -> Any:
        return first

    async def async_ten(
        number: int, first: Any, second: Any, third: Any, fourth: Any, fifth: Any,
        sixth: Any, seventh: Any, eighth: Any, ninth: Any, tenth: Any,
    ) -> Any:  # fmt: skip
        return first

    by_count: dict[int, Any] = (
        {1: async_one, 3: async_three, 10: async_ten} if case.is_async else {1: sync_one, 3: sync_three, 10: sync_ten}
    )
    target = by_count[case.count]
    target.__defaults__ = tuple(defaults) or None
    if annotations:
        target.__annotations__ = {"number": int, **dict(zip(NAMES, annotations, strict=False))}
    return target


def open_part(part: type[First]) -> Iterator[First]:
    yield part(Engine())


async def open_part_async(part: type[First]) -> AsyncIterator[First]:
    yield part(Engine())


def open_engine() -> Iterator[Engine]:
    yield Engine()


def container_class(case: Case) -> ContainerClass:
    """The dependency-injector container of this case: used by the stock `@inject` and by ours."""
    body: dict[str, Any] = {}
    if case.kind == "Factory":
        body["engine"] = providers.Resource(open_engine)
    if case.beside_a_task_resource:
        body["session"] = TaskResource(open_engine)
    for name, part in zip(NAMES, case.parts, strict=False):
        match case.kind:
            case "Resource":
                body[name] = providers.Resource(open_part, part)
            case "async Resource":
                body[name] = providers.Resource(open_part_async, part)
            case "Singleton":
                body[name] = providers.Singleton(part, providers.Factory(Engine))
            case "Factory":
                body[name] = providers.Factory(part, body["engine"])
    return declare("CaseContainer", body)


def markers(container: ContainerClass, case: Case) -> list[Any]:
    return [wiring.Provide[container.providers[name]] for name in NAMES[: case.count]]


@asynccontextmanager
async def plain(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    """Nothing is injected: the values are the function's ordinary defaults."""
    yield make_target(case, defaults=[part(Engine()) for part in case.parts])


@asynccontextmanager
async def ours(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    container = container_class(case)
    target = inject(make_target(case, defaults=markers(container, case)))
    if case.outside_lifespans:
        yield target
    elif case.is_async:
        async with lifespan(container):
            yield target
    else:
        with lifespan(container):
            yield target


@asynccontextmanager
async def stock(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    """dependency-injector as it is: `@inject` in a module that the container is wired to."""
    declared = container_class(case)
    container = declared()
    module = ModuleType("wired_by_the_benchmark")
    module.target = wiring.inject(make_target(case, defaults=markers(declared, case)))  # pyright: ignore[reportAttributeAccessIssue]
    container.wire(modules=[module])
    try:
        if (opening := container.init_resources()) is not None:
            await opening
        yield module.target
        if (closing := container.shutdown_resources()) is not None:
            await closing
    finally:
        container.unwire()


@asynccontextmanager
async def dishka(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    from dishka import FromDishka, Provider, Scope, make_async_container, make_container
    from dishka.integrations.base import wrap_injection

    provider = Provider(scope=Scope.APP)
    for part in case.parts:
        if case.kind in ("Resource", "async Resource"):
            provider.provide(_opener(part, is_async=case.kind == "async Resource"))
        else:
            provider.provide(part, cache=case.kind == "Singleton")
    provider.provide(open_engine)
    target = make_target(case, annotations=[FromDishka[part] for part in case.parts])
    if case.is_async:
        async_container = make_async_container(provider)
        yield wrap_injection(func=target, container_getter=lambda args, kwargs: async_container, is_async=True)
        await async_container.close()
    else:
        container = make_container(provider)
        yield wrap_injection(func=target, container_getter=lambda args, kwargs: container)
        container.close()


@asynccontextmanager
async def wireup(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    from wireup import Injected, create_async_container, create_sync_container, inject_from_container, injectable

    injectables: list[Any] = [injectable(open_engine)]
    for part in case.parts:
        if case.kind in ("Resource", "async Resource"):
            injectables.append(injectable(_opener(part, is_async=case.kind == "async Resource")))
        else:
            lifetime = "singleton" if case.kind == "Singleton" else "transient"
            injectables.append(injectable(part, lifetime=lifetime))
    target = make_target(case, annotations=[Injected[part] for part in case.parts])
    if case.is_async:
        async_container = create_async_container(injectables=injectables)
        yield inject_from_container(async_container)(target)
        await async_container.close()
    else:
        container = create_sync_container(injectables=injectables)
        yield inject_from_container(container)(target)
        container.close()


@asynccontextmanager
async def svcs(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    """It locates services: the function asks the container for them, once for all of them."""
    from svcs import Container, Registry

    registry = Registry()
    for part in case.parts:
        opens = case.kind in ("Resource", "async Resource")
        made: Any = _opener(part, is_async=case.kind == "async Resource") if opens else partial(part, Engine())
        registry.register_factory(part, made)
    parts = case.parts
    (first, *_) = parts

    async with Container(registry) as container:

        def get_one(number: int) -> Any:
            return container.get(first)

        def get_all(number: int) -> Any:
            return container.get(*parts)[0]

        async def get_one_in_a_coroutine(number: int) -> Any:
            return container.get(first)

        async def get_all_in_a_coroutine(number: int) -> Any:
            return container.get(*parts)[0]

        async def await_one(number: int) -> Any:
            return await container.aget(first)

        async def await_all(number: int) -> Any:
            return (await container.aget(*parts))[0]

        one, all_ = (get_one, get_all)
        if case.kind == "async Resource":
            one, all_ = await_one, await_all
        elif case.is_async:
            one, all_ = get_one_in_a_coroutine, get_all_in_a_coroutine
        yield one if case.count == 1 else all_


def offers(name: str, case: Case) -> bool:
    """Whether a contestant has what a row is about."""
    if case.beside_a_task_resource or case.outside_lifespans:
        return name in ("plain call", "prefect-lifespan")
    return name != "svcs" or case.kind != "Factory"  # each container makes one of everything


@asynccontextmanager
async def that_depends(case: Case) -> AsyncGenerator[Callable[[int], Any]]:
    import that_depends as td

    engine = td.providers.Resource(open_engine)
    parts: list[Any] = []
    for part in case.parts:
        match case.kind:
            case "Resource" | "async Resource":
                parts.append(td.providers.Resource(_opener(part, is_async=case.kind == "async Resource")))
            case "Singleton":
                parts.append(td.providers.Singleton(part, engine.cast))
            case "Factory":
                parts.append(td.providers.Factory(part, engine.cast))
    yield td.inject(make_target(case, defaults=parts))
    for provider in (*parts, engine):
        if isinstance(provider, td.providers.Resource):
            await provider.tear_down()


def _opener(part: type[First], *, is_async: bool) -> Any:
    """An initialiser of this one part, annotated for the libraries that read the type from the annotation."""
    if is_async:

        async def open_it() -> AsyncIterator[First]:  # pyright: ignore[reportRedeclaration]
            yield part(Engine())
    else:

        def open_it() -> Iterator[First]:
            yield part(Engine())

    open_it.__annotations__ = {"return": (AsyncIterator if is_async else Iterator)[part]}
    return open_it
