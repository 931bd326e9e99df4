"""A Prefect API for the few tests here that run flows; the others need none."""

import pytest


@pytest.fixture(scope="session")
def prefect_api(prefect_server: str) -> str:
    """The address of the session's Prefect API."""
    return prefect_server
