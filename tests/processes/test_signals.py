"""SIGTERM and SIGINT to a process that runs a flow: everything closes, once, in reverse; then the signal goes on."""

from __future__ import annotations

import os
import random
import re
import select
import time
from signal import SIGINT, SIGTERM, Signals
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from tests.processes.running import PATIENCE_SECONDS, Program, Programs, eventually

NAMES = {SIGTERM: "TerminationSignal", SIGINT: "KeyboardInterrupt"}


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_a_signal_to_a_sync_flow_closes_all_in_reverse_with_the_outcome(programs: Programs, signal: Signals) -> None:
    plain, run = programs.start("runs", "without_lifespan"), programs.start("runs", "sync")
    for program in (plain, run):
        program.reaches("body")
        program.send(signal)

    assert run.ends() == plain.ends(), "the signal goes on as it does without us"
    name = NAMES[signal]
    assert run.marks() == [
        "open db", "open ledger", "open cache", "body",
        f"close cache {name}", f"close ledger {name}", f"close db {name}",
    ]  # fmt: skip


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_a_signal_to_an_async_flow_closes_all_in_reverse(programs: Programs, signal: Signals) -> None:
    plain = programs.start("runs", "asynchronous_without_lifespan")
    run = programs.start("runs", "asynchronous_flow")
    for program in (plain, run):
        program.reaches("body")
        program.send(signal)

    assert run.ends() == plain.ends(), "the signal goes on as it does without us"
    assert run.marks() == [
        "open db", "open pool", "open feed", "body",
        "close feed CancelledError", "close pool CancelledError", "close db CancelledError",
    ]  # fmt: skip


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_a_signal_in_a_subflow_closes_the_inner_lifespan_before_the_outer(programs: Programs, signal: Signals) -> None:
    run = programs.start("runs", "parent")
    run.reaches("body")
    run.send(signal)

    assert run.ends() != 0
    closes = [line.split()[1] for line in run.marks() if line.startswith("close")]
    assert closes == ["inner", "cache", "ledger", "db"]


def test_a_signal_in_a_subflow_that_joined_closes_once_and_with_the_parent(programs: Programs) -> None:
    run = programs.start("runs", "joined")
    run.reaches("body")
    run.send(SIGTERM)

    assert run.ends() == -SIGTERM
    assert [line for line in run.marks() if line.startswith("close")] == [
        "close cache TerminationSignal", "close ledger TerminationSignal", "close db TerminationSignal",
    ]  # fmt: skip


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_a_signal_in_a_task_closes_its_resource_then_the_runs(programs: Programs, signal: Signals) -> None:
    run = programs.start("runs", "in_a_task")
    run.reaches("body")
    run.send(signal)

    assert run.ends() != 0
    name = NAMES[signal]
    assert [line for line in run.marks() if line.startswith("close")] == [
        f"close booking {name}", f"close cache {name}", f"close ledger {name}", f"close db {name}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("which", "where", "signal"),
    [
        pytest.param("threads", "body", SIGTERM, id="in the body"),
        pytest.param("threads", "body", SIGINT, id="in the body, by Ctrl-C"),
        pytest.param("threads_of_an_asynchronous_flow", "body", SIGTERM, id="in the body of an async flow"),
        pytest.param("waits_for_a_task", "returned", SIGTERM, id="after it returned"),
        pytest.param("asynchronous_waits_for_a_task", "returned", SIGTERM, id="after that of an async flow returned"),
        pytest.param("fails_beside_a_task", "raised", SIGTERM, id="after it failed"),
        pytest.param("asynchronous_fails_beside_a_task", "raised", SIGTERM, id="after that of an async flow failed"),
    ],
)
def test_a_running_thread_task_keeps_its_resource_within_the_grace(
    programs: Programs, which: str, where: str, signal: Signals
) -> None:
    run = programs.start("runs", which)
    run.tell("interrupt me")
    run.reaches(where, "task began")
    run.send(signal)
    run.tell("finish")

    assert run.ends() != 0
    marks = run.marks()
    found = f"task found {'feed' if 'async' in which else 'db'} open"
    assert found in marks
    assert marks.index(found) < next(i for i, line in enumerate(marks) if line.startswith("close"))


@pytest.mark.parametrize(
    ("which", "where", "task", "outcome"),
    [
        pytest.param("threads", "body", "store", "TerminationSignal", id="in the body"),
        pytest.param(
            "threads_of_an_asynchronous_flow", "body", "store_async", "CancelledError", id="in that of an async flow"
        ),
        pytest.param("waits_for_a_task", "returned", "store", "TerminationSignal", id="after it"),
        pytest.param(
            "asynchronous_waits_for_a_task",
            "returned",
            "store_async",
            "CancelledError",
            id="after that of an async flow",
        ),
        pytest.param(
            "asynchronous_fails_beside_a_task",
            "raised",
            "store_async",
            "ValueError",
            id="after that of an async flow failed",
        ),
    ],
)
def test_a_thread_task_that_outlasts_the_grace_loses_its_resource_and_the_log_names_it(
    programs: Programs, which: str, where: str, task: str, outcome: str
) -> None:
    run = programs.start("runs", which)
    run.tell("interrupt me")
    run.reaches(where, "task began")
    run.send(SIGTERM)
    run.reaches(f"close db {outcome}")
    assert not any(line.startswith("task found") for line in run.marks())
    run.tell("finish")

    assert run.ends() != 0
    told = next(line for line in sent_by(run) if line.startswith("Still running after a grace of 2 s"))
    assert re.search(rf"'{task}' \(task run [0-9a-f-]{{36}}\)", told)
    assert told in run.log()


def sent_by(run: Program) -> list[str]:
    """What the API has of the log of a program's flow run."""
    found = re.search("runs/flow-run/([0-9a-f-]{36})", run.log())
    assert found is not None
    of_the_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(found[1])]))
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(of_the_run)]


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
@pytest.mark.parametrize("which", ["second", "asynchronous_second"])
def test_a_second_signal_while_closing_skips_no_close(programs: Programs, which: str, signal: Signals) -> None:
    run = programs.start("runs", which)
    run.reaches("body")
    run.send(signal)
    run.reaches("closing ledger" if which == "second" else "closing pool")
    run.send(signal)
    if which == "asynchronous_second":
        run.tell("close pool")

    assert run.ends() != 0
    closes = [line.split()[1] for line in run.marks() if line.startswith("close ")]
    assert closes == (["ledger", "db"] if which == "second" else ["feed", "pool", "db"])


def terminated_while_it_opens(programs: Programs, which: str, resources: int, seed: int) -> None:
    """Up to 4 ms after one of its resources has opened."""
    moments = random.Random(seed)  # noqa: S311 - moments, no secrets
    announcement = programs.folder / "announcement"
    os.mkfifo(announcement)
    hearing = os.open(announcement, os.O_RDONLY | os.O_NONBLOCK)
    moment = f"r{moments.randrange(resources)}"
    run = programs.start("runs", which, MOMENT=moment, ANNOUNCEMENT=str(announcement))
    heard = select.select([hearing], [], [], PATIENCE_SECONDS)[0]
    time.sleep(moments.uniform(0, 0.004))
    run.send(SIGTERM)
    os.close(hearing)

    assert heard, run.log()
    eventually(lambda: run.has_ended() or "Exception ignored in" in run.log(), "the signal has arrived", run.log)
    if not run.has_ended():
        # Python has called the handler in the callback of a weak reference, and dropped what it raised.
        run.send(SIGTERM)
    exit_code, marks = run.ends(), run.marks()
    opened = {line.removeprefix("open ") for line in marks if line.startswith("open ")}
    closed = [line.removeprefix("close ") for line in marks if line.startswith("close ")]
    assert moment in opened
    assert opened <= set(closed), marks
    assert len(closed) == len(set(closed)), marks
    if which == "openings" or f"r{resources - 1}" not in opened:
        assert exit_code == -SIGTERM, run.log()
    else:
        # In the body asyncio.run raises what the handler has raised, as it does without us.
        assert exit_code == -SIGTERM or "TerminationSignal" in run.log().splitlines()[-1]


@pytest.mark.parametrize(("which", "resources"), [("openings", 5), ("asynchronous_openings", 8)])
@pytest.mark.parametrize("seed", range(3))
def test_a_signal_at_any_moment_of_a_flows_opening_leaves_nothing_open(
    programs: Programs, which: str, resources: int, seed: int
) -> None:
    terminated_while_it_opens(programs, which, resources, seed)


@pytest.mark.extended
@pytest.mark.parametrize(("which", "resources"), [("openings", 5), ("asynchronous_openings", 8)])
@pytest.mark.parametrize("seed", range(3, 33))
def test_thirty_more_signals_at_random_moments_of_a_flows_opening(
    programs: Programs, which: str, resources: int, seed: int
) -> None:
    terminated_while_it_opens(programs, which, resources, seed)
