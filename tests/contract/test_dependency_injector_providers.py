"""What dependency-injector calls on a provider: the hooks that a resource provider of ours is put into."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers, resources, wiring


class Ours(providers.Resource):
    """Overrides what the engine's providers override, and writes down what was called."""

    def __init__(self, provides: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(provides, *args, **kwargs)
        self.calls: list[str] = []

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, str]:
        self.calls.append(f"_provide{args}{kwargs}")
        return {"value": "ours"}

    @property
    def initialized(self) -> bool:
        self.calls.append("initialized")
        return False

    def init(self) -> None:
        self.calls.append("init")

    def shutdown(self) -> None:
        self.calls.append("shutdown")


def theirs() -> str:
    raise AssertionError("the initialiser itself must not be called")


@pytest.mark.parametrize(
    ("use", "value"),
    [
        pytest.param(lambda ours: ours, {"value": "ours"}, id="itself"),
        pytest.param(lambda ours: providers.Factory(list, ours), ["value"], id="factory"),
        pytest.param(lambda ours: providers.Callable(list, ours), ["value"], id="callable"),
        pytest.param(lambda ours: providers.Singleton(list, ours), ["value"], id="singleton"),
        pytest.param(lambda ours: providers.ThreadSafeSingleton(list, ours), ["value"], id="thread-safe singleton"),
        pytest.param(lambda ours: providers.Resource(list, ours), ["value"], id="resource"),
        pytest.param(lambda ours: ours.provided["value"].upper.call(), "OURS", id="provided chain"),
        pytest.param(lambda ours: providers.Object("old"), {"value": "ours"}, id="override"),
    ],
)
def test_every_use_of_a_resource_goes_through_its_overridden_provide(use: Callable[[Any], Any], value: object) -> None:
    """If this fails, `_provide` is no place for the engine to stand: what is injected would bypass it."""
    ours = Ours(theirs)
    user = use(ours)
    if isinstance(user, providers.Object):
        user.override(ours)

    assert user() == value
    assert ours.calls == ["_provide(){}"]


def test_provide_gets_the_arguments_of_the_call() -> None:
    """If this fails, a provider of ours cannot refuse or forward arguments given at the call."""
    ours: Any = Ours(theirs)

    ours(1, key=2)

    assert ours.calls == ["_provide(1,){'key': 2}"]


def test_an_overridden_resource_is_not_asked_to_provide() -> None:
    """If this fails, a resource that a test overrides is opened all the same."""
    ours: Any = Ours(theirs)

    with ours.override("fake"):
        assert ours() == "fake"

    assert ours.calls == []


def test_an_override_of_a_resource_does_not_keep_init_resources_from_it() -> None:
    """So `init` of ours has to look for overrides; theirs calls the overriding provider instead."""
    container: Any = containers.DynamicContainer()
    container.ours = Ours(theirs)

    with container.ours.override("fake"):
        container.init_resources()

    assert container.ours.calls == ["init"]


def test_their_calls_for_all_resources_use_the_overridden_methods() -> None:
    """A user who calls `init_resources` or `shutdown_resources` on our container reaches ours."""
    container: Any = containers.DynamicContainer()
    container.ours = Ours(theirs)

    container.init_resources()
    container.shutdown_resources()

    assert container.ours.calls == ["init", "initialized"], "what is not initialised is not shut down"


def test_a_python_subclass_of_the_bare_provider_may_provide_as_well() -> None:
    """The same for providers that are no resources."""

    class Answer(providers.Provider):
        def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
            return 42

    assert providers.Factory(dict, answer=Answer())() == {"answer": 42}


def test_the_first_result_fixes_whether_a_provider_is_asynchronous() -> None:
    """A provider of ours answers synchronously from the start, so that every chain over it stays synchronous."""

    async def opening() -> str:
        return "opened"

    resource: Any = providers.Resource(lambda: "sync")
    factory = providers.Factory(dict, resource=resource)
    assert resource.is_async_mode_undefined()

    assert factory() == {"resource": "sync"}

    assert resource.is_async_mode_disabled()
    assert factory.is_async_mode_disabled()
    resource.shutdown()
    resource.set_provides(opening)

    async def main() -> None:
        assert inspect.isawaitable(factory()["resource"]), "nobody awaits for a factory that is synchronous"

    asyncio.run(main())


def test_a_provider_whose_async_mode_is_disabled_awaits_none_of_its_arguments() -> None:
    """A value that happens to be awaitable is injected as it is, but only into what is synchronous already."""

    async def main() -> None:
        future: asyncio.Future[str] = asyncio.Future()
        future.set_result("result")
        synchronous: Any = providers.List(providers.Object(future))
        undecided: Any = providers.List(providers.Object(future))
        synchronous.disable_async_mode()

        assert synchronous() == [future]
        assert await undecided() == ["result"]

    asyncio.run(main())


def test_an_enabled_async_mode_wraps_a_plain_value_into_a_future() -> None:
    """If ours enabled it, each plain value would need a running loop."""

    async def main() -> None:
        provider: Any = providers.Object("plain")
        provider.enable_async_mode()
        assert await provider() == "plain"

    asyncio.run(main())


def test_an_awaitable_first_value_turns_a_provider_asynchronous_for_good() -> None:
    """Why a provider of ours disables its async mode when it is made: a later plain value would come as a future."""

    class Provided(providers.Resource):
        value: Any = None

        def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return self.value

    async def main() -> None:
        resource: Any = Provided(object)
        resource.value = asyncio.Future()
        assert resource() is resource.value
        assert resource.is_async_mode_enabled()
        resource.value = "plain"
        assert await resource() == "plain"

    asyncio.run(main())


def test_their_closing_shuts_a_resource_down_through_the_overridden_method() -> None:
    """Code wired by `wire` may use `Closing`: `shutdown` of ours is called in the middle of a run, at each call."""
    container: Any = containers.DynamicContainer()
    container.ours = Ours(theirs)

    @wiring.inject
    def use(ours: Any = wiring.Closing[wiring.Provide["ours"]]) -> Any:
        return ours

    container.wire(modules=[ModuleType(__name__)])

    assert use() == use() == {"value": "ours"}
    assert container.ours.calls == ["_provide(){}", "shutdown"] * 2


def test_a_python_subclass_is_pickled_with_all_that_it_holds() -> None:
    """Theirs refuses when it is live; ours has to refuse itself, or live resources travel without a word."""
    ours: Any = Ours(str)
    ours.calls.append("held")

    assert cloudpickle.loads(cloudpickle.dumps(ours)).calls == ["held"]


def generator() -> Iterator[None]:
    yield


async def async_generator() -> AsyncIterator[None]:
    yield


async def coroutine() -> None: ...


class Opened(resources.Resource[None]):
    def init(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "kind"),
    [(generator, inspect.isgeneratorfunction), (async_generator, inspect.isasyncgenfunction)],
)
def test_generator_functions_become_context_managers_around_the_function(
    function: Any, kind: Callable[[object], bool]
) -> None:
    """`resource(...)` policies and "is it async" are read from the function: it stands at `__wrapped__`."""
    provides: Any = providers.Resource(function).provides

    assert provides is not function
    assert provides.__wrapped__ is function
    assert kind(provides.__wrapped__)
    assert not kind(provides)
    assert provides.__qualname__ == function.__qualname__


@pytest.mark.parametrize("provides", [coroutine, Opened, theirs])
def test_anything_else_is_provided_as_it_was_declared(provides: Any) -> None:
    """If this fails, the kind of an initialiser must be read from somewhere else."""
    assert providers.Resource(provides).provides is provides


def test_attributes_of_a_generator_function_are_seen_on_what_it_becomes() -> None:
    """So a policy attached by `resource(...)` is found on `provides` without unwrapping."""

    def opening() -> Iterator[None]:
        yield

    opening.policy = "attached"  # pyright: ignore[reportFunctionMemberAccess]

    assert getattr(providers.Resource(opening).provides, "policy", None) == "attached"


def test_what_is_provided_can_be_replaced_on_an_instance_and_then_sees_the_exit() -> None:
    """The way to an outcome without a subclass: `set_provides` on the copy, the class keeps its own."""

    class Declared(containers.DeclarativeContainer):
        engine = providers.Resource(generator)

    container = Declared()
    exits: list[str] = []

    def watched() -> Iterator[str]:
        yield "watched"
        exits.append("exit")

    container.engine.set_provides(watched)

    assert container.engine() == "watched"
    container.engine.shutdown()
    assert exits == ["exit"]
    assert getattr(Declared.engine.provides, "__wrapped__", None) is generator
