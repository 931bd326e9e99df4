"""What a marker of dependency-injector holds, and how it is resolved against one container instance."""

import inspect
import types
from typing import Annotated, Any, cast, get_args

import pytest
from dependency_injector import containers, providers, wiring
from dependency_injector.wiring import Closing, Provide, Provider, ProvidersMap
from fastapi import Depends


class Gateways(containers.DeclarativeContainer):
    api = providers.Object("api")


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"retries": "3"})
    engine = providers.Resource(str, "engine")
    ledger = providers.Factory(dict, engine=engine, unnamed=providers.Object("unnamed"))
    gateways = providers.Container(Gateways)


def instance() -> tuple[Any, Any]:
    container = App()
    return container, ProvidersMap(container)


@pytest.mark.parametrize("kind", [Provide, Provider, Closing])
def test_a_marker_holds_provider_and_modifier_and_says_that_it_is_one(kind: Any) -> None:
    """`injection` reads just these three, by name."""
    modifier = wiring.as_int()

    plain, modified = kind[App.engine], kind["config.retries", modifier]

    assert plain.__IS_MARKER__ is True
    assert (plain.provider, plain.modifier) == (App.engine, None)
    assert (modified.provider, modified.modifier) == ("config.retries", modifier)
    assert type(plain) is kind
    assert plain() is plain, "FastAPI calls it"


def test_closing_holds_the_marker_that_it_was_given() -> None:
    """`injection` unwraps `Closing[Provide[...]]` before it asks for the provider."""
    inner = Provide[App.engine]

    assert Closing[inner].provider is inner


def test_a_marker_of_a_container_class_is_one_of_its_self_provider() -> None:
    """If this fails, `Provide[Container]` needs a case of its own."""
    container, providers_map = instance()

    assert Provide[App].provider is App.__self__
    assert providers_map.resolve_provider(App.__self__)() is container


def test_the_string_id_of_the_container_itself_is_container_in_angle_brackets() -> None:
    """Two more spellings of the run's container."""
    container, providers_map = instance()

    assert Provide["<container>"].provider == ProvidersMap.CONTAINER_STRING_ID
    assert providers_map.resolve_provider("<container>")() is container


def test_a_class_level_provider_resolves_to_the_one_of_the_instance() -> None:
    """If this fails, markers open resources of the class, which every run shares."""
    container, providers_map = instance()

    assert providers_map.resolve_provider(App.engine) is container.engine
    assert providers_map.resolve_provider(App.ledger) is container.ledger
    assert providers_map.resolve_provider(App.gateways.api) is container.gateways.api
    assert providers_map.resolve_provider(App.engine.provider).provides is container.engine


def test_provided_chains_and_configuration_options_are_rebuilt_on_the_instance() -> None:
    """`injection` leaves both to `ProvidersMap`."""
    container, providers_map = instance()
    container.config.override({"retries": "5"})

    chain = providers_map.resolve_provider(App.engine.provided.upper.call())
    option = providers_map.resolve_provider(App.config.retries.as_int())

    assert container.engine in chain.traverse()
    assert App.engine not in chain.traverse()
    assert chain() == "ENGINE"
    assert option() == 5
    container.shutdown_resources()


def test_providers_in_the_arguments_of_a_provided_call_stay_those_of_the_class() -> None:
    """A hole in theirs: `C.a.provided.get.call(C.b)` opens `b` of the class. Ours must resolve or refuse it."""
    container, providers_map = instance()

    chain = providers_map.resolve_provider(App.ledger.provided.get.call(App.engine))

    assert chain.args == (App.engine,)
    assert container.engine not in chain.args


def test_a_provider_without_a_name_or_of_another_container_resolves_to_none() -> None:
    """Theirs then leaves the marker in place, silently; ours raises with "did you mean"."""
    _, providers_map = instance()

    assert providers_map.resolve_provider(App.ledger.kwargs["unnamed"]) is None
    assert providers_map.resolve_provider(providers.Object("foreign")) is None
    assert providers_map.resolve_provider(providers.Object("foreign").provided.upper) is None
    assert providers_map.resolve_provider("no_such_provider") is None
    assert providers_map.resolve_provider("gateways.no_such_provider") is None


def test_a_string_id_is_any_attribute_of_the_container() -> None:
    """So ours checks that a string id names a provider: theirs hands over methods, and options that do not exist."""
    container, providers_map = instance()

    assert providers_map.resolve_provider("gateways.api") is container.gateways.api
    assert providers_map.resolve_provider("wire") == container.wire
    assert providers_map.resolve_provider("config.misspelt")() is None


def test_a_provider_that_only_the_instance_has_breaks_the_map() -> None:
    """A provider added to an instance of ours by the engine must not stand in its `providers`."""
    container = App()
    container.set_provider("added_later", providers.Object(1))

    with pytest.raises(KeyError, match="added_later"):
        ProvidersMap(container)


def test_modifiers_apply_to_string_ids_only() -> None:
    """If this fails, ours has to apply a modifier to a resolved provider too."""
    _, providers_map = instance()

    assert providers_map.resolve_provider("config.retries", wiring.as_int())() == 3
    assert providers_map.resolve_provider(App.config.retries, wiring.as_int())() == "3"


def test_modifiers_change_themselves_when_they_are_chained() -> None:
    """A modifier kept in a variable and used twice is one and the same: a plan must not hold on to it and extend it."""
    base = wiring.provided()
    required = wiring.required()

    assert base.upper is base
    assert base["key"] is base
    assert base.call(1, key=2) is base
    assert base.segments == [("attr", "upper"), ("item", "key"), ("call", ((1,), {"key": 2}))]
    assert required.as_int() is required


def test_the_provided_modifier_answers_any_attribute_and_remembers_it() -> None:
    """Looking at one with `getattr(..., None)` or `hasattr` corrupts it: `injection` asks for its type only."""
    modifier = wiring.provided()

    assert hasattr(modifier, "never_declared")
    assert modifier.segments == [("attr", "never_declared")]


def test_provided_chains_of_providers_do_not_change_themselves() -> None:
    """Those on providers are safe to keep, unlike the modifiers for string ids."""
    base = App.engine.provided

    assert base.upper is not base
    assert base.upper.provides is base
    assert base.upper.name == "upper"
    assert App.engine.provided is not base


def test_a_marker_is_found_in_a_default_and_anywhere_in_annotated() -> None:
    """`injection` looks in the same places as their `inject` does."""
    marker = Provide[App.engine]

    def use(by_default: str = marker, *, annotated: Annotated[str, "note", Provide[App.engine]]) -> None: ...

    parameters = inspect.signature(use).parameters
    found, _ = wiring._fetch_reference_injections(use)

    assert parameters["by_default"].default is marker
    assert list(found) == ["by_default", "annotated"]
    assert found["annotated"] is get_args(parameters["annotated"].annotation)[2]


def test_a_list_says_how_to_get_at_what_depends_of_a_web_framework_holds() -> None:
    """`injection.markers` asks all of them: FastAPI's, and FastDepends' where that is installed."""
    marker = Provide[App.engine]

    held = [extract(Depends(marker)) for extract in wiring.MARKER_EXTRACTORS]

    assert [each for each in held if each is not None] == [marker]
    assert all(extract(marker) is None for extract in wiring.MARKER_EXTRACTORS)


def test_markers_in_annotations_that_are_strings_are_not_found() -> None:
    """Under `from __future__ import annotations` theirs injects nothing; ours evaluates the annotation."""

    def use(annotated: "Annotated[str, Provide[App.engine]]") -> None: ...

    found, _ = wiring._fetch_reference_injections(use)

    assert found == {}


def test_the_registry_knows_which_functions_are_wired():
    """Private; `injection.mistakes` tells by it what was wired on purpose from what merely carries the decorator."""
    registry: Any = wiring._patched_registry

    @wiring.inject
    def stock(db: Any = Provide[App.engine]) -> Any:
        return db

    module = types.ModuleType("a module that is wired")
    cast("Any", module).function = stock
    stock.__module__ = module.__name__
    container = App()
    assert registry.get_callable(stock).injections == {}
    assert registry.get_callable(len) is None
    container.wire(modules=[module])
    assert list(registry.get_callable(stock).injections) == ["db"]
    container.unwire()
    assert registry.get_callable(stock).injections == {}
