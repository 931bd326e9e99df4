"""A cluster that outlives the runs on it: `python -m tests.workers.programs.outliving <dask or ray>`, until it is told to stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from tests.processes.programs.marks import mark, ordered


def live(join: Callable[[], object] = lambda: None) -> None:
    """Until the test says otherwise; one more worker joins where it says so."""
    while not ordered("stop"):
        if ordered("join"):
            join()
        time.sleep(0.1)


def dask() -> None:
    import distributed

    cluster_class: Any = distributed.LocalCluster
    with cluster_class(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster:
        mark(f"address {cluster.scheduler_address}")
        live(lambda: cluster.scale(3))


def ray() -> None:
    import ray

    # Not by `ray start`, which other programs on this machine would take for theirs.
    context: Any = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    mark(f"address {context.address_info['gcs_address']}")
    live()
    ray.shutdown()


if __name__ == "__main__":
    {"dask": dask, "ray": ray}[sys.argv[1]]()
