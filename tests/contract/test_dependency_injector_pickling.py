"""What dependency-injector's providers do when they are pickled: why the library brings reducers, and what they use."""

from __future__ import annotations

import copy
import copyreg
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers


def plainly(value: object) -> bytes:
    """Pickled without the reducers that somebody registered."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream)
    pickler.dispatch_table = {}
    pickler.dump(value)
    return stream.getvalue()


loads = pickle.loads  # our own bytes


def open_db(url: str = "sqlite://") -> Iterator[str]:
    yield f"connection to {url}"


def initialised() -> Any:
    resource = providers.Resource(str, "live")
    resource.init()
    return resource


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        pytest.param(lambda: providers.ThreadSafeSingleton(dict), TypeError, "RLock", id="thread-safe singleton"),
        pytest.param(lambda: providers.ThreadLocalSingleton(dict), TypeError, "_thread._local", id="thread-local"),
        pytest.param(lambda: providers.ContextLocalSingleton(dict), TypeError, "ContextVar", id="context-local"),
        pytest.param(
            lambda: providers.ContextLocalResource(dict), TypeError, "ContextVar", id="context-local resource"
        ),
        pytest.param(initialised, TypeError, "__cinit__", id="open resource"),
    ],
)
def test_what_holds_locks_context_variables_or_open_resources_is_refused(
    make: Callable[[], Any], error: type[Exception], told: str
) -> None:
    """If this fails, fewer reducers are needed."""
    with pytest.raises(error, match=told):
        plainly(make())


def test_a_resource_made_by_a_generator_function_cannot_be_found_by_its_name() -> None:
    """The provider wraps it, under the same name; unwrapped it is given back, and wrapped again by the setter."""
    resource: Any = providers.Resource(open_db)
    again: Any = providers.Resource(open_db)

    with pytest.raises(pickle.PicklingError, match="not the same object"):
        plainly(resource)
    assert resource.provides.__wrapped__ is open_db
    assert resource.set_provides(open_db).provides.__code__ is again.provides.__code__


def test_chains_answer_the_names_that_pickle_asks_for() -> None:
    """So that they pickle, and fall into an endless recursion when they are loaded."""
    chain = providers.Factory(dict).provided.items

    assert isinstance(chain.__setstate_of_somebody__, providers.AttributeGetter)
    with pytest.raises(RecursionError):
        loads(plainly(chain))


def test_a_singleton_is_pickled_with_its_instance() -> None:
    """If this fails, a live object no longer travels in silence."""
    singleton = providers.Singleton(dict)
    singleton()["live"] = True

    assert loads(plainly(singleton))() == {"live": True}


def test_a_configuration_is_asked_for_a_new_option_as_an_attribute_not_as_an_item() -> None:
    """Options arrive through `getattr`; inside an option both work."""
    config = providers.Configuration(default={"a": {"b": 1}})

    with pytest.raises(TypeError, match="Expected tuple, got str"):
        config["a"]
    option: Any = config.a
    assert config["a"] is option
    assert option["b"] is option.b
    assert option["b"]() == 1
    assert option.b.get_name_segments() == ("a", "b")
    assert option.b._get_root() is config


def test_a_container_provider_is_given_its_container_by_its_initialiser_alone() -> None:
    """There is no setter; called with a container it makes none."""

    class Inner(containers.DeclarativeContainer):
        value = providers.Object(1)

    kind: Any = providers.Container
    instance, provider = Inner(), kind()

    kind.__init__(provider, Inner, instance)

    assert provider.container is instance
    assert provider.container.declarative_parent is Inner
    assert provider.value() == 1


def test_delegates_of_a_kind_insist_on_what_they_delegate_to_and_plain_ones_do_not() -> None:
    kinds: list[Any] = [providers.CallableDelegate, providers.FactoryDelegate, providers.SingletonDelegate]
    for kind in kinds:
        made: Any = kind.__new__(kind)
        providers.Delegate.__init__(made)
        assert made.set_provides(providers.Object(1)).provides() == 1
        with pytest.raises(TypeError):
            kind()


def test_the_children_of_a_dependencies_container_can_be_added_to() -> None:
    """`providers` is the mapping itself: the way to give it its children back."""
    given = providers.DependenciesContainer()
    given.providers["user"] = providers.Object("me")

    assert given.user() == "me"


def test_overriding_as_the_base_class_has_it_reaches_no_further() -> None:
    inner = providers.Dependency(default="own")
    given: Any = providers.DependenciesContainer(user=inner)

    class Users(containers.DeclarativeContainer):
        user = providers.Object("me")

    providers.Provider.override(given, providers.Container(Users))

    assert len(given.overridden) == 1
    assert inner.overridden == ()


def test_providers_know_no_copy_of_their_own_but_a_deep_one() -> None:
    """So copy.copy asks the registered reducers, and copy.deepcopy never does."""
    assert not hasattr(providers.Provider, "__copy__")
    assert all("__deepcopy__" in dir(kind) for kind in (providers.Provider, providers.Self, providers.Container))

    class Own(providers.Factory):
        pass

    def reduce(_: Own) -> Any:
        return str, ("reduced",)

    copyreg.pickle(Own, reduce)

    assert copy.copy(Own(dict)) == "reduced"
    assert isinstance(copy.deepcopy(Own(dict)), Own)


def test_copy_takes_no_reducer_that_sets_the_state_by_a_function() -> None:
    """If this fails, Python has learnt it, and the library's own copier can go."""

    class Own:
        pass

    def reduce(_: Own) -> Any:
        return dict, (), {}, None, None, dict.update

    copyreg.pickle(Own, reduce)

    with pytest.raises(TypeError, match="positional arguments"):
        copy.copy(Own())
    assert loads(pickle.dumps(Own())) == {}


def test_cloudpickle_sets_what_a_class_declares_anew_each_time_it_arrives() -> None:
    """The class stays the same object. So its providers must be found again, or markers lose theirs."""

    class Local(containers.DeclarativeContainer):
        pass

    declared: Any = Local
    declared.value = value = [1]

    arrived = loads(cloudpickle.dumps(Local))

    assert arrived is Local
    assert declared.value == value
    assert declared.value is not value


def test_the_self_of_a_class_is_made_with_the_class() -> None:
    class Local(containers.DeclarativeContainer):
        me = providers.Self()

    own: Any = Local.__dict__["__self__"]

    assert own() is Local
    assert own.alt_names == ("me",)
