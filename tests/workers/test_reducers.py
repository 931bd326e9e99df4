"""Whatever refers to a container pickles: by reference where it can be imported, by value otherwise."""

from __future__ import annotations

import copy
import copyreg
import importlib
import json
import operator
import pickle
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import cloudpickle
import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, as_int

from prefect_lifespan import LifespanError, ProcessResource, TaskResource, lifespan
from prefect_lifespan.workers.reducers import register

PROGRAMS = Path(__file__).parent / "programs"
loads = pickle.loads  # our own bytes
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that both processes import."""
    monkeypatch.syspath_prepend(str(PROGRAMS))
    return importlib.import_module("shop")


def travelled(value: Any) -> Any:
    return loads(cloudpickle.dumps(value))


Elsewhere = Callable[..., str]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """What an expression is in another process, on what was pickled here."""
    receiver = [sys.executable, str(PROGRAMS / "receiver.py")]
    with subprocess.Popen(receiver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        requests: Any = process.stdin
        answers: Any = process.stdout

        def ask(expression: str, *pickles: bytes) -> str:
            request = {"expression": expression, "pickles": [data.hex() for data in pickles]}
            print(json.dumps(request), file=requests, flush=True)
            return json.loads(answers.readline())

        yield ask
        requests.close()


@pytest.fixture(scope="module")
def script() -> list[bytes]:
    """What a script pickled whose container stands in `__main__`: a marker, the class with a marker, an instance."""
    command = [sys.executable, str(PROGRAMS / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)  # noqa: S603
    return [bytes.fromhex(line) for line in done.stdout.split()]


def open_db(url: str = "sqlite://") -> Iterator[str]:
    yield f"connection to {url}"


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


# ------------------------------------------------------------------------------------------ containers to be imported


def test_a_provider_of_an_importable_container_arrives_as_the_one_declared_there(
    shop: Any, elsewhere: Elsewhere
) -> None:
    names = ("db", "orders", "config", "cache", "upper", "gateways", "gateways.db", "gateways.stripe", "users.db", "me")
    sent = {name: operator.attrgetter(name)(shop.Shop) for name in names}

    data = {name: cloudpickle.dumps(provider) for name, provider in sent.items()}

    assert all(loads(data[name]) is sent[name] for name in names)
    assert all(len(each) < 120 for each in data.values())
    same = "[one is __import__('operator').attrgetter(name)(__import__('shop').Shop)"
    assert elsewhere(f"{same} for one, name in zip(arrived, {names!r})]", *data.values()) == str([True] * len(names))


def test_what_goes_on_from_a_declared_provider_brings_no_copy_of_it(shop: Any) -> None:
    chain = travelled(shop.Shop.cache.provided.db)

    assert chain.provides.provides is shop.Shop.cache
    assert travelled(shop.Shop.config.db.port) is shop.Shop.config.db.port
    assert travelled(shop.Shop.db.provider).provides is shop.Shop.db


def test_an_inherited_provider_is_that_of_the_class_that_declares_it(shop: Any) -> None:
    assert b"Corner" not in cloudpickle.dumps(shop.Corner.db)
    assert travelled(shop.Corner.db) is shop.Shop.db
    assert travelled(shop.Corner.extra) is shop.Corner.extra


def test_markers_arrive_with_the_declared_provider(shop: Any) -> None:
    marked = (
        Provide[shop.Shop.db],
        Closing[Provide[shop.Shop.db]],
        Provide["config.db.port", as_int()],
        Provide[shop.Shop],
        Annotated[str, Provide[shop.Shop.db]],
    )

    given, closing, by_id, whole, annotated = travelled(marked)

    assert given.provider is shop.Shop.db
    assert closing.provider.provider is shop.Shop.db
    assert (by_id.provider, type(by_id.modifier)) == ("config.db.port", type(as_int()))
    assert whole.provider is getattr(shop.Shop, "__self__")  # noqa: B009
    assert get_args(annotated)[1].provider is shop.Shop.db


def test_overrides_on_an_importable_class_stay_in_the_process_that_set_them(shop: Any, elsewhere: Elsewhere) -> None:
    """They are sent as overrides of one opening; to set them on the class there would reach into other runs."""
    with shop.Shop.db.override("fake"):
        data = cloudpickle.dumps((shop.Shop.db, shop.Shop))

    assert elsewhere("first[0].overridden, first[0]()", data) == "((), 'connection to sqlite://')"


def test_a_provider_that_the_other_process_does_not_declare_is_named(shop: Any) -> None:
    shop.Shop.late = providers.Object(1)
    data = cloudpickle.dumps(shop.Shop.late)
    del shop.Shop.late

    with pytest.raises(LifespanError, match="Shop declares no 'late' in this process"):
        loads(data)


def test_a_provider_that_was_replaced_on_the_class_no_longer_travels_as_its_own(shop: Any) -> None:
    replaced = shop.Shop.orders
    assert travelled(replaced) is replaced
    shop.Shop.orders = providers.Factory(dict)
    try:
        assert travelled(replaced) is not shop.Shop.orders
        assert travelled(shop.Shop.orders) is shop.Shop.orders
    finally:
        shop.Shop.orders = replaced


def test_a_container_instance_arrives_by_value_without_what_is_open(shop: Any) -> None:
    instance = shop.Shop()
    instance.orders()

    arrived = travelled(instance)

    assert arrived.declarative_parent is shop.Shop
    assert not arrived.db.initialized
    assert arrived.orders.kwargs["db"] is arrived.db
    assert arrived.gateways.stripe() == {"db": "connection to sqlite://"}
    assert getattr(arrived, "__self__")() is arrived  # noqa: B009
    instance.shutdown_resources()
    arrived.shutdown_resources()


def test_modules_that_a_user_sends_by_value_take_their_containers_along(shop: Any, elsewhere: Elsewhere) -> None:
    cloudpickle.register_pickle_by_value(shop)
    try:
        data = cloudpickle.dumps(Provide[shop.Shop.orders])
    finally:
        cloudpickle.unregister_pickle_by_value(shop)

    assert b"connection to" in data
    assert elsewhere("first.provider()", data) == "{'db': 'connection to sqlite://'}"


# ------------------------------------------------------------------------------------- containers that nobody imports


def test_a_container_of_a_script_arrives_whole_with_a_marker(elsewhere: Elsewhere, script: list[bytes]) -> None:
    marker, *_ = script

    assert elsewhere("first.provider().db, type(first.provider()).__name__", marker) == (
        "('connection to sqlite://', 'Client')"
    )


def test_a_container_of_a_script_is_the_same_however_often_it_arrives(
    elsewhere: Elsewhere, script: list[bytes]
) -> None:
    """So that a marker of the second task finds what was opened for the first."""
    marker, both, _ = script
    facts = (
        "last[0].client is first.provider is last[1].provider",
        "last[0].client.kwargs['db'] is last[0].db is last[0].__mro__[1].db",
        "last[0].url.provides.provides is last[0].client",
        "last[0].me is last[0].__self__ and last[0].__self__() is last[0]",
        "last[0].__self__.alt_names",
        "last[0].fake()",
        "len(last[0].fake.overridden)",
        "last[0]().client().db",
        "last[0].wiring_config.modules",
        "list(last[0].providers)",
    )

    seen = elsewhere(", ".join(facts), marker, both, both)

    assert seen == (
        "(True, True, True, True, ('me',), 'fake', 1, 'connection to sqlite://', ['json'], "
        "['config', 'db', 'client', 'url', 'fake'])"
    )


def test_what_a_derived_container_declares_anew_does_not_arrive_as_what_it_inherits(elsewhere: Elsewhere) -> None:
    class Base(containers.DeclarativeContainer):
        value = providers.Object("base")
        inherited = providers.Object("inherited")

    class Derived(Base):
        value = providers.Object("derived")

    overrides = cloudpickle.dumps((Base, {"value": Derived.value, "inherited": Derived.inherited}, Derived))
    base, own, derived = "first[0]", "first[1]['value']", "first[2]"
    assert elsewhere(f"{base}.value(), {own}(), {derived}.value(), {derived}.value is {own}", overrides) == repr(
        ("base", "derived", "derived", True)
    )
    assert elsewhere(f"{derived}.inherited is {base}.inherited is first[1]['inherited']", overrides) == "True"


def test_a_container_instance_of_a_script_arrives(elsewhere: Elsewhere, script: list[bytes]) -> None:
    *_, instance = script

    assert elsewhere("first.client().db, first.fake()", instance) == "('connection to sqlite://', 'fake')"


def test_what_comes_back_to_its_own_process_finds_what_is_in_use_there(shop: Any) -> None:
    """Dask unpickles in the client as well: the class there must keep its providers, and they what they hold."""
    outer = shop.in_a_function()
    before = dict(outer.providers)
    outer.db.init()
    outer.user.override("you")

    arrived, provider = travelled((outer, outer.inner.ledger))

    assert arrived is outer
    assert outer.providers == before
    assert provider is outer.inner.ledger
    assert outer.db.initialized
    assert len(outer.user.overridden) == 1
    outer.db.shutdown()


def test_a_container_that_two_threads_unpickle_for_the_first_time_has_one_of_each_provider(
    shop: Any, elsewhere: Elsewhere
) -> None:
    """As the threads of a Dask worker do, when a container of a script or a notebook is new there."""
    met = shop.with_a_meeting()
    data = cloudpickle.dumps(cloudpickle.dumps((met, Provide[met.whole], Provide[met.inner.stripe])))
    facts = (
        "one[0] is other[0]",
        "one[1].provider is other[1].provider is one[0].whole",
        "one[2].provider is other[2].provider is one[0].inner.stripe",
        "one[0].whole.kwargs['ledger'].kwargs['db'] is one[0].db",
        "len(one[0].fake.overridden)",
        "other[1].provider()",
    )

    seen = elsewhere(f"[({', '.join(facts)}) for one, other in [__import__('shop').at_once(first)]][0]", data)

    db = "{'db': 'connection to sqlite://'}"
    assert seen == f"(True, True, True, True, 1, {{'ledger': {db}, 'stripe': {db}}})"


def test_sub_containers_and_dependencies_of_a_local_container_arrive_connected(shop: Any, elsewhere: Elsewhere) -> None:
    data = cloudpickle.dumps(shop.in_a_function())
    facts = (
        "first().whole()",
        "first.inner.db.parent_name",
        "first.users.user is first.user",
        "first.inner.container.parent is first.inner",
        "first.whole()",
        "first.inner.db.last_overriding is first.db",
    )

    whole = "{'ledger': {'db': 'connection to sqlite://', 'user': 'me'}}"
    assert elsewhere(", ".join(facts), data) == f"({whole}, 'Outer.inner.db', True, True, {whole}, True)"


def test_a_long_chain_of_declared_providers_arrives() -> None:
    names: dict[str, Any] = {"a0": providers.Resource(open_db)}
    for depth in range(1, 1001):
        names[f"a{depth}"] = providers.Factory(dict, given=names[f"a{depth - 1}"])
    chain: Any = types.new_class("Chain", (containers.DeclarativeContainer,), exec_body=lambda body: body.update(names))

    for sent in (chain, Provide[chain.a1000], chain.a1000):
        assert travelled(sent) is not None
    copied = travelled(chain())
    assert copied.a1000.kwargs["given"] is copied.a999


def test_a_chain_of_nameless_providers_is_refused_where_the_stack_ends() -> None:
    provider: Any = providers.Factory(dict)
    for _ in range(1000):
        provider = providers.Factory(dict, given=provider)

    with pytest.raises(pickle.PicklingError, match="excessively deep recursion"):
        cloudpickle.dumps(provider)
