"""`probe` and `aprobe`: each resource of a container is opened, looked at and closed, and what came of it is data."""

from prefect_lifespan.probing.course import Doing, Row
from prefect_lifespan.probing.probe import Asked, aprobe, check_health, check_health_on_loop, probe, probed
from prefect_lifespan.probing.report import ProbedResource, ProbeReport

__all__ = [
    "Asked",
    "Doing",
    "ProbeReport",
    "ProbedResource",
    "Row",
    "aprobe",
    "check_health",
    "check_health_on_loop",
    "probe",
    "probed",
]
