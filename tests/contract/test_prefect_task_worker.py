"""What `serve_tasks` relies on in Prefect's task worker that is not public."""

import inspect

from prefect.task_worker import TaskWorker


def test_a_task_worker_takes_tasks_in_one_loop_and_begins_by_setting_a_handler() -> None:
    assert inspect.iscoroutinefunction(TaskWorker._subscribe_to_task_scheduling)
    start = inspect.getsource(TaskWorker.astart)
    assert start.index("_register_signal") < start.index("await")


def test_a_task_that_was_received_waits_for_its_turn_in_one_place_and_blocking_ones_go_to_one_executor() -> None:
    taking = inspect.getsource(TaskWorker._subscribe_to_task_scheduling)
    assert "token_acquired = await self._acquire_token(task_run.id)" in taking
    submitting = inspect.getsource(TaskWorker._submit_scheduled_task_run)
    assert submitting.count("_executor") == submitting.count("self._executor.submit(") == 1
    entering = inspect.getsource(TaskWorker.__aenter__)
    assert entering.index("enter_async_context(self._runs_task_group)") < entering.index(
        "enter_context(self._executor)"
    )
