"""The typed forms of injection under three type checkers, strictly: what is right passes, and each mistake is found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_lifespan import Provide, UsageError, inject, injected, provided
from tests.api import injected_program
from tests.api.injected_program import App

PROGRAM = Path(__file__).parent / "injected_program.py"

# Each line that says so has a mistake in it.
MISTAKES = """
@task
@inject
def other_type(n: int, engine: str = provided(App.engine)) -> str:  # wrong
    return engine * n


@inject
def of_another_resource(greeting: Engine = provided(App.greeting)) -> str:  # wrong
    return greeting.name


@inject
def no_provider(engine: Engine = provided(Engine)) -> str:  # wrong
    return engine.name


@inject
def annotated(n: int, engine: EngineDep = injected) -> str:
    return engine.nam * n  # wrong


by_marker("1")  # wrong
by_provided("1")  # wrong
by_annotation("1")  # wrong
by_annotation()  # wrong
by_provided(1, engine="engine")  # wrong
by_provided.submit("1")  # wrong
by_provided.fn("1")  # wrong
with lifespan(App) as container:
    number: int = container.engine()  # wrong
    container.greeting().nam  # wrong
lifespan(Engine)  # wrong
"""


def checked_by(checker: str, folder: Path, cache: Path) -> str:
    # Of Prefect's own: the type of `Task.submit` is partly unknown in the strict mode of pyright.
    settings = {"include": ["."], "typeCheckingMode": "strict", "reportUnknownMemberType": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    arguments = {
        "pyright": ["--project", ".", "--pythonpath", sys.executable],
        "mypy": [
            "--strict",
            "--no-error-summary",
            "--cache-dir",
            str(cache),
            "--python-executable",
            sys.executable,
            ".",
        ],
        "ty": ["check", "--python", sys.prefix, "--output-format", "concise"],
    }
    command = [str(Path(sys.executable).parent / checker), *arguments[checker]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=170)  # noqa: S603
    return done.stdout


@pytest.mark.timeout(200)
@pytest.mark.parametrize("checker", ["pyright", pytest.param("mypy", marks=pytest.mark.extended), "ty"])
def test_every_form_passes_and_every_mistake_is_found(
    checker: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not (Path(sys.executable).parent / checker).exists():
        pytest.skip(f"{checker} belongs to the lint group, which is not installed")
    shutil.copy(PROGRAM, tmp_path / "right.py")
    text = PROGRAM.read_text() + MISTAKES
    (tmp_path / "wrong.py").write_text(text)
    cache: Any = pytestconfig.cache

    told = checked_by(checker, tmp_path, cache.mkdir("mypy"))

    found = set(re.findall(r"(right|wrong)\.py:(\d+)(?::\d+)?(?: -)?:? error", told))
    wrong = {("wrong", str(n)) for n, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert found == wrong, told


@pytest.mark.usefixtures("prefect_server")
def test_every_form_is_provided_at_run_time() -> None:
    assert injected_program.run(1) == "enginehello"


def test_provided_is_the_marker() -> None:
    marker: Any = provided(App.engine)

    assert isinstance(marker, Provide)  # pyright: ignore[reportArgumentType] - a class, by its stub an instance
    assert marker.provider is App.engine


def test_injected_without_a_marker_beside_it_is_refused_at_decoration() -> None:
    def unmarked(n: int, engine: str = injected) -> str:
        return engine * n

    with pytest.raises(UsageError, match=r"'engine' is `injected`, and its annotation does not say what"):
        inject(unmarked)


@pytest.mark.usefixtures("prefect_server")
def test_a_task_without_inject_is_never_given_what_stands_for_an_injected_value() -> None:
    from prefect import flow, task

    @task
    def forgotten(n: int, engine: injected_program.EngineDep = injected) -> str:
        return f"{engine} {n}"

    @flow
    def run() -> str:
        return forgotten(1)

    with pytest.raises(UsageError, match=r"(?s)engine: Provide\[App\.engine\].*put @inject below @task"):
        run()
