"""The benchmarks run, and say so when a competitor is not installed. Their figures are nobody's business here."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from benchmarks import growth, injected_call, instructions, one_run, open_close, workers
from benchmarks.__main__ import main as run_benchmarks

pytestmark = pytest.mark.extended

COMPETITORS = ("dishka", "svcs", "that_depends", "wireup")


# svcs, imported where FastAPI is there, imports FastAPI's test client, which stands on a client that Starlette gives up.
@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
def test_injected_call_prints_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    injected_call.main(["--rounds", "1", "--batch-ms", "0.001", "--only", "1 x"])

    printed = capsys.readouterr().out
    for case in (case for case in injected_call.CASES if case.count == 1):
        assert printed.count(f"\n{case} ") == 3, f"{case} is missing from one of the three tables:\n{printed}"


def test_a_competitor_that_is_missing_is_reported_and_the_others_are_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in COMPETITORS:
        monkeypatch.setitem(sys.modules, name, None)

    injected_call.main(["--rounds", "1", "--batch-ms", "0.001", "--only", "sync, 1 x Singleton"])

    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("sync, 1 x Singleton"))
    assert row.count("not installed") == len(COMPETITORS)


def test_instructions_says_so_where_they_cannot_be_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    instructions.main(["--quick"])

    assert "valgrind is not installed" in capsys.readouterr().out


def test_growth_prints_what_lifespans_have_left(capsys: pytest.CaptureFixture[str]) -> None:
    growth.main(["--lifespans", "20", "--flow-runs", "0"])

    (row,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("lifespans"))
    assert row[1] == "20"


def test_all_of_them_are_run_by_one_command_which_keeps_what_they_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without valgrind, which takes minutes
    kept = tmp_path / "figures.txt"

    run_benchmarks(["--only", "instructions", "--write", str(kept)])

    assert kept.read_text().startswith("# instructions\n\nvalgrind is not installed")


# Connections to Prefect's API, which it leaves to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_one_run_prints_a_row_for_each_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    one_run.main(["--tasks", "2", "--rounds", "1"])

    printed = capsys.readouterr().out
    for name in ("2 tasks, submitted", "2 tasks, called", "an empty flow, an empty container"):
        assert printed.count(f"\n{name} ") == 1


@pytest.mark.parametrize(("stock_seconds", "skipped"), [("60", 0), ("0", 2)])
def test_open_close_prints_every_shape_and_skips_what_would_take_the_stock_too_long(
    capsys: pytest.CaptureFixture[str], stock_seconds: str, skipped: int
) -> None:
    options = ["--sizes", "2", "--repeats", "1", "--memory-count", "3", "--unit", "0.001"]

    open_close.main([*options, "--stock-seconds", stock_seconds])

    rows = capsys.readouterr().out.splitlines()
    for kind, shape in itertools.product(("sync", "async"), ("independent", "chained", "layered")):
        (row,) = (row for row in rows if row.startswith(f"{kind}, {shape}, n = 2 "))
        assert row.count("skipped") == skipped


# Connections to Prefect's API, which it leaves to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_workers_prints_a_row_for_each_runner_and_one_opening_and_closing_for_each_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = ["--workers", "1", "--tasks", "4", "--rounds", "1", "--batch", "2", "--repetitions", "2"]
    workers.main(["--runners", "thread,pool", *tiny])

    printed = capsys.readouterr().out
    many, closing, overhead, steps, own_part, sizes, references = printed.split("\n\n")[2::2]
    for runner in ("thread", "pool"):
        (row,) = (line.split() for line in many.splitlines() if line.startswith(runner))
        assert row[1] == "4"
        assert row[2:6] == ["1", "0" if runner == "thread" else "1", "1", "1"]
        assert f"\n{runner} " in closing
        assert f"\n{runner}, elapsed" in overhead
        assert f"\n{runner}, processor" in overhead
        assert f"\n{runner} " in own_part
    assert "calling the function" in steps
    for container in ("in a module", "in __main__"):
        assert f"\n{container} " in sizes
        assert f"\n{container} " in references


def test_workers_names_a_runner_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        workers.main(["--runners", "thread,slurm"])

    assert "no such runner: slurm" in capsys.readouterr().err
