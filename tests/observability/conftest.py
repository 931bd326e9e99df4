"""Every test here runs flows on Prefect's own engine, against one API for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from tests.flow_runs import engine, let_pass_what_prefect_leaves_open, nothing_left_behind

__all__ = ["engine", "nothing_left_behind"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    let_pass_what_prefect_leaves_open(items, Path(__file__).parent)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Events of Prefect's that this process sends, which stay here."""
    AssertingEventsClient.reset()
    worker = EventsWorker.instance(AssertingEventsClient)
    monkeypatch.setattr(EventsWorker, "instance", classmethod(lambda cls, *_: worker))
    yield _Sent(worker)
    worker.drain()
    AssertingEventsClient.reset()


class _Sent(list[Any]):
    def __init__(self, worker: Any) -> None:
        super().__init__()
        self._worker = worker

    def ours(self) -> list[Any]:
        self._worker.wait_until_empty()
        events = [event for client in AssertingEventsClient.all for event in client.events]
        return [event for event in events if event.event.startswith("prefect-lifespan.")]


@pytest.fixture(scope="session")
def spans() -> InMemorySpanExporter:
    """Spans that this process makes from now on: OpenTelemetry takes one provider in a process, and keeps it."""
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter
