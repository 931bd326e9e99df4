"""Observers of a lifespan hear of what its worker processes have opened and closed, when it ends."""

from __future__ import annotations

import os
import pickle
from collections import Counter

import pytest

from prefect_lifespan import lifespan, observe
from prefect_lifespan.engine import Event
from tests.workers.programs import observed as program
from tests.workers.records import Runners, on


@pytest.mark.parametrize("kind", on("thread", "pool", extended=["dask processes", "ray"]))
def test_observers_hear_of_worker_processes_what_they_hear_of_threads(runners: Runners, kind: str) -> None:
    program.told.clear()
    here: list[Event] = []
    with observe(here.append):
        program.observed.with_options(task_runner=runners.of(kind))()

    told = program.told
    counted = Counter((event.kind, event.path) for event in told)
    processes = {event.pid for event in told}
    assert counted["opened", "db"] == counted["close-failed", "db"] == len(processes)
    assert counted["opened", "session"] == counted["closed", "session"] == 2
    assert (os.getpid() in processes) is (kind == "thread")
    assert here == (told if kind == "thread" else [])
    if kind != "thread":  # two threads tell in the order in which they come to it
        assert [event.at for event in told] == sorted(event.at for event in told)
    sessions = {event.whose.task_run: event.whose.task for event in told if event.path == "session"}
    assert list(sessions.values()) == ["use", "use"]
    assert len({event.whose.flow_run for event in told}) == 1
    failed = next(event for event in told if event.kind == "close-failed")
    assert failed.error_text == "postgresql://me:***@db/app"
    assert b"hunter22" not in pickle.dumps(told)


def test_observers_of_a_flow_that_joins_hear_of_what_happens_meanwhile_and_no_longer(runners: Runners) -> None:
    program.told.clear()
    with lifespan(program.Observed, eager=False, on_close_error="warn"):
        program.observed.with_options(task_runner=runners.of("thread"))()
        assert {(event.kind, event.path) for event in program.told} == {
            *(("opened", "db"), ("opened", "session"), ("closed", "session")),
        }
        program.told.clear()
    assert program.told == []
