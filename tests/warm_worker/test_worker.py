"""The worker itself, with a real API and without runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import anyio
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

from prefect_lifespan.warm_worker.worker import LifespanWorker


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    """A client of the API."""
    with get_client(sync_client=True) as client:
        yield client


def template(processes: int) -> dict[str, Any]:
    """A pool's form with so many processes."""
    form = LifespanWorker.get_default_base_job_template()
    form["variables"]["properties"]["processes"]["default"] = processes
    return form


@pytest.mark.anyio
@pytest.mark.parametrize(("limit", "before", "after"), [(None, 2, 6), (5, 2, 5)])
async def test_what_a_pool_says_of_processes_holds_without_a_new_worker(
    client: SyncPrefectClient, limit: int | None, before: int, after: int
) -> None:
    name = f"pool-{uuid4()}"
    client.create_work_pool(WorkPoolCreate(name=name, type="lifespan", base_job_template=template(2)))
    async with LifespanWorker(work_pool_name=name, limit=limit) as worker:
        await worker.sync_with_backend()
        assert worker.limiter.total_tokens == before

        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template(6)))
        with anyio.fail_after(60):  # the API tells the worker of it in its own time
            while worker.limiter.total_tokens != after:
                await anyio.sleep(0.1)
                await worker.sync_with_backend()
