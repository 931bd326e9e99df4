"""Where context variables of a flow reach, and what Prefect's own context carries: how `scope` finds its lifespan."""

import asyncio
import contextlib
import contextvars
import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, SyncClientContext, hydrated_context, serialize_context, with_context
from prefect.futures import wait
from prefect.transactions import transaction

pytestmark = [
    pytest.mark.usefixtures("prefect_server", "garbage_collected"),
    # Prefect's clients in the loops of submitted async tasks leave their sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]

PATIENCE_SECONDS = 20
scope: contextvars.ContextVar[str] = contextvars.ContextVar("scope", default="none")


@contextlib.contextmanager
def in_force(name: str) -> Iterator[None]:
    """What `lifespan` does around the function of a flow."""
    token = scope.set(name)
    try:
        yield
    finally:
        scope.reset(token)


def own_context() -> Any:
    context = FlowRunContext.get()
    assert context is not None
    return context


def test_a_context_variable_of_the_flow_reaches_every_way_to_run_a_task() -> None:
    """If this fails, `scope` cannot be a context variable in one process."""

    @task
    def leaf(_: int = 0) -> str:
        return scope.get()

    @task
    def nested() -> str:
        return leaf.submit().result()

    @task
    def generated() -> Iterator[str]:
        yield scope.get()

    @flow
    def child() -> str:
        return leaf.submit().result()

    seen: dict[str, str] = {}

    @flow
    def run() -> None:
        with in_force("this run"):
            seen["called"] = leaf()
            seen["submitted"] = leaf.submit().result()
            seen["mapped"] = leaf.map([1]).result()[0]
            seen["nested"] = nested.submit().result()
            seen["generated"] = next(iter(generated()))
            seen["in a subflow"] = child()

    run()

    assert set(seen.values()) == {"this run"}
    assert scope.get() == "none"


def test_a_context_variable_of_an_async_flow_reaches_gathered_and_threaded_work() -> None:
    """The same for asynchronous flows."""

    @task
    async def leaf(_: int = 0) -> str:
        return scope.get()

    seen: list[str] = []

    @flow
    async def run() -> None:
        with in_force("this run"):
            seen.extend(await asyncio.gather(leaf(1), leaf(2)))
            seen.append(await asyncio.to_thread(scope.get))
            future: Any = leaf.submit()
            seen.append(future.result())

    asyncio.run(asyncio.wait_for(run(), PATIENCE_SECONDS * 3))

    assert seen == ["this run"] * 4


def test_a_context_variable_reaches_hooks_of_tasks_and_of_transactions() -> None:
    """State hooks of tasks and rollback hooks are injected from the run's lifespan."""
    seen: dict[str, str] = {}

    def on_completion(*_: object) -> None:
        seen["on_completion"] = scope.get()

    @task(on_completion=[on_completion])
    def leaf() -> None: ...

    @leaf.on_rollback
    def _undo(_: object) -> None:
        seen["on_rollback"] = scope.get()

    @flow
    def run() -> None:
        with in_force("this run"), contextlib.suppress(ZeroDivisionError), transaction():
            leaf()
            raise ZeroDivisionError

    run()

    assert seen == {"on_completion": "this run", "on_rollback": "this run"}


def test_a_context_variable_of_the_function_does_not_reach_the_hooks_of_the_flow() -> None:
    """They run outside the function: an injected flow hook opens just what it needs, as outside any lifespan."""
    seen: dict[str, str] = {}

    def noting(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            seen[name] = scope.get()

        return hook

    @flow(on_running=[noting("on_running")], on_completion=[noting("on_completion")])
    def run() -> None:
        with in_force("this run"):
            pass

    run()

    assert seen == {"on_running": "none", "on_completion": "none"}


def test_a_context_variable_does_not_reach_callbacks_of_futures() -> None:
    """What is injected into a callback finds no lifespan by context."""
    may_end, called = threading.Event(), threading.Event()
    seen: list[str] = []

    @task
    def leaf() -> None:
        assert may_end.wait(PATIENCE_SECONDS)

    def callback(_: object) -> None:
        seen.append(scope.get())
        called.set()

    @flow
    def run() -> None:
        with in_force("this run"):
            future = leaf.submit()
            future.add_done_callback(callback)
            may_end.set()
            assert called.wait(PATIENCE_SECONDS)
        future.result()

    run()

    assert seen == ["none"]


def test_a_variable_set_in_a_submitted_task_stays_there() -> None:
    """Tasks in threads run in a copy: they cannot hand a scope back."""

    @task
    def leaf() -> None:
        scope.set("of the task")

    @flow
    def run() -> str:
        wait([leaf.submit()])
        return scope.get()

    assert run() == "none"


def test_a_generator_flow_leaks_its_variable_to_the_caller_between_yields() -> None:
    """The lifespan of a generator flow has to take its variable back at each yield."""

    @flow
    def run() -> Iterator[int]:
        with in_force("the generator"):
            yield 1

    running = run()
    next(iter(running))

    assert scope.get() == "the generator"
    assert list(running) == []
    assert scope.get() == "none"


def test_the_flow_in_the_context_of_a_run_can_be_replaced_by_a_marked_copy() -> None:
    """How the id of an opening reaches workers: if this fails, they cannot tell which run a task belongs to."""

    @flow
    def run() -> tuple[Any, ...]:
        context = own_context()
        marked = copy.copy(context.flow)
        marked.opened = "opening-1"
        context.flow = marked
        carried = cloudpickle.loads(cloudpickle.dumps(serialize_context()))["flow_run_context"]["flow"]
        return carried.opened, carried.name, context.flow is marked

    assert run() == ("opening-1", "run", True)
    assert not hasattr(run, "opened")


def test_a_hydrated_context_has_the_marked_flow_a_runner_of_its_own_and_is_detached() -> None:
    """What a worker finds: the mark, and a way to tell that this is no run in its own process."""

    def look() -> tuple[Any, ...]:
        context = own_context()
        return getattr(context.flow, "opened", None), context.detached, context.task_runner

    @flow
    def run() -> None:
        context = own_context()
        context.flow = copy.copy(context.flow)
        context.flow.opened = "opening-1"
        found = []
        with hydrated_context(serialize_context()):
            found.append(look())
        found.append(with_context(look)())
        for opened, detached, runner in found:
            assert (opened, detached) == ("opening-1", True)
            assert runner is not context.task_runner
        assert look() == ("opening-1", False, context.task_runner)

    run()


def test_tasks_in_threads_see_the_context_of_the_run_itself() -> None:
    """In one process a mark put on the context after a task was submitted is still seen by it."""
    marked = threading.Event()

    @task
    def leaf() -> Any:
        assert marked.wait(PATIENCE_SECONDS)
        return getattr(own_context().flow, "opened", None)

    @flow
    def run() -> Any:
        future = leaf.submit()
        own_context().flow = copy.copy(own_context().flow)
        own_context().flow.opened = "opening-1"
        marked.set()
        return future.result()

    assert run() == "opening-1"


def test_a_context_that_was_kept_holds_a_client_that_its_run_has_closed() -> None:
    """If this fails, closers need not have their run and its clients from where they close: `__var__` names them."""
    kept: list[contextvars.Context] = []

    @flow
    def run() -> None:
        kept.append(contextvars.copy_context())

    run()
    (context,) = kept
    assert SyncClientContext.__var__ in context
    client = context.run(lambda: get_client(sync_client=True))
    assert client is context[SyncClientContext.__var__].client
    with pytest.raises(RuntimeError, match="closed"):
        context.run(lambda: client.read_variable_by_name("any"))
