"""What a test-suite needs: what opened and closed, faults on order, and overrides that every thread and task sees."""

from prefect_lifespan.engine import Event
from prefect_lifespan.testing.cases import Case, CleanClosing
from prefect_lifespan.testing.everywhere import override_everywhere
from prefect_lifespan.testing.faults import Faults, InjectedFault
from prefect_lifespan.testing.fixtures import AsyncLifespanContainer, LifespanContainer, OverrideProviders
from prefect_lifespan.testing.recording import RecordedEvent, recording
from prefect_lifespan.testing.single_faults import assert_closes_cleanly

__all__ = [
    "AsyncLifespanContainer",
    "Case",
    "CleanClosing",
    "Event",
    "Faults",
    "InjectedFault",
    "LifespanContainer",
    "OverrideProviders",
    "RecordedEvent",
    "assert_closes_cleanly",
    "override_everywhere",
    "recording",
]
