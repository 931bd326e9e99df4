"""What stands in the cells of a notebook behaves on each runner as if imported; a real kernel runs them.

A notebook has an event loop that runs in its main thread, and a `__main__` without a file, that cells redefine.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workers.records import Mark, Runners, marks_at, on

NOTEBOOK = Path(__file__).parent / "programs" / "notebook.py"
KINDS = on("thread", extended=["pool", "dask processes", "ray"])
# Whose workers outlive a flow.
LASTING = pytest.mark.parametrize("kind", on("thread", extended=["dask processes", "ray"]))
SECONDS = 120
# Heartbeats hold up the end of each run for a second; no environment variable can say that there are none.
WITHOUT_HEARTBEATS = (
    "from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings\n"
    "temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}).__enter__()"
)


@dataclass
class Notebook:
    """A running kernel."""

    client: Any
    cells: dict[str, str]

    def run(self, code: str, what: str = "None") -> Any:
        """Run a cell; what an expression is afterwards."""
        printed: list[str] = []

        def hear(message: Any) -> None:
            content = message["content"]
            printed.extend([content.get("text", ""), *content.get("traceback", ())])

        reply = self.client.execute_interactive(
            code, user_expressions={"what": what}, output_hook=hear, timeout=SECONDS, store_history=False
        )["content"]
        assert reply["status"] == "ok", "\n".join(printed)
        result = reply["user_expressions"]["what"]
        assert result["status"] == "ok", result
        return ast.literal_eval(result["data"]["text/plain"])

    def define(self, *names: str) -> None:
        """Run cells of the notebook, at first or again."""
        for name in names:
            self.run(self.cells[name])


@pytest.fixture(scope="module")
def notebook(prefect_server: str, process_marks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """One kernel, where all cells have been run once."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(variable, str(folder / variable.lower()))
        from jupyter_client.manager import KernelManager

        manager = KernelManager()
        environment = {
            **os.environ,
            "PREFECT_API_URL": prefect_server,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "RAY_AUTH_MODE": "disabled",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        manager.start_kernel(env=environment)
        client = manager.blocking_client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=SECONDS)
            _, *cells = NOTEBOOK.read_text().split("# %% ")
            notebook = Notebook(client, {cell.split("\n", 1)[0]: cell.split("\n", 1)[1] for cell in cells})
            notebook.define(*notebook.cells)
            notebook.run(WITHOUT_HEARTBEATS)
            yield notebook
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def runner(kind: str, runners: Runners, notebook: Notebook) -> str:
    """Names a task runner in the kernel."""
    fixtures = {"dask processes": "dask_processes", "ray": "ray_cluster"}
    notebook.run(f"chosen = runner({kind!r}, {runners.fixture(fixtures[kind]) if kind in fixtures else ''!r})")
    return "chosen"


def closed_what_they_opened(marks: list[Mark]) -> bool:
    opened = Counter((mark.pid, mark.what.split()[1]) for mark in marks if mark.what.startswith("open"))
    return bool(opened) and opened == Counter(
        (mark.pid, mark.what.split()[1]) for mark in marks if mark.what.startswith("close") and "success" in mark.what
    )


def test_a_synchronous_flow_that_a_cell_calls(notebook: Notebook, runner: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "marks"

    seen = notebook.run(
        f"seen = run.with_options(task_runner={runner})({str(path)!r}); mark({str(path)!r}, 'returned')", "seen"
    )

    assert seen == [(True, "declared"), (True, "declared"), (True, "api"), (True, "stopped")]
    marks = marks_at(path)
    assert marks[-1].what == "returned"
    assert closed_what_they_opened(marks)
    opened = Counter(mark.pid for mark in marks if mark.what == "open db")
    assert set(opened.values()) == {1}
    assert (marks[-1].pid in opened) is (kind == "thread")


def test_an_asynchronous_flow_that_a_cell_awaits(notebook: Notebook, runner: str, tmp_path: Path) -> None:
    path = tmp_path / "marks"

    seen = notebook.run(
        f"seen = await arun.with_options(task_runner={runner})({str(path)!r}); mark({str(path)!r}, 'returned')", "seen"
    )

    assert seen == [(True, "api"), (True, "api"), (True, "declared")]
    assert marks_at(path)[-1].what == "returned"
    assert closed_what_they_opened(marks_at(path))


@LASTING
def test_a_lifespan_that_a_cell_opens_serves_flows_of_others(notebook: Notebook, runner: str, tmp_path: Path) -> None:
    path = tmp_path / "marks"
    call = f"seen += plain.with_options(task_runner={runner})()"
    opening = f"lifespan(App, eager=False, overrides={{'marks': {str(path)!r}}})"

    notebook.run(f"seen = []\nwith {opening}:\n    {call}\n    mark({str(path)!r}, 'cell ends')", "seen")
    within = marks_at(path)
    notebook.run(f"opened_here = {opening}\nopened_here.__enter__()")
    for _ in range(2):
        notebook.run(call)
    before = marks_at(path)[len(within) :]
    seen = notebook.run("opened_here.__exit__(None, None, None)", "seen")

    assert seen == [(True, "declared")] * 3
    assert closed_what_they_opened(within)
    told = [mark.what for mark in within]
    assert told.index("cell ends") < told.index("close db success")
    assert [mark.what for mark in before].count("close db success") == 0
    assert closed_what_they_opened(marks_at(path)[len(within) :])


@LASTING
def test_a_container_whose_cell_ran_again_is_not_the_one_that_tasks_named_before(
    notebook: Notebook, runner: str, tmp_path: Path
) -> None:
    call = f"seen = run.with_options(task_runner={runner})({str(tmp_path / 'marks')!r})"
    tried = f"try:\n    {call}\nexcept Exception as error:\n    seen = str(error)"
    again = notebook.cells["container"].replace("declared", "declared again")
    try:
        notebook.run(again)
        notebook.define("flows")

        assert "in force here is another class of that name" in notebook.run(tried, "seen")
        notebook.define("tasks", "flows")
        assert notebook.run(call, "seen")[0] == (True, "declared again")
    finally:
        notebook.define("container", "tasks", "flows")
