from __future__ import annotations

import re

import pytest

from flows.patterns import (
    async_resources,
    background_tasks,
    commit_or_rollback,
    completion_hooks,
    context_manager,
    retries,
    setup_and_cleanup,
    shared_application,
)

pytestmark = pytest.mark.usefixtures("settings")


def test_setup_and_cleanup_counts_through_the_api_and_writes_down_in_one_transaction() -> None:
    running = re.search(r"(\d+) running", setup_and_cleanup.demo())
    assert running is not None
    assert int(running[1]) >= 1, "the run that counts is running itself; other tests may have left some of theirs"


def test_commit_or_rollback_leaves_no_half_transfer() -> None:
    assert commit_or_rollback.demo() == (
        "4 transfers, the last one Failed on purpose: 6 bookings, none of them half a transfer"
    )


def test_context_manager_works_without_any_flow_run() -> None:
    assert context_manager.demo().startswith("0 flow runs and 0 task runs in the warehouse, read from the Prefect API")


def test_background_tasks_all_finish_before_their_connection_closes() -> None:
    assert background_tasks.demo() == "24 pages submitted, 24 archived"


def test_completion_hooks_are_injected_whether_the_run_completed_or_failed() -> None:
    assert completion_hooks.demo() == "announced: Completed, Completed, Completed, Failed (the last one on purpose)"


def test_shared_application_gives_all_runs_one_engine() -> None:
    assert shared_application.demo() == "5 flow runs, 1 engine"


def test_retries_open_the_resource_anew_until_it_answers() -> None:
    assert retries.demo() == "orders sent at attempt 3 and 3"


def test_async_resources_are_drained_before_they_close() -> None:
    assert async_resources.demo() == "17 visits, 17 in the journal"
