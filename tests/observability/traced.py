"""A program whose run is traced, here and in worker processes: each span is a line of a file. `plain` has no SDK."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner

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
    """Set the SDK up in this process, as a worker process of a pool does it in its initializer."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    def line(span: ReadableSpan) -> str:
        return json.dumps({**json.loads(span.to_json()), "pid": os.getpid()}) + "\n"

    provider = TracerProvider()
    path = Path(os.environ["TESTS_SPANS"])
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=path.open("a"), formatter=line)))
    trace.set_tracer_provider(provider)


def main(how: str) -> None:
    if how == "plain":
        traced("plain")
        loaded = [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
        print(json.dumps(loaded))
        return
    set_up()
    traced("thread")
    pool: Any = ProcessPoolTaskRunner(max_workers=1, initializer=set_up)
    traced.with_options(task_runner=pool)("pool")


if __name__ == "__main__":
    main(sys.argv[1])
