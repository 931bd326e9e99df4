"""A provider of every class pickles by value: as it was declared, and without what it holds while it is in use."""

from __future__ import annotations

import copy
import copyreg
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanError, ProcessResource, TaskResource, lifespan
from prefect_lifespan.provider_pickling import register
from tests.provider_pickling.travelling import loads, open_db, travelled

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


async def open_api() -> Any:
    yield "api"


async def call_api(*_: Any) -> str:
    return "called"


def as_it_is(provider: Any) -> Any:
    """What a provider gives, as far as it can be compared."""
    return provider()


Kinds: list[tuple[str, Callable[[], Any], Callable[[Any], Any], Any]] = [
    ("Object", lambda: providers.Object(3), as_it_is, 3),
    ("Delegate", lambda: providers.Delegate(providers.Object(3)), lambda p: p()(), 3),
    ("CallableDelegate", lambda: providers.CallableDelegate(providers.Callable(str, 3)), lambda p: p()(), "3"),
    ("CoroutineDelegate", lambda: providers.CoroutineDelegate(providers.Coroutine(call_api)), lambda p: p().provides, call_api),
    ("FactoryDelegate", lambda: providers.FactoryDelegate(providers.Factory(str, 3)), lambda p: p()(), "3"),
    ("SingletonDelegate", lambda: providers.SingletonDelegate(providers.Singleton(str, 3)), lambda p: p()(), "3"),
    ("Aggregate", lambda: providers.Aggregate({1: providers.Object("a")}), lambda p: p(1), "a"),
    ("FactoryAggregate", lambda: providers.FactoryAggregate(a=providers.Factory(str, 3)), lambda p: p.a(), "3"),
    ("Dependency", lambda: providers.Dependency(instance_of=int, default=3), lambda p: (p(), p.instance_of), (3, int)),
    ("DependenciesContainer", lambda: providers.DependenciesContainer(a=providers.Object(3)), lambda p: p.a(), 3),
    ("Callable", lambda: providers.Callable(dict, [("a", 1)], b=2), as_it_is, {"a": 1, "b": 2}),
    ("DelegatedCallable", lambda: providers.DelegatedCallable(str, 3), as_it_is, "3"),
    ("AbstractCallable", lambda: providers.AbstractCallable(str, 3), lambda p: (p.provides, p.args), (str, (3,))),
    ("Coroutine", lambda: providers.Coroutine(call_api, 1), lambda p: (p.provides, p.args), (call_api, (1,))),
    ("DelegatedCoroutine", lambda: providers.DelegatedCoroutine(call_api), lambda p: p.provides, call_api),
    ("AbstractCoroutine", lambda: providers.AbstractCoroutine(call_api), lambda p: p.provides, call_api),
    ("Configuration", lambda: providers.Configuration("c", {"a": 1}, strict=True, ini_files=["x"]),
     lambda p: (p(), p.get_name(), p.get_strict(), p.get_ini_files()), ({"a": 1}, "c", True, ["x"])),
    ("ConfigurationOption", lambda: providers.Configuration(default={"a": {"b": 1}}).a["b"], as_it_is, 1),
    ("TypedConfigurationOption", lambda: providers.Configuration(default={"a": 1}).a.as_(str), as_it_is, "1"),
    ("Factory", lambda: providers.Factory(dict, a=1).add_attributes(), as_it_is, {"a": 1}),
    ("DelegatedFactory", lambda: providers.DelegatedFactory(str, 3), as_it_is, "3"),
    ("AbstractFactory", lambda: providers.AbstractFactory(str, 3), lambda p: p.provides, str),
    ("Singleton", lambda: providers.Singleton(dict, a=1), as_it_is, {"a": 1}),
    ("DelegatedSingleton", lambda: providers.DelegatedSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("ThreadSafeSingleton", lambda: providers.ThreadSafeSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("DelegatedThreadSafeSingleton", lambda: providers.DelegatedThreadSafeSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("ThreadLocalSingleton", lambda: providers.ThreadLocalSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("DelegatedThreadLocalSingleton", lambda: providers.DelegatedThreadLocalSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("ContextLocalSingleton", lambda: providers.ContextLocalSingleton(dict, a=1), as_it_is, {"a": 1}),
    ("AbstractSingleton", lambda: providers.AbstractSingleton(dict, a=1), lambda p: (p.cls, p.kwargs), (dict, {"a": 1})),
    ("List", lambda: providers.List(1, providers.Object(2)), as_it_is, [1, 2]),
    ("Dict", lambda: providers.Dict({1: providers.Object(2)}, a=3), as_it_is, {1: 2, "a": 3}),
    ("Resource", lambda: providers.Resource(open_db, url="x"), as_it_is, "connection to x"),
    ("ContextLocalResource", lambda: providers.ContextLocalResource(open_db, "x"), as_it_is, "connection to x"),
    ("Container", lambda: providers.Container(containers.DeclarativeContainer), lambda p: dict(p.providers), {}),
    ("Selector", lambda: providers.Selector(providers.Object("a"), a=providers.Object(1)), as_it_is, 1),
    ("ProvidedInstance", lambda: providers.Object([3]).provided, as_it_is, [3]),
    ("AttributeGetter", lambda: providers.Object(3j).provided.imag, as_it_is, 3.0),
    ("ItemGetter", lambda: providers.Object([3]).provided[0], as_it_is, 3),
    ("MethodCaller", lambda: providers.Object("a").provided.join.call(["b", "c"]), as_it_is, "bac"),
    ("Self", providers.Self, as_it_is, None),
    ("TaskResource", lambda: TaskResource(open_db, "x"), as_it_is, "connection to x"),
    ("ProcessResource", lambda: ProcessResource(open_db, "x"), as_it_is, "connection to x"),
]  # fmt: skip


def classes_of(base: type) -> Iterator[type]:
    for derived in type.__subclasses__(base):
        yield derived
        yield from classes_of(derived)


def test_every_provider_class_that_there_is_stands_among_the_kinds() -> None:
    theirs = {c.__name__ for c in classes_of(providers.Provider) if c.__module__ == providers.__name__}
    never_declared = {"BaseSingleton", "BaseResource", "ExternalDependency"}

    assert theirs - never_declared <= {name for name, *_ in Kinds}
    assert all(c in copyreg.dispatch_table for c in classes_of(providers.Provider) if c.__name__ in theirs)


@pytest.mark.parametrize(("name", "make", "look", "seen"), [pytest.param(*kind, id=kind[0]) for kind in Kinds])
def test_a_provider_of_each_kind_arrives_as_it_was_declared(
    name: str, make: Callable[[], Any], look: Callable[[Any], Any], seen: Any
) -> None:
    provider = make()

    arrived = [loads(pickle.dumps(provider, protocol)) for protocol in PROTOCOLS]
    arrived += [travelled(provider), copy.copy(provider)]

    for one in arrived:
        assert one is not provider
        assert type(one) is type(provider)
        assert type(one).__name__ == name
        assert look(one) == seen


def test_what_is_the_same_provider_is_so_within_one_pickle() -> None:
    db = providers.Resource(open_db)
    service = providers.Factory(dict, db=db, url=db.provided.url)

    arrived_db, arrived = travelled((db, service))

    assert arrived.kwargs["db"] is arrived_db
    assert arrived.kwargs["url"].provides.provides is arrived_db


def test_providers_that_hand_each_other_out_arrive_in_their_circle() -> None:
    first = providers.Factory(dict)
    second = providers.Factory(dict, make_first=first.provider, of_first=first.provided["second"])
    first.add_kwargs(second=second.provider)

    arrived = travelled(first)

    other = arrived.kwargs["second"].provides
    assert other.kwargs["make_first"].provides is arrived
    assert other.kwargs["of_first"].provides.provides is arrived


def test_a_configuration_and_its_options_stay_together_and_read_the_same_values() -> None:
    config = providers.Configuration(default={"db": {"port": "1"}})
    config.from_dict({"db": {"port": "2"}, "my key": 3})
    made = (
        config,
        config.db["port"].as_int(),
        getattr(config, "my key").required(),
        config.db[providers.Object("port")],
    )

    arrived, port, required, by_provider = travelled(made)

    assert (port(), required(), by_provider()) == (2, 3, "2")
    assert required.is_required()
    assert port.option is arrived.db.port
    arrived.from_dict({"db": {"port": "4"}})
    assert port() == 4
    assert config.db.port() == "2"


@pytest.mark.parametrize("kind", [providers.Resource, providers.ContextLocalResource, TaskResource, ProcessResource])
def test_an_open_resource_arrives_closed(kind: Any) -> None:
    resource = kind(open_db, "x")
    resource.init()

    arrived = travelled(resource)

    assert not arrived.initialized
    assert arrived() == "connection to x"
    assert resource.initialized
    resource.shutdown()
    assert arrived.initialized


@pytest.mark.parametrize(
    "kind",
    [
        providers.Singleton,
        providers.ThreadSafeSingleton,
        providers.ThreadLocalSingleton,
        providers.ContextLocalSingleton,
    ],
)
def test_a_singleton_arrives_without_its_instance(kind: Any) -> None:
    singleton = kind(threading.local)  # an instance that nothing can pickle
    instance = singleton()

    arrived = travelled(singleton)

    assert arrived() is not instance
    assert arrived() is arrived()
    assert singleton() is instance


def test_an_asynchronous_resource_arrives_as_one() -> None:
    provider = providers.Resource(open_api)

    assert travelled(provider).provides.__wrapped__ is open_api
    assert loads(pickle.dumps(provider)).provides.__wrapped__ is open_api


class Database:
    """As many declare one: its session is a method that is a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def session(self, name: str) -> Iterator[str]:
        yield f"{name} at {self.url}"


def test_a_method_that_is_a_context_manager_arrives_with_its_object() -> None:
    provider = providers.Resource(Database("db").session, "session")

    for arrived in (travelled(provider), loads(pickle.dumps(provider)), copy.copy(provider)):
        assert arrived() == "session at db"
        arrived.shutdown()


def test_overridings_arrive_in_their_order() -> None:
    db: Any = providers.Resource(open_db)
    first, last = providers.Object("first"), providers.Object("last")
    db.override(first)
    db.override(last)

    arrived, arrived_last = travelled((db, last))

    assert arrived() == "last"
    assert arrived.last_overriding is arrived_last
    assert arrived_last.overrides == (arrived,)
    arrived.reset_last_overriding()
    assert arrived() == "first"


class Noted(providers.Factory):
    """A user's own provider, with an initialiser that takes what cannot be guessed."""

    def __init__(self, note: str, provides: Any) -> None:
        super().__init__(provides)
        self.note = note


class Slotted(providers.Resource):
    __slots__ = ("note",)


class Alone(providers.Factory):
    def __reduce__(self) -> Any:
        return providers.Object, ("as it says itself",)


def test_a_users_own_provider_keeps_its_attributes() -> None:
    register()
    slotted: Any = Slotted(open_db)
    slotted.note = "in a slot"

    noted, arrived = travelled((Noted("kept", dict), slotted))

    assert (type(noted), noted.note, noted()) == (Noted, "kept", {})
    assert (type(arrived), arrived.note, arrived()) == (Slotted, "in a slot", "connection to sqlite://")
    assert copy.copy(noted).note == "kept"


def test_a_users_own_provider_that_says_how_it_is_pickled_is_left_alone() -> None:
    register()

    assert Alone not in copyreg.dispatch_table
    assert travelled(Alone(dict))() == "as it says itself"


def test_classes_that_come_later_are_registered_when_a_provider_refers_to_one() -> None:
    class Later(providers.ThreadSafeSingleton):
        pass

    factory = providers.Factory(dict, later=Later(dict))
    assert Later not in copyreg.dispatch_table

    assert travelled(factory)() == {"later": {}}
    assert Later in copyreg.dispatch_table


def test_registering_again_changes_nothing() -> None:
    register()
    before = dict(copyreg.dispatch_table)

    register()

    assert copyreg.dispatch_table == before


def test_a_reducer_that_somebody_else_registered_is_kept() -> None:
    class Theirs(providers.Factory):
        pass

    def reduce_theirs(_: Any) -> Any:
        return str, ("theirs",)

    copyreg.pickle(Theirs, reduce_theirs)
    register()

    assert travelled(Theirs(dict)) == "theirs"


class App(containers.DeclarativeContainer):
    db = providers.Resource(open_db)
    service = providers.Factory(dict, db=db)


def test_what_a_lifespan_holds_open_refuses_to_travel_and_says_what_to_do() -> None:
    with lifespan(App) as container:
        for live in (container, container.db, container.service, {"in": [container.db]}):
            with pytest.raises(LifespanError, match=r"App\.db of the lifespan of .*inject what it needs by marker"):
                cloudpickle.dumps(live)


def test_copies_for_a_run_are_not_made_by_the_reducers() -> None:
    class Declared(containers.DeclarativeContainer):
        db = providers.Resource(open_db)
        service = providers.Factory(dict, db=db)

    instance, copied = Declared(), copy.deepcopy(Declared.service)

    assert instance.service.kwargs["db"] is instance.db is not Declared.db
    assert copied is not Declared.service
    assert copied.kwargs["db"] is not Declared.db
    assert providers.deepcopy(Declared.db) is not Declared.db


def test_a_shallow_copy_refers_to_the_same_providers_and_to_nothing_that_is_open() -> None:
    App.db.init()
    try:
        copied_db, copied = copy.copy(App.db), copy.copy(App.service)
    finally:
        App.db.shutdown()

    assert copied_db is not App.db
    assert not copied_db.initialized
    assert copied is not App.service
    assert copied.kwargs["db"] is App.db
