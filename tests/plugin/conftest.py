"""The plugin's tests run pytest in pytest: what the inner tests leave open is theirs, and not the outer one's."""

from __future__ import annotations

from pathlib import Path

import pytest

APP = """
from contextlib import contextmanager
from dependency_injector import containers, providers
from prefect_lifespan import ProcessResource, Provide, inject

LOG = []

def opened(name):
    LOG.append(f"open {name}")
    try:
        yield name
    except BaseException as error:
        LOG.append(f"{type(error).__name__} {name}")
        raise
    finally:
        LOG.append(f"close {name}")

async def opened_on_a_loop(name):
    with contextmanager(opened)(name) as value:
        yield value

class App(containers.DeclarativeContainer):
    db = providers.Resource(opened, "db")
    value = providers.Object("real")

class Asynchronous(containers.DeclarativeContainer):
    api = providers.Resource(opened_on_a_loop, "api")

class Shared(containers.DeclarativeContainer):
    model = ProcessResource(opened, "model")

@inject
def value(value=Provide[App.value]):
    return value

@inject
def model(model=Provide[Shared.model]):
    return model
"""

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider -p no:hypothesispytest -p no:cov -p no:rerunfailures
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some of the inner tests leak on purpose, in this process."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.lifespan_leak_check(False))


@pytest.fixture(autouse=True)
def application(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a container, whose inner tests may import it."""
    pytester.makepyfile(app=APP)
    pytester.makefile(".ini", pytest=INI)
    monkeypatch.syspath_prepend(pytester.path)
