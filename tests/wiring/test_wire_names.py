"""Which modules `wire` connects, by which names, and the markers in them that it refuses."""

import sys
from types import ModuleType
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import lifespan, wire
from prefect_lifespan.errors import UsageError


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: iter(["db"]))


SOURCE = """
from dependency_injector.wiring import Provide, Provider, inject
{attributes}
@inject
def query(db=Provide[App.db]): return db
"""


def module_of(monkeypatch: pytest.MonkeyPatch, attributes: str = "", name: str = "services") -> Any:
    module = ModuleType(name)
    module.__dict__["App"] = App
    monkeypatch.setitem(sys.modules, name, module)
    exec(SOURCE.format(attributes=attributes), module.__dict__)  # noqa: S102 - a module of this test
    return module


@pytest.mark.parametrize(
    ("attributes", "named"),
    [("db = Provide[App.db]", "services.db"), ("class Repo:\n    db = Provide['db']", "services.Repo.db")],
)
def test_a_marker_on_an_attribute_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, attributes: str, named: str
) -> None:
    """It held the value of the first lifespan for good, closed from the second one on."""
    module = module_of(monkeypatch, attributes)
    with pytest.raises(UsageError, match=rf"^{named}: "):
        wire(App, modules=[module])
    with lifespan(App), pytest.raises(UsageError, match=rf"^{named}: "):
        wire(App, modules=[module])


def test_a_provider_on_an_attribute_gives_what_is_in_force_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(monkeypatch, "db = Provider[App.db]")
    with wire(App, modules=[module]):
        values: list[object] = []
        for _ in range(2):
            with lifespan(App):
                values.append(module.db())
                assert module.query() is values[-1]
        assert values[0] is not values[1]


def test_a_relative_name_is_relative_to_the_package_that_calls_wire() -> None:
    """It was looked for in this library."""
    before = sys.modules.get("tests.wiring.wired_services")
    with wire(App, modules=[".wired_services"]):
        assert "tests.wiring.wired_services" in sys.modules
    assert before is None or sys.modules["tests.wiring.wired_services"] is before
