"""Time limits of flows and tasks, which Prefect enforces in the main thread by a signal, and on a loop by cancelling."""

from __future__ import annotations

import pytest

from tests.processes.running import Programs

RUN = ["cache", "ledger", "db"]


@pytest.mark.parametrize(
    ("which", "closes"),
    [
        # Prefect's own CancelledError interrupts blocking code, asyncio's a coroutine; the flow ends in its TimeoutError.
        pytest.param("late", [f"{name} CancelledError" for name in RUN], id="a flow"),
        pytest.param(
            "asynchronous_late", ["feed CancelledError", "pool CancelledError", "db CancelledError"], id="an async flow"
        ),
        pytest.param(
            "with_a_late_task",
            ["booking CancelledError", *(f"{name} TaskRunTimeoutError" for name in RUN)],
            id="a task",
        ),
        pytest.param(
            "with_a_late_submitted_task",
            ["booking CancelledError", *(f"{name} TaskRunTimeoutError" for name in RUN)],
            id="a submitted task",
        ),
        pytest.param(
            "with_an_asynchronous_late_task",
            ["feed TaskRunTimeoutError", "pool TaskRunTimeoutError", "db TaskRunTimeoutError"],
            id="an async task",
        ),
    ],
)
def test_a_time_limit_closes_all_in_reverse_with_the_outcome(programs: Programs, which: str, closes: list[str]) -> None:
    run = programs.start("runs", which)

    assert run.ends() == 1
    assert "body" in run.marks()
    assert [line.removeprefix("close ") for line in run.marks() if line.startswith("close")] == closes
    assert "TimeoutError" in run.log()
