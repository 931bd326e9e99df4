"""`check` names every fault with its file and line, and nothing that is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prefect_lifespan.graph import SEVERITIES
from tests.command.conftest import PROGRAMS, Done, InProcess, Run

ROOT = Path(__file__).parents[2]
FAULTS = PROGRAMS / "faults"
MARKED = re.compile(r"# finding: ([a-z-]+)$")
ANNOTATION = re.compile(r"^::(error|warning) file=([^,]+),line=(\d+),title=([a-z-]+)::(.+)$")


def marked() -> set[tuple[str, int, str]]:
    """File, line and code of each fault, as the programs say themselves."""
    return {
        (f"faults/{file.name}", number, told.group(1))
        for file in FAULTS.glob("*.py")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if (told := MARKED.search(line))
    }


@pytest.fixture(scope="module")
def as_json(run: Run) -> Done:
    return run("check", "faults", "--format", "json")


@pytest.fixture(scope="module")
def as_annotations(run: Run) -> Done:
    return run("check", "faults", "-f", "github")


def test_each_fault_is_named_with_its_file_and_line_and_nothing_else(as_annotations: Done) -> None:
    told = [ANNOTATION.match(line) for line in as_annotations.out.splitlines()]
    assert all(told), as_annotations.out
    assert {(t[2], int(t[3]), t[4]) for t in told if t} == marked()
    assert all(SEVERITIES[t[4]] == t[1] for t in told if t)  # pyright: ignore[reportArgumentType]
    assert as_annotations.code == 1


def test_the_faults_are_of_every_kind_that_flows_tasks_and_whole_programs_can_have() -> None:
    page = (ROOT / "docs" / "how-to" / "mistakes.md").read_text("utf-8")
    beyond_containers = page[page.index("## Flows, tasks, hooks") : page.index("## What is not checked")]
    assert {code for _, _, code in marked()} >= set(re.findall(r"^\| `([a-z-]+)` \|", beyond_containers, re.MULTILINE))


def test_json_is_as_the_design_says(as_json: Done) -> None:
    assert as_json.code == 1
    assert set(as_json.json) == {"findings"}
    findings: list[dict[str, Any]] = as_json.json["findings"]
    assert len(findings) == len(marked())
    for each in findings:
        assert list(each) == ["code", "severity", "target", "path", "message", "cure"]
        assert all(isinstance(value, str) and value for value in each.values())
        assert re.fullmatch(r"faults\.\w+:[\w.]+", each["target"])
        assert str(PROGRAMS) not in str(each), "files are told from the working directory"
    captive = next(each for each in findings if each["code"] == "captive-lifetime")
    assert (captive["target"], captive["path"]) == ("faults.captive:Captive", "cache")


def test_the_reference_application_is_well_strictly_too(run: Run) -> None:
    done = run("check", "containers", "flows", "--strict", cwd=ROOT)
    assert done.out == "Nothing found in 14 containers, 15 flows, 13 tasks\n", done.out + done.err
    assert done.code == 0


def test_text_has_the_place_the_way_the_cure_and_a_sum(
    capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("check", "faults/captive.py") == 1
    assert capsys.readouterr().out == (
        "faults/captive.py:12: error: captive-lifetime: Captive.cache outlives Captive.session, which it needs: it would go "
        "on using it after it has closed\n"
        "    Captive.cache  (Resource, one per flow run)\n"
        "    └─ Captive.session  (TaskResource, one per task run)\n"
        "    Cure: let cache live no longer, or session as long\n"
        "    More: docs/errors.md#captive-lifetime\n"
        "\n"
        "faults/captive.py:13: error: undefined-dependency: Captive.url is a Dependency that nothing provides\n"
        "    Cure: give it a default, or provide it: lifespan(Captive, overrides={'url': ...})\n"
        "    More: docs/errors.md#undefined-dependency\n"
        "\n"
        "2 errors in 1 container\n"
    )


def test_warnings_fail_strictly_only(capsys: pytest.CaptureFixture[str], in_process: InProcess) -> None:
    assert in_process("check", "faults/unused.py") == 0
    assert "2 warnings in 1 container, 1 flow" in capsys.readouterr().out
    assert in_process("check", "faults/unused.py", "--strict") == 1


def test_a_container_that_is_named_is_checked_alone_and_in_any_case(
    capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("check", "faults/inner.py:Inner") == 1
    assert "error: undefined-dependency: Inner.database" in capsys.readouterr().out
    assert in_process("check", "faults.inner:Outer") == 0
    assert capsys.readouterr().out == "Nothing found in 1 container\n"


def test_what_a_flow_opens_is_checked_with_it(capsys: pytest.CaptureFixture[str], in_process: InProcess) -> None:
    assert in_process("check", "faults/well.py:run") == 0
    assert capsys.readouterr().out == "Nothing found in 1 container, 1 flow\n"
