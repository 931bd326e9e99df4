"""What `check` finds in how initialisers are called and written: arguments, collections, cleanup; and no false alarms."""

import functools
import logging.config
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from logging.config import fileConfig
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest
from dependency_injector import containers, providers, resources
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from prefect_lifespan import InvalidContainerError, ProcessResource, TaskResource, check, lifespan, resource
from prefect_lifespan.graph import SEVERITIES, Finding

partial: Any = functools.partial  # what is tried here is what its types refuse


def declare(**declared: Any) -> Any:
    return type("App", (containers.DeclarativeContainer,), declared)


def found(**declared: Any) -> list[Finding]:
    return list(check(declare(**declared)))


def open_db(url: str, *, timeout: float = 5) -> Iterator[str]:
    try:
        yield url
    finally:
        pass


class Client:
    def __init__(self, url: str, timeout: float = 5) -> None: ...


class Pool:
    def __init__(self, password: str) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"Pool({self.password})"

    def __call__(self, database: str = "") -> str:
        return database

    def connect(self, database: str = "") -> str:
        return database

    @classmethod
    def of(cls, url: str) -> "Pool":
        return cls(url)

    @contextmanager
    def session(self, database: str = "") -> Iterator[str]:
        yield database

    @contextmanager
    def unguarded(self) -> Iterator[str]:
        yield "open"
        print("committed")

    @classmethod
    @asynccontextmanager
    async def transaction(cls, database: str) -> AsyncIterator[str]:
        yield database

    @functools.lru_cache  # noqa: B019 - as users have them
    def cached(self, database: str) -> str:
        return database


class Address(NamedTuple):
    host: str
    port: int


class Point:
    def __new__(cls, x: str, y: str) -> Any:
        return super().__new__(cls)


class Anything:
    def __init__(*args: Any, **named: Any) -> None: ...


class Bare: ...


class Error(Exception): ...


class OldStyle(resources.Resource[str]):
    def init(self, url: str) -> str:
        return url


class Settings(BaseSettings):
    url: str


class Model(BaseModel):
    url: str


def passing_on(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function("url", *args)

    return wrapper


db = providers.Resource(open_db, "url")


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (providers.Resource(open_db), "open_db missing a required argument: 'url'"),
        (providers.Resource(open_db, ulr="x"), "unexpected keyword argument 'ulr'; did you mean 'url'?"),
        (providers.Resource(open_db, "x", timeuot=1), "unexpected keyword argument 'timeuot'; did you mean 'timeout'?"),
        (providers.Resource(open_db, "x", 1, 2), "open_db too many positional arguments"),
        (TaskResource(contextmanager(open_db)), "missing a required argument: 'url'"),
        (providers.Resource(partial(open_db, "x"), "y"), "too many positional arguments"),
        (providers.Resource(Client), "Client missing a required argument: 'url'"),
        (providers.Resource(OldStyle), "OldStyle missing a required argument: 'url'"),
        (providers.Factory(Client, ulr="x"), "did you mean 'url'?"),
        (providers.Singleton(Client, "x", 1, 2), "too many positional arguments"),
        (providers.Callable(Client, "x", nothing=1), "unexpected keyword argument 'nothing'"),
        (
            providers.Resource(partial(open_db, ulr="x")),
            "open_db missing a required argument: 'url', and got an unexpected",
        ),
        (providers.Factory(partial(open_db, ulr="x")), "unexpected keyword argument 'ulr'; did you mean 'url'?"),
        (providers.Resource(resource(retries=1)(partial(partial(open_db, timeuot=1), "x"))), "mean 'timeout'?"),
        (providers.Resource(partial(contextmanager(open_db), "x", 1)), "open_db too many positional arguments"),
        (providers.Resource(functools.lru_cache(open_db), ulr="x"), "did you mean 'url'?"),
        (providers.Resource(partial(Client, ulr="x")), "Client missing a required argument: 'url'"),
        (
            providers.Resource(Pool("x").connect, databse="x"),
            "Pool.connect got an unexpected keyword argument 'databse'",
        ),
        (providers.Factory(partial(Pool("x"), databse="x")), "Pool got an unexpected keyword argument 'databse'"),
        (providers.Resource(Pool.of, ulr="x"), "Pool.of missing a required argument: 'url'"),
        (
            providers.Resource(Pool("x").session, databse="x"),
            "Pool.session got an unexpected keyword argument 'databse'; did you mean 'database'?",
        ),
        (providers.Resource(Pool("x").session, "x", "y"), "Pool.session too many positional arguments"),
        (providers.Resource(Pool.transaction), "Pool.transaction missing a required argument: 'database'"),
        (providers.Resource(Address, "x"), "Address missing a required argument: 'port'"),
        (providers.Factory(Point, "x", "y", "z"), "Point too many positional arguments"),
        (providers.Singleton(Bare, 1), "Bare too many positional arguments"),
    ],
)
def test_arguments_that_do_not_fit_are_told_with_the_signature_and_refused(provider: Any, problem: str):
    (finding,) = found(bad=provider)
    assert (finding.code, finding.severity, finding.path) == ("unbindable-arguments", "error", "bad")
    assert problem in finding.message
    assert "it takes " in finding.cure
    with pytest.raises(InvalidContainerError, match=r"unbindable-arguments: App\.bad"), lifespan(declare(bad=provider)):
        pass


@pytest.mark.parametrize(
    "provider",
    [
        providers.Resource(open_db, url="x", timeout=1),
        providers.Factory(Client),  # its callers add what is missing
        providers.Factory(Client, timeout=1),
        providers.Resource(passing_on(open_db)),
        providers.Resource(Settings),  # from the environment
        providers.Singleton(Settings),
        providers.Factory(Model, other=1),
        providers.Resource(MagicMock(), 1, a=2),
        providers.Resource(dict, a=1),
        providers.Resource(int, "7"),
        providers.Resource(print, "x"),
        providers.Resource(partial(open_db, "x"), timeout=1),
        providers.Resource(partial(open_db, "x", timeout=1), timeout=2),
        providers.Resource(partial(Settings)),
        providers.Singleton(partial(Model, other=1)),
        providers.Resource(Pool("x").connect, database="x"),
        providers.Resource(Pool.transaction, "x"),
        providers.Resource(Pool("x").cached, "x"),
        providers.Factory(partial(Pool("x").session, "x")),
        providers.Resource(Pool("x")),
        providers.Resource(Bare),
        providers.Factory(Error, 1, 2),
        providers.Factory(Anything, 1, a=2),
        providers.Resource(functools.lru_cache(open_db), "x"),
        providers.Resource(db.provided.connect.call(), "s3"),
        providers.Factory("builtins.dict", a=1),
    ],
)
def test_what_fits_or_cannot_be_told_is_no_finding(provider: Any):
    assert found(db=db, good=provider) == []


def test_what_partials_and_objects_hold_is_not_told():
    (finding,) = found(bad=providers.Resource(partial(Pool("hunter2"), "hunter2", databse="hunter2")))
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("collection", "cure"),
    [
        ([db], "providers.List(...)"),
        ((1, db), "providers.List(...)"),
        ({"a": [db]}, "providers.Dict(...)"),
        ([providers.Object("db")], "providers.List(...)"),
    ],
)
def test_a_plain_collection_of_providers_is_told(collection: Any, cure: str):
    (finding,) = found(db=db, pool=providers.Resource(list, collection))
    assert (finding.code, finding.severity) == ("providers-in-collection", "error")
    assert finding.message.startswith("argument 0 of App.pool is a plain collection of providers")
    assert cure in finding.cure


@pytest.mark.parametrize(
    "declared", [providers.Resource(partial(open_db, url=db)), providers.Singleton(partial(Client, db.provided.url))]
)
def test_providers_in_a_partial_are_told(declared: Any):
    (finding,) = found(db=db, pool=declared)
    assert (finding.code, finding.severity) == ("providers-in-collection", "error")
    assert "App.pool calls a functools.partial that holds providers" in finding.message
    assert f"providers.{type(declared).__name__}(function, ...), without a partial" in finding.cure
    assert found(db=db, pool=providers.Resource(partial(open_db, url=db.provider))) == []


def test_what_was_opened_on_the_class_is_told():
    app = declare(db=providers.Resource(lambda: "db"), other=providers.Resource(lambda: "other"))
    app.db()
    try:
        (finding,) = check(app)
        assert (finding.code, finding.severity, finding.path) == ("opened-on-class", "warning", "db")
        assert "`App.db` and not `App.db()`" in finding.cure
        with lifespan(app) as container:
            assert container.db() == "db"
    finally:
        app.db.shutdown()
    assert check(app) == ()


@pytest.mark.parametrize("kind", [providers.Singleton, providers.ThreadSafeSingleton])
@pytest.mark.parametrize("generator", [open_db, contextmanager(open_db), partial(open_db, timeout=1)])
def test_a_singleton_of_a_generator_is_told(kind: Any, generator: Any):
    (finding,) = found(db=kind(generator, "x"))
    assert (finding.code, finding.severity) == ("unopened-generator", "warning")
    assert f"App.db is a {kind.__name__} of a generator" in finding.message
    assert found(make=providers.Factory(contextmanager(open_db), "x")) == []


def test_collections_that_are_meant_so_are_no_finding():
    given = [providers.List(db), [db.provider], {"a": 1}, providers.Object([db])]
    assert found(db=db, pool=providers.Factory(dict, *given[:1]), other=providers.Callable(print, *given)) == []


def without_guard() -> Iterator[str]:
    value = "open"
    yield value
    value.upper()


async def without_guard_async() -> AsyncIterator[str]:
    if True:
        yield "open"
    print("closed")


def with_finally() -> Iterator[str]:
    try:
        yield "open"
    finally:
        print("closed")


def with_except() -> Iterator[str]:
    try:
        yield "open"
    except BaseException:
        print("rolled back")
        raise
    print("committed")


def with_block() -> Iterator[str]:
    with contextmanager(with_finally)() as value:
        yield value


def nothing_to_clean() -> Iterator[str]:
    print("opening")
    yield "open"


@pytest.mark.parametrize(
    "initialiser",
    [without_guard, contextmanager(without_guard), functools.partial(without_guard), without_guard_async,
     asynccontextmanager(without_guard_async), Pool("x").unguarded],
)  # fmt: skip
def test_cleanup_that_a_failing_body_skips_is_a_warning_that_refuses_nothing(initialiser: Any):
    (finding,) = found(db=providers.Resource(initialiser))
    assert (finding.code, finding.severity, finding.path) == ("unguarded-cleanup", "warning", "db")
    assert str(finding).startswith("warning: unguarded-cleanup: ")
    with lifespan(declare(db=providers.Resource(initialiser))):
        pass


@pytest.mark.parametrize(
    "initialiser",
    [
        with_finally,
        with_except,
        with_block,
        nothing_to_clean,
        lambda: (yield),
        open_db,
        MagicMock(),
        db.provided.x,
    ],
)
def test_guarded_cleanup_and_none_at_all_are_no_finding(initialiser: Any):
    assert found(db=providers.Resource(initialiser, *(["x"] if initialiser is open_db else []))) == []


def twice() -> Iterator[str]:
    try:
        yield "first"
        yield "second"
    finally:
        print("closed")


async def for_each_async() -> AsyncIterator[str]:
    for name in ("a", "b"):
        yield name


def until_it_opens() -> Iterator[str]:
    while True:
        try:
            value = str(1)
        except ValueError:
            continue
        yield value
        break


def one_of_two() -> Iterator[str]:
    if sys.platform == "linux":
        yield "linux"
    else:
        yield "other"


def first_found() -> Iterator[str]:
    for name in ("a", "b"):
        if name:
            yield name
            return


@pytest.mark.parametrize(
    ("initialiser", "function", "line"),
    [(twice, twice, 3), (contextmanager(twice), twice, 3), (for_each_async, for_each_async, 2)],
)
def test_a_generator_that_yields_again_is_a_warning_with_its_line(initialiser: Any, function: Any, line: int):
    (finding,) = found(db=providers.Resource(initialiser))
    assert (finding.code, finding.severity, finding.path) == ("second-yield", "warning", "db")
    assert f"in line {function.__code__.co_firstlineno + line}," in finding.message


@pytest.mark.parametrize("initialiser", [until_it_opens, one_of_two, first_found, with_except])
def test_a_generator_that_yields_once_on_each_of_its_ways_is_no_finding(initialiser: Any):
    assert "second-yield" not in [finding.code for finding in found(db=providers.Resource(initialiser))]


@pytest.mark.parametrize("stream", [sys.stdin, sys.stdout, sys.stderr])
def test_the_standard_streams_are_shared_as_dependency_injector_has_it(stream: Any):
    container = declare(out=providers.Factory(dict, stream=stream))
    assert check(container) == ()
    with lifespan(container) as instance:
        assert instance.out()["stream"] is stream


def test_every_code_has_its_severity_and_is_written_in_kebab_case():
    assert set(SEVERITIES.values()) == {"error", "warning"}
    assert all(code == code.lower() and "_" not in code and " " not in code for code in SEVERITIES)


def sets_up() -> Iterator[None]:
    logging.config.dictConfig({"version": 1})
    yield


def only_levels() -> Iterator[None]:
    logging.config.dictConfig({"version": 1, "incremental": True})
    yield


class LoggingSetup(resources.Resource[None]):
    def init(self, path: str) -> None:
        fileConfig(path)


@pytest.mark.parametrize(
    "provider",
    [
        providers.Resource(logging.config.dictConfig, {"version": 1}),
        providers.Resource(logging.config.dictConfig, config={"version": 1, "incremental": False}),
        providers.Resource(logging.config.dictConfig, providers.Configuration("config")),
        providers.Resource(functools.partial(logging.config.dictConfig, {"version": 1})),
        ProcessResource(fileConfig, "logging.ini", disable_existing_loggers=False),
        providers.Resource(sets_up),
        providers.Resource(contextmanager(sets_up)),
        providers.Resource(lambda: logging.config.dictConfig({"version": 1})),
        providers.Resource(LoggingSetup, "logging.ini"),
    ],
)
def test_logging_that_is_set_up_in_a_run_is_told_with_what_may_come_of_it(provider: Any):
    finding = next(each for each in found(log=provider) if each.path == "log")
    assert (finding.code, finding.severity) == ("logging-reconfigured", "warning")
    assert "ends Prefect's log handlers" in finding.message
    assert "before the flow is called" in finding.cure


@pytest.mark.parametrize(
    "provider",
    [
        providers.Resource(logging.config.dictConfig, {"version": 1, "incremental": True}),
        providers.Resource(functools.partial(logging.config.dictConfig, config={"version": 1, "incremental": True})),
        providers.Resource(only_levels),
        providers.Resource(logging.getLogger, "app"),
        providers.Resource(logging.basicConfig, level="INFO"),
        providers.Resource(MagicMock()),
    ],
)
def test_logging_that_ends_no_handler_is_no_finding(provider: Any):
    assert found(log=provider) == []
