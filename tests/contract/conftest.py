"""What the contract tests share, beside the Prefect API that all tests share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def garbage_collected() -> Iterator[None]:
    """Collect after the test, so that what it left behind warns under its own filters and not in the next test."""
    yield
    gc.collect()
