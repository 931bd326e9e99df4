"""The programs of the runners' pages in docs/how-to: each is one file that can be copied."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUNNERS = {"process-pool", "dask", "ray", "warm-worker"}
PAGES = [Path(__file__).parents[2] / "docs" / "how-to" / f"{runner}.md" for runner in sorted(RUNNERS)]
PROGRAMS = [
    pytest.param(page.stem, program, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]


def test_each_runner_has_a_page_with_a_program() -> None:
    assert {program.values[0] for program in PROGRAMS} == RUNNERS


@pytest.mark.parametrize(("page", "program"), PROGRAMS)
def test_a_program_runs_as_far_as_its_definitions(page: str, program: str) -> None:
    if page in {"dask", "ray"}:
        pytest.importorskip(f"prefect_{page}")

    exec(compile(program, f"{page}.md", "exec"), {"__name__": "how_to"})  # noqa: S102 - the documentation's own


def test_an_override_reaches_a_pool_as_the_page_says(tmp_path: Path, prefect_server: str) -> None:
    (shown,) = (p.values[1] for p in PROGRAMS if p.values[0] == "process-pool" and "override(Shop" in str(p.values[1]))
    program = tmp_path / "program.py"
    program.write_text(str(shown), "utf-8")

    subprocess.run(  # noqa: S603 - the documentation's own
        [sys.executable, program], env={**os.environ, "PREFECT_API_URL": prefect_server}, timeout=100, check=True
    )
