"""The context variables of a closer: its initialiser's own as they were set, what is passing as it is where it closes."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan.call_scope import DEFAULT_POLICY
from prefect_lifespan.engine import Engine, Options, passing
from tests.engine.support import declare, run

run_of: ContextVar[str] = ContextVar("run_of")  # as Prefect's contexts are
tenant: ContextVar[str] = ContextVar("tenant")
own: ContextVar[str] = ContextVar("own")
passing.add([run_of])

Seen = list[dict[str, str]]


def seen_now() -> dict[str, str]:
    return {var.name: var.get("unset") for var in (run_of, tenant, own)}


def blocking(closing: Seen) -> Generator[None]:
    token = own.set("the initialiser's")
    yield
    closing.append(seen_now())
    own.reset(token)


async def asynchronous(closing: Seen) -> AsyncGenerator[None]:
    token = own.set("the initialiser's")
    yield
    closing.append(seen_now())
    own.reset(token)


def engine_for(resource: Any, **options: Any) -> Engine:
    container: type[containers.DeclarativeContainer] = declare(it=resource)
    loop = asyncio.get_running_loop() if options.pop("on_loop", False) else None
    return Engine.of(container, name="a test", options=Options(DEFAULT_POLICY, **options), loop=loop)


def in_context(function: Callable[[], Any], **values: str) -> Any:
    """Call it in a context in which these are set, and nothing else."""
    context = contextvars.Context()
    for var in (run_of, tenant):
        if var.name in values:
            context.run(var.set, values[var.name])
    return context.run(function)


def opened_blocking(engine: Engine) -> None:
    engine.open(engine.eager(), "a test")


LATER: list[dict[str, str]] = [{"run_of": "another"}, {}]


@pytest.fixture(params=LATER, ids=["in another run", "in no run"])
def later(request: pytest.FixtureRequest) -> dict[str, str]:
    return request.param


@pytest.mark.parametrize("workers", [1, 2], ids=["here", "in lanes"])
def test_a_blocking_closer_sees_the_run_that_it_closes_in(workers: int, later: dict[str, str]) -> None:
    closing: Seen = []
    engine = engine_for(providers.Resource(blocking, providers.Object(closing)), max_workers=workers)
    in_context(lambda: opened_blocking(engine), run_of="the first", tenant="acme")
    in_context(lambda: engine.close().settle(), **later)
    expected = {"run_of": later.get("run_of", "unset"), "tenant": "acme", "own": "the initialiser's"}
    assert closing == [expected]


def test_an_asynchronous_closer_sees_the_run_that_it_closes_in(later: dict[str, str]) -> None:
    closing: Seen = []

    async def main() -> None:
        engine = engine_for(providers.Resource(asynchronous, providers.Object(closing)), on_loop=True)
        loop = asyncio.get_running_loop()
        opening = in_context(
            lambda: loop.create_task(engine.aopen(engine.eager(), "a test")), run_of="the first", tenant="acme"
        )
        await opening
        (await in_context(lambda: loop.create_task(engine.aclose()), **later)).settle()

    run(main)
    assert closing == [
        {"run_of": later.get("run_of", "unset"), "tenant": "acme", "own": "the initialiser's"},
    ]


def test_a_run_that_the_initialiser_has_entered_itself_is_its_closers_too(later: dict[str, str]) -> None:
    closing: Seen = []

    def initialiser() -> Generator[None]:
        token = run_of.set("a client of its own")
        yield
        closing.append(seen_now())
        run_of.reset(token)

    engine = engine_for(providers.Resource(initialiser), max_workers=2)
    in_context(lambda: opened_blocking(engine), run_of="the first")
    in_context(lambda: engine.close().settle(), **later)
    assert closing[0]["run_of"] == "a client of its own"


def test_a_closer_that_one_engine_shuts_down_by_hand_sees_the_caller_too() -> None:
    closing: Seen = []
    engine = engine_for(providers.Resource(blocking, providers.Object(closing)))
    in_context(lambda: opened_blocking(engine), run_of="the first")
    in_context(lambda: engine.instance.shutdown_resources(), run_of="another")
    assert closing[0]["run_of"] == "another"
