"""What a work pool of this type asks a person for, and what becomes of it for one flow run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables
from pydantic import BaseModel, Field, PrivateAttr, field_validator

# What Prefect puts into the environment of each run for that run alone.
_OF_A_RUN = "PREFECT__"
# What says which code a deployment runs. Not when it was updated: the server updates it whenever a worker polls.
_CODE = ("id", "entrypoint", "path", "pull_steps", "storage_document_id", "version", "version_id")

T = TypeVar("T")


class _Asked(BaseModel):
    """What this type of worker asks for, in the order in which Prefect's UI shows it."""

    container: str | None = Field(
        default=None,
        title="Container",
        description=(
            "What opens before the first run of a process: the container of the deployment's code, as "
            "`package.module:Container`. Its process resources open then, and are healthy before each run. Without it, "
            "each opens at its first use."
        ),
    )
    processes: int = Field(
        default=4,
        ge=1,
        title="Processes",
        description="How many warm processes a worker has at the most, and so how many flow runs at a time.",
    )
    max_runs_per_process: int | None = Field(
        default=None,
        ge=1,
        title="Runs per process",
        description="After so many runs a process closes, and a new one takes its place. Without it: never.",
    )
    idle_seconds: float = Field(
        default=300.0,
        gt=0,
        title="Idle seconds",
        description="A process that has had no run for so many seconds closes.",
    )
    env: dict[str, str | None] = Field(
        default_factory=dict[str, str | None],
        title="Environment variables",
        description="Set in the process, beside those of the worker. Other variables or values: another process.",
    )
    working_dir: Path | None = Field(
        default=None,
        title="Working directory",
        description="Where the deployment's code is pulled to and runs; without it, in a temporary folder.",
    )
    health_check_seconds: float = Field(
        default=30.0,
        ge=0,
        title="Seconds between health checks",
        description=(
            "Before a run, the health checks of open process resources run, if the last ones were longer ago than this. "
            "What is unwell closes, and opens anew."
        ),
    )
    max_memory_mib: float | None = Field(
        default=None,
        gt=0,
        title="Memory per process, in MiB",
        description="A process that holds more than this after a run closes. Without it: never.",
    )
    drain_seconds: float = Field(
        default=30.0,
        ge=0,
        title="Drain seconds",
        description="How long runs may go on when the worker is told to stop; then they are terminated, and crash.",
    )
    stream_output: bool = Field(
        default=True,
        title="Stream output",
        description="Whether the worker shows what flow runs print.",
    )
    command: str | None = Field(
        default=None,
        title="Command",
        description="A flow run with a command of its own is run by that, in a new process for it alone: no warm one.",
    )


class LifespanVariables(_Asked, ProcessVariables):
    """What may be set for a work pool, a deployment or a flow run."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Prefect's own, without what means nothing for a process that stays: a name and labels."""
        schema = super().model_json_schema(*args, **kwargs)
        schema["properties"] = {name: schema["properties"][name] for name in _Asked.model_fields}
        return schema


class LifespanJobConfiguration(_Asked, ProcessJobConfiguration):
    """The same for one flow run, with its environment."""

    _code: str = PrivateAttr(default="")

    @field_validator("container")
    @classmethod
    def _names_a_module(cls, container: str | None) -> str | None:
        if container is None or (":" in container and ".py:" not in container):
            return container
        raise ValueError(
            f"container is {container!r}; it must be `package.module:Container`, as the deployment's code imports it "
            "(a file would be loaded a second time, and its resources be others)"
        )

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Prefect's own preparation; and which code the deployment stands for."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id=worker_id)
        self._code = _code_of(deployment)

    @classmethod
    def json_template(cls) -> dict[str, Any]:
        """Prefect's own, of what a person is asked for."""
        return {name: value for name, value in super().json_template().items() if name in _Asked.model_fields}

    @property
    def has_own_command(self) -> bool:
        """Whether it says itself what is to be run: no warm process can."""
        return self._command_configured

    def job(self) -> Job:
        """What a process must be to run it, and the rest."""
        environment = {name: value for name, value in self.env.items() if value is not None}
        of_the_process = {name: value for name, value in environment.items() if not name.startswith(_OF_A_RUN)}
        kind = Kind(
            environment=tuple(sorted(of_the_process.items())),
            working_dir=self.working_dir,
            code=self._code,
            container=self.container,
            health_check_seconds=self.health_check_seconds,
            stream_output=self.stream_output,
        )
        limits = Limits(self.processes, self.max_runs_per_process, self.idle_seconds, self.max_memory_mib)
        return Job(kind, limits, {n: v for n, v in environment.items() if n.startswith(_OF_A_RUN)})


@dataclass(frozen=True)
class Kind:
    """What a process is made for: it runs what asks for the same, and nothing else."""

    environment: tuple[tuple[str, str], ...]
    working_dir: Path | None
    code: str
    container: str | None
    health_check_seconds: float
    stream_output: bool

    def __repr__(self) -> str:
        return f"Kind(code={self.code!r})"  # the environment holds secrets


@dataclass(frozen=True)
class Limits:
    """How many processes there may be, and how long each lives."""

    processes: int
    max_runs: int | None
    idle_seconds: float
    max_memory_mib: float | None


@dataclass(frozen=True)
class Job:
    """One flow run's: the process that it needs, the limits, and the variables of the run alone."""

    kind: Kind
    limits: Limits
    environment: dict[str, str]

    def __repr__(self) -> str:
        return f"Job({self.kind!r}, {self.limits!r})"


def default_of(work_pool: WorkPool | None, name: str, otherwise: T) -> T:
    """What a work pool says about a variable, for the worker as a whole."""
    template: Mapping[str, Any] = (work_pool.base_job_template or {}) if work_pool is not None else {}
    declared = template.get("variables", {}).get("properties", {}).get(name, {})
    value = declared.get("default")
    return otherwise if value is None else value


def _code_of(deployment: BaseModel | None) -> str:
    """A digest of what says which code a deployment runs."""
    if deployment is None:
        return ""
    told = deployment.model_dump(mode="json", include=set(_CODE))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
