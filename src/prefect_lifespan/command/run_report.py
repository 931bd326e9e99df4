"""`report`: what a flow run's resources did, as one HTML file, from the artifact that the run has left."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from prefect_lifespan.command.failing import FOUND, CommandError
from prefect_lifespan.command.output import write
from prefect_lifespan.masking import summary_of
from prefect_lifespan.observability.picture import Drawn
from prefect_lifespan.observability.report import saved
from prefect_lifespan.observability.shown import html


def write_report(flow_run: str, output: Path | None) -> None:
    """Write the last report of a flow run.

    Raises:
        CommandError: it is no id, the API does not answer, the run has left no report, or the file cannot be written.
    """
    try:
        identifier = UUID(flow_run)
    except ValueError:
        raise CommandError(f"{flow_run!r} is no id of a flow run", "copy it from `prefect flow-run ls`") from None
    try:
        found = saved(identifier)
    except Exception as error:  # of Prefect's client, which has many
        message = f"Prefect's API has not answered: {summary_of(error)}"
        raise CommandError(message, "start it, or set PREFECT_API_URL to its address") from error
    drawn = None if found is None else Drawn.loaded(found.metadata_ or {})
    if drawn is None:
        cure = "run it with @lifespan(..., report=True), or with PREFECT_INTEGRATIONS_LIFESPAN_REPORT=true"
        raise CommandError(f"flow run {flow_run} has left no report", cure, FOUND)
    write(html(drawn), output)
