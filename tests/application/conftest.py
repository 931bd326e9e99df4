"""Resources that remember when they were opened and closed; a Prefect API for the tests that run flows."""

import pytest

from tests.lifespans.witness import Witness


@pytest.fixture
def witness() -> Witness:
    """A record of its own for each test."""
    return Witness()


@pytest.fixture(scope="session")
def prefect_api(prefect_server: str) -> str:
    """The address of the session's Prefect API."""
    return prefect_server
