"""What came of probing a container, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class ProbedResource:
    """One resource: what came of it, in seconds, and why where that is no "ok".

    What could not be opened, has no health check or was not closed has no seconds there. `error` is on one line, with
    secrets masked; of a "skipped" one it says why.
    """

    path: str
    status: Status
    opened_seconds: float | None = None
    health_seconds: float | None = None
    closed_seconds: float | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        steps = (("opened", self.opened_seconds), ("healthy", self.health_seconds), ("closed", self.closed_seconds))
        told = [f"{step} in {seconds:.3f} s" for step, seconds in steps if seconds is not None]
        return f"{self.status:8}{self.path}: " + "; ".join([*told, *([self.error] if self.error else [])])


@dataclass(frozen=True)
class ProbeReport:
    """What came of each resource of a container, in the order of opening; printed, a line for each."""

    container: str
    resources: tuple[ProbedResource, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return all(resource.status != "failed" for resource in self.resources)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, as JSON has it."""
        return {"container": self.container, "resources": [resource.as_dict() for resource in self.resources]}

    def __str__(self) -> str:
        return "\n".join([self.container, *(f"  {resource}" for resource in self.resources)])
