"""`python -m flows`: every pattern once, then the history of all these runs. This is what `make run` shows.

    python -m flows --runner dask    the run history's tasks on another task runner: thread, processes, dask, ray

One program, because each would start Prefect's embedded server for itself. Where that has to make its database first, it
does so while the pattern is shown that needs no Prefect API.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Annotated

import typer
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from rich.console import Console
from rich.rule import Rule

from containers.errors import UnavailableError
from flows import run_history
from flows.patterns import (
    async_resources,
    background_tasks,
    blocks_as_resources,
    commit_or_rollback,
    completion_hooks,
    concurrency_slots,
    context_manager,
    model_in_the_process,
    overrides_in_a_test,
    retries,
    setup_and_cleanup,
    shared_application,
    subflows,
    worker_processes,
)
from flows.progress import console_handlers
from flows.runners import RUNNERS, THREAD, Runner, RunnerError, reachable_api, task_runner
from flows.starting import begun
from prefect_lifespan import lifespan
from prefect_lifespan.settings import SettingsError

WITHOUT_AN_API = context_manager
PATTERNS = (
    setup_and_cleanup,
    commit_or_rollback,
    background_tasks,
    completion_hooks,
    shared_application,
    retries,
    model_in_the_process,
    async_resources,
    subflows,
    overrides_in_a_test,
    worker_processes,
    blocks_as_resources,
    concurrency_slots,
)


def without_traceback(record: logging.LogRecord) -> bool:
    """Shortens a log line to its message: what fails here fails on purpose, and the message says why."""
    record.exc_info = record.exc_text = None
    return True


def open_once() -> None:
    """Opens the application and closes it: what is wrong with its surroundings is told before a flow run exists.

    Where no PREFECT_API_URL is set, this starts Prefect's embedded server.
    """
    with lifespan(run_history.AppContainer):
        pass


def show(runner: Runner, name: str) -> None:
    """Runs the patterns and the main job, each under its own heading; `name` is the runner's."""
    console = Console()
    for handler in console_handlers():
        handler.addFilter(without_traceback)
    opened = begun(open_once)
    show_pattern(console, WITHOUT_AN_API)
    if not opened.done():
        api = (
            PREFECT_API_URL.value() or "that starts here (the first time it makes its database, in half a minute or so)"
        )
        console.print(f"Waiting for the Prefect API {api}\n", style="dim", highlight=False)
    opened.result()
    with reachable_api(name):
        for pattern in PATTERNS:
            show_pattern(console, pattern)
        console.print(Rule("[bold]run_history[/bold]", align="left"))
        with lifespan(run_history.AppContainer):
            report = run_history.run_history.with_options(task_runner=runner)()
    told = f"{len(PATTERNS) + 1} patterns and the run history. Open the report: {report}"
    console.print(f"\n[green]→[/green] {told}", soft_wrap=True)


def show_pattern(console: Console, pattern: ModuleType) -> None:
    """Runs one pattern under its name and headline."""
    headline, *_ = (pattern.__doc__ or "").splitlines()
    console.print(Rule(f"[bold]{pattern.__name__.rpartition('.')[2]}[/bold]", align="left"))
    console.print(headline, style="dim")
    demo: Callable[[], str] = pattern.demo
    console.print(f"[green]→[/green] {demo()}\n", highlight=False)


# Without Typer's own tracebacks: they show local variables, and with them whatever secret those hold.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    runner: Annotated[str, typer.Option(help=f"Where the run history's tasks run: {', '.join(RUNNERS)}.")] = THREAD,
) -> None:
    """Runs every pattern once, then reports on the history of all these runs."""
    try:
        chosen = task_runner(runner)  # what is wrong with it is said before anything runs
        # Heartbeats are for runs that somebody watches, and hold up the end of each by a second.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            show(chosen, runner)
    except (RunnerError, SettingsError, UnavailableError) as error:
        typer.secho(f"\n{error}", err=True, fg="red")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
