"""One resource for the whole process, whatever ends that."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

import pytest

from tests.processes.running import Programs


def lifetime_of_the_model(marks: list[str]) -> list[str]:
    """The lines about the process's resources."""
    return [line for line in marks if line.split()[-2 if line.startswith("close") else -1] in {"model", "vocabulary"}]


def test_it_closes_at_the_end_of_the_process_after_the_runs_own(programs: Programs) -> None:
    script = programs.start("process", "end_normally")

    assert script.ends() == 0
    assert script.marks() == [
        "open vocabulary", "open model", "open db", "close db none",
        "end", "close model none", "close vocabulary none",
    ]  # fmt: skip


@pytest.mark.parametrize(("which", "code"), [("end_with_a_code", 3), ("end_with_an_exception", 1)])
def test_it_closes_once_however_a_script_ends(programs: Programs, which: str, code: int) -> None:
    script = programs.start("process", which)

    assert script.ends() == code
    assert script.marks() == ["open vocabulary", "open model", "close model none", "close vocabulary none"]


def test_it_closes_at_ctrl_c(programs: Programs) -> None:
    script = programs.start("process", "wait_for_a_signal")
    script.reaches("body")
    script.send(SIGINT)

    assert script.ends() == -SIGINT
    assert script.marks()[-2:] == ["close model none", "close vocabulary none"]


@pytest.mark.parametrize("which", ["wait_for_a_signal", "wait_in_a_block", "wait_in_a_flow_in_a_block"])
def test_sigterm_to_a_script_without_a_handler_closes_nothing_of_its_own(programs: Programs, which: str) -> None:
    """Python runs nothing then, and Prefect ends a flow's process so: docs/limits.md says what to do."""
    script = programs.start("process", which)
    script.reaches("body")
    script.send(SIGTERM)

    assert script.ends() == -SIGTERM
    assert script.marks()[-1] == "body"


@pytest.mark.parametrize("which", ["wait_in_a_block", "wait_in_a_flow_in_a_block"])
def test_with_the_handler_that_the_limits_advise_sigterm_closes_a_block_and_what_is_of_the_process(
    programs: Programs, which: str
) -> None:
    script = programs.start("process", which, "handler")
    script.reaches("body")
    script.send(SIGTERM)

    assert script.ends() == 143
    assert script.marks()[-3:] == ["close db SystemExit", "close model SystemExit", "close vocabulary SystemExit"]


def test_with_that_handler_sigterm_closes_what_is_of_the_process_outside_any_block(programs: Programs) -> None:
    script = programs.start("process", "wait_for_a_signal", "handler")
    script.reaches("body")
    script.send(SIGTERM)

    assert script.ends() == 143
    assert script.marks()[-2:] == ["close model none", "close vocabulary none"]


def test_sigkill_closes_nothing(programs: Programs) -> None:
    script = programs.start("process", "wait_in_a_block")
    script.reaches("body")
    script.send(SIGKILL)

    assert script.ends() == -SIGKILL
    assert script.marks() == ["open vocabulary", "open model", "open db", "body"]


def test_many_runs_and_threads_share_one(programs: Programs) -> None:
    script = programs.start("process", "many")

    assert script.ends() == 0
    assert "instances 1" in script.marks()
    assert lifetime_of_the_model(script.marks()) == [
        "open vocabulary", "open model", "close model none", "close vocabulary none",
    ]  # fmt: skip


def test_the_outermost_block_closes_it_and_the_next_use_opens_it_again(programs: Programs) -> None:
    script = programs.start("process", "in_a_block")

    assert script.ends() == 0
    assert script.marks() == [
        "open vocabulary", "open model", "open db", "end of block",
        "close db none", "close model none", "close vocabulary none", "after block",
        "open vocabulary", "open model", "used again", "close model none", "close vocabulary none",
    ]  # fmt: skip


def test_overriding_it_here_is_not_seen_elsewhere_nor_afterwards(programs: Programs) -> None:
    script = programs.start("process", "overridden")

    assert script.ends() == 0
    assert [line for line in script.marks() if not line.startswith(("open", "close"))] == [
        "elsewhere open", "here fake", "afterwards open",
    ]  # fmt: skip
    assert script.marks().count("open model") == 1


def test_sigterm_in_a_flow_closes_it_with_the_last_lifespan(programs: Programs) -> None:
    """Prefect sends the signal on, which ends the process and runs nothing that was registered for its end."""
    script = programs.start("process", "wait_for_a_signal_in_a_flow")
    script.reaches("body")
    script.send(SIGTERM)

    assert script.ends() == -SIGTERM
    assert script.marks()[-3:] == [
        "close db TerminationSignal", "close model TerminationSignal", "close vocabulary TerminationSignal",
    ]  # fmt: skip


def test_sigterm_in_an_async_flow_closes_it_at_the_end_of_the_process(programs: Programs) -> None:
    """What Prefect raises ends the event loop and then the script, as any exception does."""
    script = programs.start("process", "wait_in_an_asynchronous_flow")
    script.reaches("body")
    script.send(SIGTERM)

    assert script.ends() == 1
    assert script.marks()[-3:] == ["close db CancelledError", "close model none", "close vocabulary none"]
