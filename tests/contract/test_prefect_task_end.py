"""What Prefect offers at the end of a task's attempt: hooks of its transaction, which is no place to close a resource."""

import pytest
from prefect import flow, task
from prefect.transactions import get_transaction, transaction

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_commit_hook_that_fails_leaves_the_task_completed() -> None:
    """If this fails, a task resource that does not commit could fail its task from such a hook."""

    def fails(_: object) -> None:
        raise OSError("not committed")

    @task
    def work() -> None:
        current = get_transaction()
        assert current is not None
        current.on_commit_hooks.append(fails)

    @flow
    def run() -> bool:
        return work(return_state=True).is_completed()

    assert run()


def test_in_an_outer_transaction_a_tasks_commit_hook_waits_for_the_end_of_that() -> None:
    """If this fails, such a hook is the end of the attempt, with or without a transaction around it."""
    record: list[str] = []

    @task
    def work() -> None:
        current = get_transaction()
        assert current is not None
        current.on_commit_hooks.append(lambda _: record.append("hook"))

    @flow
    def run() -> None:
        with transaction():
            work()
            record.append("after the task")

    run()

    assert record == ["after the task", "hook"]
