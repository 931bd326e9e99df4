"""The report that a run has left, as its artifact has it."""

from __future__ import annotations

from uuid import UUID

from prefect_lifespan.observability.picture import Drawn
from prefect_lifespan.observability.report import saved
from prefect_lifespan.observability.shown import markdown


def drawn_of(run: str | UUID) -> Drawn:
    """What a run's report is drawn from, as its artifact has it."""
    found = saved(UUID(str(run)))
    assert found is not None, "the run has left a report"
    drawn = Drawn.loaded(found.metadata_ or {})
    assert drawn is not None
    assert markdown(drawn) == found.data
    return drawn
