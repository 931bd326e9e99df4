"""A task's and a flow's own function is called without Prefect: no API is asked, and none is started."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
import sys
from dependency_injector import containers, providers
from prefect import flow, task
from prefect_lifespan import Provide, TaskResource, inject, lifespan, override

class App(containers.DeclarativeContainer):
    db = providers.Resource("connection {}".format, 1)
    session = TaskResource("session of {}".format, db)

@task(retries=2)
@inject
def store(number, session=Provide[App.session]):
    return f"{number} in {session}"

@task
@inject
async def store_on_a_loop(number, session=Provide[App.session]):
    return f"{number} in {session}"

@flow
@lifespan(App)
def bring(number: int, db=Provide[App.db]):
    return db, store.fn(number)

@flow
@lifespan(App)
async def bring_on_a_loop(number: int, db=Provide[App.db]):
    return db, await store_on_a_loop.fn(number)

print(store.fn(1), asyncio.run(store_on_a_loop.fn(2)), store.fn(3, session="a fake"), sep="; ")
print(bring.fn(4), asyncio.run(bring_on_a_loop.fn(5)), bring.fn(6, db="a fake"))
with override(App, db="fake"), lifespan(App):
    print(store.fn(7), asyncio.run(store_on_a_loop.fn(8)), bring.fn(9))
print([name for name in sys.modules if name.startswith("prefect.server.api.server")])
"""

TOLD = """\
1 in session of connection 1; 2 in session of connection 1; 3 in a fake
('connection 1', '4 in session of connection 1') ('connection 1', '5 in session of connection 1') \
('a fake', '6 in session of connection 1')
7 in session of fake 8 in session of fake ('fake', '9 in session of fake')
[]
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """What answers nobody, and notes who knocks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("with_address", [True, False])
def test_functions_are_called_with_no_api_to_be_had(listening: socket.socket, tmp_path: Path, with_address: bool):
    address = {"PREFECT_API_URL": f"http://127.0.0.1:{listening.getsockname()[1]}/api"} if with_address else {}
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    ended = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-W", "error", program],
        env={**os.environ, "PREFECT_HOME": str(tmp_path), **address},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == (TOLD, 0), ended.stderr
    with pytest.raises(BlockingIOError):  # nobody has knocked
        listening.accept()
