"""Worker processes read settings themselves: a secret never travels to them."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.variables import Variable
from pydantic import SecretStr

from tests.workers.programs import configured as program
from tests.workers.records import Runners, on

SECRET = "hunter2-swordfish"


@pytest.fixture
def kept(prefect_server: str) -> None:
    """The settings, where Prefect keeps them. They stay: the tests of another runner may read them at the same time."""
    Secret(value=SecretStr(SECRET)).save("tests-configured-token", overwrite=True)
    Variable.set("tests_configured_size", 7, overwrite=True)


@pytest.mark.parametrize("kind", on("pool", "dask processes", "ray"))
def test_a_worker_reads_them_itself_and_no_secret_is_pickled(
    kept: None, runners: Runners, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runners.of(kind)
    pickled: list[bytes] = []
    pickler: Any = importlib.import_module("ray.cloudpickle" if kind == "ray" else "cloudpickle")  # Ray has its own
    dumps = pickler.dumps

    def noting(*args: Any, **kwargs: Any) -> bytes:
        pickled.append(dumps(*args, **kwargs))
        return pickled[-1]

    monkeypatch.setattr(pickler, "dumps", noting)
    found: Any = program.configured.with_options(task_runner=runner)("")

    assert {(*lengths, *sizes) for _, lengths, sizes in found} == {(len(SECRET), 7)}
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert pickled
    assert [each for each in pickled if SECRET.encode() in each] == []
