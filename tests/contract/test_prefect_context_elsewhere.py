"""How Prefect's context gets to other processes, and what it does with it there: what `workers.scope_carrier` rests on."""

import contextvars
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import cloudpickle
import pytest
from prefect import flow, task
from prefect.context import EngineContext, FlowRunContext, hydrated_context, serialize_context, with_context
from prefect.futures import wait
from prefect.task_engine import run_task_sync
from prefect.task_runners import ProcessPoolTaskRunner
from prefect.transactions import transaction

pytestmark = [
    pytest.mark.usefixtures("prefect_server", "garbage_collected"),
    # Connections of Prefect's clients and of Dask, which those leave to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]

_brought: contextvars.ContextVar[str] = contextvars.ContextVar("brought", default="nothing")


class Brought:
    """The variable, through a class that is importable: what tasks and flows name themselves is pickled with them."""

    @staticmethod
    def here() -> str:
        return _brought.get()

    @staticmethod
    @contextmanager
    def set(value: str) -> Iterator[None]:
        token = _brought.set(value)
        try:
            yield
        finally:
            _brought.reset(token)


@task
def leaf(_: int = 0) -> str:
    return Brought.here()


def own_context() -> Any:
    context = FlowRunContext.get()
    assert context is not None
    return context


# ------------------------------------------------------------------------------------------------------------ leaving


@pytest.fixture
def serialized_with(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the variable was, each time that the context of a flow run was serialised."""
    values: list[str] = []
    serialize = EngineContext.serialize

    def noting(self: EngineContext, include_secrets: bool = True) -> dict[str, Any]:
        values.append(Brought.here())
        return serialize(self, include_secrets)

    monkeypatch.setattr(EngineContext, "serialize", noting)
    return values


def ways_out() -> dict[str, Callable[[], object]]:
    """Everything that takes the context of a flow run elsewhere, but for Ray, which has a test of its own."""
    return {
        "pool": lambda: submitted_to(ProcessPoolTaskRunner(max_workers=1)),
        "dask": lambda: submitted_to(dask_runner()),
        "delay": lambda: leaf.delay(1),
        "with_context": lambda: with_context(leaf.fn),
    }


def submitted_to(runner: Any) -> None:
    with runner:
        wait([runner.submit(leaf, {"_": 1})])


def dask_runner() -> Any:
    from prefect_dask.task_runners import DaskTaskRunner

    threads = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs=threads)


@pytest.mark.parametrize("way", ways_out())
def test_whatever_takes_the_context_elsewhere_serialises_it_with_the_context_variables_of_whoever_asks(
    way: str, serialized_with: list[str]
) -> None:
    """If this fails, a way out misses what `serialize` adds, or does not see the scope in force."""

    @flow
    def run() -> None:
        with Brought.set("the scope"):
            ways_out()[way]()

    run()

    assert serialized_with == ["the scope"]


def test_tasks_in_threads_are_not_serialised(serialized_with: list[str]) -> None:
    """If this fails, thread runs pickle, and refuse overrides that cannot be."""

    @flow
    def run() -> str:
        return leaf.submit().result()

    assert run() == "nothing"
    assert serialized_with == []


@pytest.mark.extended
def test_a_pool_serialises_for_each_submission_or_keeps_the_result_where_we_drop_it(serialized_with: list[str]) -> None:
    """If this fails, `process_pool` has to find another way to let an override between two submissions take effect."""

    @flow
    def run() -> None:
        with ProcessPoolTaskRunner(max_workers=1) as runner:
            futures: list[Any] = [runner.submit(leaf, {"_": 1})]
            setattr(runner, "_cached_context", None)  # noqa: B010 - no attribute of every release
            futures.append(runner.submit(leaf, {"_": 2}))
            wait(futures)

    run()

    assert len(serialized_with) == 2


class Noting:
    """An argument that notes where it is pickled."""

    seen: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        self.seen.append(Brought.here())
        return Noting, ()


@task
def takes(noting: Noting) -> None: ...


@pytest.mark.extended
def test_a_pool_pickles_in_a_thread_without_the_context_variables_of_the_submission() -> None:
    """Why the scope is read when the context is serialised: where it is pickled there is none."""
    Noting.seen.clear()

    @flow
    def run() -> None:
        with ProcessPoolTaskRunner(max_workers=1) as runner, Brought.set("something"):
            wait([runner.submit(takes, {"noting": Noting()})])

    run()

    assert set(Noting.seen) == {"nothing"}


# ----------------------------------------------------------------------------------------------------------- arriving


@dataclass
class StandIn:
    """What stands for the task runner of a flow that travels."""

    runner: Any

    def duplicate(self) -> AbstractContextManager[Any]:
        return self._entered()

    @contextmanager
    def _entered(self) -> Iterator[Any]:
        with Brought.set("the scope"), self.runner.duplicate() as runner:
            yield runner


def sent(context: Any) -> Any:
    """What arrives elsewhere when the flow in the serialised context is a copy with a stand-in for its runner."""
    serialized = serialize_context()
    assert set(serialized["flow_run_context"]) >= {"flow", "flow_run"}
    travelling = serialized["flow_run_context"]["flow"] = copy.copy(serialized["flow_run_context"]["flow"])
    travelling.task_runner = StandIn(travelling.task_runner)
    assert not isinstance(context.flow.task_runner, StandIn)
    return cloudpickle.loads(cloudpickle.dumps(serialized))


class Arrived:
    """What was seen where the context has arrived."""

    seen: ClassVar[dict[str, str]] = {}


@pytest.mark.extended
def test_a_stand_in_for_the_runner_of_a_travelling_flow_arrives_and_is_entered_around_the_whole_task_run() -> None:
    """How a scope gets into force elsewhere: for the task, its hooks, what it calls and submits, and its subflows."""
    Arrived.seen.clear()

    def noting(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            Arrived.seen[name] = Brought.here()

        return note

    @task(on_running=[noting("on_running")], on_failure=[noting("on_failure")])
    def fails() -> None:
        Arrived.seen |= {
            "body": Brought.here(),
            "called": leaf(),
            "submitted": leaf.submit().result(),
            "subflow": child(),
        }
        with transaction():
            done()
            raise ValueError("the task")

    @task
    def done() -> None: ...

    done.on_rollback(noting("on_rollback"))

    @flow
    def child() -> str:
        return leaf.submit().result()

    @flow
    def run() -> None:
        run_task_sync(task=fails, parameters={}, return_type="state", context=sent(own_context()))
        assert Brought.here() == "nothing"

    run()

    assert Arrived.seen == dict.fromkeys(
        ("on_running", "on_failure", "body", "called", "submitted", "subflow", "on_rollback"), "the scope"
    )


def test_the_runner_that_the_stand_in_gives_is_the_one_that_nested_tasks_are_submitted_to() -> None:
    """What is watched for futures in a worker is the runner in the context there."""

    @flow
    def run() -> None:
        arrived = sent(own_context())
        runner = arrived["flow_run_context"]["flow"].task_runner.runner
        with hydrated_context(arrived):
            assert own_context().detached
            assert type(own_context().task_runner) is type(runner)
            assert own_context().task_runner is not runner
            assert Brought.here() == "the scope"
        assert Brought.here() == "nothing"

    run()


def test_hydrating_enters_nothing_where_no_flow_run_travels() -> None:
    """A task that is delayed outside a flow brings no scope: there is nothing to bring it with."""
    assert serialize_context()["flow_run_context"] == {}
