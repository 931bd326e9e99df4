"""`probe`: the table of what comes of each resource, drawn while it goes where there is a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from types import FrameType
from typing import Literal

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from prefect_lifespan.command.failing import FOUND, INTERRUPTED, WELL, CommandError
from prefect_lifespan.command.graphing import the_container
from prefect_lifespan.command.output import console, tell, write_json
from prefect_lifespan.command.program import Program
from prefect_lifespan.command.targets import find
from prefect_lifespan.errors import InvalidContainerError, UsageError
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.probing import Asked, ProbeReport, Row, probed

_STYLES = {"ok": "green", "failed": "bold red", "skipped": "yellow"}


def run(
    target: str,
    *,
    only: Sequence[str] | None,
    skip: Sequence[str],
    timeout_seconds: float | None,
    retries: bool,
    form: Literal["text", "json"],
) -> int:
    """Probe the container of a target, and print what came of it.

    Raises:
        CommandError: the target or a path does not exist, or the container cannot be opened as it is declared.
    """
    container = the_container(Program(find([target])), [target])
    try:
        asked = Asked.of(container, only=only, skip=skip, timeout_seconds=timeout_seconds, retries=retries)
    except InvalidContainerError as error:
        codes = ", ".join(dict.fromkeys(finding.code for finding in error.findings))
        raise CommandError(
            f"{error.container} cannot be opened as it is declared: {codes}", f"prefect-lifespan check {target}", FOUND
        ) from error
    except UsageError as error:
        raise CommandError(str(error), "prefect-lifespan graph shows the paths") from error
    except ValueError as error:  # of the time limit
        raise CommandError(str(error), "--timeout takes seconds, above zero") from error
    with _terminated_as_interrupted():
        return _as_json(asked) if form == "json" else _as_table(asked, container)


def _as_json(asked: Asked) -> int:
    with redirect_stdout(sys.stderr):  # what initialisers print is none of this command's output
        report = probed(asked)
    write_json(report.as_dict())
    return WELL if report.ok else FOUND


def _as_table(asked: Asked, container: ContainerClass) -> int:
    screen = console()
    display = _Display(container.__qualname__)
    live = Live(get_renderable=display.table, console=screen, refresh_per_second=8) if screen.is_terminal else None
    report: ProbeReport | None = None
    try:
        with live or nullcontext():
            report = probed(asked, display.take)
    except KeyboardInterrupt:
        pass
    if live is None:
        screen.print(display.table())
    if report is None:
        tell(f"what was open has closed{display.left_behind()}", kind="interrupted")
        return INTERRUPTED
    return WELL if report.ok else FOUND


class _Display:
    """The rows as they are at this moment."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: dict[str, Row] = {}

    def take(self, row: Row) -> None:
        self._rows[row.path] = row

    def left_behind(self) -> str:
        """What still opens in a thread, if anything does: that ends with this process."""
        paths = [path for path, row in self._rows.items() if row.is_left_behind]
        return f"; still opening, and left behind: {', '.join(paths)}" if paths else ""

    def table(self) -> Table:
        table = Table(title=self._title, title_justify="left", expand=False)
        table.add_column("resource", overflow="fold")
        table.add_column("status")
        for step in ("opened", "healthy", "closed"):
            table.add_column(step, justify="right")
        table.add_column("error", overflow="fold")
        for row in [*self._rows.values()]:
            seconds = (row.opened_seconds, row.health_seconds, row.closed_seconds)
            table.add_row(
                row.path,
                _status(row),
                *("" if s is None else f"{s:.3f} s" for s in seconds),
                Text("; ".join(row.errors)),
            )
        return table


def _status(row: Row) -> Text | Spinner:
    if row.status == "ok" and row.doing in ("opening", "checking", "closing"):
        return Spinner("dots", text=Text(row.doing, "cyan"))
    if row.status == "ok" and row.doing == "waiting":
        return Text("waiting", "dim")
    if row.status == "ok" and row.doing == "open":
        return Text("open", "green")
    return Text(row.status, _STYLES[row.status])


@contextmanager
def _terminated_as_interrupted() -> Generator[None]:
    """Let SIGTERM end a probe as Ctrl-C does, which closes what is open: by default it ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a script's shell starts what it does not wait for
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
