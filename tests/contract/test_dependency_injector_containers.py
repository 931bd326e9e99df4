"""What `C()` of dependency-injector does, step by step: the engine does the same with its own resources and no wiring."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from dependency_injector import containers, providers, wiring

PATIENCE_SECONDS = 60


class OwnContainer(containers.DynamicContainer):
    """An `instance_type` as users declare one."""


class Billing(containers.DeclarativeContainer):
    itself = providers.Self()
    engine = providers.Dependency(instance_of=str)
    mailer = providers.DependenciesContainer()
    settings = providers.Configuration(default={"currency": "EUR"})
    ledger = providers.Factory(dict, engine=engine, sender=mailer.sender, currency=settings.currency)


class Base(containers.DeclarativeContainer):
    inherited = providers.Singleton(list)


class App(Base):
    instance_type = OwnContainer
    # Only to be compared: with `auto_wire` off nobody looks for the module.
    wiring_config = containers.WiringConfiguration(modules=["no_such_module"], auto_wire=False)

    me = providers.Self()
    config = providers.Configuration()
    engine = providers.Resource(str, "engine")
    uses_itself = providers.Callable(lambda container: container.engine(), me)
    faked = providers.Object("real")
    faked.override(providers.Object("fake"))
    billing = providers.Container(Billing, engine=engine, mailer=providers.DependenciesContainer(sender=faked))


def instantiate(cls: Any, memo: dict[int, Any] | None = None) -> Any:
    """The steps of `C()` through public names, with a memo of the caller's and without wiring."""
    container = cls.instance_type()
    container.provider_type = cls.provider_type
    container.wiring_config = copy.deepcopy(cls.wiring_config)
    container.declarative_parent = cls
    copies = providers.deepcopy({**cls.providers, "@@self@@": cls.__self__}, {} if memo is None else memo)
    itself = copies.pop("@@self@@")
    itself.set_container(container)
    container.__self__ = itself
    for name in itself.alt_names:
        container.set_provider(name, itself)
    for name, provider in copies.items():
        container.set_provider(name, provider)
    if cls.auto_load_config:
        container.load_config()
    container.apply_container_providers_overridings()
    return container


def instance_of(cls: Any) -> Any:
    """`C()`, for names that type checkers cannot know."""
    return cls()


def reachable(container: Any) -> list[tuple[str, ...]]:
    """Types along every edge that leaves the providers of `container`, by name: what two instances have in common."""
    return sorted(
        (name, type(provider).__name__, type(related).__name__)
        for name, provider in container.providers.items()
        for related in providers.traverse(provider)
    )


def settings_file(tmp_path: Any, *values: str) -> list[str]:
    file = tmp_path / "settings.ini"
    file.write_text("\n".join(["[database]", *values]))
    return [str(file)]


def test_the_steps_written_out_make_what_calling_the_class_makes() -> None:
    """If this fails, `C()` has a step that the engine's instantiation leaves out."""
    ours, theirs = instantiate(App), instance_of(App)

    assert vars(ours).keys() == vars(theirs).keys()
    assert list(ours.providers) == list(theirs.providers) == list(App.providers)
    assert reachable(ours) == reachable(theirs)
    assert type(ours) is type(theirs) is OwnContainer
    assert ours.declarative_parent is theirs.declarative_parent is App
    assert ours.provider_type is theirs.provider_type
    assert vars(ours.wiring_config) == vars(theirs.wiring_config)
    assert ours.wiring_config is not App.wiring_config
    for name in ("engine", "uses_itself", "faked", "inherited"):
        assert ours.providers[name]() == theirs.providers[name]()
    assert ours.billing.ledger() == theirs.billing.ledger()
    assert ours.parent_name == theirs.parent_name == "App"
    assert ours.billing.ledger.kwargs["engine"].parent_name == theirs.billing.ledger.kwargs["engine"].parent_name


def test_self_of_an_instance_is_that_instance_under_each_of_its_names() -> None:
    """If this fails, `Provide[Container]` and `Self` give another container than the run's."""
    for container in (instantiate(App), instance_of(App)):
        assert container.__self__() is container
        assert container.me is container.__self__
        assert container.uses_itself.args == (container.me,)
        assert container.billing.itself() is container.billing.container
        assert "me" not in container.providers
        assert "__self__" not in container.providers
    assert App.__self__() is App


def test_a_sub_container_gets_the_instances_own_providers_for_its_dependencies() -> None:
    """If this fails, a sub-container of one run uses another run's resource."""
    for container in (instantiate(App), instance_of(App)):
        container.engine.override(providers.Object("of this run"))
        assert container.billing.ledger() == {"engine": "of this run", "sender": "fake", "currency": "EUR"}
    assert App().billing.ledger()["engine"] == "engine"


def test_sub_container_overridings_are_applied_once_more_to_each_instance() -> None:
    """`Container(Sub, dep=...)` overrides at declaration and at instantiation: overrides are counted by ours."""
    at_declaration = App.billing.container.engine.overridden
    of_an_instance = instance_of(App).billing.container.engine.overridden

    assert len(at_declaration) == 1
    assert len(of_an_instance) == len(instantiate(App).billing.container.engine.overridden) == 2
    assert of_an_instance[0] is of_an_instance[1]


def test_configuration_is_loaded_when_an_instance_is_made_if_the_class_says_so(tmp_path: Any) -> None:
    """`load_config` is a step of instantiation, and reads its files anew for each instance."""

    class Loading(containers.DeclarativeContainer):
        config = providers.Configuration(ini_files=settings_file(tmp_path, "url = sqlite://"))

    class Lazy(Loading):
        auto_load_config = False

    for make in (instantiate, instance_of):
        assert make(Loading).config.database.url() == "sqlite://"
        assert make(Lazy).config() == {}
    assert Loading.config() == {}


def test_instances_share_no_provider_with_each_other_or_the_class() -> None:
    """If this fails, concurrent runs close each other's resources, or singletons outlive their run."""
    first, second = App(), App()

    first.inherited().append("of the first run")

    assert second.inherited() == []
    assert not set(first.traverse()) & set(second.traverse())
    assert not set(first.traverse()) & set(App.traverse())


def test_overrides_of_the_class_are_copied_into_instances_made_while_they_last() -> None:
    """What a user overrides on the class is seen by runs that start later and by no run that has started."""

    class Declared(containers.DeclarativeContainer):
        engine = providers.Object("real")

    before = Declared()
    with Declared.engine.override("fake"):
        during = Declared()

    assert (before.engine(), during.engine(), Declared().engine()) == ("real", "fake", "real")
    assert during.engine.overridden != ()


def test_the_value_of_an_override_is_not_copied() -> None:
    """`override(Container, engine=fake)` promises to use the object as it is."""
    fake = {"rows": [1]}

    class Declared(containers.DeclarativeContainer):
        engine = providers.Object("real")

    with Declared.engine.override(fake):
        assert Declared().engine() is fake


def test_calling_the_class_wires_modules_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, instances wire themselves only: the engine could call `C()` and keep `wiring_config`."""
    module = ModuleType("wired_by_the_contract_test")
    source = (
        "from dependency_injector.wiring import Provide, inject\n"
        "@inject\n"
        "def use(engine=Provide['engine']):\n"
        "    return engine\n"
    )
    exec(compile(source, module.__name__, "exec"), module.__dict__)  # noqa: S102 - a module is what is wired
    monkeypatch.setitem(sys.modules, module.__name__, module)

    class Declared(containers.DeclarativeContainer):
        wiring_config = containers.WiringConfiguration(modules=[module.__name__])
        engine = providers.Singleton(object)

    first = Declared()
    try:
        assert module.use() is first.engine()
        second = Declared()
        assert module.use() is second.engine(), "the first instance lost its function to the second"
        instantiate(Declared)
        assert module.use() is second.engine()
    finally:
        first.unwire()


def test_looking_up_markers_adds_self_to_the_providers_of_container_and_class() -> None:
    """`ProvidersMap` writes into both mappings: whatever walks `providers` has to skip `__self__`."""

    class Declared(containers.DeclarativeContainer):
        engine = providers.Object("engine")

    container = Declared()
    wiring.ProvidersMap(container)

    assert list(Declared.providers) == list(container.providers) == ["engine", "__self__"]
    for later in (Declared(), instantiate(Declared)):
        assert list(later.providers) == ["engine"]
        assert later.__self__() is later


def test_an_override_is_seen_by_other_threads() -> None:
    """If this fails, provider overrides are local and `override` needs no scope of its own."""
    provider = providers.Object("real")

    with provider.override("fake"), ThreadPoolExecutor(1) as thread:
        assert thread.submit(provider).result(PATIENCE_SECONDS) == "fake"


def test_overrides_left_out_of_order_leave_the_wrong_one_in_force() -> None:
    """If this fails, their overriding contexts undo their own override only."""
    provider = providers.Object("real")
    outer = provider.override("outer")
    inner = provider.override("inner")

    outer.__exit__(None, None, None)

    assert provider() == "outer"
    inner.__exit__(None, None, None)
    assert provider() == "real"
