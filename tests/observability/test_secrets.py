"""No secret is in what is seen of a run, however a resource comes by it and wherever that is looked at.

What an exception of a body or an initialiser says is in the run's state, and in Prefect's own lines and spans, as it is:
that is Prefect's, and not looked at here (docs/limits.md).
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from dependency_injector import containers, providers
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run
from pydantic import SecretStr

from prefect_lifespan import Event, ProcessResource, Provide, TaskResource, inject, lifespan, resource
from prefect_lifespan.command.app import run as command

# Each is planted in another way; what they have in common is found wherever one of them gets through.
PLANTED = "planted-hunter22"
OPENED_ONCE: list[int] = []


def dsn(url: str) -> Iterator[str]:
    """The password is in an address alone, which the error repeats."""
    try:
        yield url
    finally:
        raise ConnectionError(f"lost {url}")


@resource(retries=1, retry_delay_seconds=0)
def of_settings(secret: SecretStr) -> Iterator[str]:
    """The error repeats a secret that is known by its type, in its text and in a note."""
    plain = secret.get_secret_value()
    OPENED_ONCE.append(1)
    if len(OPENED_ONCE) % 2:
        error = OSError(f"not with {plain}")
        error.add_note(f"nor with {plain} next time")
        raise error
    try:
        yield "of settings"
    finally:
        try:
            raise KeyError(plain)
        except KeyError as cause:
            raise RuntimeError("closing failed") from cause


def of_a_task(queue: str) -> Iterator[str]:
    """A local variable sounds secret, and the error says what is in it on its second line."""
    api_token = f"{PLANTED}-of-the-task"
    yield queue
    raise ValueError(f"refused:\n{api_token}")


def of_the_process() -> Iterator[str]:
    yield "of the process"
    raise OSError(f"Authorization: Bearer {PLANTED}-of-the-process")


class App(containers.DeclarativeContainer):
    warehouse = providers.Resource(dsn, f"postgresql://me:{PLANTED}-dsn@db/app")
    settings = providers.Resource(of_settings, SecretStr(f"{PLANTED}-typed"))
    queue = providers.Resource(dsn, f"amqp://me:{PLANTED}-queue@mq")
    session: Any = TaskResource(of_a_task, queue)
    model: Any = ProcessResource(of_the_process)


@task
@inject
def use(number: int, session: str = Provide[App.session], model: str = Provide[App.model]) -> int:
    return number


def test_a_planted_secret_is_in_no_event_span_artifact_report_or_log_line_of_ours(
    sent: Any,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_EVENTS", "all")
    spans.clear()
    heard: list[Event] = []
    ids: list[str] = []

    @flow
    @lifespan(App, report=True, observers=[heard.append], share=False)
    def run() -> None:
        ids.append(str(flow_run.get_id()))
        use.map([1, 2]).wait()
        raise PermissionError(f"password={PLANTED}-of-the-body")

    # The outermost block ends what lives as long as the process, and is the one to hear of it.
    with caplog.at_level(logging.DEBUG), pytest.raises(OSError, match="Bearer"), lifespan(App, eager=False):
        run(return_state=True)

    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(ids[0])]))
        )
    capsys.readouterr()
    assert command(["report", ids[0]]) == 0
    ours = [record for record in caplog.records if record.name.endswith("lifespan")]
    made: Any = spans.get_finished_spans()
    seen = {
        "observers": pickle.dumps(heard).decode("latin-1") + repr(heard),
        "events": "".join(event.model_dump_json() for event in sent.ours()),
        "spans": "".join(span.to_json() for span in made if span.instrumentation_scope.name == "prefect-lifespan"),
        "artifact": " ".join(f"{each.data} {each.description} {json.dumps(each.metadata_)}" for each in artifacts),
        "page": capsys.readouterr().out,
        "log": "\n".join(logging.Formatter().format(record) for record in ours),
    }
    for where, text in seen.items():
        assert "warehouse" in text, f"{where} is looked at"
        assert PLANTED not in text, f"{where} tells a secret"
    assert {event.path for event in heard if event.kind == "close-failed"} >= {
        "warehouse",
        "settings",
        "queue",
        "session",
    }
