"""docs/testing.md is a project of its own: every block of code is one of its files, and its tests pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\S+)\n")

# The session has an API already.
CONFTEST = """
import pytest
from prefect.settings import PREFECT_API_URL

@pytest.fixture(scope="session")
def prefect_harness():
    return str(PREFECT_API_URL.value())
"""


def files() -> dict[str, str]:
    """The blocks of the page by the name in their first line."""
    return {named.group(1): text for _, text in BLOCK.findall(PAGE.read_text("utf-8")) if (named := NAME.match(text))}


def test_every_block_of_code_is_a_file_of_the_project():
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    assert len(blocks) == len(files()) > 8
    assert {language for language, _ in blocks} == {"python", "ini"}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.lifespan_leak_check(False)
def test_the_project_passes(
    pytester: pytest.Pytester, run_pytest: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
):
    for name, text in {**files(), "conftest.py": CONFTEST}.items():
        (pytester.path / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(pytester.path)

    result = run_pytest("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:cov", "--strict-markers")

    tests = sum(text.count("\ndef test_") + text.count("\nasync def test_") for text in files().values())
    assert result.parseoutcomes() == {"passed": tests}
    assert list(pytester.path.glob("*.db")) == [], "nothing was opened that a test had overridden"
