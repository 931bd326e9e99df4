"""What a test-suite needs: what opened and closed, faults on order, and overrides that every thread and task sees."""

from prefect_lifespan.engine import Event
from prefect_lifespan.testing.everywhere import override_everywhere
from prefect_lifespan.testing.faults import Faults, InjectedFault
from prefect_lifespan.testing.recording import recording

__all__ = ["Event", "Faults", "InjectedFault", "override_everywhere", "recording"]
