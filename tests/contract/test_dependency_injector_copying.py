"""How dependency-injector copies providers: what our own instantiation of a container hands a pre-filled memo to."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import containers, errors, providers


class OpenedByUs(providers.Resource):
    """Stands where a plain Resource stood, as the engine's own providers do."""

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return "ours"


class Gateways(containers.DeclarativeContainer):
    engine = providers.Dependency()
    given = providers.DependenciesContainer()
    retries = providers.Configuration(default={"count": 3})
    ledger = providers.Factory(dict, engine=engine, given=given.engine)


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"which": "real", "url": "sqlite://"})
    engine = providers.Resource(str, "theirs")
    factory = providers.Factory(dict, engine=engine, url=config.url)
    nested = providers.Factory(dict, inner=providers.Factory(dict, engine=engine))
    singleton = providers.Singleton(dict, engine=engine)
    resource = providers.Resource(dict, engine=engine)
    chain = providers.Factory(dict, engine=engine.provided.upper.call(), first=engine.provided[0])
    listed = providers.List(engine, engine)
    mapped = providers.Dict(engine=engine)
    keyed = providers.Dict({engine: engine})
    chosen = providers.Selector(config.which, real=engine)
    aggregate = providers.Aggregate(one=engine)
    attribute = providers.Factory(lambda: type("Holder", (), {})()).add_attributes(engine=engine)
    delegate = engine.provider
    replaced = providers.Object("old")
    replaced.override(engine)
    defaulted = providers.Dependency(default=engine)
    gateways = providers.Container(Gateways, engine=engine, given=providers.DependenciesContainer(engine=engine))


def copied_with(replacement: providers.Provider[Any]) -> tuple[dict[str, Any], dict[int, Any]]:
    """A copy of all providers of `App` in which `replacement` stands for its engine, and the memo of the copying."""
    memo: dict[int, Any] = {id(App.engine): replacement}
    return providers.deepcopy(App.providers, memo), memo


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "ours"),
        ("factory", {"engine": "ours", "url": "sqlite://"}),
        ("nested", {"inner": {"engine": "ours"}}),
        ("singleton", {"engine": "ours"}),
        ("resource", {"engine": "ours"}),
        ("chain", {"engine": "OURS", "first": "o"}),
        ("listed", ["ours", "ours"]),
        ("mapped", {"engine": "ours"}),
        ("chosen", "ours"),
        ("replaced", "ours"),
        ("defaulted", "ours"),
    ],
)
def test_a_memo_filled_before_copying_makes_every_reference_point_to_the_replacement(name: str, value: object) -> None:
    """If this fails, replacing resources by ours while copying misses references: instantiation must change."""
    replacement = OpenedByUs()

    copies, _ = copied_with(replacement)

    assert copies[name]() == value
    assert replacement in set(providers.traverse(copies[name]))
    assert App.engine not in set(providers.traverse(copies[name]))


def test_a_filled_memo_reaches_delegates_attributes_aggregates_and_the_keys_of_a_dict() -> None:
    """The same for those whose value is no plain call of what they refer to."""
    replacement = OpenedByUs()

    copies, _ = copied_with(replacement)

    assert copies["delegate"].provides is replacement
    assert copies["attribute"]().engine == "ours"
    assert copies["aggregate"]("one") == "ours"
    assert copies["keyed"]() == {replacement: "ours"}, "a provider that is a key is not called"


def test_a_filled_memo_reaches_the_dependencies_of_sub_containers() -> None:
    """If this fails, sub-containers must be instantiated by ours as well, one by one."""
    replacement = OpenedByUs()

    copies, _ = copied_with(replacement)

    gateways = copies["gateways"]
    assert gateways.engine.last_overriding is replacement
    assert gateways.given.engine.last_overriding is replacement
    assert gateways.ledger() == {"engine": "ours", "given": "ours"}


def test_the_memo_ends_with_the_copy_of_every_provider() -> None:
    """Markers refer to providers of the class: the memo is how ours finds the copy of one without a name."""
    unnamed = App.nested.kwargs["inner"]
    in_a_sub_container = App.gateways.container.ledger

    copies, memo = copied_with(OpenedByUs())

    assert all(memo[id(original)] is copies[name] for name, original in App.providers.items())
    assert memo[id(unnamed)] is copies["nested"].kwargs["inner"]
    assert memo[id(in_a_sub_container)] is copies["gateways"].ledger
    assert memo[id(App.config.url)] is copies["factory"].kwargs["url"]
    assert memo[id(App.gateways.container)] is copies["gateways"].container


def test_options_of_a_copied_configuration_read_the_copy() -> None:
    """If this fails, two runs with different configurations read each other's values."""
    copies, _ = copied_with(OpenedByUs())

    copies["config"].override({"url": "postgresql://"})

    assert copies["factory"]()["url"] == "postgresql://"
    assert App.factory.kwargs["url"]() == "sqlite://"
    assert copies["config"].url is copies["factory"].kwargs["url"]


def test_what_the_memo_replaced_brings_none_of_its_overrides_along() -> None:
    """The engine has to copy the overrides of the resources that it replaces."""

    class Overridden(containers.DeclarativeContainer):
        engine = providers.Resource(str, "theirs")
        engine.override(providers.Object("fake"))

    replacement = OpenedByUs()
    copies = providers.deepcopy(Overridden.providers, {id(Overridden.engine): replacement})

    assert Overridden().engine() == "fake"
    assert replacement.overridden == ()
    assert copies["engine"]() == "ours"


def test_the_value_of_an_object_provider_is_not_copied_even_if_it_is_a_provider() -> None:
    """So `Object` is the cure that `check` names for what cannot be copied, and hides a provider from copying."""
    lock = threading.Lock()
    holder = {"lock": providers.Object(lock), "hidden": providers.Object(App.engine)}

    copies = providers.deepcopy(holder, {id(App.engine): OpenedByUs()})

    assert copies["lock"] is not holder["lock"]
    assert copies["lock"]() is lock
    assert copies["hidden"]() is App.engine


@pytest.mark.parametrize(
    ("declare", "index", "keyword"),
    [
        pytest.param(lambda lock: providers.Resource(print, "a", lock), 1, "", id="resource, positional"),
        pytest.param(lambda lock: providers.Factory(print, "a", lock), 1, "", id="factory, positional"),
        pytest.param(lambda lock: providers.Singleton(print, end=lock), -1, "end", id="singleton, by keyword"),
        pytest.param(lambda lock: providers.Resource(print, end=[lock]), -1, "end", id="inside a list"),
    ],
)
def test_an_argument_that_cannot_be_copied_is_named(declare: Callable[[Any], Any], index: int, keyword: str) -> None:
    """`InvalidContainerError` takes provider and argument from their error."""
    provider = declare(threading.Lock())

    with pytest.raises(errors.NonCopyableArgumentError) as caught:
        providers.deepcopy({"provider": provider})

    assert caught.value.provider is provider
    assert (caught.value.index, caught.value.keyword) == (index, keyword)
    assert isinstance(caught.value.__cause__, TypeError)


def test_of_nested_providers_the_outermost_is_named_and_the_others_are_its_causes() -> None:
    """A finding that draws the path follows `__cause__` down to the argument itself."""
    inner = providers.Factory(print, threading.Lock())
    outer = providers.Resource(print, end=inner)

    with pytest.raises(errors.NonCopyableArgumentError) as caught:
        providers.deepcopy({"outer": outer})

    assert caught.value.provider is outer
    cause = caught.value.__cause__
    assert isinstance(cause, errors.NonCopyableArgumentError)
    assert cause.provider is inner


def test_an_attribute_that_cannot_be_copied_is_a_bare_type_error() -> None:
    """`check` must try attributes of factories itself to name them."""
    factory = providers.Factory(dict).add_attributes(lock=threading.Lock())

    with pytest.raises(TypeError, match="cannot pickle"):
        providers.deepcopy({"factory": factory})


def test_a_mutable_argument_arrives_as_another_object_in_each_instance() -> None:
    """`check` says so: a registry handed over as an argument is not shared between runs."""
    registry: list[str] = []

    class Declared(containers.DeclarativeContainer):
        by_argument = providers.Factory(lambda given: given, registry)

    assert Declared.by_argument() is registry
    assert Declared().by_argument() is not registry


def test_an_initialised_resource_cannot_be_copied() -> None:
    """A class whose resource somebody opened on the class is refused by `C()`, and must be by ours."""

    class Declared(containers.DeclarativeContainer):
        engine = providers.Resource(object)

    Declared.engine.init()
    with pytest.raises(errors.Error, match="Can not copy initialized resource"):
        Declared()
    Declared.engine.shutdown()
    assert not Declared().engine.initialized


def test_a_subclass_is_copied_by_calling_it_without_arguments_and_keeps_no_attribute() -> None:
    """Whoever copies a container of ours gets empty shells: `__init__` takes no required argument, and says so."""

    class Marked(providers.Resource):
        note: str | None = None

    marked = Marked(str, "value")
    marked.note = "kept?"

    copy = providers.deepcopy({"marked": marked})["marked"]

    assert type(copy) is Marked
    assert (copy(), copy.note) == ("value", None)


def test_what_a_subclass_holds_is_not_seen_when_it_is_copied() -> None:
    """The refusal to copy what is initialised looks at their own state, not at an overridden `initialized`."""

    class Open(providers.Resource):
        @property
        def initialized(self) -> bool:
            return True

    assert providers.deepcopy({"open": Open(object)})["open"].initialized
