"""`python -m flows`: every pattern once, then the history of all these runs. This is what `make run` shows.

    python -m flows --runner dask    the run history's tasks on another task runner: thread, processes, dask, ray

One program, because each would start Prefect's embedded server for itself.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from containers.errors import UnavailableError
from flows import run_history
from flows.patterns import (
    async_resources,
    background_tasks,
    commit_or_rollback,
    completion_hooks,
    context_manager,
    retries,
    setup_and_cleanup,
    shared_application,
)
from flows.progress import console_handlers
from flows.runners import RUNNERS, THREAD, Runner, RunnerError, reachable_api, task_runner
from prefect_lifespan import lifespan
from prefect_lifespan.settings import SettingsError

PATTERNS = (
    context_manager,  # first, because it says what is wrong where something is: before any flow run exists
    setup_and_cleanup,
    commit_or_rollback,
    background_tasks,
    completion_hooks,
    shared_application,
    retries,
    async_resources,
)


def without_traceback(record: logging.LogRecord) -> bool:
    """Shortens a log line to its message: what fails here fails on purpose, and the message says why."""
    record.exc_info = record.exc_text = None
    return True


def show(runner: Runner) -> None:
    """Runs the patterns and the main job, each under its own heading."""
    console = Console()
    for handler in console_handlers():
        handler.addFilter(without_traceback)
    for pattern in PATTERNS:
        headline, *_ = (pattern.__doc__ or "").splitlines()
        console.print(Rule(f"[bold]{pattern.__name__.rpartition('.')[2]}[/bold]", align="left"))
        console.print(headline, style="dim")
        result = pattern.demo()
        console.print(f"[green]→[/green] {result}\n", highlight=False)
    console.print(Rule("[bold]run_history[/bold]", align="left"))
    with lifespan(run_history.AppContainer):
        report = run_history.run_history.with_options(task_runner=runner)()
    console.print(
        f"\n[green]→[/green] {len(PATTERNS)} patterns and the run history. Open the report: {report}", soft_wrap=True
    )


# Without Typer's own tracebacks: they show local variables, and with them whatever secret those hold.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runner: Annotated[str, typer.Option(help=f"Where the run history's tasks run: {', '.join(RUNNERS)}.")] = THREAD,
) -> None:
    """Runs every pattern once, then reports on the history of all these runs."""
    try:
        chosen = task_runner(runner)  # what is wrong with it is said before anything runs
        with reachable_api(runner):
            show(chosen)
    except (RunnerError, SettingsError, UnavailableError) as error:
        typer.secho(f"\n{error}", err=True, fg="red")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
