"""Which modules `wire` connects, by which names, and the markers in them that it refuses."""

import sys
from types import ModuleType
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, UnresolvedMarkerWarning

from prefect_lifespan import current_container, lifespan, wire
from prefect_lifespan.errors import UsageError
from tests.wiring import wired_services
from tests.wiring.wired_services import Services


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: iter(["db"]))


class Base:
    """Of another module, which is not wired itself."""

    db: Any = Provide[App.db]


SOURCE = """
from dependency_injector.wiring import Provide, Provider, inject
{attributes}
@inject
def query(db=Provide[App.db]): return db
"""


def module_of(monkeypatch: pytest.MonkeyPatch, attributes: str = "", name: str = "services", **names: Any) -> Any:
    module = ModuleType(name)
    module.__dict__.update(App=App, Base=Base if "Base" in attributes else None, Annotated=Annotated)
    module.__dict__.update(names)
    monkeypatch.setitem(sys.modules, name, module)
    exec(SOURCE.format(attributes=attributes), module.__dict__)  # noqa: S102 - a module of this test
    return module


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ("db = Provide[App.db]", "services.db"),
        ("class Repo:\n    db = Provide['db']", "services.Repo.db"),
        ("db: Annotated[str, 'a note', Provide[App.db]]", "services.db"),
        ("class Repo:\n    db: Annotated[str, Provide[App.db]]", "services.Repo.db"),
        ("Repo = type('Repo', (Base,), {}); del Base", "tests.wiring.test_wire_names.Base.db"),
    ],
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


def test_a_class_of_another_container_and_markers_for_it_are_none_of_its_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Other(containers.DeclarativeContainer):
        db = providers.Object("other")

    module = module_of(monkeypatch, "other = Provide[Other.db]\nnote: Annotated[str, 'a note'] = ''", Other=Other)
    with wire(App, modules=[module]), lifespan(App):
        assert module.query() is current_container(App).db()


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


@pytest.mark.parametrize(
    "configuration",
    [
        containers.WiringConfiguration(modules=["tests.wiring.wired_services"]),
        containers.WiringConfiguration(packages=["tests.wiring.wired_services"], auto_wire=False),
        containers.WiringConfiguration(modules=[".wired_services"]),
        containers.WiringConfiguration(modules=[".wiring.wired_services"], from_package="tests"),
    ],
    ids=["a module", "a package", "relative to the container", "relative to a package"],
)
def test_without_names_what_the_containers_own_configuration_names_is_connected(
    configuration: containers.WiringConfiguration,
) -> None:
    """It connected nothing, and said nothing; a lifespan leaves that configuration alone."""

    class Configured(Services):
        wiring_config = configuration

    with lifespan(Configured, eager=False):
        assert "Provide" in wired_services.query("orders")
        # By whatever package: names are relative to the container's.
        with eval("wire(Configured)", {"wire": wire, "Configured": Configured, "__package__": "prefect_lifespan"}):  # noqa: S307
            assert wired_services.query("orders") == "orders in db at main"
        with wire(Configured, modules=[]):
            assert "Provide" in wired_services.query("orders")


def test_what_else_the_containers_own_configuration_says_holds_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration: Any = containers.WiringConfiguration  # whose stub lacks the latest of them
    module = module_of(monkeypatch, "@inject\ndef other(db=Provide['bd']): return db")

    class Warns(App):
        wiring_config = configuration(modules=[module], warn_unresolved=True)

    with pytest.warns(UnresolvedMarkerWarning, match="Unresolved marker db in other"), wire(Warns):
        pass
    with wire(App, modules=[module]):
        pass


@pytest.mark.parametrize("one", ["services", sys])
def test_one_module_that_is_no_list_is_told_to_be_given_in_one(one: Any) -> None:
    with pytest.raises(UsageError, match=rf"was given one {type(one).__name__}; give a list"):
        wire(App, modules=one)


@pytest.mark.parametrize("what", [3, App, wire])
def test_what_is_no_module_is_told(what: Any) -> None:
    with pytest.raises(UsageError, match=rf"connects modules, not a {type(what).__qualname__}"):
        wire(App, modules=[what])


def test_without_names_and_without_a_configuration_there_is_nothing_to_connect() -> None:
    with pytest.raises(UsageError, match=r"^wire\(App\) says nothing to connect.*wiring_config.*modules=\[\.\.\.\]"):
        wire(App)
