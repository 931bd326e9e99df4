"""Spans beside Prefect's own, in worker processes too; and nothing of them where no SDK has been set up."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from prefect_lifespan import lifespan
from prefect_lifespan.observability import spans
from tests.observability.programs import App
from tests.processes.running import ROOT

TRACED = "tests.observability.traced"


# Each program makes the runs of one of these.
TOGETHER = (("thread", "pool"), ("dask",), ("ray",))
KINDS = [
    *("thread", "pool"),
    *(pytest.param(kind, marks=[pytest.mark.extended, pytest.mark.xdist_group(kind)]) for kind in ("dask", "ray")),
]

Made = list[dict[str, Any]]


def run(*kinds: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One run of the program, against the API of the session."""
    telemetry = {"PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "true"}  # whose name says more than it needs
    ray = {"RAY_AUTH_MODE": "disabled", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", TRACED, *kinds],
        cwd=ROOT,
        env={**os.environ, **telemetry, **ray, **environment},
        timeout=240,
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def traced(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The spans of a run on a kind of task runner, Prefect's and ours, each with the name of its parent."""

    @functools.cache
    def made(kinds: tuple[str, ...]) -> Made:
        path = tmp_path_factory.mktemp("spans") / "spans"
        run(*kinds, TESTS_SPANS=str(path))
        made = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        by_id = {span["context"]["span_id"]: span for span in made}
        for span in made:
            span["parent"] = by_id.get(span["parent_id"], {}).get("name")
            span["name"] = span["name"].replace("App.", "")
            top = span
            while top["parent_id"] in by_id:
                top = by_id[top["parent_id"]]
            # In a worker process, Prefect's own span of a task run has no parent: it begins a trace.
            span["run"] = kinds[-1] if top["name"] == "store" else top["name"]
        assert {span["run"] for span in made} == set(kinds)
        return made

    def of_kind(kind: str) -> Made:
        (together,) = (kinds for kinds in TOGETHER if kind in kinds)
        return [span for span in made(together) if span["run"] == kind]

    return of_kind


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_children_of_prefects_spans_of_the_flow_run_and_of_the_task_run(
    traced: Callable[[str], Made], kind: str
) -> None:
    of_the_run = traced(kind)
    (whole,) = [span for span in of_the_run if span["name"] == "lifespan App"]
    assert whole["parent"] == kind
    here, elsewhere = [], []
    for span in of_the_run:
        (here if span["pid"] == whole["pid"] else elsewhere).append((span["name"], span["parent"]))
    session = [("open session", "store"), ("close session", "store")] * 2
    of_tasks = here if kind == "thread" else elsewhere
    assert sorted(each for each in of_tasks if "session" in each[0]) == sorted(session)
    assert {("open db", kind), ("close db", kind)} <= set(here)
    if kind != "thread":
        assert {("open db", "store"), ("close db", "store")} <= set(elsewhere)
        assert len({span["pid"] for span in of_the_run}) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_one_has_the_status_error_and_the_exception_with_its_secrets_masked(
    traced: Callable[[str], Made], kind: str
) -> None:
    closings = [span for span in traced(kind) if span["name"] == "close db"]
    assert len(closings) == (1 if kind == "thread" else 2)
    for span in closings:
        assert span["status"]["status_code"] == "ERROR"
        (recorded,) = span["events"]
        assert recorded["name"] == "exception"
        assert recorded["attributes"]["exception.type"] == "OSError"
        assert recorded["attributes"]["exception.message"] == "cannot say goodbye to postgresql://me:***@db/app"
        assert "in fails_to_close" in recorded["attributes"]["exception.stacktrace"]
    failed = [span["name"] for span in traced(kind) if span["status"]["status_code"] == "ERROR"]
    assert set(failed) == {"close db"}


def test_without_an_sdk_none_of_it_is_loaded() -> None:
    assert json.loads(run("plain").stdout.splitlines()[-1]) == []


def test_without_an_sdk_nothing_is_made_to_be_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: Any) -> None:
        raise AssertionError("a span was made")

    monkeypatch.delitem(sys.modules, "opentelemetry.sdk.trace", raising=False)
    monkeypatch.setattr(spans, "_Span", made)
    monkeypatch.setattr(spans, "LifespanSpan", made)
    with lifespan(App, on_close_error="warn"):
        pass
