"""Why two methods of Prefect are replaced: what was tried in their place, and where it does not serve."""

from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task
from prefect.context import EngineContext, FlowRunContext, hydrated_context, serialize_context
from prefect.futures import wait
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

pytestmark = [
    pytest.mark.usefixtures("prefect_server", "garbage_collected"),
    # Connections of Prefect's clients and of the clusters, which those leave to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


@task
def leaf(number: int = 0) -> int:
    return number


def context_of_the_run() -> Any:
    context = FlowRunContext.get()
    assert context is not None
    return context


# ------------------------------------------------------------------------------------------------ EngineContext.serialize


class OwnContext(EngineContext):
    """A context of a class of ours, which would add what is to travel."""

    def serialize(self, include_secrets: bool = True) -> dict[str, Any]:
        assert self.flow is not None
        return {**super().serialize(include_secrets), "log_prints": self.flow.name}


def own_context() -> OwnContext:
    context = context_of_the_run()
    fields = {name: getattr(context, name) for name in type(context).model_fields}
    return OwnContext.model_construct(_fields_set=set(context.model_fields_set), **fields)


def added() -> object:
    """What a context of ours has added to what is sent from here."""
    sent = serialize_context()["flow_run_context"].get("log_prints")
    return sent if isinstance(sent, str) else None


def test_a_context_of_ours_is_asked_for_the_run_that_enters_it_and_not_by_a_flow_that_begins_inside() -> None:
    """If this fails in its second half, a context of ours may take the place of the method that is replaced."""

    @flow(name="inner")
    def inner() -> object:
        return added()

    @flow(name="outer")
    def outer() -> tuple[object, object]:
        with own_context():
            return added(), inner()

    assert outer() == ("outer", None)


def test_what_arrives_in_another_process_is_a_context_of_prefects_own() -> None:
    """If this fails, tasks that were submitted from worker processes may be sent by a context of ours."""

    @flow
    def run() -> tuple[type, object]:
        with own_context():
            arrived = serialize_context()
        del arrived["flow_run_context"]["log_prints"]  # Prefect's own field, which stood for what is added
        with hydrated_context({**arrived, "settings_context": {}, "tags_context": {}}):
            return type(context_of_the_run()), added()

    assert run() == (EngineContext, None)


# ------------------------------------------------------------------------------------------------------------ `submit`


class Delegating(TaskRunner[Any]):
    """A runner of ours in the place of the run's, which notes what is submitted."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.seen: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["runner"], name)

    def duplicate(self) -> Any:
        return self.runner.duplicate()

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(self.runner.submit(*args, **kwargs))
        return self.seen[-1]

    def map(self, *args: Any, **kwargs: Any) -> Any:
        futures = self.runner.map(*args, **kwargs)
        self.seen.extend(futures)
        return futures


def dask_runner() -> Any:
    from prefect_dask.task_runners import DaskTaskRunner

    threads = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs=threads)


def ray_runner() -> Any:
    from prefect_ray.task_runners import RayTaskRunner

    return RayTaskRunner(init_kwargs={"num_cpus": 1, "include_dashboard": False, "_node_ip_address": "127.0.0.1"})


RUNNERS = [
    pytest.param(lambda: ThreadPoolTaskRunner(max_workers=1), id="thread"),
    pytest.param(lambda: ProcessPoolTaskRunner(max_workers=1), id="pool", marks=pytest.mark.extended),
    pytest.param(dask_runner, id="dask", marks=pytest.mark.extended),
    pytest.param(ray_runner, id="ray", marks=[pytest.mark.extended, pytest.mark.xdist_group("ray")]),
]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_runner_of_ours_in_the_context_sees_what_is_submitted_and_is_what_everybody_gets(
    runner: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would serve us, and no one who looks for the runner of the flow: the model says that its fields stay."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    given = runner()

    @flow(task_runner=given)
    def run() -> tuple[int, bool]:
        context = context_of_the_run()
        delegating = context.task_runner = Delegating(context.task_runner)
        wait([leaf.submit(1), *leaf.map([2, 3])])
        return len(delegating.seen), isinstance(context_of_the_run().task_runner, type(given))

    assert "forbids mutation" in (EngineContext.__mro__[2].__doc__ or "")
    assert run() == (3, False)
