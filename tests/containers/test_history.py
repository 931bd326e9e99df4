from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import URL, Engine
from sqlalchemy.exc import IntegrityError

from containers.resources import open_warehouse
from containers.services.history import ROWS_PER_STATEMENT, HistoryStore
from containers.services.records import FlowRunRecord, Outcome, Stored, TaskRunRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def flow_run(
    key: str, *, seconds: float = 10.0, outcome: Outcome = Outcome.COMPLETED, flow: str = "f"
) -> FlowRunRecord:
    end = NOON + timedelta(seconds=seconds)
    return FlowRunRecord(key, flow, f"name-{key}", outcome, outcome.title(), None, NOON, end, seconds, 1)


def task_run(key: str, parent: str) -> TaskRunRecord:
    return TaskRunRecord(key, parent, "t", Outcome.COMPLETED, NOON, NOON + timedelta(seconds=1), 1.0, 1)


def test_what_was_stored_reads_back_the_same(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    run, task = replace(flow_run("a"), message="said 'x'; -- ünïcode"), task_run("t", "a")

    history.store([run], [task])

    assert history.flow_runs() == [run]
    assert history.task_runs() == [task]


def test_storing_a_batch_again_changes_nothing_and_says_so(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    batch, tasks = [flow_run("a"), flow_run("b")], [task_run("t", "a"), task_run("u", "b")]

    assert history.store(batch, tasks) == Stored(2, 2, changed=4)
    before = history.flow_runs(), history.task_runs()
    assert history.store(batch, tasks) == Stored(2, 2, changed=0)
    assert (history.flow_runs(), history.task_runs()) == before


def test_a_run_that_ended_anew_is_brought_up_to_date_and_no_other_row_is_touched(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    history.store([flow_run("a", outcome=Outcome.FAILED), flow_run("b")], [])

    assert history.store([flow_run("a"), flow_run("b")], []).changed == 1
    assert {run.id: run.outcome for run in history.flow_runs()} == {"a": Outcome.COMPLETED, "b": Outcome.COMPLETED}


def test_a_value_that_becomes_null_counts_as_a_change(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    history.store([replace(flow_run("a"), message="boom")], [])

    assert history.store([flow_run("a")], []).changed == 1
    assert history.flow_runs()[0].message is None


def test_a_batch_may_name_a_run_twice_and_be_longer_than_a_statement(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    batch = [flow_run(f"{index:05}") for index in range(ROWS_PER_STATEMENT * 2 + 1)]

    stored = history.store([*batch, batch[0]], [])

    assert stored.changed == len(batch)
    assert history.counts() == (len(batch), 0)


def test_a_batch_is_stored_whole_or_not_at_all(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)

    with pytest.raises(IntegrityError):
        history.store([flow_run("a")], [task_run("t", "a"), task_run("u", "of no flow run")])

    assert history.counts() == (0, 0)


def test_batches_stored_at_the_same_time_all_arrive(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    batches = [[flow_run(f"{batch}-{index}") for index in range(50)] + [flow_run("shared")] for batch in range(8)]

    with ThreadPoolExecutor(8) as pool:
        stored = sum(pool.map(lambda batch: history.store(batch, []), batches), Stored())

    assert stored.changed == 8 * 50 + 1
    assert history.counts() == (401, 0)


def test_the_watermark_starts_at_none_and_never_moves_back(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    assert history.watermark() is None

    history.advance(NOON)
    history.advance(NOON - timedelta(days=1))
    assert history.watermark() == NOON

    history.advance(NOON + timedelta(days=1))
    assert history.watermark() == NOON + timedelta(days=1)


def test_moments_keep_their_meaning_across_time_zones(warehouse: Engine) -> None:
    history = HistoryStore(warehouse)
    history.advance(datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))

    assert history.watermark() == NOON


def test_a_moment_without_a_time_zone_is_refused(warehouse: Engine) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        HistoryStore(warehouse).advance(datetime(2026, 3, 1, 12))  # noqa: DTZ001


def test_opening_a_warehouse_that_has_its_tables_keeps_what_is_in_them(warehouse_url: URL) -> None:
    with open_warehouse(warehouse_url) as engine:
        HistoryStore(engine).store([flow_run("a")], [])
    with open_warehouse(warehouse_url) as engine:
        assert HistoryStore(engine).counts() == (1, 0)
