"""Faults strike the user's own resources, whatever their kind, when they are told to."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

import pytest
from dependency_injector import containers, providers, resources

from prefect_lifespan import (
    ProcessResource,
    Provide,
    ResourceTimeoutError,
    TaskResource,
    inject,
    lifespan,
    override,
    resource,
)
from prefect_lifespan.errors import UsageError
from prefect_lifespan.testing import Faults, InjectedFault, recording

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


class Managed:
    """A manager of one kind or the other, or of both, that says which way it was entered and with what it was left."""

    def __init__(self, name: str) -> None:
        self.name = name
        LOG.append(f"open {name}")


class Blocking(Managed):
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        LOG.append(f"close {self.name} {kind and kind.__name__}")


class OnALoop(Managed):
    async def __aenter__(self) -> Self:
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.sleep(0)
        LOG.append(f"close {self.name} {kind and kind.__name__}")


class Either(Blocking, OnALoop):
    pass


class Declared(resources.Resource):
    def init(self, name: str) -> Any:
        LOG.append(f"open {name}")
        return self

    def shutdown(self, resource: Any) -> None:
        LOG.append(f"close {self.args[0]} None")

    @property
    def name(self) -> str:
        return self.args[0]


class DeclaredOnALoop(resources.AsyncResource):
    async def init(self, name: str) -> Any:
        await asyncio.sleep(0)
        LOG.append(f"open {name}")
        return self

    async def shutdown(self, resource: Any) -> None:
        LOG.append(f"close {self.args[0]} None")

    @property
    def name(self) -> str:
        return self.args[0]


def generator(name: str) -> Iterator[Blocking]:
    with Blocking(name) as opened:
        yield opened


async def async_generator(name: str) -> AsyncIterator[OnALoop]:
    async with OnALoop(name) as opened:
        yield opened


async def coroutine(name: str) -> OnALoop:
    await asyncio.sleep(0)
    return OnALoop(name)


async def coroutine_of_a_blocking_one(name: str) -> Blocking:
    await asyncio.sleep(0)
    return Blocking(name)


async def coroutine_of_a_value(name: str) -> Managed:
    return Managed(name)


BLOCKING: dict[str, Callable[[str], Any]] = {
    "generator": generator,
    "context manager": contextmanager(generator),
    "class": Blocking,
    "lambda": lambda name: Blocking(name),
    "lambda of a generator": lambda name: generator(name),
    "value": Managed,
    "dependency-injector's class": Declared,
    "of both kinds": Either,
}
ASYNCHRONOUS: dict[str, Callable[[str], Any]] = {
    "asynchronous generator": async_generator,
    "asynchronous context manager": asynccontextmanager(async_generator),
    "asynchronous class": OnALoop,
    "coroutine": coroutine,
    "coroutine of a blocking manager": coroutine_of_a_blocking_one,
    "coroutine of a value": coroutine_of_a_value,
    "lambda of an asynchronous manager": lambda name: OnALoop(name),
    "lambda of a coroutine": lambda name: coroutine(name),
    "dependency-injector's asynchronous class": DeclaredOnALoop,
}


def container_of(initialiser: Any, kind: Any = providers.Resource) -> Any:
    class App(containers.DeclarativeContainer):
        name = providers.Object("x")
        before = providers.Resource(Blocking, "before")
        x = kind(initialiser, name)
        needs_both = providers.Resource(lambda before, x: Blocking(f"after {x.name}"), before, x)

    return App


def run(app: Any, faults: AbstractContextManager[Any], *, on_loop: bool, error: BaseException | None = None) -> None:
    async def main() -> None:
        async with lifespan(app):
            LOG.append("body")
            if error is not None:
                raise error

    with faults:
        if on_loop:
            asyncio.run(main())
            return
        with lifespan(app):
            LOG.append("body")
            if error is not None:
                raise error


EVERY = [
    *(pytest.param(each, False, id=name) for name, each in BLOCKING.items()),
    *(pytest.param(each, True, id=f"{name} on a loop") for name, each in (BLOCKING | ASYNCHRONOUS).items()),
]


each_kind = pytest.mark.parametrize(("initialiser", "on_loop"), EVERY)


@each_kind
def test_an_opening_fails_before_the_initialiser_and_what_was_open_closes(initialiser: Any, on_loop: bool):
    app = container_of(initialiser)
    faults = Faults(app).fail("x", "open", error=ConnectionError("down"))
    with recording() as record, pytest.raises(ConnectionError, match="down") as raised:
        run(app, faults, on_loop=on_loop)
    assert LOG == ["open before", "close before ConnectionError"]
    assert (record.opened, record.closed) == (["before"], ["before"])
    assert any("while opening" in note for note in raised.value.__notes__)


@each_kind
def test_a_closing_fails_when_the_resource_has_closed_and_skips_nobody_else(initialiser: Any, on_loop: bool):
    app = container_of(initialiser)
    with recording() as record, pytest.raises(InjectedFault) as raised:
        run(app, Faults(app).fail("x", "close"), on_loop=on_loop)
    assert raised.value.__notes__ == ["while closing container_of.App.x"]
    assert str(raised.value) == "an injected fault: x does not close"
    assert (record.opened[2], record.closed[0]) == ("needs_both", "needs_both")
    assert sorted(record.opened) == sorted(record.closed) == ["before", "needs_both", "x"]
    assert [line for line in LOG if "after" not in line and "before" not in line] == [
        "open x",
        "body",
        *([] if closes_nothing(initialiser) else ["close x None"]),
    ]


@each_kind
def test_the_outcome_reaches_the_resource_through_a_fault_that_does_not_strike(initialiser: Any, on_loop: bool):
    app = container_of(initialiser)
    with recording() as record, pytest.raises(ValueError, match="body"):
        run(app, Faults(app).fail("x", "close", nth=2), on_loop=on_loop, error=ValueError("body"))
    assert [event.kind for event in record.of("x")] == ["opened", "closed"]
    if not closes_nothing(initialiser):
        told = "None" if "Declared" in repr(initialiser) else "ValueError"
        assert f"close x {told}" in LOG


def closes_nothing(initialiser: Any) -> bool:
    return initialiser in (Managed, coroutine_of_a_value)


@pytest.mark.parametrize(("initialiser", "on_loop"), [(generator, False), (generator, True), (async_generator, True)])
def test_a_fault_strikes_the_nth_time_only(initialiser: Any, on_loop: bool):
    app = container_of(initialiser)
    faults = Faults(app).fail("x", "open", nth=2)
    run(app, faults, on_loop=on_loop)
    with pytest.raises(InjectedFault, match="x does not open"):
        run(app, faults, on_loop=on_loop)
    run(app, faults, on_loop=on_loop)


def test_the_nth_time_is_the_nth_of_all_threads():
    app, failed = container_of(generator), list[BaseException]()
    barrier = threading.Barrier(5)

    def work() -> None:
        barrier.wait(10)
        try:
            with lifespan(app):
                pass
        except InjectedFault as error:
            failed.append(error)

    with Faults(app).fail("x", "open", nth=3):
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(failed) == 1


@pytest.mark.parametrize(("initialiser", "on_loop"), [(generator, False), (async_generator, True)])
def test_a_delay_counts_against_the_limits_of_opening_and_closing(initialiser: Any, on_loop: bool):
    app = container_of(resource(open_timeout_seconds=0.05, close_timeout_seconds=0.05)(initialiser))
    try:
        with pytest.raises(ResourceTimeoutError, match=r"App\.x.* did not open within 0.05 s"):
            run(app, Faults(app).delay("x", "open", 0.2), on_loop=on_loop)
        with recording() as record:
            if on_loop:
                with pytest.raises(ResourceTimeoutError, match=r"App\.x.* did not close"):
                    run(app, Faults(app).delay("x", "close", 0.2), on_loop=on_loop)
            else:  # nothing interrupts a blocking closer in its own thread
                run(app, Faults(app).delay("x", "close", 0.2), on_loop=on_loop)
        assert record.closed == ["needs_both", "x", "before"]
        assert record.of("x")[-1].seconds > 0.04
    finally:
        del initialiser.__prefect_lifespan_policy__


def test_the_resources_own_retries_meet_the_fault():
    opened_again = resource(retries=2, retry_delay_seconds=0)(lambda name: generator(name))
    app = container_of(opened_again)
    faults = Faults(app).fail("x", "open", nth=1).fail("x", "open", error=TimeoutError, nth=2)
    with recording() as record:
        run(app, faults, on_loop=False)
    assert [event.kind for event in record.of("x")] == ["open-retried", "open-retried", "opened", "closed"]


def test_several_faults_of_one_resource_strike_in_their_order():
    app = container_of(generator)
    faults = Faults(app).delay("x", "open", 0.02).fail("x", "open")
    with recording() as record, pytest.raises(InjectedFault):
        run(app, faults, on_loop=False)
    assert record.of("x")[0].seconds >= 0.02


@pytest.mark.parametrize("kind", [TaskResource, ProcessResource])
def test_task_and_process_resources_keep_their_lifetime(kind: Any):
    class App(containers.DeclarativeContainer):
        x = kind(generator, "x")

    @inject
    def work(x: Blocking = Provide[App.x]) -> str:
        LOG.append("work")
        return x.name

    with Faults(App).fail("x", "close", nth=2), recording() as record, lifespan(App):
        assert work() == "x"
        record.assert_closed(*(["x"] if kind is TaskResource else []))
    record.assert_all_closed()


def test_an_initialiser_that_the_container_provides_is_called_as_the_runs_own():
    class App(containers.DeclarativeContainer):
        prefix = providers.Object("the prefix")
        opener = providers.Factory(lambda prefix: lambda name: Blocking(f"{prefix} {name}"), prefix)
        x = providers.Resource(opener.provider, "x")
        called = providers.Resource(providers.Callable(lambda name: Blocking(name)), "y")

    with override(App, prefix="another prefix"):
        run(App, Faults(App).fail("called", "close", nth=2), on_loop=False)
    assert "open y" in LOG


def test_where_an_override_stands_in_its_initialiser_is_the_one_that_is_used():
    app = container_of(generator)
    stand_in = providers.Resource(Blocking, "stand-in")
    with override(app, x=stand_in), recording() as record, pytest.raises(InjectedFault):
        run(app, Faults(app).fail("x", "close"), on_loop=False)
    assert "open stand-in" in LOG
    assert record.opened == ["before", "x", "needs_both"]
    LOG.clear()
    with app.x.override(stand_in), pytest.raises(InjectedFault):
        run(app, Faults(app).fail("x", "close"), on_loop=False)
    assert "open stand-in" in LOG


def test_what_is_overridden_by_a_value_neither_opens_nor_closes():
    app = container_of(generator)
    faults = Faults(app).fail("x", "close")
    with override(app, x="a value"), pytest.raises(UsageError, match=r"App\.x is a Object here, which neither opens"):
        faults.__enter__()


def test_wrong_names_steps_and_numbers_are_told_at_once():
    app = container_of(generator)
    with pytest.raises(UsageError, match="has no resource 'befor' to fail; did you mean 'before'"):
        Faults(app).fail("befor", "open")
    with pytest.raises(UsageError, match="App.name is a Object here"):
        Faults(app).fail("name", "open")
    with pytest.raises(ValueError, match="step is 'opening'"):
        Faults(app).fail("x", "opening")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the first time is 1"):
        Faults(app).fail("x", "open", nth=0)
    with pytest.raises(ValueError, match="zero or more"):
        Faults(app).delay("x", "open", -1)
    with pytest.raises(TypeError, match="expected a container class"):
        Faults(app())


def test_faults_in_sub_containers_and_on_one_instance_shared_by_two_names():
    inner = container_of(generator)

    class Outer(containers.DeclarativeContainer):
        inside = providers.Container(inner)

    with recording() as record, pytest.raises(InjectedFault):
        run(Outer, Faults(Outer).fail("inside.x", "open"), on_loop=False)
    assert (record.opened, record.closed) == (["inside.before"], ["inside.before"])


def test_faults_are_gone_when_left_and_may_be_entered_again():
    app = container_of(generator)
    faults = Faults(app).fail("x", "open")
    with pytest.raises(InjectedFault):
        run(app, faults, on_loop=False)
    with lifespan(app) as container:
        assert container.x().name == "x"
    with pytest.raises(InjectedFault):
        run(app, faults, on_loop=False)
