"""What tests of pickling share: there and back in this process, and what another one finds."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle

PROGRAMS = Path(__file__).parent / "programs"
loads = pickle.loads  # our own bytes

Elsewhere = Callable[..., str]


def travelled(value: Any) -> Any:
    return loads(cloudpickle.dumps(value))


def open_db(url: str = "sqlite://") -> Iterator[str]:
    yield f"connection to {url}"
