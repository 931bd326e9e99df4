"""How the command is called: help with examples, its version, wrong calls, its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import prefect_lifespan
from tests.command.conftest import PROGRAMS, InProcess, Run

COMMANDS = ("check", "graph", "probe", "explain", "init")


def test_what_is_installed_and_the_module_are_the_same_command(run: Run) -> None:
    module = subprocess.run(
        [sys.executable, "-m", "prefect_lifespan", "--version"], capture_output=True, text=True, timeout=100, check=True
    )
    assert run("--version").out == module.stdout == f"{prefect_lifespan.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_examples(
    command: str, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process(command, "--help") == 0
    assert f"  prefect-lifespan {command} " in capsys.readouterr().out.partition("Examples:")[2]


def test_the_whole_help_names_each_command_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process() == 0
    told = capsys.readouterr().out
    assert all(f" {command} " in told for command in (*COMMANDS, "--install-completion"))
    assert "Exit codes: 0 well, 1 findings or failures, 2 the target or the call is wrong." in told


@pytest.mark.parametrize(
    ("arguments", "message", "help_of"),
    [
        (["check"], "requires an argument", "check --help"),
        (["check", "plain", "--strickt"], "--strickt", "check --help"),
        (["graph", "plain", "-f", "png"], '"png"', "graph --help"),
        (["probe", "plain", "--timeout", "soon"], '"soon"', "probe --help"),
        (["chekc"], '"chekc"', "--help"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line_and_where_help_is(
    arguments: list[str], message: str, help_of: str, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process(*arguments) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert message in told[0]
    assert told[1] == f"  Cure: prefect-lifespan {help_of}"


def test_a_traceback_is_there_with_debug_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_4.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    assert in_process("check", "broken_4.py") == 2
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    with pytest.raises(Exception, match="division by zero") as caught:
        in_process("check", "broken_4.py", "--debug")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("arguments", [["check", "plain"], ["graph", "plain:Plain"], ["explain", "plain:Plain"],
                                       ["probe", "plain:Plain"]])  # fmt: skip
def test_a_target_that_does_not_import_prefect_does_not_have_it_imported(arguments: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-X", "importtime", "-m", "prefect_lifespan", *arguments],
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "prefect_lifespan.graph" in imported
    assert not [name for name in imported if name == "prefect" or name.startswith("prefect.")]


def test_completion_is_installed_for_the_shell(run: Run, tmp_path: Path) -> None:
    done = run("--install-completion", HOME=str(tmp_path), SHELL="/bin/bash")
    assert done.code == 0, done.err
    written = "".join(file.read_text("utf-8") for file in tmp_path.rglob("*") if file.is_file())
    assert all(command in written for command in COMMANDS)


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    command = f"{sys.executable} -m prefect_lifespan graph plain:Plain -f json | head -c 5"
    done = subprocess.run(  # noqa: S602 - our own
        f"set -o pipefail; {command}", shell=True, executable="/bin/bash", cwd=PROGRAMS, capture_output=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.stdout == b'{\n  "'
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
