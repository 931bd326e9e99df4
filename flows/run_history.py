"""The main job: bring the warehouse up to date with the runs that the Prefect API knows, and report on them.

    python -m flows.run_history                      since the last time
    python -m flows.run_history --since 2026-01-01   from a day on
    python -m flows.run_history --full               everything once more
    python -m flows.run_history --runner processes   its tasks on another task runner; see flows/runners.py

Run it as often as you like: rows that are as they should be are not touched. The watermark moves only after every
batch is stored, so what one run could not read, the next one reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from rich.console import Console

from containers.app import AppContainer
from containers.errors import UnavailableError
from containers.services.history import HistoryStore
from containers.services.publisher import History, Publisher, table_rows, terminal_table
from containers.services.records import FlowRunRecord, Stored, Window
from containers.services.runs import RunSource
from containers.settings import Settings
from flows.progress import progress, wait_for
from flows.runners import RUNNERS, THREAD, RunnerError, reachable_api, task_runner
from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.settings import SettingsError

Batch = list[FlowRunRecord]


@task(retries=2, retry_delay_seconds=1)
@inject
def read_batches(window: Window, runs: RunSource = Provide[AppContainer.runs]) -> list[Batch]:
    """The flow runs that ended in the window, a page of the API to a batch."""
    batches: list[Batch] = []
    with progress() as display:
        bar = display.add_task("Reading flow runs", total=None)
        for batch in runs.flow_runs(window):
            batches.append(batch)
            display.advance(bar, len(batch))
    return batches


@task(retries=2, retry_delay_seconds=1)
@inject
def store(
    batch: Batch,
    runs: RunSource = Provide[AppContainer.runs],
    history: HistoryStore = Provide[AppContainer.history],
) -> Stored:
    """Reads a batch's task runs and writes both in one transaction."""
    return history.store(batch, runs.task_runs([run.id for run in batch]))


@task
@inject
def publish(
    read_until: datetime,
    report: Path | None,
    runs: RunSource = Provide[AppContainer.runs],
    history: HistoryStore = Provide[AppContainer.history],
    publisher: Publisher = Provide[AppContainer.publisher],
) -> tuple[History, Path]:
    """Reports the whole history: an artifact in Prefect, and the HTML file."""
    told = History(history.flow_runs(), history.task_runs(), runs.address, read_until)
    create_table_artifact(table_rows(told.flows), key="run-history", description="Runs and durations of each flow")
    return told, publisher.write(told, report)


@flow(name="run-history")
@lifespan(AppContainer)
def run_history(
    since: datetime | None = None,
    full: bool = False,
    report: Path | None = None,
    settings: Settings = Provide[AppContainer.settings],
    history: HistoryStore = Provide[AppContainer.history],
) -> Path:
    """Reads, stores and reports the runs that ended since the last time; returns the report's path.

    Args:
        since: read the runs that ended from here on, instead of from the last time.
        full: read everything once more.
        report: where to write the report, instead of the report folder.
    """
    logger = get_run_logger()
    last = history.watermark()
    window = plan(last, since=since, full=full, overlap=timedelta(seconds=settings.history.overlap_seconds))
    batches = read_batches(window)
    stored = store_all(batches)
    if advances(window, last):
        history.advance(window.until)
    logger.info(
        "Read %d flow runs and %d task runs, %d rows new or changed", stored.flow_runs, stored.task_runs, stored.changed
    )
    told, path = publish(window.until, report)
    Console().print(terminal_table(told.flows))
    return path


def store_all(batches: Sequence[Batch]) -> Stored:
    """Stores the batches side by side; the first that failed after its retries fails the run."""
    futures = store.map(batches)
    wait_for(futures, "Storing batches")
    return sum(futures.result(), Stored())


def plan(last: datetime | None, *, since: datetime | None, full: bool, overlap: timedelta) -> Window:
    """What to read: all of it, from a day on, or from a little before the last reading ended."""
    until = datetime.now(UTC)
    if full:
        return Window(None, until)
    if since is not None:
        return Window(since if since.tzinfo else since.replace(tzinfo=UTC), until)
    return Window(last - overlap if last else None, until)


def advances(window: Window, last: datetime | None) -> bool:
    """Whether everything before the window's end is now stored; a window that begins later leaves a gap."""
    return window.since is None or (last is not None and window.since <= last)


# Without Typer's own tracebacks: they show local variables, and with them whatever secret those hold.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    since: Annotated[datetime | None, typer.Option(help="Read the runs that ended from here on (UTC).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything once more.")] = False,
    report: Annotated[Path | None, typer.Option(help="Where to write the report.", dir_okay=False)] = None,
    runner: Annotated[str, typer.Option(help=f"Where its tasks run: {', '.join(RUNNERS)}.")] = THREAD,
) -> None:
    """Brings the run history up to date and reports on it."""
    if full and since is not None:
        raise typer.BadParameter("--since and --full exclude each other")
    try:
        chosen = run_history.with_options(task_runner=task_runner(runner))
        # Opened here already, and joined by the flow: what is wrong with the surroundings is said before a run exists.
        with reachable_api(runner), lifespan(AppContainer):
            path = chosen(since=since, full=full, report=report)
    except (RunnerError, SettingsError, UnavailableError) as error:
        typer.secho(f"\n{error}", err=True, fg="red")
        raise typer.Exit(1) from None
    typer.echo(f"Report: {path}")


if __name__ == "__main__":
    app()
