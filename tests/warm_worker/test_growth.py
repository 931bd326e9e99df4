"""A warm process has run after run, and holds no more for it: `benchmarks/warm_worker.py` has two hundred."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from prefect_lifespan.warm_worker.configuration import Job, Kind, Limits
from prefect_lifespan.warm_worker.messages import Begins, Ended
from prefect_lifespan.warm_worker.states import State
from prefect_lifespan.warm_worker.warm_process import WarmProcess

RUNS, UNTIL_IT_HAS_ALL = 7, 3


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_warm_process_holds_the_same_after_each_run(prefect_server: str, tmp_path: Path) -> None:
    kind = Kind(tuple((os.environ | {"PREFECT_API_URL": prefect_server}).items()), None, "", None, 30.0, True)
    job = Job(kind, Limits(1, None, 300.0, None), {})
    process = await WarmProcess.started(kind)
    try:
        async with get_client() as client:
            deployment = await deployed(client, tmp_path.name)
            for _ in range(RUNS):
                parameters = {"file": str(tmp_path / "held")}
                run = await client.create_flow_run_from_deployment(deployment, parameters=parameters)
                assert isinstance(await process.begin(run.id, job, {}), Begins)
                ended = await process.end_of_run()
                assert isinstance(ended, Ended)
                assert (ended.exit_code, ended.unfit) == (0, None)
                process.become(State.IDLE)
    finally:
        process.close()
        await process.gone()
        process.clean()

    held = [json.loads(line) for line in (tmp_path / "held").read_text().splitlines()][UNTIL_IT_HAS_ALL:]
    # A thread of a pool may come when two things happen at once for the first time: one each run would be a leak.
    threads = [each.pop("threads") for each in held]
    assert threads[-1] - threads[0] < len(threads) - 1
    assert held == [held[0]] * len(held)


async def deployed(client: PrefectClient, name: str) -> UUID:
    """The flow, where it stands."""
    await client.create_work_pool(WorkPoolCreate(name=name, type="lifespan", base_job_template={}), overwrite=True)
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(Path(__file__).parent)}}
    return await client.create_deployment(
        flow_id=await client.create_flow_from_name("grows"),
        name=name,
        work_pool_name=name,
        entrypoint="growing.py:grows",
        pull_steps=[step],
        enforce_parameter_schema=False,
    )
