"""A hook that is added late, by the flow that runs, is given no marker either: it fails as hooks fail, and says the cure."""

import asyncio
import json
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow as typed_flow
from prefect import task as typed_task
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.runner import _workspace_runtime_bootstrap
from prefect.runner._hook_runner import HookRunner
from prefect.states import Cancelling, Crashed
from prefect.transactions import atransaction, transaction

from prefect_lifespan import Provide, UsageError, inject, lifespan

# What is tried here is what their types refuse.
flow: Any = typed_flow
task: Any = typed_task
CALLED: list[object] = []


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")


def plain(*_: Any, db: Any = Provide[App.db], **__: Any) -> None:
    CALLED.append(db)


async def aplain(*_: Any, db: Any = Provide[App.db], **__: Any) -> None:
    CALLED.append(db)


class Teller:
    def __call__(self, *_: Any, db: Any = Provide[App.db], **__: Any) -> None:
        CALLED.append(db)


@inject
def well(*_: Any, db: Any = Provide[App.db], **__: Any) -> None:
    CALLED.append(db)


LATE = pytest.mark.parametrize(("late", "asynchronous"), [(plain, False), (aplain, True)], ids=["sync", "async"])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors in the log of which `log.error(..., exc_info=True)` tells."""
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    return [str(error) for error in errors if isinstance(error, UsageError)]


def crashes() -> None:
    raise SystemExit(3)


def fails() -> None:
    raise ValueError("the body fails")


ENDS: dict[str, Callable[[], Any]] = {
    "on_completion": lambda: "done",
    "on_failure": fails,
    "on_crashed": crashes,
    "on_cancellation": Cancelling,
}


@LATE
@pytest.mark.parametrize("kind", ENDS)
def test_one_that_a_flow_adds_while_it_runs_fails_by_name(
    caplog: pytest.LogCaptureFixture, kind: str, late: Any, asynchronous: bool
):
    def body() -> Any:
        context = FlowRunContext.get()
        assert context is not None
        getattr(context.flow, kind)(late)
        getattr(run, f"{kind}_hooks").append(well)
        return ENDS[kind]()

    @flow
    @lifespan(App)
    def blocking() -> Any:
        return body()

    @flow(name="blocking")
    @lifespan(App)
    async def coroutine() -> Any:
        return body()

    run = coroutine if asynchronous else blocking
    try:
        state = asyncio.run(run(return_state=True)) if asynchronous else run(return_state=True)
    except SystemExit:
        assert kind == "on_crashed"
    else:
        assert state.is_completed() == (kind == "on_completion")
    assert CALLED == ["db"]
    (text,) = told(caplog)
    assert f"({__file__}:" in text
    assert "of the flow 'blocking'" in text
    assert "put @inject on it" in text
    assert getattr(run, f"{kind}_hooks") == [late, well]


def test_one_that_is_called_when_a_flow_runs_again(caplog: pytest.LogCaptureFixture):
    attempts: list[int] = []

    @flow(retries=1)
    @lifespan(App)
    def run() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            run.on_running_hooks.append(plain)
            raise ValueError("once")
        return "done"

    assert run() == "done"
    assert CALLED == []
    assert len(told(caplog)) == 1


@LATE
@pytest.mark.parametrize("kind", ["on_completion", "on_failure"])
def test_one_that_a_task_adds_to_itself(caplog: pytest.LogCaptureFixture, kind: str, late: Any, asynchronous: bool):
    def body() -> Any:
        context = TaskRunContext.get()
        assert context is not None
        getattr(context.task, f"{kind}_hooks").append(late)
        return ENDS[kind]()

    @task(name="adds")
    def blocking() -> Any:
        return body()

    @task(name="adds")
    async def coroutine() -> Any:
        return body()

    @flow
    async def main() -> Any:
        return await coroutine(return_state=True) if asynchronous else blocking(return_state=True)

    asyncio.run(main(return_state=True))
    assert CALLED == []
    (text,) = told(caplog)
    assert "of the task 'adds'" in text


def test_one_that_a_flow_adds_to_a_task_that_it_then_calls_fails_the_task_before_it_runs():
    @task
    def works() -> None:
        CALLED.append("ran")

    @flow
    def main() -> Any:
        works.on_completion_hooks.append(plain)
        return works(return_state=True)

    state = main(return_state=True)
    assert state.is_failed()
    assert CALLED == []


@pytest.fixture
def staged() -> Callable[[str, Any], Callable[[Any], None]]:
    """Stages a hook of a kind in a transaction, which then ends so that hooks of that kind are called."""

    def stage(kind: str, late: Any) -> Callable[[Any], None]:
        def end(transaction: Any) -> None:
            transaction.stage("value", **{f"on_{kind}_hooks": [late]})
            if kind == "rollback":
                fails()

        return end

    return stage


@LATE
@pytest.mark.parametrize("kind", ["rollback", "commit"])
def test_one_of_a_transaction(
    caplog: pytest.LogCaptureFixture,
    staged: Callable[[str, Any], Callable[[Any], None]],
    kind: str,
    late: Any,
    asynchronous: bool,
):
    end = staged(kind, late)

    def blocking() -> None:
        with transaction() as entered:
            end(entered)

    async def coroutine() -> None:
        async with atransaction() as entered:
            end(entered)

    @flow
    async def main() -> None:
        await coroutine() if asynchronous else blocking()

    asyncio.run(main(return_state=True))
    assert CALLED == []
    assert told(caplog)
    assert "of a transaction" in told(caplog)[0]
    assert "put @inject on it" in told(caplog)[0]


def test_those_of_a_task_in_a_transaction_of_the_flow(caplog: pytest.LogCaptureFixture):
    @task
    def stores() -> None:
        context = TaskRunContext.get()
        assert context is not None
        context.task.on_rollback(plain)

    @flow
    def main() -> None:
        with transaction():
            stores()
            fails()

    main(return_state=True)
    assert CALLED == []
    assert told(caplog)


@pytest.mark.parametrize(
    ("kind", "late"),
    [("cancellation", plain), ("crashed", aplain), ("cancellation", Teller())],
    ids=["blocking", "asynchronous", "object"],
)
def test_one_that_a_runner_calls_for_a_run_that_it_has_ended(caplog: pytest.LogCaptureFixture, kind: str, late: Any):
    ended = flow(lambda: None, name="ended", **{f"on_{kind}": [late, well]})

    async def resolve(_: FlowRun) -> Any:
        return ended

    async def main() -> None:
        run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4())
        state: State[Any] = Cancelling() if kind == "cancellation" else Crashed()
        await getattr(HookRunner(resolve_flow=resolve), f"run_{kind}_hooks")(run, state)

    asyncio.run(main())
    assert CALLED == ["db"]
    assert "of the flow 'ended'" in told(caplog)[0]


PROGRAM = """
from dependency_injector import containers, providers
from prefect import flow
from prefect_lifespan import Provide

class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")

def plain(flow, flow_run, state, db=Provide[App.db]):
    print("called with", db)

@flow(on_cancellation=[plain])
def ended():
    pass
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """What a runner gives the process that calls hooks for it: the flow's file, the run and its state."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    contents = {
        "manifest.json": json.dumps({"runtime_entrypoint": "program.py:ended", "working_directory": str(tmp_path)}),
        "run.json": FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4()).model_dump_json(),
        "state.json": Cancelling().model_dump_json(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return [str(tmp_path / name) for name in contents]


def test_one_that_a_runner_calls_in_a_workspace_of_its_own(files: list[str]):
    command = [sys.executable, str(_workspace_runtime_bootstrap.__file__), "hook", "cancellation", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    assert "put @inject on it" in done.stdout + done.stderr
    assert "called with" not in done.stdout
