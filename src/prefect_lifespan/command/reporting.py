"""The findings of `check` as people, programs and GitHub read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from rich.text import Text

from prefect_lifespan.command.checking import Checked
from prefect_lifespan.command.located import Located, from_here
from prefect_lifespan.command.output import console, write_json
from prefect_lifespan.finding import address

CheckFormat = Literal["text", "json", "github"]


def report(checked: Checked, form: CheckFormat) -> None:
    """Print what was found."""
    if form == "json":
        write_json(as_json(checked))
    elif form == "github":
        for finding in checked.findings:
            print(annotation(finding))  # noqa: T201 - commands to the runner of GitHub's actions are lines of output
    else:
        screen = console()
        for finding in checked.findings:
            screen.print(_told(finding), soft_wrap=not screen.is_terminal)  # a line each, for what reads lines
        screen.print(_summary(checked))


def as_json(checked: Checked) -> dict[str, Any]:
    """The findings as plain data."""
    return {"findings": [finding.as_dict() for finding in checked.findings]}


def annotation(located: Located) -> str:
    """One finding as GitHub shows it beside the line that it is about."""
    finding = located.finding
    properties = {"file": located.file, "line": located.line, "title": finding.code}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value is not None)
    message = from_here(f"{finding.message}\nCure: {finding.cure}")
    return f"::{finding.severity} {told}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(str(value)).replace(":", "%3A").replace(",", "%2C")


def _told(located: Located) -> Text:
    finding = located.finding
    text = Text(f"{located.place}: ", "bold")
    text.append(f"{finding.severity}: ", "bold red" if finding.severity == "error" else "bold yellow")
    text.append(f"{finding.code}: ", "bold").append(from_here(finding.message))
    for depth, step in enumerate(finding.way if len(finding.way) > 1 else ()):
        branch = "" if depth == 0 else "   " * (depth - 1) + "└─ "
        text.append(f"\n    {branch}{step}", "dim")
    text.append("\n    Cure: ", "green").append(from_here(finding.cure))
    return text.append(f"\n    More: {address(finding.code)}\n", "dim")


def _summary(checked: Checked) -> Text:
    looked_at = ", ".join(_counted(checked))
    if not checked.findings:
        return Text(f"Nothing found in {looked_at}", "green")
    errors = sum(each.finding.severity == "error" for each in checked.findings)
    warnings = len(checked.findings) - errors
    found = " and ".join(_plural(n, what) for n, what in ((errors, "error"), (warnings, "warning")) if n)
    return Text(f"{found} in {looked_at}", "red" if errors else "yellow")


def _counted(checked: Checked) -> Iterator[str]:
    counts = ((checked.containers, "container"), (checked.flows, "flow"), (checked.tasks, "task"))
    yield from (_plural(number, what) for number, what in counts if number or what == "container")


def _plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
