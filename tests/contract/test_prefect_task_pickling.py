"""How Prefect hashes and pickles a function: what a wrapper around it must keep, and what it must not name."""

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers, wiring
from prefect import task
from prefect.cache_policies import TASK_SOURCE
from prefect.tasks import Task


class Engine:
    """What is injected."""


class Declared(containers.DeclarativeContainer):
    engine = providers.Resource(Engine)


def hidden(fn: Callable[..., Any], keep_wrapped: bool = True) -> Any:
    """The smallest wrapper that injects `engine` and hides it, as the library's `inject` does."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        visible = inspect.signature(wrapper).bind(*args, **kwargs).arguments
        return fn(**visible, engine="injected")

    signature = inspect.signature(fn)
    shown = [parameter for name, parameter in signature.parameters.items() if name != "engine"]
    described: Any = wrapper
    described.__signature__ = signature.replace(parameters=shown)
    described.__annotations__ = {name: value for name, value in fn.__annotations__.items() if name != "engine"}
    if not keep_wrapped:
        del described.__wrapped__
    return described


def store(x: int, engine: Any = wiring.Provide[Declared.engine], y: int = 2) -> tuple[int, Any, int]:
    return x, engine, y


def other(x: int, engine: Any = wiring.Provide[Declared.engine]) -> str:
    return f"another result for {x} from {engine}"


def source_key(decorated: Any) -> str | None:
    context: Any = SimpleNamespace(task=decorated)
    return TASK_SOURCE.compute_key(context, {}, {})


def test_the_source_of_a_task_is_the_functions_own_while_wrapped_is_kept() -> None:
    """If this fails, TASK_SOURCE hashes the wrapper of the library and one task gets another's cached result."""
    assert task(hidden(store)).source_code == inspect.getsource(store)
    assert source_key(task(hidden(store))) == source_key(task(store)) != source_key(task(hidden(other)))
    assert source_key(task(hidden(store, keep_wrapped=False))) == source_key(task(hidden(other, keep_wrapped=False)))


def key_of_code(decorated: Any) -> str:
    return decorated.task_key.rpartition("-")[2]


def test_wrappers_that_share_a_code_object_share_the_hash_in_their_task_key() -> None:
    """If this fails, hashes tell wrappers apart and `injection` need not make their code objects unique."""
    assert key_of_code(task(store)) != key_of_code(task(other))
    assert key_of_code(task(hidden(store))) == key_of_code(task(hidden(other)))


def test_a_constant_added_to_the_code_object_makes_the_task_key_unique() -> None:
    """What `injection` does to its wrappers."""

    def unique(fn: Any) -> Any:
        wrapper = hidden(fn)
        code = wrapper.__code__
        wrapper.__code__ = code.replace(co_consts=(*code.co_consts, fn.__qualname__))
        return wrapper

    assert key_of_code(task(unique(store))) != key_of_code(task(unique(other)))
    assert key_of_code(task(unique(store))) == key_of_code(task(unique(store)))
    assert unique(store)(1) == (1, "injected", 2)


@task
def pickled_by_value() -> str:
    return "a constant of its body"


@task
def pickled_with_its_marker(engine: Any = wiring.Provide[Declared.engine]) -> None: ...


def pickled_by_reference() -> str:
    return "a constant of its body"


def test_a_decorated_function_is_pickled_by_value_even_from_an_importable_module() -> None:
    """The module's name is the Task, not the function: closure, defaults and globals travel, markers among them."""
    assert b"a constant of its body" in cloudpickle.dumps(pickled_by_value)
    assert b"a constant of its body" not in cloudpickle.dumps(pickled_by_reference)


def test_a_marker_of_an_initialised_resource_cannot_be_pickled() -> None:
    """If this fails, a live resource travels with the task; markers in `__defaults__` of the original count too."""

    def local(x: int, engine: Any = wiring.Provide[Declared.engine]) -> Any:
        return x, engine

    stored: Task[..., Any] = task(hidden(local))
    assert cloudpickle.loads(cloudpickle.dumps(stored)).fn(1) == (1, "injected")

    Declared.engine.init()
    try:
        with pytest.raises(TypeError, match="__cinit__"):
            cloudpickle.dumps(stored)
    finally:
        Declared.engine.shutdown()


def test_a_pickled_marker_arrives_with_a_container_of_its_own() -> None:
    """If this fails, tasks in one worker share what they open through markers; today each unpickles its own."""
    first, second = (cloudpickle.loads(cloudpickle.dumps(pickled_with_its_marker)).fn for _ in range(2))

    provider, again = (inspect.signature(fn).parameters["engine"].default.provider for fn in (first, second))

    assert provider is not again
    assert provider is not Declared.engine


current: contextvars.ContextVar[str] = contextvars.ContextVar("current")
lock = threading.Lock()
entries: list[str] = []


class Importable:
    """Reached by reference: its methods may use what cannot be pickled."""

    @classmethod
    def note(cls) -> None:
        with lock:
            entries.append(current.get("unset"))


def test_what_a_wrappers_body_names_is_pickled_with_it() -> None:
    """So the wrapper names neither context variables, locks nor registries: it calls a method of a class."""

    def names_a_variable() -> str:
        return current.get()

    def names_a_lock() -> None:
        with lock:
            pass

    def names_a_registry() -> None:
        entries.append("from the copy")

    def names_a_class() -> None:
        Importable.note()

    for refused in (names_a_variable, names_a_lock):
        with pytest.raises(TypeError, match="cannot pickle"):
            cloudpickle.dumps(task(refused))
    cloudpickle.loads(cloudpickle.dumps(task(names_a_registry))).fn()
    assert entries == [], "the copy appended to a copy of the entries"
    cloudpickle.loads(cloudpickle.dumps(task(names_a_class))).fn()
    assert entries == ["unset"]
    entries.clear()
