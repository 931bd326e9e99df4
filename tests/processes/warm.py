"""Deployments in a work pool of the type `lifespan`, and the worker that runs them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.workers.base import BaseWorker

from tests.processes.running import ROOT, Program, Programs, eventually, reaches_state

PROGRAM = Path(__file__).parent / "programs" / "warm.py"


@dataclass
class WarmPool:
    """One work pool with one worker, and the folder that its deployments' code stands in."""

    client: SyncPrefectClient
    name: str
    kind: str
    code: Path
    worker: Program

    @classmethod
    def started(
        cls, client: SyncPrefectClient, programs: Programs, folder: Path, *,
        kind: str = "lifespan", program: Path = PROGRAM, environment: dict[str, str] | None = None, **defaults: Any,
    ) -> WarmPool:  # fmt: skip
        """A pool whose variables have these defaults, and its worker."""
        name = folder.name
        found = BaseWorker.get_worker_class_from_type(kind)
        assert found is not None
        template = found.get_default_base_job_template()
        for variable, default in defaults.items():
            template["variables"]["properties"][variable]["default"] = default
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template), overwrite=True)
        folder.mkdir(exist_ok=True)
        code = folder / "code"
        code.mkdir()
        shutil.copy(program, code / "warm_program.py")
        worker = programs.start_in(
            folder, "prefect.__main__", "worker", "start", "--pool", name, "--type", kind, "--name", name,
            PREFECT_WORKER_QUERY_SECONDS="0.5", PYTHONPATH=str(ROOT), **(environment or {}),
        )  # fmt: skip
        return cls(client, name, kind, code, worker)

    def deploy(self, flow: str, **options: Any) -> UUID:
        """Deploy a flow of the code where it stands."""
        flow_id = self.client.create_flow_from_name(flow)
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(self.code)}}
        return self.client.create_deployment(
            flow_id=flow_id,
            work_pool_name=self.name,
            entrypoint=f"warm_program.py:{flow}",
            enforce_parameter_schema=False,
            **{"name": self.name, "pull_steps": [step], **options},
        )

    def run(self, deployment: UUID, label: str, **parameters: Any) -> UUID:
        """Create a run of a deployment."""
        return self.client.create_flow_run_from_deployment(deployment, parameters={"label": label, **parameters}).id

    def completes(self, run: UUID) -> None:
        """Wait until a run has completed, and its process has nothing left to do for it."""
        reaches_state(self.client, run, "Completed")
        eventually(lambda: "Finished in state Completed()" in self.log(run), "the run ends", every_seconds=0.1)

    def begins(self, *labels: str) -> None:
        """Wait until the bodies of runs have begun."""
        for label in labels:
            eventually(
                lambda label=label: [each for each in self.lines("body in") if each.startswith(label)],
                f"{label} begins",
                self.worker.log,
            )

    def lines(self, word: str) -> list[str]:
        """The lines with a word."""
        return [line for line in self.worker.marks() if word in line]

    def log(self, run: UUID) -> list[str]:
        """What is in the log of a run."""
        filters = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return [line.message for line in self.client.read_logs(filters)]
