"""The warehouse, open, on each of the databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine

from containers.resources import open_warehouse


@pytest.fixture
def warehouse(warehouse_url: URL) -> Iterator[Engine]:
    """The open warehouse on each of the two."""
    with open_warehouse(warehouse_url) as engine:
        yield engine
