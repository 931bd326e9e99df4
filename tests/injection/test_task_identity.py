"""What a task is to Prefect's caches and task workers: its function, whatever of the library stands around it."""

import dis
import functools
from pickle import loads
from types import SimpleNamespace
from typing import Any, cast

import cloudpickle
import pytest
from dependency_injector import containers, providers
from prefect import task, tasks
from prefect.cache_policies import TASK_SOURCE
from prefect.tasks import task_input_hash

from prefect_lifespan import Provide, inject, lifespan, override


class App(containers.DeclarativeContainer):
    db = providers.Object("db")


KINDS_OF_TASKS = {
    "a function": "def store(row, db=Provide[App.db]):\n    return row\n",
    "a coroutine": "async def store(row, db=Provide[App.db]):\n    return row\n",
    "a generator": "def store(row, db=Provide[App.db]):\n    yield row\n",
    "an asynchronous generator": "async def store(row, db=Provide[App.db]):\n    yield row\n",
}


def identity(function: Any) -> tuple[str, str | None]:
    """A task's key and the hash of its inputs, as Prefect makes them."""
    decorated = task(function)
    context: Any = SimpleNamespace(task=decorated)
    return decorated.task_key, task_input_hash(context, {"row": 1})


def defined(source: str, module: str = "script") -> Any:
    namespace: dict[str, Any] = {"Provide": Provide, "App": App, "__name__": module}
    exec(compile(source, "script.py", "exec"), namespace)  # noqa: S102
    return namespace["store"]


@pytest.mark.skipif(not hasattr(tasks, "_get_task_source"), reason="Prefect 3.8 makes task keys of the wrapper")
@pytest.mark.parametrize("module", ["__main__", "script"])
@pytest.mark.parametrize("source", KINDS_OF_TASKS.values(), ids=KINDS_OF_TASKS)
def test_a_task_has_the_identity_of_its_plain_function_under_whatever_the_library_puts_around_it(
    source: str, module: str
):
    plain = defined(source, module)
    wrapped = {
        "injected": inject(plain),
        "injected, and overridden around that": override(App, db="fake")(inject(plain)),
        "with a lifespan": lifespan(App)(plain),
        "arrived in a worker": loads(cast("Any", cloudpickle).dumps(inject(plain))),  # noqa: S301 - its own
    }
    assert {name: identity(function) for name, function in wrapped.items()} == dict.fromkeys(wrapped, identity(plain))


@pytest.mark.skipif(not hasattr(tasks, "_get_task_source"), reason="Prefect 3.8 makes task keys of the wrapper")
def test_a_release_with_another_wrapper_keeps_the_identity_of_every_task():
    function = defined(KINDS_OF_TASKS["a function"])
    today, later = inject(function), inject(function)
    later.__code__ = later.__code__.replace(co_code=later.__code__.co_code + bytes((dis.opmap["NOP"], 0)))
    assert identity(later) == identity(today)


def test_two_functions_that_differ_share_no_identity_whatever_is_injected():
    bodies = ("return row", "return row + 1", "return str(row)")
    sources = [f"def store(row, db=Provide[App.db]):\n    {body}\n" for body in bodies]
    assert len({identity(inject(defined(source))) for source in sources}) == len(bodies)


def test_a_decorator_over_an_injected_function_is_part_of_what_the_task_is():
    def noting(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    plain = defined(KINDS_OF_TASKS["a function"])
    assert identity(noting(inject(plain)))[0] == identity(noting(plain))[0] != identity(plain)[0]


def test_two_injected_tasks_share_neither_task_key_nor_source():
    def made(source: str) -> Any:
        namespace: dict[str, Any] = {"task": task, "inject": inject, "Provide": Provide, "App": App, "__name__": "cell"}
        exec(compile(source, "<a session without source text>", "exec"), namespace)  # noqa: S102
        return namespace["store"]

    text = "@task\n@inject\ndef store(row, db=Provide[App.db]):\n    return {}\n"
    one, other = made(text.format("row + 1")), made(text.format("len(str(row))"))
    assert one.task_key != other.task_key

    class Context:
        def __init__(self, of: Any) -> None:
            self.task = of

    keys = {TASK_SOURCE.compute_key(Context(which), {}, {}) for which in (one, other)}  # pyright: ignore[reportArgumentType]
    assert len(keys) == 2


def test_an_injected_task_has_the_same_task_key_in_a_script_and_in_the_module_that_a_worker_imports():
    source = "@task\n@inject\ndef store(row, db=Provide[App.db]):\n    return row\n"
    keys: set[str] = set()
    for module in ("__main__", "script"):
        namespace: dict[str, Any] = {"task": task, "inject": inject, "Provide": Provide, "App": App, "__name__": module}
        exec(compile(source, "script.py", "exec"), namespace)  # noqa: S102
        keys.add(namespace["store"].task_key)
    assert len(keys) == 1
