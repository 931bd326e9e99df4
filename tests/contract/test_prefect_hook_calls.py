"""Where Prefect calls hooks: what `lifespans.guard` replaces is what all of them go through."""

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.flow_engine import AsyncFlowRunEngine, FlowRunEngine
from prefect.runner import _hook_runner, _workspace_runtime_bootstrap
from prefect.states import Completed, Failed
from prefect.task_engine import AsyncTaskRunEngine, SyncTaskRunEngine
from prefect.tasks import Task
from prefect.transactions import AsyncTransaction, Transaction

ENGINES = [
    (SyncTaskRunEngine, "task"),
    (AsyncTaskRunEngine, "task"),
    (FlowRunEngine, "flow"),
    (AsyncFlowRunEngine, "flow"),
]


@pytest.mark.parametrize(("engine", "attribute"), ENGINES)
def test_an_engine_calls_the_hooks_that_what_it_holds_has_at_that_moment(engine: Any, attribute: str):
    called: list[str] = []
    hooks = {f"on_{each}_hooks": [] for each in ("running", "completion", "failure", "cancellation", "crashed")}
    work = SimpleNamespace(name="work", **hooks)
    held = SimpleNamespace(
        **{attribute: work, f"{attribute}_run": SimpleNamespace(name="run")},
        state=Completed(),
        logger=SimpleNamespace(info=lambda *_: None, error=lambda *_, **__: None),
        _engine_owns_cancellation_handling=lambda: True,
    )
    hooks["on_completion_hooks"].append(lambda *_: called.append("completion"))
    hooks["on_failure_hooks"].append(lambda *_: called.append("failure"))
    for state in (None, Failed()):
        result = engine.call_hooks(held, state)
        asyncio.run(result) if inspect.iscoroutine(result) else None
    assert called == ["completion", "failure"]


@pytest.mark.parametrize("kind", [Transaction, AsyncTransaction])
def test_a_transaction_calls_each_hook_by_run_hook(kind: Any):
    assert "run_hook" in vars(kind)
    for method in (kind.commit, kind.rollback):
        assert "self.run_hook(hook, " in inspect.getsource(method)


@pytest.mark.parametrize("module", [_hook_runner, _workspace_runtime_bootstrap])
def test_a_runner_calls_hooks_by_a_function_of_its_module(module: Any):
    assert list(inspect.signature(module._run_hooks).parameters) == ["hooks", "flow_run", "flow", "state"]
    assert inspect.iscoroutinefunction(inspect.unwrap(module._run_hooks))
    assert "await _run_hooks(" in inspect.getsource(module)


def test_what_delays_a_task_goes_through_apply_async():
    assert "self.apply_async(" in inspect.getsource(Task.delay)
    assert "self.apply_async(" in inspect.getsource(Task.map)
    assert list(inspect.signature(cast("Any", Task.apply_async)).parameters)[:3] == ["self", "args", "kwargs"]
