"""Where the tasks of `workers` run: a Prefect API of the benchmark's own, and task runners whose clusters start once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]

# What worker processes inherit. Without lines of the log for each task Prefect is faster, and the comparison stricter.
_ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),  # they import what is measured
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def prefect_api() -> Generator[None]:
    """Prefect with a home and an API of its own, both gone afterwards; Prefect must not have been imported before.

    Where it was, as in tests, the home is the one that it has. Flows send no heartbeats: the thread that does holds up
    the end of each run for a second.
    """
    with TemporaryDirectory(prefix="prefect-lifespan-bench-") as home, _environment({"PREFECT_HOME": home}):
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_LOGGING_LEVEL, temporary_settings
        from prefect.testing.utilities import prefect_test_harness

        quiet: Any = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_LEVEL: "ERROR"}
        with prefect_test_harness(server_startup_timeout=180), temporary_settings(quiet):
            yield


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({**_ENVIRONMENT, **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def thread(workers: int) -> Generator[Any]:
    from prefect.task_runners import ThreadPoolTaskRunner

    yield ThreadPoolTaskRunner(max_workers=workers)


@contextmanager
def pool(workers: int) -> Generator[Any]:
    """Processes that start anew for each run."""
    from prefect.task_runners import ProcessPoolTaskRunner

    yield ProcessPoolTaskRunner(max_workers=workers)


@contextmanager
def dask(workers: int) -> Generator[Any]:
    """One cluster of processes for all runs, with one thread each."""
    import distributed

    # Prefect's logging lets it say what it does.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    from prefect_dask.task_runners import DaskTaskRunner

    cluster_class: Any = distributed.LocalCluster
    with cluster_class(
        n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        yield DaskTaskRunner(address=cluster.scheduler_address)


@contextmanager
def ray(workers: int) -> Generator[Any]:
    """One cluster for all runs."""
    import ray as cluster
    from prefect_ray import RayTaskRunner

    with ExitStack() as stack:
        cluster.init(
            num_cpus=workers,
            include_dashboard=False,
            namespace="prefect",
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
        stack.callback(cluster.shutdown)
        yield RayTaskRunner()


RUNNERS: dict[str, Callable[[int], Any]] = {"thread": thread, "pool": pool, "dask": dask, "ray": ray}
