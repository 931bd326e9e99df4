"""Another process that unpickles, and what a module and a script declare."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.provider_pickling.travelling import PROGRAMS, Elsewhere


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that both processes import."""
    monkeypatch.syspath_prepend(str(PROGRAMS))
    return importlib.import_module("shop")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """What an expression is in another process, on what was pickled here."""
    receiver = [sys.executable, str(PROGRAMS / "receiver.py")]
    with subprocess.Popen(receiver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        requests: Any = process.stdin
        answers: Any = process.stdout

        def ask(expression: str, *pickles: bytes) -> str:
            request = {"expression": expression, "pickles": [data.hex() for data in pickles]}
            print(json.dumps(request), file=requests, flush=True)
            return json.loads(answers.readline())

        yield ask
        requests.close()


@pytest.fixture(scope="module")
def script() -> list[bytes]:
    """What a script pickled whose container stands in `__main__`: a marker, the class with a marker, an instance."""
    command = [sys.executable, str(PROGRAMS / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)  # noqa: S603
    return [bytes.fromhex(line) for line in done.stdout.split()]
