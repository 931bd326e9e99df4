"""Every test here runs flows on Prefect's own engine, against one API for the whole session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow_runs import engine, let_pass_what_prefect_leaves_open, nothing_left_behind

__all__ = ["engine", "nothing_left_behind"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    let_pass_what_prefect_leaves_open(items, Path(__file__).parent)
