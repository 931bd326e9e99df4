"""Which task runner a flow runs on, by name; those beyond this process are imported when they are asked for.

| name | tasks run in | needs |
|---|---|---|
| thread | threads of this process, Prefect's default | nothing |
| processes | a pool of processes on this machine | nothing |
| dask | the workers of a Dask cluster, made for the run | `prefect-lifespan[dask]` |
| ray | the workers of Ray, started for the run | `prefect-lifespan[ray]` |
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

Runner = TaskRunner[Any]

THREAD = "thread"


class RunnerError(ValueError):
    """A task runner that does not exist, or is not installed."""


def task_runner(name: str) -> Runner:
    """The task runner of this name, ready for `flow.with_options(task_runner=...)`.

    Raises:
        RunnerError: there is none of this name, or its package is not installed.
    """
    make = RUNNERS.get(name)
    if make is None:
        meant = difflib.get_close_matches(name.lower(), RUNNERS, n=1)
        hint = f" Did you mean {meant[0]!r}?" if meant else ""
        raise RunnerError(f"There is no task runner {name!r}.{hint} Known: {', '.join(RUNNERS)}.")
    return make()


@contextmanager
def reachable_api(name: str) -> Iterator[None]:
    """Prefect's API at an address that worker processes find too.

    Without PREFECT_API_URL, Prefect starts an embedded server for this process, and one more in each worker process.
    """
    if name == THREAD or PREFECT_API_URL.value():
        yield
        return
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: address}):
        yield


def _dask() -> Runner:
    # Dask warns where the usual port of its dashboard is taken.
    return _imported("prefect_dask", "dask").DaskTaskRunner(cluster_kwargs={"dashboard_address": "127.0.0.1:0"})


def _ray() -> Runner:
    return _imported("prefect_ray", "ray").RayTaskRunner(init_kwargs={"include_dashboard": False})


def _imported(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RunnerError(
            f"The task runner {name!r} is not installed ({error}): pip install 'prefect-lifespan[{name}]'"
        ) from None


RUNNERS: dict[str, Callable[[], Runner]] = {
    THREAD: ThreadPoolTaskRunner,
    "processes": ProcessPoolTaskRunner,
    "dask": _dask,
    "ray": _ray,
}
