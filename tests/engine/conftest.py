"""Engines are left half-way here, to look at what they are then: the plugin's check for leaks is not for them."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Opted out, all of them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.lifespan_leak_check(False))
