"""What Prefect takes for a task's identity: the function that `__prefect_task_source__` names, where it is believed."""

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import task, tasks
from prefect.tasks import task_input_hash

pytestmark = pytest.mark.skipif(
    not hasattr(tasks, "_get_task_source"), reason="Prefect 3.8 makes task keys of the wrapper, whatever it names"
)


def store(x: int) -> int:
    return x


def around(fn: Callable[..., Any]) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def named(fn: Callable[..., Any]) -> Any:
    wrapper = around(fn)
    wrapper.__prefect_task_source__ = fn
    return wrapper


def identity(fn: Callable[..., Any]) -> tuple[str, str | None]:
    decorated: Any = task(fn)
    context: Any = SimpleNamespace(task=decorated)
    return decorated.task_key, task_input_hash(context, {"x": 1})


def test_key_and_input_hash_are_those_of_the_function_that_a_wrapper_names() -> None:
    """If this fails, a release of the library that changes its wrappers invalidates what tasks have cached."""
    assert identity(named(store)) == identity(store)
    assert identity(around(store))[0] != identity(store)[0]


def test_a_wrapper_is_believed_only_where_it_wraps_what_it_names() -> None:
    """So a decorator of somebody else's over ours, which copies the attribute, is a task of its own."""
    assert identity(around(named(store)))[0] == identity(around(store))[0] != identity(store)[0]


def test_nothing_else_of_prefect_asks_for_the_source_of_a_task() -> None:
    """If this fails, see what else goes by `__prefect_task_source__`, or no longer by the wrapper's own code."""
    readers = inspect.getsource(tasks).count("_get_task_source(")
    assert readers == 3, "its definition, the input hash and the task key"
