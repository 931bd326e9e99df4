from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord
from containers.services.summary import RECENT, percentile, success_rate, summarise_flows, summarise_tasks

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
C, F, X, N = Outcome.COMPLETED, Outcome.FAILED, Outcome.CRASHED, Outcome.CANCELLED


def run(index: int, seconds: float, outcome: Outcome = C, flow: str = "etl") -> FlowRunRecord:
    end = NOON + timedelta(minutes=index)
    return FlowRunRecord(f"{flow}{index}", flow, f"run-{index}", outcome, "", None, end, end, seconds, 1)


def test_the_figures_of_a_flow_are_those_worked_out_by_hand() -> None:
    # Sorted durations 1 2 3 4 10: the median is 3; the 95th percentile lies 0.8 of the way from 4 to 10: 8.8.
    runs = [run(0, 4), run(1, 1, F), run(2, 10), run(3, 2, X), run(4, 3, N)]

    (summary,) = summarise_flows(runs)

    assert summary.runs == 5
    assert summary.outcomes == {C: 2, F: 1, X: 1, N: 1}
    assert summary.success_rate == 0.5, "2 completed of 4 judged; the cancelled one says nothing"
    assert summary.median_seconds == 3
    assert summary.p95_seconds == pytest.approx(8.8)
    assert summary.total_seconds == 20
    assert summary.last_failure == runs[3]
    assert summary.recent == tuple(runs)


def test_flows_are_told_apart_and_come_by_name() -> None:
    summaries = summarise_flows([run(0, 1, flow="b"), run(0, 3, flow="a"), run(1, 5, flow="b")])

    assert [(flow.flow_name, flow.runs, flow.median_seconds) for flow in summaries] == [("a", 1, 3), ("b", 2, 3)]


def test_the_order_in_which_runs_arrive_does_not_matter() -> None:
    runs = [run(index, index, F if index % 3 else C) for index in range(40)]

    assert summarise_flows(runs) == summarise_flows(reversed(runs))
    assert [each.id for each in summarise_flows(reversed(runs))[0].recent] == [each.id for each in runs[-RECENT:]]


def test_a_flow_that_was_only_cancelled_has_no_success_rate_and_no_failure() -> None:
    (summary,) = summarise_flows([run(0, 1, N)])

    assert summary.success_rate is None
    assert summary.last_failure is None
    assert success_rate([]) is None


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7], 95, 7), ([1, 2], 50, 1.5), ([3, 1, 2], 50, 2), ([1, 2, 3, 4], 0, 1), ([1, 2, 3, 4], 100, 4)],
)
def test_percentiles_interpolate_between_neighbours(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == pytest.approx(expected)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_tasks_are_summed_within_their_flow_the_longest_first() -> None:
    def task(key: str, parent: str, seconds: float, outcome: Outcome = C, attempts: int = 1) -> TaskRunRecord:
        return TaskRunRecord(key, parent, "load", outcome, NOON, NOON, seconds, attempts)

    tasks = [task("1", "a0", 1), task("2", "b0", 5, F, attempts=3), task("3", "a0", 2)]
    big, small = summarise_tasks(tasks, [run(0, 1, flow="a"), run(0, 1, flow="b")])

    assert (big.flow_name, big.runs, big.failures, big.retried, big.total_seconds) == ("b", 1, 1, 1, 5)
    assert (small.flow_name, small.runs, small.median_seconds, small.total_seconds) == ("a", 2, 1.5, 3)
