"""What the contract tests share, beside the Prefect API that all tests share."""

import copy
import copyreg
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers


@pytest.fixture
def garbage_collected() -> Iterator[None]:
    """Collect after the test, so that what it left behind warns under its own filters and not in the next test."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _without_our_reducers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries as they are: what ours registers for pickle and copy, process-wide, is put aside."""
    copiers: dict[Any, Any] = copy._copy_dispatch  # type: ignore[attr-defined]
    for table in (copyreg.dispatch_table, copiers):
        for kind in [kind for kind in table if isinstance(kind, type) and issubclass(kind, providers.Provider)]:
            monkeypatch.delitem(table, kind)
