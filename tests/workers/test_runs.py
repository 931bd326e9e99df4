from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.workers.programs import journey as program
from tests.workers.records import KINDS, Record, Runners


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def journey(kind: str, runners: Runners, tmp_path_factory: pytest.TempPathFactory) -> Record:
    path = tmp_path_factory.mktemp("journey") / "marks"
    state: Any = program.journey.with_options(task_runner=runners.of(kind))(str(path), return_state=True)
    program.mark(str(path), "returned")
    record = Record(kind, path, state)
    record.seen = state.result(raise_on_failure=True)
    return record


def test_look(journey: Record) -> None:
    print(journey.seen)
    for m in journey.marks: print(m)
    for m in journey.beside("child"): print("child", m)
    for m in journey.beside("shelter"): print("shelter", m)
    for l in journey.log: print(l)
