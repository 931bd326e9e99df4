"""What every folder needs whose tests run flows in this process: on Prefect's own engine, against one API for the session."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

# Prefect leaves connections to its API open when a run was asynchronous and its event loop ends; so it does without us.
PREFECT_LEAVES_OPEN = ("ignore:unclosed <socket.socket:ResourceWarning", "ignore:unclosed transport:ResourceWarning")


def let_pass_what_prefect_leaves_open(items: list[pytest.Item], folder: Path) -> None:
    """Let those connections pass in the tests of a folder, and nothing else."""
    for item in items:
        if item.path.is_relative_to(folder):
            for each in PREFECT_LEAVES_OPEN:
                item.add_marker(pytest.mark.filterwarnings(each))


@pytest.fixture(autouse=True, scope="session")
def engine(prefect_server: str) -> None:
    """The API is there."""


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind() -> Iterator[None]:
    """What the tests of a file leave behind warns before those of the next one begin."""
    yield
    gc.collect()
