"""What Prefect does when the function of a flow has returned, raised or been interrupted: when a lifespan may close."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import ExternalSignal, TerminationSignal
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

pytestmark = [
    pytest.mark.usefixtures("contract_prefect_api", "garbage_collected"),
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


def test_a_submitted_task_runs_on_after_the_functions_finally() -> None:
    """If this fails, try/finally in the flow is enough and `pending="wait"` is needless."""
    started, closed = threading.Event(), threading.Event()
    seen: list[str] = []

    @task
    def uses_the_resource() -> None:
        started.set()
        seen.append("closed under the task" if closed.wait(PATIENCE_SECONDS) else "closed after the task")

    @flow
    def run() -> None:
        try:
            uses_the_resource.submit()
            assert started.wait(PATIENCE_SECONDS)
        finally:
            closed.set()

    run()

    assert seen == ["closed under the task"]


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


def test_a_returned_future_is_resolved_after_the_function_has_returned() -> None:
    """So a lifespan that closes when the function returns closes under the tasks whose futures it returns."""
    returned = threading.Event()

    @task
    def slow() -> str:
        assert returned.wait(PATIENCE_SECONDS)
        return "resolved"

    @flow
    def run() -> PrefectFuture[str]:
        try:
            return slow.submit()
        finally:
            returned.set()

    state: Any = run()
    assert isinstance(state, State), "the call gives the state of the task and not its result"
    assert state.result() == "resolved"


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


def test_hooks_run_after_the_function_and_a_retried_failure_calls_none() -> None:
    """State hooks find the run's resources closed; `on_running` is called for each attempt."""
    log: list[str] = []

    def noting(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            log.append(name)

        return hook

    @flow(
        retries=1,
        on_running=[noting("on_running")],
        on_failure=[noting("on_failure")],
        on_completion=[noting("on_completion")],
    )
    def run() -> None:
        try:
            log.append("function")
            if log.count("function") == 1:
                raise ValueError("first attempt")
        finally:
            log.append("finally")

    run()

    assert log == ["on_running", "function", "finally"] * 2 + ["on_completion"]


def test_an_exception_in_finally_takes_the_place_of_the_works_own_in_the_state() -> None:
    """Why close errors become notes of the body's exception and never replace it."""

    @flow
    def run() -> None:
        try:
            raise ValueError("of the work")
        finally:
            raise ConnectionError("of the close")

    state: Any = run(return_state=True)

    assert "of the close" in state.message
    assert "of the work" not in state.message
    assert isinstance(state.result(raise_on_failure=False).__context__, ValueError)


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


@pytest.fixture
def terminations() -> Iterator[list[int]]:
    """SIGTERM signals that reach this process's own handler: pytest is not to die of them."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_raised_in_the_function_and_sent_again_when_the_run_has_ended(terminations: list[int]) -> None:
    """`finally` in the function runs; what surrounds the call ends by the second signal, with the default handler."""
    log: list[str] = []

    @flow
    def run() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(PATIENCE_SECONDS)
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            log.append(f"finally, {len(terminations)} sent again")

    with pytest.raises(TerminationSignal):
        run()

    assert log == ["TerminationSignal", "finally, 0 sent again"]
    assert terminations == [signal.SIGTERM]


def test_a_termination_signal_is_no_exception_that_users_catch() -> None:
    """Closing looks for BaseException, not Exception."""
    assert issubclass(TerminationSignal, ExternalSignal)
    assert issubclass(ExternalSignal, BaseException)
    assert not issubclass(TerminationSignal, Exception)
    assert TerminationSignal(signal.SIGTERM).signal == signal.SIGTERM
