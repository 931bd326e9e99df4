"""Every way to run a task or flow makes an engine of one base class each: what `lifespans.guard` rests on."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from typing import Any

import prefect.flow_engine
import prefect.flows
import prefect.task_engine
import prefect.tasks
import pytest
from prefect import flow, task
from prefect.flow_engine import BaseFlowRunEngine
from prefect.task_engine import BaseTaskRunEngine

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The work and the parameters of every engine that is made."""
    engines: list[tuple[Any, Any]] = []
    for engine, attribute in ((BaseTaskRunEngine, "task"), (BaseFlowRunEngine, "flow")):
        post_init = engine.__post_init__

        def noting(self: Any, post_init: Any = post_init, attribute: str = attribute) -> None:
            post_init(self)
            engines.append((getattr(self, attribute), self.parameters))

        monkeypatch.setattr(engine, "__post_init__", noting)
    return engines


def test_an_engine_is_made_for_every_kind_and_way_and_knows_work_and_parameters(made: list[tuple[Any, Any]]):
    @task
    def blocking(n: int) -> int:
        return n

    @task
    async def coroutine(n: int) -> int:
        return n

    @task
    def generator(n: int) -> Iterator[int]:
        yield n

    @flow
    def child(n: int) -> int:
        return n

    @flow
    async def main(n: int) -> None:
        blocking(n)
        blocking.submit(n).result()
        blocking.map([n]).result()
        await coroutine(n)
        list(generator(n))
        child(n)

    asyncio.run(main(1))
    expected = [main, blocking, blocking, blocking, coroutine, generator, child]
    assert [(work.name, parameters) for work, parameters in made] == [(each.name, {"n": 1}) for each in expected]


@pytest.mark.parametrize("way", ["call", "submit", "delay", "flow"])
def test_arguments_are_bound_by_the_function_that_the_modules_of_tasks_and_flows_name(
    way: str, monkeypatch: pytest.MonkeyPatch
):
    class BoundHereError(Exception):
        pass

    def bind(function: Any, *_: Any) -> Any:
        raise BoundHereError(function.__name__)

    def work() -> None: ...

    monkeypatch.setattr(prefect.tasks, "get_call_parameters", bind)
    monkeypatch.setattr(prefect.flows, "get_call_parameters", bind)
    as_task: Any = task(work)
    calls: dict[str, Any] = {
        "call": as_task,
        "submit": as_task.submit,
        "delay": as_task.delay,
        "flow": flow(work),
    }
    with pytest.raises(BoundHereError, match="work"):
        calls[way]()


def test_the_engine_calls_the_function_of_the_work_that_it_holds():
    for engine in (BaseTaskRunEngine, BaseFlowRunEngine):
        assert "__post_init__" in vars(engine)
        for derived in engine.__subclasses__():
            assert "__post_init__" not in vars(derived)
            assert "self.task.fn" in inspect.getsource(derived) or "self.flow.fn" in inspect.getsource(derived)


def test_every_run_is_between_the_start_of_its_engine_and_the_end_of_that():
    """What `lifespans.runs_in_flight` rests on."""
    for module in (prefect.task_engine, prefect.flow_engine):
        runs = [f for name, f in vars(module).items() if re.fullmatch(r"run_(generator_)?(task|flow)_a?sync", name)]
        assert len(runs) == 4
        for run in runs:
            before, started = inspect.getsource(run).split("with engine.start(", 1)
            assert "await" not in before
            assert "engine.is_running()" in started
