"""`probe` prints what came of each resource, and closes what is open whatever interrupts it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command.conftest import COMMAND, PROGRAMS, Done, InProcess, Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs tell what they do."""
    return tmp_path_factory.mktemp("told") / "lines"


@pytest.fixture(scope="module")
def as_json(run: Run, told: Path) -> Done:
    return run("probe", "unwell.py:Unwell", "--format", "json", TOLD=str(told))


def test_json_is_as_the_design_says(as_json: Done) -> None:
    report = as_json.json
    assert list(report) == ["container", "resources"]
    assert report["container"] == "Unwell"
    keys = ["path", "status", "opened_seconds", "health_seconds", "closed_seconds", "error"]
    assert all(list(each) == keys for each in report["resources"])
    assert {each["path"]: (each["status"], each["error"]) for each in report["resources"]} == {
        "db": ("ok", None),
        "feed": ("ok", None),
        "api": ("failed", "ConnectionError: nobody at https://me:***@host"),
        "client": ("skipped", "needs api, which has failed"),
        "cache": ("failed", "its health check raised OSError: no answer"),
        "late": ("failed", "OSError: not yet"),
    }
    assert as_json.code == 1
    assert "a line of the initialiser's own" in as_json.err


def test_everything_that_was_open_has_closed(as_json: Done, told: Path) -> None:
    assert told.read_text().splitlines() == [
        "open db", "open feed", "open db", "close db", "close feed", "close db",
    ]  # fmt: skip


def test_the_table_has_a_row_for_each_and_retries_are_made_where_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLD", str(tmp_path / "lines"))
    arguments = ("--only", "late", "--only", "db", "--only", "client", "--skip", "api", "--retries", "--timeout", "20")
    assert in_process("probe", "unwell:Unwell", *arguments) == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert list(rows) == ["db", "api", "client", "late"]
    assert " ok " in rows["db"]
    assert rows["db"].count(" s ") == 2, "opened and closed"
    assert "left out, as asked for" in rows["api"]
    assert "needs api, which was skipped" in rows["client"]
    assert " ok " in rows["late"]


_IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


@pytest.mark.parametrize(
    ("container", "opened", "number", "in_a_thread"),
    [
        ("Hanging", "db", signal.SIGINT, False),
        ("Hanging", "db", signal.SIGTERM, False),
        ("AsyncHanging", "feed", signal.SIGTERM, False),
        ("Hanging", "db", signal.SIGINT, True),
        ("AsyncHanging", "feed", signal.SIGINT, True),
    ],
    ids=["SIGINT", "SIGTERM", "SIGTERM on an event loop", "while a thread hangs", "on an event loop"],
)
def test_an_interruption_closes_what_is_open(
    container: str, opened: str, number: int, in_a_thread: bool, tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    limit = ["--timeout", "300"] if in_a_thread else []
    with subprocess.Popen(  # noqa: S603 - our own
        # A shell's `&` has SIGINT ignored: what ends by SIGTERM is started so.
        [*(_IN_THE_BACKGROUND if number == signal.SIGTERM else ()), COMMAND, "probe", f"unwell:{container}", *limit],
        cwd=PROGRAMS,
        env={**os.environ, "TOLD": str(lines), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 100
        while not (lines.exists() and "hangs" in lines.read_text()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    # Nothing interrupts a thread: what hangs in one is not waited for until its limit is over.
    left = "; still opening, and left behind: hanging" if in_a_thread else ""
    assert err.endswith(f"interrupted: what was open has closed{left}\n")
    assert "Traceback" not in err
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert " ok " in rows[opened]
    assert ("interrupted while it opened" if in_a_thread else "interrupted before it was open") in rows["hanging"]
    assert [line for line in lines.read_text().splitlines() if line != "hangs"] == [f"open {opened}", f"close {opened}"]


def test_a_container_that_cannot_be_opened_is_sent_to_check(
    capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("probe", "faults.captive:Captive") == 1
    assert capsys.readouterr().err == (
        "error: Captive cannot be opened as it is declared: undefined-dependency, captive-lifetime\n"
        "  Cure: prefect-lifespan check faults.captive:Captive\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "dv"], "only names 'dv', which Plain does not declare; did you mean 'db'?"),
        (["--timeout", "0"], "timeout_seconds is 0.0; it must be greater than zero"),
        (["--timeout", "-1"], "Cure: --timeout takes seconds, above zero"),
    ],
)
def test_a_wrong_option_is_a_wrong_call(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("probe", "plain:Plain", *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_reference_application_is_probed(run: Run, prefect_server: str, tmp_path: Path) -> None:
    environment = {
        "PREFECT_API_URL": prefect_server, "APP_WAREHOUSE__URL": f"sqlite:///{tmp_path}/warehouse.db",
        "APP_REPORTS__FOLDER": str(tmp_path / "reports"),
    }  # fmt: skip
    done = run("probe", "containers.app:AppContainer", "-f", "json", cwd=ROOT, **environment)
    assert done.code == 0, done.err
    assert [(each["path"], each["status"]) for each in done.json["resources"]] == [
        ("orchestrator", "ok"), ("warehouse", "ok"), ("reports", "ok"),
    ]  # fmt: skip
