"""What does not need Prefect does not import it; where a program has it, all of the library is in force."""

import subprocess
import sys

import pytest

DECLARES = """
import sys
from prefect_lifespan import Provide, ProcessResource, TaskResource, carried, check, describe, inject, override, provided, wire
import prefect_lifespan.graph
from dependency_injector import containers, providers

class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "a connection")

@inject
def query(db: str = Provide[App.db]) -> str:
    return db

print(check(App), describe(App).nodes[0].path, query())
print("prefect" in sys.modules)
"""

IN_FORCE = """
from prefect_lifespan import Provide
{imports}
from prefect.context import EngineContext
from prefect_lifespan.run_context import run_context
print(EngineContext.serialize.carries_scopes, run_context.attempt.__module__)
"""


def output(program: str) -> list[str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - its own
    return done.stdout.split("\n")[:-1]


def test_declaring_checking_and_injecting_do_not_import_prefect() -> None:
    assert output(DECLARES) == ["() db a connection", "False"]


@pytest.mark.parametrize("imports", ["from prefect import flow", "import prefect.flow_engine"])
def test_a_program_that_imports_prefect_later_has_all_of_the_library_in_force(imports: str) -> None:
    assert output(IN_FORCE.format(imports=imports)) == ["True prefect_lifespan.lifespans.prefect_run"]


def test_providers_are_pickled_without_prefect_and_without_workers() -> None:
    program = (
        "import sys, prefect_lifespan.provider_pickling; from dependency_injector.providers import Factory; import pickle;"
        "print(pickle.loads(pickle.dumps(Factory(dict)))());"
        'print("prefect" in sys.modules, "prefect_lifespan.workers" in sys.modules)'
    )
    assert output(program) == ["{}", "False False"]


def test_the_library_brings_nothing_along_that_draws_or_that_only_some_programs_use() -> None:
    seldom = ("graphviz", "prefect.utilities.visualization", "distributed", "ray", "typer.testing")
    program = (
        "import sys; from prefect import flow; from prefect_lifespan import lifespan, inject, override;"
        f"print([name for name in {seldom!r} if name in sys.modules]);"
        'own = ("testing", "command", "warm_worker", "probing", "blocks", "settings");'
        'print([name for name in own if f"prefect_lifespan.{name}" in sys.modules])'
    )
    assert output(program) == ["[]", "[]"]


LATE = (
    *("lifespans.session", "observability.prefect_events", "observability.spans", "workers.scope_carrier"),
    *(
        "engine.engine",
        "engine.slot",
        "engine.on_loop",
        "engine.places",
        "engine.process",
        "call_scope",
        "injection.call",
    ),
)


def test_what_opens_what_runs_show_and_what_travels_is_loaded_when_something_opens_and_when_it_travels() -> None:
    program = (
        "import sys; from prefect import flow, task; from prefect_lifespan import lifespan, inject, Provide;"
        "own = [name for name in sys.modules if name.startswith('prefect_lifespan.')];"
        f"print([name for name in {LATE!r} if 'prefect_lifespan.' + name in own]);"
        "print(len(own))"
    )
    late, number = output(program)
    assert late == "[]"
    assert int(number) < 75  # 143 with what is loaded late; each takes a third of a millisecond


def test_where_nobody_hears_of_what_goes_well_no_event_is_made_of_it() -> None:
    program = (
        "import logging, prefect.main, prefect_lifespan.lifespans; from prefect_lifespan.engine import observers;"
        "print([observers.hear(level) for level in (logging.DEBUG, logging.INFO, logging.ERROR)])"
    )
    assert output(program) == ["[False, False, True]"]
