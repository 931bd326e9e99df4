"""`check`: everything that is wrong with what targets name, found without opening anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.located import Located
from prefect_lifespan.command.program import Program
from prefect_lifespan.command.rules.containers import of_containers
from prefect_lifespan.command.rules.in_force import not_open, without_lifespan
from prefect_lifespan.command.rules.missing_settings import missing_settings
from prefect_lifespan.command.rules.travelling import cannot_travel
from prefect_lifespan.command.rules.unused import unused
from prefect_lifespan.command.rules.works import of_functions, of_works
from prefect_lifespan.command.targets import find

_RULES: Sequence[Callable[[Program], Iterator[Located]]] = (
    of_containers,
    missing_settings,
    unused,
    of_functions,  # before what calls them: a function without `@inject` is told once, as that
    of_works,
    not_open,
    without_lifespan,
    cannot_travel,
)


@dataclass(frozen=True)
class Checked:
    """What was found, and what was looked at."""

    findings: tuple[Located, ...]
    containers: int
    flows: int
    tasks: int

    def fails(self, *, strict: bool) -> bool:
        """Whether any of it is an error; with `strict`, whether there is anything."""
        return any(strict or each.finding.severity == "error" for each in self.findings)


def checked(targets: Sequence[str]) -> Checked:
    """Look at all that targets name.

    Raises:
        CommandError: a target that does not exist, cannot be imported, or all of them hold nothing to look at.
    """
    program = Program(find(targets))
    if not (program.containers or program.found.works or program.found.functions):
        raise CommandError(
            f"{', '.join(targets)}: no container, flow or task",
            "name where they are declared: a module, a file or a folder",
        )
    findings: dict[object, Located] = {}
    for rule in _RULES:
        for each in rule(program):
            findings.setdefault((each.finding.path, each.finding.message), each)
    in_order = sorted(findings.values(), key=lambda each: (each.file or "", each.line or 0))
    return Checked(tuple(in_order), len(program.containers), len(program.flows), len(program.tasks))
