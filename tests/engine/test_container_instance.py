"""The container instance that a lifespan hands out: its own `init_resources` and the rest are the safe ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.errors import Error

from prefect_lifespan.errors import AsyncResourceError, LifespanClosedError, UsageError
from prefect_lifespan.lifetimes import ProcessResource, TaskResource
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run


def test_init_resources_opens_what_is_not_open_and_shutdown_resources_closes_in_reverse() -> None:
    journal = Journal()
    a = journal.resource("a")
    container: Any = engine_of(declare(a=a, b=journal.resource("b", a))).instance
    assert container.init_resources() is None
    assert container.init_resources() is None
    assert container.shutdown_resources() is None
    assert journal == ["+a", "+b", "-b", "-a"]
    with pytest.raises(LifespanClosedError):
        container.init_resources()


def test_both_can_be_awaited_where_a_resource_is_asynchronous() -> None:
    async def main() -> None:
        journal = Journal()
        container: Any = async_engine_of(declare(a=journal.async_resource("a"), b=journal.resource("b"))).instance
        await container.init_resources()
        assert (container.a(), container.b()) == ("a", "b")
        await container.shutdown_resources()
        assert sorted(journal.closed) == ["a", "b"]

    run(main)


@pytest.mark.parametrize("is_open", [False, True])
def test_both_can_be_awaited_again_when_nothing_is_left_to_do(is_open: bool) -> None:
    """`await container.init_resources()` in a lifespan that has opened everything awaited None."""

    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=journal.resource("b", a), c=journal.resource("c")))
        if is_open:
            await aopen_all(engine)
        container: Any = engine.instance
        assert await container.init_resources() is None
        assert await container.init_resources() is None
        assert container.c.shutdown() is None, "nothing asynchronous in it"
        assert await container.a.shutdown() is None
        assert await container.a.shutdown() is None
        assert await container.shutdown_resources() is None
        assert await container.shutdown_resources() is None
        assert sorted(journal.closed) == ["a", "b", "c"]

    run(main)


def test_closing_what_was_never_opened_can_be_awaited_and_has_closed_the_rest_before_that() -> None:
    async def main() -> None:
        journal = Journal()
        container: Any = async_engine_of(declare(a=journal.async_resource("a"), b=journal.resource("b"))).instance
        container.b()
        assert await container.a.shutdown() is None
        closing = container.shutdown_resources()
        assert journal == ["+b", "-b"]
        assert await closing is None

    run(main)


@pytest.mark.parametrize("wrong", [int, 1, None, providers.Singleton])
def test_what_is_no_type_of_resources_is_refused(wrong: Any) -> None:
    container: Any = engine_of(declare(a=Journal().resource("a"))).instance
    for call in (container.init_resources, container.shutdown_resources):
        with pytest.raises(
            TypeError, match=rf"App\.{call.__name__}\(\): resource_type is .*{getattr(wrong, '__name__', wrong)}"
        ):
            call(wrong)
    assert not container.a.initialized


def test_a_resource_type_narrows_both_to_it_and_what_it_needs() -> None:
    journal = Journal()

    class Special(providers.Resource[Any]): ...

    base = journal.resource("base")
    special: Any = Special(journal.blocking("special"), base)
    container: Any = engine_of(declare(base=base, special=special, other=journal.resource("other"))).instance
    container.init_resources(Special)
    assert journal == ["+base", "+special"]
    container.shutdown_resources(Special)
    assert journal[2:] == ["-special"]
    assert container.base.initialized


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_was_shut_down_by_hand_says_so_and_so_does_what_was_made_of_it(asynchronous: bool) -> None:
    """A singleton went on giving what held the closed resource; the error spoke of a lifespan that had closed."""

    async def main() -> None:
        journal = Journal()
        db = journal.async_resource("db") if asynchronous else journal.resource("db")
        session = TaskResource(object)
        ledger, both = providers.Singleton(dict, db=db), providers.Singleton(dict, db=db, session=session)
        declared = declare(db=db, session=session, ledger=ledger, both=both, plain=providers.Singleton(dict))
        engine = async_engine_of(declared)
        container: Any = await aopen_all(engine)
        view = engine.derive(lambda node: node.path == "session", name="task", loop=asyncio.get_running_loop())
        view.serves_tasks = True
        of_the_task, plain = view.instance.both, container.plain()
        assert container.ledger() == {"db": "db"}
        of_the_task()
        closing = container.db.shutdown()
        if asynchronous:
            await closing
        for call in (container.db, container.db.init, container.ledger, of_the_task):
            with pytest.raises(LifespanClosedError, match=r"^App\.db was asked for after `shutdown\(\)`"):
                await call() if asynchronous else call()
        assert container.plain() is plain
        await view.aclose()
        (await engine.aclose()).settle()
        with pytest.raises(LifespanClosedError, match=r"^App\.db was asked for after the lifespan of"):
            container.db()

    run(main)


def test_a_provider_tells_whether_it_is_open_and_opens_and_closes_by_itself() -> None:
    journal = Journal()
    a = journal.resource("a")
    container: Any = engine_of(declare(a=a, b=journal.resource("b", a))).instance
    assert not container.a.initialized
    assert container.b.init() == "b"
    assert container.a.initialized
    container.a.shutdown()
    assert journal == ["+a", "+b", "-b", "-a"], "what is open and needs it closes before it"


def test_init_and_shutdown_of_an_async_provider_can_be_awaited() -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=journal.async_resource("b", a)))
        container: Any = engine.instance
        assert await container.b.init() == "b"
        assert await container.b.init() == "b", "open or not, whoever asks awaits it"
        assert container.b() == "b"
        await container.a.shutdown()
        assert journal == ["+a", "+b", "-b", "-a"]

    run(main)


def test_async_is_awaited_where_an_event_loop_runs_whatever_the_kind_of_resource_open_or_not() -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=journal.resource("b", a), c=journal.resource("c")))
        container: Any = engine.instance
        assert await asyncio.gather(container.b.async_(), container.b.async_()) == ["b", "b"]
        assert [await each.async_() for each in (container.a, container.b, container.c)] == ["a", "b", "c"]
        assert journal == ["+a", "+b", "+c"]
        assert [container.a(), container.b(), container.c(), container.c.init()] == ["a", "b", "c", "c"]
        assert await asyncio.to_thread(lambda: (container.a(), container.a.init(), container.a.async_())) == ("a",) * 3

    run(main)


def test_an_awaitable_value_is_what_awaiting_init_and_async_gives() -> None:
    async def main() -> None:
        async def start() -> AsyncIterator[asyncio.Task[str]]:
            yield asyncio.create_task(asyncio.sleep(0, "done"))

        container: Any = async_engine_of(declare(background=providers.Resource(start))).instance
        task = await container.background.init()
        assert isinstance(task, asyncio.Task)
        assert await container.background.async_() is await container.background.init() is task
        assert await task == "done"

    run(main)


def test_an_override_by_hand_is_what_async_gives() -> None:
    async def main() -> None:
        async def fake() -> str:
            return "made asynchronously"

        container: Any = async_engine_of(declare(a=providers.Resource(dict))).instance
        with container.a.override("fake"):
            assert await container.a.async_() == "fake"
        with container.a.override(providers.Coroutine(fake)):
            assert await container.a.async_() == "made asynchronously"
        assert await container.a.async_() == {}

    run(main)


def test_in_a_thread_without_an_event_loop_async_and_init_refuse_what_is_asynchronous_and_not_open() -> None:
    async def main() -> None:
        container: Any = async_engine_of(declare(a=Journal().async_resource("a"))).instance
        for call in (container.a.async_, container.a.init, container.a):
            with pytest.raises(AsyncResourceError):
                await asyncio.to_thread(call)
        assert await container.a.async_() == "a"

    run(main)


def test_factories_and_singletons_of_the_instance_hold_its_own_resources() -> None:
    a = providers.Resource(object)
    container = declare(a=a, f=providers.Factory(dict, a=a), s=providers.Singleton(dict, a=a))
    first, second = open_all(engine_of(container)), open_all(engine_of(container))
    assert first.f()["a"] is first.s()["a"] is first.a()
    assert second.s()["a"] is second.a() is not first.a()


def test_a_run_closes_only_what_its_own_engine_opened() -> None:
    journal = Journal()
    container = declare(a=journal.resource("a"), client=providers.Object(object()))
    first, second = engine_of(container), engine_of(container)
    open_all(first)
    kept = open_all(second)
    first.close().settle()
    assert journal == ["+a", "+a", "-a"]
    assert kept.a() == "a"
    second.close().settle()


def test_overrides_on_the_class_hold_for_the_instances_made_while_they_are_in_force() -> None:
    journal = Journal()
    only = journal.resource("only")
    container = declare(only=only, db=journal.resource("db", only), user=journal.resource("user"))
    with container.db.override(providers.Object("fake")):
        engine = engine_of(container)
    assert open_all(engine).db() == "fake"
    engine.close().settle()
    assert journal == ["+user", "-user"]
    journal.clear()
    engine = engine_of(container)
    assert open_all(engine).db() == "db"
    engine.close().settle()
    assert journal.opened == ["only", "db", "user"]


def test_an_override_of_the_class_that_is_a_resource_is_opened_and_closed_in_its_place() -> None:
    journal = Journal()
    db = journal.resource("db")
    container = declare(db=db, user=journal.resource("user", db))
    with container.db.override(journal.resource("fake")):
        engine = engine_of(container)
        assert open_all(engine).db() == "fake"
        engine.close().settle()
    assert journal == ["+fake", "+user", "-user", "-fake"]


def test_an_override_on_the_instance_stands_in_and_gives_way_again() -> None:
    container = open_all(engine_of(declare(a=Journal().resource("a"))))
    assert container.a() == "a"
    with container.a.override(providers.Object("fake")):
        assert container.a() == "fake"
    assert container.a() == "a"


def test_a_copy_of_an_instance_or_of_what_needs_its_resources_is_refused_by_name() -> None:
    """It was made, and ended in an AttributeError at its first use."""
    db = Journal().resource("db")
    instance: Any = engine_of(
        declare(db=db, repo=providers.Factory(dict, db=db), plain=providers.Factory(dict))
    ).instance
    for what in (instance, instance.db, instance.providers):
        with pytest.raises(UsageError, match=r"^App\.db cannot be copied: it belongs to a lifespan"):
            providers.deepcopy(what)
    with pytest.raises(Error) as refused:  # of dependency-injector, which names the argument
        providers.deepcopy(instance.repo)
    assert isinstance(refused.value.__cause__, UsageError)
    assert providers.deepcopy(instance.plain)() == {}


def test_overriding_values_are_used_as_they_are_and_never_copied() -> None:
    held = [object()]
    container = declare(a=Journal().resource("a"), f=providers.Factory(list))
    overrides = {id(container.a): providers.Object(held), id(container.f): providers.Factory(list, held)}
    engine = engine_of(container, overrides=overrides)
    instance = open_all(engine)
    assert instance.a() is held
    assert instance.f()[0] is held[0]


def test_an_inherited_resource_opens_once_and_what_a_subclass_adds_opens_too() -> None:
    journal = Journal()
    base = declare(db=journal.resource("db"))
    derived: Any = type("Derived", (base,), {"user": journal.resource("user", base.db)})
    engine = engine_of(derived)
    assert open_all(engine).user() == "user"
    engine.close().settle()
    assert journal == ["+db", "+user", "-user", "-db"]


def test_a_selector_opens_the_chosen_branch_only_and_another_at_first_use() -> None:
    journal = Journal()

    class App(containers.DeclarativeContainer):
        config: Any = providers.Configuration(default={"db": "sqlite"})
        sqlite: Any = journal.resource("sqlite")
        postgres: Any = journal.resource("postgres")
        db: Any = providers.Selector(config.db, sqlite=sqlite, postgres=postgres)
        user: Any = journal.resource("user", db)

    engine = engine_of(App)
    container = open_all(engine)
    assert journal == ["+sqlite", "+user"]
    assert container.postgres() == "postgres"
    engine.close().settle()
    assert journal.closed == ["postgres", "user", "sqlite"]


def test_a_view_shares_what_is_open_and_has_its_own_of_what_it_was_derived_for() -> None:
    journal = Journal()

    class App(containers.DeclarativeContainer):
        db: Any = journal.resource("db")
        session: Any = TaskResource(journal.blocking("session"), db)
        ledger: Any = providers.Factory(dict, session=session, db=db)

    engine = engine_of(App)
    open_all(engine)
    assert journal == ["+db"], "a task's resources are not the run's to open"
    views = [engine.derive(lambda node: node.path == "session", name=f"task {number}") for number in (1, 2)]
    for view in views:
        view.serves_tasks = True
        ledger: Any = view.resolve(App.ledger)
        assert ledger() == {"session": "session", "db": "db"}
    assert views[0].slots[id(App.db)] is engine.slots[id(App.db)]
    for view in views:
        view.close().settle()
    engine.close().settle()
    assert journal == ["+db", "+session", "+session", "-session", "-session", "-db"]


def test_an_override_in_a_view_is_invisible_to_the_engine_it_was_derived_from() -> None:
    journal = Journal()
    db = journal.resource("db")
    container = declare(db=db, client=providers.Factory(dict, db=db), other=journal.resource("other"))
    engine = engine_of(container)
    open_all(engine)
    view = engine.derive(lambda _: False, name="view", overrides={id(container.db): providers.Object("fake")})
    client: Any = view.resolve(container.client)
    assert client() == {"db": "fake"}
    assert engine.instance is not None
    assert engine.instance.client() == {"db": "db"}
    other: Any = view.resolve(container.other)
    assert other() == "other"
    view.close().settle()
    assert journal == ["+db", "+other"]
    engine.close().settle()


def test_a_run_resource_opens_an_async_resource_of_the_process_that_it_needs_first() -> None:
    async def main() -> None:
        journal = Journal()
        process: Any = ProcessResource(journal.asynchronous("process"))
        engine = async_engine_of(declare(user=journal.async_resource("user", process), process=process))
        await aopen_all(engine)
        assert journal == ["+process", "+user"]
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize(
    "kind",
    [
        providers.Singleton,
        providers.ThreadSafeSingleton,
        providers.ThreadLocalSingleton,
        providers.ContextLocalSingleton,
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_singleton_made_of_a_resource_says_so_after_closing(kind: Any, asynchronous: bool) -> None:
    async def main() -> None:
        journal = Journal()
        db = journal.async_resource("db") if asynchronous else journal.resource("db")
        declared = declare(db=db, ledger=kind(dict, db=db), plain=kind(dict))
        engine = async_engine_of(declared) if asynchronous else engine_of(declared)
        container = await aopen_all(engine) if asynchronous else open_all(engine)
        assert container.ledger() == {"db": "db"}
        plain = container.plain()
        (await engine.aclose() if asynchronous else engine.close()).settle()
        with pytest.raises(LifespanClosedError, match=r"App\.db"):
            container.ledger()
        assert container.plain() is plain, "it has nothing that closes"

    run(main)


def test_a_view_that_closes_leaves_the_singletons_of_its_parent_alone() -> None:
    db = providers.Resource(object)
    session = TaskResource(object)
    declared = declare(
        db=db, session=session, ledger=providers.Singleton(dict, db=db), own=providers.Singleton(dict, s=session)
    )
    engine = engine_of(declared)
    container = open_all(engine)
    ledger = container.ledger()
    view = engine.derive(lambda node: node.path == "session", name="task")
    view.serves_tasks = True
    own: Any = view.resolve(declared.own)
    assert view.instance.ledger() is ledger
    own()
    view.close().settle()
    assert container.ledger() is ledger
    with pytest.raises(LifespanClosedError, match="session"):
        own()
    engine.close().settle()


class Kept:
    """What a factory makes, from resources."""

    def __init__(self, **given: Any) -> None:
        self.given = given


async def make(**given: Any) -> dict[str, Any]:
    return given


@pytest.mark.parametrize("is_open", [False, True])
def test_awaited_calls_give_the_value_on_the_lifespans_loop_open_or_not_again_and_again(is_open: bool) -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        b = journal.resource("b", a)
        repo = providers.Factory(dict, a=a, b=b)
        nested = providers.Singleton(dict, repo=repo)
        declared = declare(a=a, b=b, repo=repo, nested=nested, call=providers.Callable(dict, a=a))
        made = {"a": "a", "b": "b"}
        for _ in range(20):  # the interpreter specialises what it has seen some times
            engine = async_engine_of(declared)
            c: Any = engine.instance
            if is_open:
                await aopen_all(engine)
            assert await c.repo() == made
            assert await c.a() == "a"
            assert await c.b() == "b"
            assert await c.nested() == {"repo": made}
            assert await c.call(z=1) == {"a": "a", "z": 1}
            assert await c.repo(*[made], z=1) == {**made, "z": 1}
            assert await eval("c.repo()", {"c": c}) == made  # noqa: S307
            through = partial(lambda c: c.repo(), c)
            assert await through() == made
            assert await c.repo.async_() == made
            assert (c.a(), c.b(), c.repo(), c.nested(), c.call()) == ("a", "b", made, {"repo": made}, {"a": "a"})
            assert await asyncio.to_thread(lambda c=c: (c.a(), c.repo())) == ("a", made)
            await engine.aclose()

    run(main)


@pytest.mark.parametrize("is_open", [False, True])
def test_lists_dicts_selectors_and_dependencies_of_the_instance_can_be_awaited_as_well(is_open: bool) -> None:
    """`await container.clients()` awaited the list itself."""

    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        background = providers.Resource(start)
        engine = async_engine_of(
            declare(
                a=a,
                other=journal.async_resource("other"),
                row=providers.List(a, "x"),
                table=providers.Dict(a=a),
                choice=providers.Selector(lambda: "one", one=a, two=providers.Factory(dict)),
                default=providers.Dependency(default=a),
                background=background,
                task=providers.Dependency(default=background),
            )
        )
        c: Any = engine.instance
        if is_open:
            await aopen_all(engine)
        for _ in range(2):
            assert [await c.row(), await c.table(), await c.choice(), await c.default()] == [
                ["a", "x"],
                {"a": "a"},
                "a",
                "a",
            ]
        assert is_open or journal == ["+a"]
        task = await c.task()
        assert isinstance(task, asyncio.Task), "a resource's value, as it is"
        await engine.aclose()

    async def start() -> AsyncIterator[asyncio.Task[str]]:
        yield asyncio.create_task(asyncio.sleep(0, "done"))

    run(main)


def test_what_a_lifespan_overrides_opens_for_an_awaited_call_too() -> None:
    async def main() -> None:
        journal = Journal()
        a, fake = journal.async_resource("a"), journal.async_resource("fake")
        declared = declare(a=a, repo=providers.Factory(list), db=providers.Dependency(), b=journal.resource("b"))
        overrides = {id(declared.repo): providers.Factory(dict, a=a), id(declared.db): fake, id(declared.b): fake}
        engine = async_engine_of(declared, overrides=overrides)
        c: Any = engine.instance
        assert [await c.b.async_(), await c.b.init()] == ["fake", "fake"]
        await engine.aclose()
        engine = async_engine_of(declared, overrides=overrides)
        c = engine.instance
        journal.clear()
        assert [await c.repo(), await c.db(), await c.b()] == [{"a": "a"}, "fake", "fake"]
        assert sorted(journal) == ["+a", "+fake"]
        with c.repo.override("by hand"):
            assert await c.repo() == "by hand"
        await engine.aclose()

    run(main)


def test_a_call_that_is_not_awaited_says_that_it_is_not_open_and_one_of_many_opens_once() -> None:
    async def main() -> None:
        journal = Journal()
        a = journal.async_resource("a")
        c: Any = async_engine_of(declare(a=a, repo=providers.Factory(dict, a=a))).instance

        async def kept() -> Any:
            return c.repo()

        for call in (c.a, c.repo):
            with pytest.raises(AsyncResourceError):
                call()
        with pytest.raises(AsyncResourceError):
            await kept()
        assert await asyncio.gather(*(c.repo.async_() for _ in range(5))) == [{"a": "a"}] * 5
        assert journal == ["+a"]
        assert await kept() == {"a": "a"}

    run(main)


def test_what_a_function_gives_to_be_awaited_is_awaited_once_and_a_failure_keeps_its_type() -> None:
    async def main() -> None:
        async def failing() -> AsyncIterator[str]:
            raise ConnectionError("refused")
            yield ""

        a = Journal().async_resource("a")
        bad = providers.Resource(failing)
        declared = declare(
            a=a,
            coroutine=providers.Coroutine(make, a=a),
            made=providers.Factory(make, a=a),
            x=providers.Factory(dict, b=bad),
        )
        c: Any = async_engine_of(declared).instance
        assert await c.coroutine() == await c.made() == await c.made.async_() == {"a": "a"}
        for call in (c.x, c.x.async_):
            with pytest.raises(ConnectionError, match="refused"):
                await call()

    run(main)


def test_a_provider_of_the_instance_is_the_one_that_it_stands_for_in_all_else() -> None:
    async def main() -> None:
        a = Journal().async_resource("a")
        inner = declare(a=a, repo=providers.Factory(Kept, a=a))
        engine = async_engine_of(declare(inner=providers.Container(inner), repo=providers.Factory(Kept, a=a)))
        c: Any = engine.instance
        assert providers.is_provider(c.repo)
        assert isinstance(c.repo, providers.Factory)
        assert c.repo == c.providers["repo"]
        assert repr(c.repo) == repr(c.providers["repo"])
        assert hash(c.repo) == hash(c.providers["repo"])
        assert engine.resolve("repo") is c.providers["repo"]
        assert (await c.inner.repo()).given == (await c.inner.container.repo()).given == {"a": "a"}
        assert (await c.repo()).given == {"a": "a"}
        assert c.repo.provided.given["a"]() == "a"
        assert providers.Factory(dict, repo=c.repo)()["repo"].given == {"a": "a"}
        assert isinstance(c.repo.provider(), providers.Factory)
        with c.repo.override("fake"):
            assert c.repo() == await c.repo() == await c.repo.async_() == "fake"
        with c.override_providers(repo=providers.Object("fake")):
            assert c.repo() == "fake"
        assert isinstance(await c.repo(), Kept)
        await engine.aclose()
        with pytest.raises(LifespanClosedError):
            await c.repo()

    run(main)


def test_another_initialiser_given_to_a_resource_of_the_instance_opens_and_closes_in_its_place() -> None:
    journal = Journal()

    def another(number: int) -> Any:
        journal.append(f"+{number}")
        yield number
        journal.append(f"-{number}")

    engine = engine_of(declare(a=journal.resource("a")))
    instance: Any = engine.instance
    instance.a.set_provides(another).add_args(7)
    assert (instance.a(), instance.a.args) == (7, (7,))
    engine.close().settle()
    assert journal == ["+7", "-7"]


class Service:
    def __init__(self, *args: object, **kwargs: object) -> None:
        self.made_with = args, kwargs


class Fake(Service):
    pass


CHANGES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda service: service,
    "set_provides": lambda service: service.set_provides(Fake),
    "set_args": lambda service: service.set_args(1),
    "add_args": lambda service: service.add_args(2),
    "clear_args": lambda service: service.clear_args(),
    "set_kwargs": lambda service: service.set_kwargs(b=3),
    "add_kwargs": lambda service: service.add_kwargs(c=4),
    "clear_kwargs": lambda service: service.clear_kwargs(),
    "add_attributes": lambda service: service.add_attributes(made_with=5),
    "set_attributes": lambda service: service.set_attributes(made_with=6),
    "clear_attributes": lambda service: service.clear_attributes(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [providers.Singleton, providers.ThreadSafeSingleton])
def test_a_singleton_made_of_resources_is_declared_anew_as_any_other(kind: Any, change: str) -> None:
    """What it was given stayed: by `clear_kwargs`, and beside new arguments; another class got none of it."""
    a = providers.Resource(Journal().blocking("a"))
    declared = declare(a=a, service=kind(Service, a, b=a))
    stock = declared()
    stock.init_resources()
    engine = engine_of(declared)
    found: list[object] = []
    for container in (stock, open_all(engine)):
        service = container.service
        service()
        assert CHANGES[change](service) is service
        service.reset()
        made: Any = service()
        told = service.provides, service.cls, len(service.args), list(service.kwargs), service.attributes
        found.append((type(made), made.made_with, told))
    engine.close().settle()
    assert found[0] == found[1]
