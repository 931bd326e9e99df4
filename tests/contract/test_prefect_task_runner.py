"""How the task runner of a run is made, replaced and ended: how a lifespan knows every future and waits for it."""

import asyncio
import threading
from typing import Any

import pytest
from prefect import flow, task
from prefect.context import FlowRunContext
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

pytestmark = [
    pytest.mark.usefixtures("prefect_server", "garbage_collected"),
    # Prefect's clients in the loops of submitted async tasks leave their sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]

PATIENCE_SECONDS = 20
# Typed as Any: the parameter of `flow` and the class are invariant in different futures.
ONE_WORKER: Any = ThreadPoolTaskRunner(max_workers=1)


def running_task_runner() -> TaskRunner[Any]:
    context = FlowRunContext.get()
    assert context is not None
    return context.task_runner


def test_at_the_end_queued_tasks_are_cancelled_and_running_ones_awaited() -> None:
    """What `pending="cancel"` does as Prefect would, and what `pending="wait"` keeps from happening."""
    started, queue_is_dropped = threading.Event(), threading.Event()
    ran: list[str] = []

    @task
    def first() -> None:
        started.set()
        assert queue_is_dropped.wait(PATIENCE_SECONDS)
        ran.append("first")

    @task
    def second() -> None:
        ran.append("second")

    @flow(task_runner=ONE_WORKER)
    def run() -> str:
        first.submit()
        queued: Any = second.submit()
        assert started.wait(PATIENCE_SECONDS)
        queued.wrapped_future.add_done_callback(lambda _: queue_is_dropped.set())
        return "completed all the same"

    assert run() == "completed all the same"
    assert ran == ["first"]


def test_each_attempt_has_a_task_runner_of_its_own_which_is_not_the_flows() -> None:
    """What is replaced on the runner of a run touches no other run and no other attempt."""
    runners: list[TaskRunner[Any]] = []

    @flow(retries=1)
    def run() -> None:
        runners.append(running_task_runner())
        if len(runners) == 1:
            raise ValueError("first attempt")

    run()

    first, second = runners
    assert first is not second
    assert all(runner is not run.task_runner for runner in runners)


def keep_submitted(runner: Any, kept: list[Any]) -> None:
    """Replace `submit` on this runner by one that writes down every future."""
    original = runner.submit

    def submit(*args: Any, **kwargs: Any) -> Any:
        future = original(*args, **kwargs)
        kept.append(future)
        return future

    runner.submit = submit


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync flow", "async flow"])
def test_submit_can_be_replaced_on_the_runner_of_a_run_and_map_goes_through_it(asynchronous: bool) -> None:
    """How the lifespan knows every future: if this fails, tasks are missed and closed under."""
    kept: list[Any] = []

    @task
    def leaf(x: int) -> int:
        return x

    @task
    async def async_leaf(x: int) -> int:
        return x

    @task
    def nested(x: int) -> int:
        return leaf.submit(x).result()

    def body() -> None:
        keep_submitted(running_task_runner(), kept)
        futures: list[Any] = [leaf.submit(1), async_leaf.submit(2), nested.submit(3), *leaf.map([4, 5])]
        wait(futures)
        leaf(6)

    @flow
    def run() -> None:
        body()

    @flow
    async def async_run() -> None:
        body()

    if asynchronous:
        asyncio.run(asyncio.wait_for(async_run(), PATIENCE_SECONDS * 3))
    else:
        run()

    assert sorted(future.result() for future in kept) == [1, 2, 3, 3, 4, 5], "nested ones too, direct calls not"
    assert "submit" not in vars(run.task_runner)


def test_a_subflow_has_a_runner_of_its_own() -> None:
    """What a subflow submits is not seen by its parent's replacement: a joined lifespan replaces on each runner."""
    kept: list[Any] = []

    @task
    def leaf() -> None: ...

    @flow
    def child() -> None:
        wait([leaf.submit()])

    @flow
    def parent() -> None:
        keep_submitted(running_task_runner(), kept)
        child()

    parent()

    assert kept == []


def test_waiting_for_all_kept_futures_lets_queued_tasks_finish_first() -> None:
    """`pending="wait"` as a whole: hold the futures, wait for them, then close."""
    log: list[str] = []

    @task
    def leaf(x: int) -> None:
        log.append("task")

    @flow(task_runner=ONE_WORKER)
    def run() -> None:
        kept: list[Any] = []
        keep_submitted(running_task_runner(), kept)
        leaf.map(range(4))
        wait(kept)
        log.append("close")

    run()

    assert log == ["task"] * 4 + ["close"]


def test_an_awaited_async_task_runs_on_the_flows_loop_and_a_submitted_one_elsewhere() -> None:
    """Which instance of a loop-bound resource a task gets: the flow's own, or one for that call."""
    places: list[tuple[asyncio.AbstractEventLoop, int]] = []

    @task
    async def noting() -> None:
        places.append((asyncio.get_running_loop(), threading.get_ident()))

    @flow
    async def run() -> None:
        places.append((asyncio.get_running_loop(), threading.get_ident()))
        await noting()
        wait([noting.submit()])

    asyncio.run(asyncio.wait_for(run(), PATIENCE_SECONDS * 3))

    of_the_flow, awaited, submitted = places
    assert awaited == of_the_flow
    assert submitted[0] is not of_the_flow[0]
    assert submitted[1] != of_the_flow[1]
