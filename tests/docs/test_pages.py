"""Pages that are followed step by step: each command ends well and prints what the page shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.shell import ROOT, Command, File, Shell, missing, steps

HOW_TO = [
    "transactions", "asynchronous", "subflows", "background-tasks", "hooks", "deployments", "migrating",
    "settings", "blocks", "connection-limits", "types", "observability", "threads", "logging",
]  # fmt: skip
PAGES = ["README", "docs/tutorial", *(f"docs/how-to/{name}" for name in HOW_TO)]


@pytest.fixture(scope="module")
def shell(prefect_server: str) -> Iterator[Shell]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("APP_", "COLUMNS"))}
    about = {"PREFECT_API_URL": prefect_server, "PREFECT_LOGGING_COLORS": "false", "COLUMNS": "120"}
    # What pytest would rewrite has been imported where commands are forked from.
    about["PYTEST_ADDOPTS"] = "-p no:cacheprovider -W ignore::pytest.PytestAssertRewriteWarning"
    with Shell.running({**environment, **about}) as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.rpartition("/")[2])
def test_a_page_can_be_followed(page: str, shell: Shell, tmp_path: Path) -> None:
    given = 0
    for step in steps(ROOT / f"{page}.md"):
        if isinstance(step, File):
            (tmp_path / step.name).write_text(step.text, "utf-8")
        else:
            _follow(step, shell, tmp_path)
            given += 1
    assert given


def _follow(step: Command, shell: Shell, folder: Path) -> None:
    command, _, wanted = step.line.partition("  # exit code ")
    code, output = shell.give(command, folder)
    assert code == int(wanted or 0), f"$ {command}\n{output}"
    line = missing(step.shown, output)
    assert line is None, f"$ {command}\nThis line is not printed there: {line}\n{output}"
