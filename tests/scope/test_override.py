"""`override` as a context manager: here only, values as they are, undone in any order, seen by calls in an open lifespan."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, current_container, inject, lifespan, override
from prefect_lifespan.errors import UsageError

RECORD: list[str] = []


def numbered(name: str) -> Iterator[str]:
    RECORD.append(f"open {name}")
    yield name
    RECORD.append(f"close {name}")


class Gateways(containers.DeclarativeContainer):
    key = providers.Object("real key")
    api = providers.Resource(numbered, "api")
    label = providers.Factory("{} of {}".format, api, key)


class FakeGateways(containers.DeclarativeContainer):
    api = providers.Object("fake api")
    unknown_here = providers.Object("ignored")


class App(containers.DeclarativeContainer):
    dsn = providers.Resource(numbered, "dsn")
    db = providers.Resource(lambda dsn: numbered(f"db at {dsn}"), dsn)
    ledger = providers.Factory("ledger on {}".format, db)
    plain = providers.Object("plain")
    gateways = providers.Container(Gateways)


@inject
def db(db: Any = Provide[App.db]) -> Any:
    return db


@inject
def ledger(ledger: str = Provide[App.ledger]) -> str:
    return ledger


@inject
def plain(plain: Any = Provide[App.plain]) -> Any:
    return plain


@inject
def gateway(api: Any = Provide["gateways.api"], label: str = Provide["gateways.label"]) -> tuple[Any, str]:
    return api, label


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


def test_an_overridden_resource_is_not_opened_nor_what_only_it_needed():
    with override(App, db="fake"), lifespan(App):
        assert (db(), ledger()) == ("fake", "ledger on fake")
    assert not [line for line in RECORD if "db" in line or "dsn" in line]


def test_the_override_is_undone_afterwards_and_after_an_error():
    with override(App, plain="fake"):
        assert plain() == "fake"
    assert plain() == "plain"
    with pytest.raises(ValueError, match="body"), override(App, plain="fake"):
        raise ValueError("body")
    assert plain() == "plain"


def test_it_works_with_async_with():
    async def main() -> str:
        async with override(App, plain="fake"):
            return plain()

    assert asyncio.run(main()) == "fake"


class Uncopyable:
    def __deepcopy__(self, memo: object) -> None:
        raise TypeError("never copied")


@pytest.mark.parametrize(
    "value",
    [None, 0, [1], Uncopyable(), threading.Lock(), Mock(), MagicMock(), Uncopyable, len, MagicMock(spec=dict)],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_what_is_injected_itself_never_a_copy(value: Any):
    with override(App, db=value, plain=value):
        assert db() is value
        assert plain() is value
        with lifespan(App) as container:
            assert db() is value
            assert container.db() is value
    with lifespan(App, overrides={"db": value, "plain": value}):
        assert db() is value
        assert plain() is value


def test_a_singleton_provider_keeps_its_instance_from_run_to_run():
    shared = providers.Singleton(object)
    with override(App, plain=shared):
        with lifespan(App):
            first = plain()
        with lifespan(App):
            assert plain() is first
    assert shared() is first


def test_an_overriding_provider_may_refer_to_the_containers_own():
    fake = providers.Factory("fake on {} and {}".format, App.db, App.plain)
    with override(App, ledger=fake), lifespan(App) as container:
        assert ledger() == "fake on db at dsn and plain"
        assert container.ledger() == "fake on db at dsn and plain"
    assert RECORD.count("open db at dsn") == 1


def test_an_overriding_resource_opens_and_closes_in_the_place_of_the_real_one():
    with override(App, db=providers.Resource(numbered, "fake")), lifespan(App):
        assert (db(), ledger()) == ("fake", "ledger on fake")
        RECORD.append("body")
    assert "open fake" in RECORD[: RECORD.index("body")]
    assert "close fake" in RECORD[RECORD.index("body") :]
    assert "open dsn" not in RECORD


def test_dotted_paths_reach_into_sub_containers():
    with override(App, {"gateways.api": "fake", "gateways.key": "fake key"}), lifespan(App):
        assert gateway() == ("fake", "fake of fake key")
    assert not [line for line in RECORD if "api" in line]


def test_a_sub_container_is_overridden_by_another_one_name_by_name():
    with override(App, gateways=FakeGateways), lifespan(App):
        assert gateway() == ("fake api", "fake api of real key")


def test_a_sub_container_is_not_overridden_by_a_value():
    with pytest.raises(UsageError, match=r"App\.gateways is a sub-container.*dotted path"):
        override(App, gateways="fake")


def test_an_unknown_name_is_refused_where_the_override_is_written():
    with pytest.raises(UsageError, match="App has no provider 'bd' to override; did you mean 'db'"):
        override(App, bd="fake")
    with pytest.raises(UsageError, match=r"did you mean 'gateways\.api'"):
        override(App, {"gateways.apy": "fake"})
    with pytest.raises(TypeError, match="expected a container class"):
        override(App(), db="fake")  # pyright: ignore[reportArgumentType]


def test_the_inner_override_wins_and_leaves_the_rest_of_the_outer_one():
    with override(App, plain="outer", db="outer db"):
        with override(App, plain="inner"):
            assert (plain(), db()) == ("inner", "outer db")
        assert (plain(), db()) == ("outer", "outer db")


def test_overrides_left_out_of_order_leave_the_right_one_in_force():
    first, second = override(App, plain="first"), override(App, plain="second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert plain() == "second"
    second.__exit__(None, None, None)
    assert plain() == "plain"


def test_the_same_override_may_be_entered_again_inside():
    again = override(App, plain="fake")
    with again:
        with again:
            assert plain() == "fake"
        assert plain() == "fake"
    assert plain() == "plain"


def test_other_threads_do_not_see_it_and_those_that_are_given_the_context_do():
    seen: list[Any] = []
    with override(App, plain="fake"):
        with_context = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: seen.append(plain())),
            threading.Thread(target=lambda: seen.append(with_context.run(plain))),
        ]
        for thread in threads:
            thread.start()
            thread.join(10)
    assert seen == ["plain", "fake"]


def test_one_override_object_is_entered_by_many_threads_and_tasks_at_once():
    shared = override(App, plain="fake")
    barrier = threading.Barrier(4)
    seen: list[tuple[Any, Any]] = []

    def work() -> None:
        with shared:
            barrier.wait(10)
            inside = plain()
            barrier.wait(10)
        seen.append((inside, plain()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [("fake", "plain")] * 4

    async def task(turn: asyncio.Event, other: asyncio.Event) -> tuple[Any, Any]:
        async with shared:
            turn.set()
            await other.wait()
            inside = plain()
        return inside, plain()

    async def main() -> list[tuple[Any, Any]]:
        one, two = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(task(one, two), task(two, one)))

    assert asyncio.run(main()) == [("fake", "plain")] * 2


def test_inside_an_open_lifespan_calls_see_it_and_afterwards_the_real_one_again():
    with lifespan(App) as container:
        real = db()
        with override(App, db="fake"):
            assert (db(), ledger()) == ("fake", "ledger on fake")
            assert current_container(App).db() == "fake"
            assert current_container(App).ledger() == "ledger on fake"
        assert (db(), ledger()) == (real, "ledger on db at dsn")
        assert current_container(App) is container
    assert RECORD.count("open db at dsn") == RECORD.count("close db at dsn") == 1


def test_a_resource_that_overrides_inside_an_open_lifespan_is_closed_with_it():
    with lifespan(App, eager=False):
        with override(App, db=providers.Resource(numbered, "fake")):
            assert db() == db() == "fake"
        assert RECORD == ["open fake"]
    assert RECORD == ["open fake", "close fake"]


def test_what_an_override_does_not_reach_is_shared_with_the_lifespan():
    class Counted(containers.DeclarativeContainer):
        singleton = providers.Singleton(object)
        other = providers.Object("real")

    @inject
    def use(singleton: object = Provide[Counted.singleton], other: str = Provide[Counted.other]) -> tuple[object, str]:
        return singleton, other

    with lifespan(Counted):
        singleton, _ = use()
        with override(Counted, other="fake"):
            assert use() == (singleton, "fake")


def test_a_process_resource_that_overrides_one_is_the_runs_alone():
    class Shared(containers.DeclarativeContainer):
        model = ProcessResource(numbered, "model")

    @inject
    def use(model: str = Provide[Shared.model]) -> str:
        return model

    with override(Shared, model=ProcessResource(numbered, "fake")), lifespan(Shared):
        assert use() == "fake"
    assert RECORD == ["open fake", "close fake"]


def test_an_override_inside_an_open_lifespan_is_seen_through_the_containers_it_is_declared_in():
    class Outer(containers.DeclarativeContainer):
        app = providers.Container(App)

    with lifespan(Outer, eager=False) as opened:
        container: Any = opened
        with override(Outer, {"app.gateways.api": "fake"}):
            view: Any = current_container(Outer)
            assert (view.app.gateways.api(), view.app.gateways.label()) == ("fake", "fake of real key")
            assert view.app.plain is container.app.plain, "what it does not reach is shared"
        assert container.app.gateways.api() == "api"
    assert RECORD == ["open api", "close api"]


@pytest.mark.parametrize(
    "outer",
    [
        lambda: providers.Resource(numbered, "outer"),
        lambda: providers.Factory(lambda inside: inside, providers.Resource(numbered, "outer")),
    ],
    ids=["resource", "factory of one"],
)
def test_an_override_inside_a_lifespan_stands_over_the_one_that_this_was_opened_with(outer: Any):
    class Twice(containers.DeclarativeContainer):
        api = providers.Resource(numbered, "api")

    with override(Twice, api=outer()), lifespan(Twice) as container:
        assert container.api() == "outer"
        with override(Twice, api=providers.Resource(numbered, "inner")):
            assert current_container(Twice).api() == "inner"
        assert current_container(Twice).api() == "outer"
    assert RECORD == ["open outer", "open inner", "close inner", "close outer"]
