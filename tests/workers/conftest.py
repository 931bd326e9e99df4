"""Task runners beyond one process, each started once for the whole session, and what runs on them have left behind."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.processes.conftest import programs, zygote
from tests.processes.running import Programs, Zygote
from tests.workers.losing import Cluster, Losing
from tests.workers.records import Runners

__all__ = ["programs", "zygote"]  # fixtures

ROOT = Path(__file__).parents[2]

# Connections to Prefect's API, to Dask and to Ray, which those leave to the garbage collector.
THEY_LEAVE_OPEN = (
    "ignore:unclosed <socket.socket:ResourceWarning",
    "ignore:unclosed transport:ResourceWarning",
    "ignore:unclosed event loop:ResourceWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those pass, and give a session's clusters and runs their time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for each in THEY_LEAVE_OPEN:
                item.add_marker(pytest.mark.filterwarnings(each))


@pytest.fixture(scope="session")
def process_marks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where what lives as long as a process leaves its marks; in the environment that worker processes inherit."""
    path = tmp_path_factory.mktemp("processes") / "marks"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTS_PROCESS_MARKS", str(path))
        patch.setenv("PYTHONPATH", str(ROOT))  # so that all of them can import what tests import
        yield path


@pytest.fixture(scope="session")
def dask_processes(prefect_server: str, process_marks: Path) -> Iterator[str]:
    """The address of a Dask cluster of two worker processes."""
    import distributed

    cluster_class: Any = distributed.LocalCluster
    with cluster_class(n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def dask_threads(prefect_server: str, process_marks: Path) -> Iterator[str]:
    """The address of a Dask cluster of two workers in this process."""
    import distributed

    cluster_class: Any = distributed.LocalCluster
    with cluster_class(n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", processes=False) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def ray_cluster(prefect_server: str, process_marks: Path) -> Iterator[str]:
    """The address of a Ray cluster for two tasks at a time, which this process is connected to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        context: Any = ray.init(
            num_cpus=2, include_dashboard=False, namespace="prefect", log_to_driver=False, _node_ip_address="127.0.0.1"
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()


@pytest.fixture(scope="session")
def prepared_pools(prefect_server: str, process_marks: Path) -> Iterator[None]:
    """Pools whose workers are forked from a process that has imported Prefect, where `spawn` would import it for each.

    They are real processes, and none of this one's: nothing that is open here is open there. Programs in processes of their
    own (losses, lost drivers, forks) have Prefect's pools as they are.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["prefect.main", "prefect.task_engine", "prefect.flow_engine", "prefect_lifespan.workers"]
    )
    with pytest.MonkeyPatch.context() as patch:
        prepared = SimpleNamespace(get_context=lambda _: context, cpu_count=multiprocessing.cpu_count)
        patch.setattr("prefect.task_runners.multiprocessing", prepared)
        yield


@pytest.fixture(scope="session")
def runners(request: pytest.FixtureRequest, prepared_pools: None) -> Runners:
    """Makes task runners by kind; clusters start when first asked for."""
    return Runners(lambda name: request.getfixturevalue(name))


@pytest.fixture(scope="session")
def clusters(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cluster]]:
    """Clusters in processes of their own, by the kind of runner; each starts when a test first runs something on it."""
    clusters = {kind: Cluster(kind, Programs(zygote, tmp_path_factory.mktemp("outliving"))) for kind in ("dask", "ray")}
    yield clusters
    for cluster in clusters.values():
        cluster.end()


@pytest.fixture
def losing(zygote: Zygote, tmp_path: Path, clusters: dict[str, Cluster]) -> Iterator[Losing]:
    """Runs flows as programs, and ends every process that they leave behind."""
    losing = Losing(Programs(zygote, tmp_path), clusters)
    yield losing
    losing.end()


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind() -> Iterator[None]:
    """What the tests of a file leave behind warns before those of the next one begin."""
    yield
    gc.collect()
