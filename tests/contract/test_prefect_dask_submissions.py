"""prefect-dask submits tasks as if they were pure, and offers no other way to say that they are not than its client's `submit`."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import DaskTaskRunner

from prefect_lifespan.workers.dask import submitted


def test_its_client_takes_tasks_for_pure_and_its_runner_says_nothing_of_it() -> None:
    assert inspect.signature(PrefectDaskClient.submit).parameters["pure"].default is True
    assert "pure" not in inspect.getsource(DaskTaskRunner.submit)
    assert "self.client.submit(" in inspect.getsource(DaskTaskRunner.submit)


def test_from_the_first_submission_in_a_lifespan_on_its_client_makes_no_key_of_what_is_sent() -> None:
    class Client:
        def submit(self, function: object, *, pure: bool = True) -> tuple[object, bool]:
            return function, pure

    runner: Any = SimpleNamespace(client=Client())
    for _ in range(2):
        assert submitted(runner, "a scope", lambda: runner.client.submit("a task")) == ("a task", False)
