from __future__ import annotations

import sys

import pytest
import typer
from typer.testing import CliRunner

from flows import __main__ as demo
from flows import run_history
from flows.runners import RUNNERS, RunnerError, task_runner


@pytest.mark.parametrize(
    ("name", "module", "runner"),
    [
        ("thread", "prefect.task_runners", "ThreadPoolTaskRunner"),
        ("processes", "prefect.task_runners", "ProcessPoolTaskRunner"),
        ("dask", "prefect_dask", "DaskTaskRunner"),
        ("ray", "prefect_ray", "RayTaskRunner"),
    ],
)
def test_each_name_gives_its_task_runner(name: str, module: str, runner: str) -> None:
    expected = getattr(pytest.importorskip(module), runner)

    assert type(task_runner(name)) is expected


@pytest.mark.parametrize(("name", "meant"), [("proceses", "processes"), ("DASK", "dask"), ("threads", "thread")])
def test_an_unknown_name_is_told_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(RunnerError, match=f"no task runner '{name}'. Did you mean '{meant}'") as told:
        task_runner(name)

    assert all(known in str(told.value) for known in RUNNERS)


def test_a_name_like_no_other_is_told_the_known_ones() -> None:
    with pytest.raises(RunnerError, match=r"no task runner 'spark'. Known: thread, processes, dask, ray\.$"):
        task_runner("spark")


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_missing_extra_is_told_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"prefect_{name}", None)

    with pytest.raises(RunnerError, match=rf"pip install 'prefect-lifespan\[{name}\]'"):
        task_runner(name)


@pytest.mark.parametrize("app", [demo.app, run_history.app])
def test_the_commands_refuse_a_runner_that_there_is_not_before_anything_runs(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["--runner", "rya"])

    assert result.exit_code == 1
    assert "Did you mean 'ray'?" in result.output
    assert "Traceback" not in result.output
