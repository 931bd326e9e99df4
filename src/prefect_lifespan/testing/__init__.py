"""What a test-suite needs: what opened and closed, faults on order, and overrides that every thread and task sees."""

from prefect_lifespan.engine import Event
from prefect_lifespan.testing.faults import Faults, InjectedFault
from prefect_lifespan.testing.recording import recording

__all__ = ["Event", "Faults", "InjectedFault", "recording"]
