"""What Prefect does when the function of a flow has returned, raised or been interrupted: when a lifespan may close."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.exceptions import ExternalSignal, TerminationSignal
from prefect.futures import PrefectFuture

pytestmark = pytest.mark.usefixtures("prefect_server")

PATIENCE_SECONDS = 20


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
