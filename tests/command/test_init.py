"""`init` writes a project that runs, and whose tests pass; nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.command.conftest import Done, InProcess, Run

MAKE = shutil.which("make") or "make"
FILES = {
    ".gitignore", "Makefile", "README.md", "pyproject.toml", "settings.toml", "containers/__init__.py", "containers/app.py",
    "flows/__init__.py", "flows/visits.py", "tests/test_visits.py",
}  # fmt: skip
MAKE_SETS = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR"}

# The session has an API already.
CONFTEST = """
import pytest
from prefect.settings import PREFECT_API_URL

@pytest.fixture(scope="session")
def prefect_harness():
    return str(PREFECT_API_URL.value())
"""


@pytest.fixture(scope="module")
def project(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "My flows"
    done = run("init", str(folder))
    assert done.code == 0, done.err
    assert done.out.startswith(f"Wrote {len(FILES)} files to {folder}. Next:\n  cd {folder}\n  make run ")
    return folder


def made(project: Path, what: str, **environment: str) -> Done:
    # The suite itself may run under make, whose variables would make this one say that it is the inner of the two.
    without_make = {name: value for name, value in os.environ.items() if name not in MAKE_SETS}
    done = subprocess.run(  # noqa: S603 - our own
        [MAKE, what, f"PYTHON={sys.executable}"],
        cwd=project,
        env={**without_make, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=200,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_all_files_are_there_with_the_name_of_the_project(project: Path) -> None:
    written = {str(file.relative_to(project)) for file in project.rglob("*") if file.is_file()}
    assert {name for name in written if "__pycache__" not in name} >= FILES
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == "my-flows"
    assert (project / "README.md").read_text().startswith("# my-flows\n")
    assert "{{" not in "".join((project / name).read_text() for name in FILES)


def test_make_run_runs_the_flow(project: Path, prefect_server: str) -> None:
    done = made(project, "run", PREFECT_API_URL=prefect_server)
    assert done.code == 0, done.out + done.err
    assert "Grace: visit number 1" in done.out + done.err
    assert (project / "data" / "visits.db").exists()


def test_its_tests_pass_on_an_api_that_is_there(project: Path, prefect_server: str, tmp_path: Path) -> None:
    copied = shutil.copytree(project, tmp_path / "copied", ignore=shutil.ignore_patterns("data", "__pycache__"))
    (copied / "conftest.py").write_text(CONFTEST)
    done = made(copied, "test", PREFECT_API_URL=prefect_server)
    assert done.code == 0, done.out + done.err
    assert "3 passed" in done.out
    assert not (copied / "data").exists(), "no test has opened the real database"


@pytest.mark.extended
def test_make_test_passes_with_an_api_of_its_own(project: Path) -> None:
    done = made(project, "test", PREFECT_API_URL="")
    assert done.code == 0, done.out + done.err
    assert "3 passed" in done.out


def test_make_check_finds_nothing(project: Path) -> None:
    done = made(project, "check")
    assert done.code == 0, done.out + done.err
    assert done.out.endswith("Nothing found in 1 container, 1 flow, 1 task\n")


def test_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Makefile").write_text("mine")
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert in_process("init") == 2
    assert "has Makefile already, and nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "Makefile").read_text() == "mine"
    assert not (tmp_path / "flows").exists()


def test_a_folder_that_holds_something_else_can_be_begun_in(
    tmp_path: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert in_process("init") == 0
    assert (tmp_path / "flows" / "visits.py").exists()
