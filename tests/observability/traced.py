"""A program whose runs are traced, here and in worker processes: each span is a line of a file.

It is given the kinds of task runners; `plain` has no SDK.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from prefect_lifespan import Provide, TaskResource, inject, lifespan


def fails_to_close() -> Iterator[str]:
    password = "hunter22"
    yield f"postgresql://me:{password}@db/app"
    raise OSError(f"cannot say goodbye to postgresql://me:{password}@db/app")


class App(containers.DeclarativeContainer):
    db = providers.Resource(fails_to_close)
    session: Any = TaskResource("session on {}".format, db)


@task(task_run_name="store")
@inject
def store(number: int, session: str = Provide[App.session]) -> int:
    return number


@flow(flow_run_name="{kind}")
@lifespan(App, on_close_error="warn")
def traced(kind: str) -> None:
    store.map([1, 2])


def set_up() -> None:
    """Set the SDK up in this process; a worker process does so where it begins, each kind of them by a hook of its own."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    def line(span: ReadableSpan) -> str:
        return json.dumps({**json.loads(span.to_json()), "pid": os.getpid()}) + "\n"

    provider = TracerProvider()
    path = Path(os.environ["TESTS_SPANS"])
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=path.open("a"), formatter=line)))
    trace.set_tracer_provider(provider)


def dask_setup(worker: object) -> None:
    """What Dask calls in a worker that has this module as a preload."""
    set_up()


def runner(kind: str) -> Any:
    """A task runner with one worker process, in which the SDK is set up."""
    if kind == "thread":
        return ThreadPoolTaskRunner(max_workers=2)
    if kind == "pool":
        return ProcessPoolTaskRunner(max_workers=1, initializer=set_up)
    if kind == "dask":
        from prefect_dask.task_runners import DaskTaskRunner

        worker = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        return DaskTaskRunner(cluster_kwargs={**worker, "preload": ["tests.observability.traced"]})
    from prefect_ray.task_runners import RayTaskRunner

    hook = {"worker_process_setup_hook": set_up}
    node = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False, "_node_ip_address": "127.0.0.1"}
    return RayTaskRunner(init_kwargs={**node, "runtime_env": hook})


def main(kinds: list[str]) -> None:
    if kinds == ["plain"]:
        traced("plain")
        loaded = [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
        print(json.dumps(loaded))
        return
    set_up()
    for kind in kinds:
        traced.with_options(task_runner=runner(kind))(kind)


if __name__ == "__main__":
    main(sys.argv[1:])
