"""What `serve_tasks` relies on in Prefect's task worker that is not public."""

import inspect

from prefect.task_worker import TaskWorker


def test_a_task_worker_takes_tasks_in_one_loop_and_begins_by_setting_a_handler() -> None:
    assert inspect.iscoroutinefunction(TaskWorker._subscribe_to_task_scheduling)
    start = inspect.getsource(TaskWorker.astart)
    assert start.index("_register_signal") < start.index("await")
