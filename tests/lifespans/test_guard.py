"""Prefect's engines are guarded when they are imported, which importing the library does not do."""

import subprocess
import sys

PROGRAM = """
import sys
{first}
import prefect_lifespan
engines = ("prefect.task_engine", "prefect.flow_engine")
print([name in sys.modules for name in engines])
import prefect.task_engine, prefect.flow_engine
print(prefect.task_engine.BaseTaskRunEngine.__post_init__.refuses_markers)
print(prefect.flow_engine.BaseFlowRunEngine.__post_init__.refuses_markers)
"""


def output(first: str) -> list[str]:
    program = PROGRAM.format(first=first)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - its own
    return done.stdout.split("\n")[:-1]


def test_importing_the_library_imports_no_engine_and_guards_those_that_come():
    assert output("") == ["[False, False]", "True", "True"]


def test_engines_that_were_imported_before_are_guarded_too():
    assert output("import prefect.task_engine, prefect.flow_engine") == ["[True, True]", "True", "True"]
