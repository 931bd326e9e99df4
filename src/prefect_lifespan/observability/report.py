"""A run's report: the picture as an artifact that Prefect's UI shows."""

from __future__ import annotations

import threading
from contextvars import copy_context
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from prefect_lifespan.observability.picture import Picture
from prefect_lifespan.observability.shown import markdown

KEY = "lifespan-report"


def save(picture: Picture, timeout_seconds: float) -> None:
    """Save the report as an artifact of its flow run.

    Raises:
        TimeoutError: the API has not answered in time; it may still get there.
        Exception: the API refused it, or cannot be reached.
    """
    drawn, failed = picture.drawn, list[Exception]()

    def create() -> None:
        try:
            with get_client(sync_client=True) as client:
                client.create_artifact(
                    ArtifactCreate(
                        key=KEY,
                        type="markdown",
                        description=f"What {drawn.container} opened and closed in this run.",
                        data=markdown(drawn),
                        metadata_=drawn.dumped(),
                        flow_run_id=UUID(drawn.flow_run),
                    )
                )
        except Exception as error:
            failed.append(error)

    # Prefect's client tries again for a long time where nobody answers, and a thread can be left behind.
    thread = threading.Thread(target=copy_context().run, args=(create,), name="lifespan-report", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise TimeoutError(f"the report was not saved within {timeout_seconds:g} s")
    if failed:
        raise failed[0]


def saved(flow_run: UUID) -> Artifact | None:
    """The last report that a flow run has left; Prefect may keep other artifacts of it, its result among them."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]), key=ArtifactFilterKey(any_=[KEY]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return found[0] if found else None
