"""Outside any lifespan a call opens just what it needs, shares it with its helpers, and closes it when it returns."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import (
    InvalidContainerError,
    LifespanClosedError,
    LifespanError,
    ProcessResource,
    Provide,
    Provider,
    TaskResource,
    UsageError,
    inject,
    lifespan,
    override,
)

RECORD: list[str] = []


def resource(name: str) -> Iterator[str]:
    RECORD.append(f"open {name}")
    try:
        yield name
    except BaseException as error:
        RECORD.append(f"roll back {name}: {type(error).__name__}")
        raise
    RECORD.append(f"close {name}")


async def async_resource(name: str) -> AsyncIterator[str]:
    with contextmanager(resource)(name) as value:
        yield value


def session_of(engine: str) -> Iterator[str]:
    yield from resource(f"session of {engine}")


class App(containers.DeclarativeContainer):
    url = providers.Object("url")
    engine = providers.Resource(resource, "engine")
    session = providers.Resource(session_of, engine)
    ledger = providers.Factory("ledger on {}".format, session)
    unrelated = providers.Resource(resource, "unrelated")
    stream = providers.Resource(async_resource, "stream")


@inject
def store(row: str, ledger: str = Provide[App.ledger]) -> str:
    RECORD.append(f"store {row}")
    if row == "bad":
        raise ValueError(row)
    return ledger


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


def test_it_opens_what_the_call_needs_dependencies_first_and_closes_in_reverse():
    assert store("row") == "ledger on session of engine"
    assert RECORD == ["open engine", "open session of engine", "store row", "close session of engine", "close engine"]


def test_what_it_opened_is_told_how_the_call_ended():
    with pytest.raises(ValueError, match="bad"):
        store("bad")
    assert RECORD[-2:] == ["roll back session of engine: ValueError", "roll back engine: ValueError"]


def test_each_call_opens_anew():
    store("a")
    store("b")
    assert RECORD.count("open engine") == RECORD.count("close engine") == 2


def test_helpers_called_inside_share_what_is_open():
    @inject
    def helper(engine: str = Provide[App.engine], session: str = Provide[App.session]) -> str:
        return session

    @inject
    def outer(engine: str = Provide[App.engine]) -> None:
        helper()
        helper()
        RECORD.append("end of outer")

    outer()
    assert RECORD == [
        "open engine",
        "open session of engine",
        "end of outer",
        "close session of engine",
        "close engine",
    ]


def test_one_log_line_says_so(caplog: pytest.LogCaptureFixture):
    @inject
    def outer(engine: str = Provide[App.engine]) -> str:
        return store("row")

    with caplog.at_level(logging.INFO):
        outer()
    lines = [record.getMessage() for record in caplog.records if "No lifespan" in record.getMessage()]
    assert len(lines) == 1
    assert "App" in lines[0]
    assert "outer" in lines[0]


def test_an_asynchronous_call_opens_on_its_loop_and_closes_when_it_returns():
    @inject
    async def read(stream: str = Provide[App.stream], engine: str = Provide[App.engine]) -> str:
        await asyncio.sleep(0)
        RECORD.append("read")
        return stream + engine

    assert asyncio.run(read()) == "streamengine"
    assert RECORD == ["open stream", "open engine", "read", "close engine", "close stream"]


def test_a_cancelled_call_closes_what_it_opened():
    async def main() -> None:
        inside = asyncio.Event()

        @inject
        async def read(stream: str = Provide[App.stream]) -> None:
            inside.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert RECORD == ["open stream", "roll back stream: CancelledError"]


def test_a_provider_that_was_kept_says_later_that_its_lifespan_has_closed():
    @inject
    def keep(engine: Any = Provider[App.engine]) -> Any:
        assert engine() == "engine"
        return engine

    kept = keep()
    assert RECORD == ["open engine", "close engine"]
    with pytest.raises(LifespanClosedError, match=r"App\.engine was asked for after the lifespan of .*keep"):
        kept()
    assert RECORD == ["open engine", "close engine"]


def test_a_call_that_ends_while_its_thread_goes_on_leaves_it_a_closed_error():
    returned, result = threading.Event(), list[str | BaseException]()

    @inject
    def late(engine: str = Provide[App.engine]) -> str:
        return engine

    @inject
    def outer(engine: str = Provide[App.engine]) -> threading.Thread:
        import contextvars

        def work() -> None:
            returned.wait(10)
            try:
                result.append(late())
            except LifespanClosedError as error:
                result.append(error)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        return thread

    thread = outer()
    returned.set()
    thread.join(10)
    assert [type(item) for item in result] == [LifespanClosedError]
    assert RECORD == ["open engine", "close engine"]


def test_what_needs_no_resource_opens_nothing():
    @inject
    def read(url: str = Provide[App.url]) -> str:
        return url

    assert read() == "url"
    assert RECORD == []


def test_in_a_lifespan_of_another_container_it_is_outside():
    class Other(containers.DeclarativeContainer):
        engine = providers.Object("not this one")

    with lifespan(Other):
        assert store("row") == "ledger on session of engine"
    assert RECORD[0] == "open engine"
    assert RECORD[-1] == "close engine"


def test_a_generator_that_a_lambda_or_a_method_returns_is_entered_as_a_generator_function_is():
    class Opener:
        def open(self) -> Iterator[str]:
            yield from resource("by method")

    class Made(containers.DeclarativeContainer):
        by_lambda = providers.Resource(lambda name: resource(name), "by lambda")
        by_method = providers.Resource(Opener().open)

    @inject
    def use(one: str = Provide[Made.by_lambda], other: str = Provide[Made.by_method]) -> tuple[str, str]:
        return one, other

    assert use() == ("by lambda", "by method")
    assert RECORD == ["open by lambda", "open by method", "close by method", "close by lambda"]


def test_a_generator_is_a_value_where_a_provider_that_is_no_resource_gives_one():
    class Made(containers.DeclarativeContainer):
        numbers = providers.Callable(lambda: (number for number in range(3)))

    @inject
    def use(numbers: Iterator[int] = Provide[Made.numbers]) -> list[int]:
        return list(numbers)

    @inject
    async def ause(numbers: Iterator[int] = Provide[Made.numbers]) -> list[int]:
        return list(numbers)

    assert use() == asyncio.run(ause()) == [0, 1, 2]


CELLS = (
    "class App(containers.DeclarativeContainer):\n    value = providers.Object(value)",
    "@inject\ndef tell(value=Provide[App.value]):\n    return value",
)


def notebook(value: str, cells: tuple[str, ...] = CELLS, namespace: dict[str, Any] | None = None) -> Any:
    """What cells define, at first or again."""
    namespace = {**globals(), "__name__": "__main__"} if namespace is None else namespace
    namespace["value"] = value
    for cell in cells:
        exec(cell, namespace)  # noqa: S102
    return namespace


def test_a_function_that_names_a_class_which_was_defined_again_is_refused_where_the_new_one_is_in_force():
    names = notebook("old")
    old, tell_old = names["App"], names["tell"]
    new = notebook("new", CELLS[:1], names)["App"]

    for in_force in (lifespan(new), override(new, value="fake")):
        with (
            in_force,
            pytest.raises(LifespanError, match="tell: value names a provider of App, .* another class of th"),
        ):
            tell_old()
    notebook("new", CELLS[1:], names)
    with lifespan(old), pytest.raises(LifespanError, match="another class of that name"):
        names["tell"]()


def test_where_both_are_in_force_or_none_is_each_function_has_its_own():
    names = notebook("old")
    old, tell_old = names["App"], names["tell"]
    new = notebook("new", namespace=names)["App"]

    with lifespan(old), lifespan(new):
        assert (tell_old(), names["tell"]()) == ("old", "new")
    assert (tell_old(), names["tell"]()) == ("old", "new")


def test_containers_of_two_calls_of_a_function_are_no_more_than_two_containers():
    def made() -> tuple[Any, Any]:
        class App(containers.DeclarativeContainer):
            value = providers.Object("value")

        @inject
        def tell(value: str = Provide[App.value]) -> str:
            return value

        return App, tell

    (first, _), (_, tell_second) = made(), made()

    with lifespan(first):
        assert tell_second() == "value"


def test_a_provider_that_was_replaced_since_the_decoration_is_told_as_that() -> None:
    """It was an assertion of the library's, or a KeyError, and named neither the parameter nor the container."""

    class Declared(containers.DeclarativeContainer):
        db = providers.Resource(resource, "db")

    class Derived(Declared):
        pass

    @inject
    def query(db: str = Provide[Declared.db]) -> str:
        return db

    Declared.db = providers.Resource(resource, "another db")
    told = r"query: db names a provider that .*Declared had when"
    with pytest.raises(UsageError, match=told):
        query()
    with lifespan(Declared), pytest.raises(UsageError, match=told):
        query()
    with lifespan(Derived):
        assert query() == "db", "what it had inherited before"


class Part:
    copied = 0

    def __deepcopy__(self, memo: object) -> "Part":
        Part.copied += 1
        return self


class Many(containers.DeclarativeContainer):
    config = providers.Configuration(default={"name": "configured", "other": 1})
    one = providers.Singleton(object)
    db = providers.Resource(resource, config.name)
    pair = providers.Factory(list, providers.List(one, db))
    session = TaskResource(session_of, db)
    model = ProcessResource(lambda: object())
    unrelated = providers.Factory(dict, part=Part(), engine=providers.Resource(resource, "unrelated"))


def test_a_call_copies_nothing_that_it_does_not_ask_for():
    @inject
    def use(db: str = Provide[Many.db]) -> str:
        return db

    use()
    before = Part.copied
    for _ in range(3):
        assert use() == "configured"
    assert Part.copied == before


def test_an_attribute_or_item_of_what_a_provider_gives_takes_no_more_than_that():
    @inject
    def use(letter: str = Provide[Many.db.provided[0]], upper: Any = Provide[Many.db.provided.upper]) -> str:
        return letter + upper()

    use()
    before = Part.copied
    assert use() == "cCONFIGURED"
    assert Part.copied == before
    assert RECORD == ["open configured", "close configured"] * 2


@pytest.mark.parametrize("where", [contextlib.nullcontext(), lifespan(Many, eager=False)])
def test_a_method_of_what_a_provider_gives_is_called_with_what_the_same_container_has(
    where: contextlib.AbstractContextManager[object],
):
    @inject
    def use(
        letter: str = Provide[Many.db.provided[0]],
        both: str = Provide[Many.db.provided.__add__.call(Many.db)],
        end: str = Provide[Many.db.provided[-1]],
    ) -> str:
        return letter + both + end

    with where:
        assert use() == "cconfiguredconfiguredd"
    assert RECORD == ["open configured", "close configured"]


def test_what_a_helper_asks_for_beside_that_is_made_of_the_same():
    whole: list[Any] = []

    @inject
    def name(name: str = Provide[Many.config.name]) -> str:
        return name

    @inject
    def everything(container: Any = Provide[Many]) -> Any:
        return container

    @inject
    def helper(pair: list[Any] = Provide[Many.pair], session: str = Provide[Many.session]) -> list[Any]:
        assert session == "session of configured"
        return pair

    @inject
    def outer(one: object = Provide[Many.one], model: object = Provide[Many.model]) -> None:
        assert helper() == [one, "configured"]
        assert name() == "configured"
        container = everything()
        whole.append(container)
        assert (container.one(), container.db(), container.model()) == (one, "configured", model)
        assert helper() == [one, "configured"]
        whole.append(model)

    outer()
    outer()

    assert whole[0] is not whole[2]
    assert whole[1] is whole[3]  # the process's
    of_a_call = ["open configured", "open session of configured", "close session of configured", "close configured"]
    assert of_a_call * 2 == RECORD


def test_two_calls_have_singletons_of_their_own():
    @inject
    def use(one: object = Provide[Many.one]) -> object:
        return one

    assert use() is not use()


def test_what_stands_in_for_a_provider_is_what_a_call_is_given_also_where_that_needs_others():
    @inject
    def use(pair: list[Any] = Provide[Many.pair]) -> list[Any]:
        return pair

    @inject
    def outer(db: str = Provide[Many.db]) -> list[Any]:
        return [db, *use()[1:]]

    with override(Many, db=providers.Factory("{}!".format, Many.config.name)):
        assert outer() == ["configured!", "configured!"]
    with Many.one.override("another"):
        assert use() == ["another", "configured"]


def test_a_container_that_cannot_be_opened_is_refused_also_where_the_call_needs_another_part_of_it():
    class Broken(containers.DeclarativeContainer):
        db = providers.Resource(resource, "db")
        locked = providers.Factory(dict, lock=threading.Lock())

    @inject
    def use(db: str = Provide[Broken.db]) -> str:
        return db

    with pytest.raises(InvalidContainerError, match="lock"):
        use()
    assert RECORD == []
