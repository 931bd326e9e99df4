"""What is wrong with a container is found before anything opens: all of it, each with its path drawn and its cure."""

import gc
import pickle
import threading
import weakref
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan.engine import Engine, Options
from prefect_lifespan.errors import InvalidContainerError
from prefect_lifespan.graph import Finding, check, graph_of
from prefect_lifespan.lifetimes import Policy, ProcessResource, TaskResource


class Service:
    def __init__(self, *args: object, **kwargs: object) -> None: ...


def declare(**declared: Any) -> Any:
    return type("App", (containers.DeclarativeContainer,), declared)


def codes(container: Any) -> list[str]:
    return [finding.code for finding in check(container)]


def test_a_sound_container_has_no_findings() -> None:
    db = providers.Resource(Service)
    assert check(declare(db=db, user=providers.Factory(Service, db, [1], name="x"))) == ()


def test_an_undefined_dependency_is_drawn_from_what_needs_it() -> None:
    url: Any = providers.Dependency(instance_of=str)
    engine = providers.Factory(Service, url)
    (finding,) = check(declare(db=providers.Resource(Service, engine), engine=engine, url=url))
    assert str(finding) == (
        "undefined-dependency: App.url is a Dependency that nothing provides\n"
        "  App.engine  (Factory)\n"
        "  └─ App.url  (Dependency)\n"
        "  Cure: give it a default, or provide it: lifespan(App, overrides={'url': ...})\n"
        "  See: docs/errors.md#undefined-dependency"
    )


def test_a_dependency_that_is_given_or_has_a_default_is_no_finding() -> None:
    class Sub(containers.DeclarativeContainer):
        given: Any = providers.Dependency()
        default: Any = providers.Dependency(default="x")

    assert check(declare(sub=providers.Container(Sub, given=providers.Object(1)))) == ()
    assert codes(declare(sub=providers.Container(Sub))) == ["undefined-dependency"]


def test_a_dependency_in_a_container_of_dependencies_is_undefined_until_it_is_given() -> None:
    gateways: Any = providers.DependenciesContainer()
    container = declare(gateways=gateways, user=providers.Resource(Service, gateways.api))
    assert [finding.path for finding in check(container)] == ["gateways.api"]


def test_a_cycle_is_drawn_all_the_way_round() -> None:
    a: Any = providers.Resource(Service)
    b: Any = providers.Factory(Service, a)
    a.add_args(b)
    (finding,) = check(declare(a=a, b=b))
    assert (finding.code, finding.message) == ("cycle", "App.b needs itself")
    assert finding.way == ("App.b  (Factory)", "App.a  (Resource, one per flow run)", "App.b  (Factory)")


def test_a_resource_that_needs_itself_is_a_cycle_and_a_provider_of_it_is_not() -> None:
    a: Any = providers.Resource(Service)
    a.add_args(a)
    assert codes(declare(a=a)) == ["cycle"]
    b: Any = providers.Resource(Service)
    b.add_args(b.provider)
    assert codes(declare(b=b)) == []


def test_a_cycle_of_a_thousand_is_found_without_recursion() -> None:
    made: list[Any] = [providers.Factory(Service)]
    for _ in range(999):
        made.append(providers.Factory(Service, made[-1]))
    made[0].add_args(made[-1])
    (finding,) = check(declare(**{f"p{index}": provider for index, provider in enumerate(made)}))
    assert len(finding.way) == 1001


LOCK = threading.Lock()
UNCOPYABLE: dict[str, tuple[Any, str]] = {
    "resource argument": (lambda: providers.Resource(Service, LOCK), "argument 0"),
    "resource keyword": (lambda: providers.Resource(Service, lock=LOCK), "lock"),
    "factory argument": (lambda: providers.Factory(Service, 1, LOCK), "argument 1"),
    "factory attribute": (lambda: providers.Factory(Service).add_attributes(lock=LOCK), ".lock"),
    "singleton": (lambda: providers.Singleton(Service, lock=LOCK), "lock"),
    "callable": (lambda: providers.Callable(Service, LOCK), "argument 0"),
    "inside a list": (lambda: providers.Factory(Service, [LOCK]), "argument 0"),
    "list item": (lambda: providers.List(LOCK), "item 0"),
}


def engine_of(container: Any) -> Engine:
    return Engine.of(container, name="the run", options=Options(Policy(close_timeout_seconds=10)))


@pytest.mark.parametrize("kind", UNCOPYABLE)
def test_an_argument_that_cannot_be_copied_is_named_and_refused_before_anything_opens(kind: str) -> None:
    make, label = UNCOPYABLE[kind]
    opened: list[str] = []
    container = declare(first=providers.Resource(opened.append, "first"), bad=make())
    (finding,) = check(container)
    assert finding.code == "uncopyable-argument"
    assert finding.message.startswith(f"{label} of App.bad is a ")
    assert "providers.Object(value)" in finding.cure
    with pytest.raises(InvalidContainerError) as raised:
        engine_of(container)
    assert raised.value.findings == (finding,)
    assert opened == []


def test_an_argument_in_an_object_is_shared_as_it_is() -> None:
    container = declare(a=providers.Factory(dict, lock=providers.Object(LOCK)))
    assert check(container) == ()
    instance: Any = engine_of(container).instance
    assert instance.a()["lock"] is LOCK


def test_the_values_of_a_dict_are_not_copied_so_any_will_do() -> None:
    """It was a finding of `check`, and opened all the same."""
    container = declare(a=providers.Dict(lock=LOCK))
    assert check(container) == ()
    instance: Any = engine_of(container).instance
    assert instance.a()["lock"] is LOCK


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(providers.Resource, TaskResource), (ProcessResource, TaskResource), (ProcessResource, providers.Resource)],
)
def test_a_longer_lived_resource_that_needs_a_shorter_lived_one_is_captive(outer: Any, inner: Any) -> None:
    short = inner(Service)
    between = providers.Factory(Service, short)
    long = outer(Service, between)
    (finding,) = check(declare(short=short, between=between, long=long))
    assert (finding.code, finding.path) == ("captive-lifetime", "long")
    assert [step.split()[0] for step in finding.way] == ["App.long", "App.between", "App.short"]
    assert finding.cure == "let long live no longer, or short as long"


async def connect(*_: object) -> None: ...


@pytest.mark.parametrize(
    "between", [lambda p: p, lambda p: providers.Factory(Service, p), lambda p: providers.Singleton(Service, p)]
)
def test_a_blocking_resource_of_the_process_that_needs_an_asynchronous_one_is_captive(between: Any) -> None:
    """It was no finding, and could never open: not even on an event loop, which the message asked for."""
    pool = ProcessResource(connect)
    through = between(pool)
    names = {} if through is pool else {"between": through}
    container = declare(pool=pool, model=ProcessResource(Service, through), **names)
    (finding,) = check(container)
    assert (finding.code, finding.path) == ("captive-lifetime", "model")
    assert finding.way[0] == "App.model  (ProcessResource, one per process)"
    assert finding.way[-1] == "App.pool  (asynchronous ProcessResource, one per flow run)"
    assert len(finding.way) == 2 + len(names)
    assert "belongs to the event loop of one run" in finding.message
    assert finding.cure == (
        "make model a Resource, or asynchronous too: both live as long as the run then; or make pool blocking"
    )
    with pytest.raises(InvalidContainerError, match=r"App\.model outlives App\.pool"):
        engine_of(container)


def test_the_cures_of_that_are_no_findings() -> None:
    pool = ProcessResource(connect)
    assert check(declare(pool=pool, model=providers.Resource(Service, pool))) == ()
    assert check(declare(pool=pool, model=ProcessResource(connect, pool))) == ()
    blocking = ProcessResource(Service)
    assert check(declare(pool=blocking, model=ProcessResource(Service, blocking))) == ()


def test_a_shorter_lived_resource_may_need_a_longer_lived_one() -> None:
    process = ProcessResource(Service)
    run = providers.Resource(Service, process)
    assert check(declare(process=process, run=run, task=TaskResource(Service, run, process))) == ()


def test_all_findings_are_listed_at_once_and_the_error_draws_each() -> None:
    task: Any = TaskResource(Service)
    cyclic: Any = providers.Factory(Service)
    cyclic.add_args(cyclic)
    container = declare(
        url=providers.Dependency(),
        cyclic=cyclic,
        task=task,
        captive=providers.Resource(Service, task),
        lock=providers.Factory(Service, LOCK),
    )
    assert codes(container) == ["undefined-dependency", "cycle", "captive-lifetime", "uncopyable-argument"]
    with pytest.raises(InvalidContainerError, match=r"App cannot be opened: 4 findings\.") as raised:
        engine_of(container)
    assert [finding.code for finding in raised.value.findings] == codes(container)
    assert all(str(finding) in str(raised.value) for finding in check(container))


def test_an_override_cures_what_it_replaces() -> None:
    url: Any = providers.Dependency()
    container = declare(url=url, lock=providers.Factory(Service, LOCK))
    overrides: Any = {id(container.url): providers.Object("x"), id(container.lock): providers.Object("y")}
    options = Options(Policy(close_timeout_seconds=10))
    instance: Any = Engine.of(container, name="the run", options=options, overrides=overrides).instance
    assert (instance.url(), instance.lock()) == ("x", "y")


@pytest.mark.parametrize("given", [object(), 1, Service, containers.DynamicContainer()], ids=type)
def test_what_is_no_container_class_is_a_type_error_that_says_what_was_given(given: Any) -> None:
    with pytest.raises(TypeError, match="expected a container class"):
        check(given)


def test_a_container_instance_is_refused_with_what_to_give() -> None:
    container = declare(a=providers.Object(1))
    with pytest.raises(TypeError, match="give the class, each lifespan makes its own instance"):
        check(container())


def test_a_container_that_was_put_together_by_hand_or_from_a_schema_is_refused_with_the_class_to_make_of_it() -> None:
    made: Any = containers.DynamicContainer()
    made.from_schema({"container": {"point": {"provider": "Factory", "provides": "builtins.dict", "kwargs": {"x": 1}}}})

    with pytest.raises(TypeError, match=r"got DynamicContainer; .* a class with what it declares: type\('App', "):
        check(made)

    instance: Any = engine_of(declare(**made.providers)).instance
    assert instance.point() == {"x": 1}


def test_findings_survive_pickling() -> None:
    findings = check(declare(url=providers.Dependency()))
    error = pickle.loads(pickle.dumps(InvalidContainerError("App", findings)))  # noqa: S301 - our own bytes
    assert error.findings == findings
    assert isinstance(error.findings[0], Finding)


def test_a_class_and_its_graph_are_garbage_collected() -> None:
    container = declare(db=providers.Resource(Service), url=providers.Dependency())
    check(container)
    graph, kept = weakref.ref(graph_of(container)), weakref.ref(container)
    del container
    gc.collect()
    assert kept() is None
    assert graph() is None


def test_a_class_that_was_opened_and_closed_is_garbage_collected() -> None:
    container = declare(db=providers.Resource(Service))
    engine = engine_of(container)
    engine.open(engine.eager(), "the run")
    engine.close().settle()
    kept = weakref.ref(container)
    del container, engine
    gc.collect()
    assert kept() is None


def test_a_resource_without_an_initialiser_is_told_unless_something_overrides_it() -> None:
    container = declare(db=providers.Resource())
    assert codes(container) == ["no-initialiser"]
    with container.db.override("a fake"):
        assert codes(container) == []


def test_an_argument_added_to_a_declared_provider_is_seen_by_the_next_check() -> None:
    a = providers.Resource(Service)
    container = declare(a=a, b=providers.Resource(Service, a))
    assert codes(container) == []
    a.add_args(container.b)
    assert codes(container) == ["cycle"]
