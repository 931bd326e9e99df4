"""What dependency-injector does with synchronous resources, and why its two calls cannot be used as they are.

Each test states a behaviour of the library underneath; its docstring says what of ours stands on it.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
from dependency_injector import containers, providers, wiring

PATIENCE_SECONDS = 60


def logged(log: list[str], name: str, fails_on_close: bool = False) -> Callable[..., Iterator[str]]:
    """An initialiser that writes its opening and closing into `log`."""

    def opening(*_: object) -> Iterator[str]:
        log.append(f"open {name}")
        yield name
        log.append(f"close {name}")
        if fails_on_close:
            raise ConnectionError(name)

    return opening


def container_traversed_in_order(*resources: providers.Provider[Any]) -> containers.DynamicContainer:
    """A container whose `traverse` has an order: the library's own is that of a set, another one in each process."""
    container: Any = containers.DynamicContainer()
    container.traverse = lambda types=None: iter(resources)
    return container


def test_shutdown_stops_at_the_first_error_and_leaves_the_rest_open() -> None:
    """If this fails, the engine's own closing, which tries every close, loses one of its reasons."""
    log: list[str] = []
    first = providers.Resource(logged(log, "first"))
    second = providers.Resource(logged(log, "second", fails_on_close=True), first)
    third = providers.Resource(logged(log, "third"), second)
    container = containers.DynamicContainer()
    container.set_providers(first=first, second=second, third=third)
    container.init_resources()

    with pytest.raises(ConnectionError, match="second"):
        container.shutdown_resources()

    assert log[3:] == ["close third", "close second"]
    assert (first.initialized, second.initialized, third.initialized) == (True, False, False)
    container.shutdown_resources()
    assert log[5:] == ["close first"]


def test_shutdown_counts_a_direct_argument_as_a_dependency() -> None:
    """The control for the next test: what is handed over directly outlives what it is handed to."""
    log: list[str] = []
    engine = providers.Resource(logged(log, "engine"))
    ledger = providers.Resource(logged(log, "ledger"), engine)
    container = container_traversed_in_order(engine, ledger)
    container.init_resources()

    container.shutdown_resources()

    assert log == ["open engine", "open ledger", "close ledger", "close engine"]


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(lambda engine: providers.Factory(dict, engine=engine), id="a factory"),
        pytest.param(lambda engine: providers.Singleton(dict, engine=engine), id="a singleton"),
        pytest.param(lambda engine: providers.List(engine), id="a list"),
        pytest.param(lambda engine: engine.provided.upper.call(), id="a provided chain"),
        pytest.param(lambda engine: providers.Dependency(default=engine), id="a dependency"),
    ],
)
def test_shutdown_closes_a_dependency_first_when_something_stands_between(through: Callable[[Any], Any]) -> None:
    """If this fails, their shutdown order is transitive and the order of `graph` need not be our own."""
    log: list[str] = []
    engine = providers.Resource(logged(log, "engine"))
    ledger = providers.Resource(logged(log, "ledger"), through(engine))
    container = container_traversed_in_order(engine, ledger)
    container.init_resources()

    container.shutdown_resources()

    assert engine not in ledger.related
    assert engine in ledger.traverse()
    assert log == ["open engine", "open ledger", "close engine", "close ledger"]


def test_shutdown_compares_every_resource_with_every_other() -> None:
    """If this fails, their shutdown is no longer quadratic: linear time is then no difference of ours."""
    looks = 0

    class Counted(providers.Resource):
        @property
        def initialized(self) -> bool:
            nonlocal looks
            looks += 1
            return super().initialized

    resources = [Counted(object) for _ in range(20)]
    container = container_traversed_in_order(*resources)
    container.init_resources()

    container.shutdown_resources()

    assert looks >= 20 * 20 / 2


def test_a_resource_is_closed_as_if_all_went_well_whatever_the_body_raised() -> None:
    """If this fails, outcomes reach resources without our wrapping of what they provide (their issue 909)."""
    branches: list[str] = []

    def session() -> Iterator[None]:
        try:
            yield
        except BaseException:
            branches.append("roll back")
            raise
        else:
            branches.append("commit")

    container = containers.DynamicContainer()
    container.set_providers(session=providers.Resource(session))
    with pytest.raises(ZeroDivisionError):
        container.init_resources()
        try:
            _ = 1 / 0
        finally:
            container.shutdown_resources()

    assert branches == ["commit"]


def test_exits_of_context_managers_always_get_three_nones() -> None:
    """The same for context managers: the engine has to call exits itself to hand the outcome over."""
    seen: list[tuple[object, ...]] = []

    class Connection:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *outcome: object) -> None:
            seen.append(outcome)

    resource = providers.Resource(Connection)
    resource.init()
    try:
        raise ValueError
    except ValueError:
        resource.shutdown()

    assert seen == [(None, None, None)]


def test_python_code_cannot_reach_the_exit_of_an_initialised_resource() -> None:
    """If this fails, the exit can be read off a plain provider and our subclass may be needless."""
    resource = providers.Resource(logged([], "any"))
    resource.init()

    public = [name for name in dir(resource) if not name.startswith("__")]
    assert [name for name in public if "state" in name or "shutdown" in name] == ["reset_state", "shutdown"]
    assert not hasattr(resource, "__dict__")


def test_two_threads_on_a_first_use_open_two_and_close_one() -> None:
    """If this fails, they lock first use and ours need not."""
    both_inside = threading.Barrier(2, timeout=PATIENCE_SECONDS)
    opened: list[object] = []
    closed: list[object] = []

    def opening() -> Iterator[object]:
        both_inside.wait()
        made = object()
        opened.append(made)
        yield made
        closed.append(made)

    resource: Any = providers.Resource(opening)
    with ThreadPoolExecutor(2) as threads:
        got = [future.result(PATIENCE_SECONDS) for future in [threads.submit(resource) for _ in range(2)]]
    resource.shutdown()

    assert got[0] is not got[1]
    assert len(opened) == 2
    assert len(closed) == 1


def test_a_failed_opening_closes_nothing_that_was_open() -> None:
    """If this fails, the engine's unwinding after a failed opening may be theirs."""
    log: list[str] = []
    first = providers.Resource(logged(log, "first"))

    def failing(_: object) -> None:
        raise ConnectionError("second")

    second = providers.Resource(failing, first)
    container = containers.DynamicContainer()
    container.set_providers(first=first, second=second)

    with pytest.raises(ConnectionError):
        container.init_resources()

    assert log == ["open first"]
    assert (first.initialized, second.initialized) == (True, False)


def test_a_cycle_passes_their_check_and_ends_in_a_recursion_error() -> None:
    """If this fails, they find cycles and `check` may repeat their finding."""

    class Cyclic(containers.DeclarativeContainer):
        egg = providers.Resource(object)
        hen = providers.Resource(object, egg)
        egg.add_args(hen)

    container = Cyclic()
    container.check_dependencies()

    assert set(container.egg.traverse()) == {container.egg, container.hen}
    with pytest.raises(RecursionError):
        container.init_resources()


def test_an_unwired_marker_reaches_the_function_as_a_marker() -> None:
    """If this fails, they refuse unwired calls; ours promises that no marker ever reaches a user's function."""

    class Declared(containers.DeclarativeContainer):
        engine = providers.Resource(object)

    @wiring.inject
    def use(engine: object = wiring.Provide[Declared.engine]) -> object:
        return engine

    assert getattr(use(), "__IS_MARKER__", False)


def test_what_a_plain_function_returns_is_entered_if_it_can_be() -> None:
    """`check` warns about this: sqlite's connection commits on exit and stays open."""

    def opening() -> sqlite3.Connection:
        return sqlite3.connect(":memory:")

    resource = providers.Resource(opening)
    connection = resource()
    connection.execute("create table entered (x)")
    connection.execute("insert into entered values (1)")
    assert connection.in_transaction
    resource.shutdown()

    assert not connection.in_transaction
    assert connection.execute("select x from entered").fetchall() == [(1,)]
    connection.close()
