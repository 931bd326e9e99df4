"""Progress in the terminal that does not quarrel with Prefect's log lines, and nothing at all where nobody watches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from prefect.futures import PrefectFuture, as_completed
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def console_handlers() -> Iterator[PrefectConsoleHandler]:
    """What writes Prefect's log lines to the terminal: handlers of its own logger, or of one that this passes them on to."""
    logger: logging.Logger | None = logging.getLogger("prefect")
    while logger is not None:
        yield from (handler for handler in logger.handlers if isinstance(handler, PrefectConsoleHandler))
        logger = logger.parent if logger.propagate else None


def log_console() -> Console:
    """The console that Prefect logs to: two consoles on one terminal would write over each other."""
    handler = next(console_handlers(), None)
    return handler.console if handler else Console(stderr=True)


def progress() -> Progress:
    """A progress display on that console, gone when it is done."""
    console = log_console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def wait_for(futures: Iterable[PrefectFuture[Any]], description: str) -> None:
    """Waits until all are done, showing how many are. Their errors are for whoever asks for their results."""
    waiting = list(futures)
    with progress() as display:
        bar = display.add_task(description, total=len(waiting))
        for _ in as_completed(waiting):
            display.advance(bar)
