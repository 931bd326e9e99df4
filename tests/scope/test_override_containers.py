"""Whole containers in the place of others: by `override`, by deriving, and as dependency-injector does it."""

from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan, override
from prefect_lifespan.errors import UsageError

RECORD: list[str] = []


def numbered(name: str, *needs: object) -> Iterator[str]:
    RECORD.append(f"open {name}")
    yield name
    RECORD.append(f"close {name}")


class Mail(containers.DeclarativeContainer):
    server = providers.Object("real server")
    smtp = providers.Resource(numbered, server)


class Gateways(containers.DeclarativeContainer):
    api = providers.Resource(numbered, "api")
    mail = providers.Container(Mail)


class App(containers.DeclarativeContainer):
    db = providers.Resource(numbered, "db")
    ledger = providers.Factory("ledger on {}".format, db)
    gateways = providers.Container(Gateways)


class TestApp(App):
    __test__ = False
    path = providers.Object("test path")
    db = providers.Resource(numbered, path)


class FakeMail(containers.DeclarativeContainer):
    server = providers.Object("fake server")


class FakeGateways(containers.DeclarativeContainer):
    api = providers.Object("fake api")
    mail = providers.Container(FakeMail)


class Fakes(containers.DeclarativeContainer):
    gateways = providers.Container(FakeGateways)


@inject
def used(
    db: Any = Provide[App.db],
    ledger: str = Provide[App.ledger],
    api: Any = Provide[App.gateways.container.api],
    smtp: Any = Provide[App.gateways.container.mail.container.smtp],
) -> tuple[Any, ...]:
    return db, ledger, api, smtp


REAL = ("db", "ledger on db", "api", "real server")


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


def test_a_container_class_stands_in_for_the_one_it_derives_from():
    with override(App, TestApp):
        assert used() == ("test path", "ledger on test path", "api", "real server")
        with lifespan(App):
            assert used()[:2] == ("test path", "ledger on test path")
    assert "open db" not in RECORD
    assert RECORD.count("open test path") == RECORD.count("close test path") == 2
    with lifespan(App):
        assert used() == REAL
        with override(App, TestApp):
            assert used()[:2] == ("test path", "ledger on test path")
        assert used() == REAL


def test_any_container_class_stands_in_by_name_and_at_any_depth():
    with override(App, Fakes), lifespan(App):
        assert used() == ("db", "ledger on db", "fake api", "fake server")
    with override(App, {"gateways": FakeGateways}), lifespan(App):
        assert used()[2:] == ("fake api", "fake server")
    with override(App, {"gateways.mail": FakeMail}), lifespan(App):
        assert used()[2:] == ("api", "fake server")


def test_names_given_by_keyword_stand_over_those_of_a_container():
    with override(App, TestApp, db="a value"), lifespan(App):
        assert used()[:2] == ("a value", "ledger on a value")
    assert "open test path" not in RECORD


def test_a_container_that_shares_no_name_is_refused():
    class Unrelated(containers.DeclarativeContainer):
        cache = providers.Object("cache")

    with pytest.raises(UsageError, match=r"Unrelated shares no name with App, .*; it declares cache"):
        override(App, Unrelated)
    with pytest.raises(UsageError, match=r"shares no name with App\.gateways"):
        override(App, gateways=Unrelated)
    with pytest.raises(UsageError, match="overrides of App are a list"):
        override(App, ["db"])  # pyright: ignore[reportArgumentType]


def test_a_sub_container_is_not_overridden_by_a_plain_provider_of_the_same_name():
    class Flat(containers.DeclarativeContainer):
        gateways = providers.Object("no container")

    with pytest.raises(UsageError, match=r"App\.gateways is a sub-container.*not with a Object"):
        override(App, Flat)


@pytest.mark.parametrize("declares", [{}, {"server": providers.Dependency()}])
def test_a_container_of_dependencies_hands_on_what_it_is_overridden_with_also_what_it_does_not_name(declares: Any):
    """It knows only what it was asked for, which one that just passes it on to its parts was not."""

    class Sender(containers.DeclarativeContainer):
        mail: Any = providers.DependenciesContainer()
        send = providers.Factory("sent over {}".format, mail.smtp)

    class Part(containers.DeclarativeContainer):
        mail = providers.DependenciesContainer(**declares)
        sender = providers.Container(Sender, mail=mail)

    class Whole(containers.DeclarativeContainer):
        mail = providers.DependenciesContainer()
        part = providers.Container(Part, mail=mail)

    given: Any = Whole
    with lifespan(given, overrides={"mail": Mail}) as container:
        assert container.part().sender().send() == "sent over real server"
    assert RECORD == ["open real server", "close real server"]


def test_a_lifespan_of_a_derived_container_serves_markers_and_overrides_of_the_base():
    with lifespan(TestApp):
        # What a derived class inherits refers to what the base declares: so dependency-injector has it.
        assert used()[:2] == ("test path", "ledger on db")
    with override(App, db="fake"), lifespan(TestApp):
        assert used()[:2] == ("fake", "ledger on fake")
    with lifespan(TestApp), override(App, db="fake"):
        assert used()[:2] == ("fake", "ledger on fake")


def test_an_override_of_what_a_derived_container_declares_anew_and_nothing_else_reaches():
    class Base(containers.DeclarativeContainer):
        value = providers.Object("base")

    class Derived(Base):
        value = providers.Object("derived")

    @inject
    def value(value: str = Provide[Base.value]) -> str:
        return value

    with lifespan(Derived):
        assert value() == "derived"
    with override(Base, value="fake"), lifespan(Derived):
        assert value() == "fake"


def test_an_override_of_a_base_passes_over_what_a_derived_container_lacks():
    class Bare(containers.DeclarativeContainer):
        pass

    class Derived(App):
        gateways = providers.Container(Bare)

    with override(App, {"gateways.api": "fake", "db": "fake db"}), lifespan(Derived) as container:
        assert container.db() == "fake db"


def test_a_container_used_inside_another_is_overridden_through_that_one():
    """The other one has its own copy: neither markers nor overrides of the class mean it."""

    @inject
    def smtp(smtp: Any = Provide[Mail.smtp]) -> Any:
        return smtp

    with override(Mail, smtp="fake"), lifespan(App):
        assert smtp() == "fake"
        assert used()[3] == "real server"
    with override(App, {"gateways.mail.smtp": "fake"}), lifespan(App):
        assert used()[3] == "fake"
        with pytest.raises(UsageError, match=r"Provide\[App\.gateways\.container\.mail\.container\.smtp\]"):
            smtp()


def test_what_stands_in_belongs_to_its_own_container_as_before_and_keeps_nothing_of_the_lifespan():
    """dependency-injector has each provider note for whom it stands in, and copies these along with it."""

    class Letter(containers.DeclarativeContainer):
        sender = providers.Object("declared")
        text = providers.Factory("from {}".format, sender)
        mail = providers.Resource(numbered, "declared mail")

    Letter.text.override(Mail.server)
    try:
        with lifespan(Letter, overrides={"sender": Mail.server, "mail": Mail.smtp}) as container:
            assert (container.sender(), container.mail()) == ("real server", "real server")
            with lifespan(Mail) as own:
                assert own.smtp() == "real server"
        assert list(Mail.server.overrides) == [Letter.text], "what is declared so"
    finally:
        Letter.text.reset_override()


# dependency-injector's own ways: on the class, so for everybody until they are undone


def test_dependency_injectors_override_of_a_provider_is_for_lifespans_opened_meanwhile():
    with lifespan(App), App.db.override(providers.Object("of dependency-injector")):
        assert used()[:2] == ("db", "ledger on db"), "the open lifespan has its own providers"
        with lifespan(App, share=False):
            assert used()[:2] == ("of dependency-injector", "ledger on of dependency-injector")
    with lifespan(App):
        assert used()[:2] == ("db", "ledger on db")


def test_dependency_injectors_override_may_be_a_resource_which_opens_and_closes():
    with App.db.override(providers.Resource(numbered, "stand-in")), lifespan(App):
        assert used()[:2] == ("stand-in", "ledger on stand-in")
    assert RECORD[0] == "open stand-in"
    assert "close stand-in" in RECORD
    assert "open db" not in RECORD


def test_dependency_injectors_override_of_a_whole_container_is_in_force_until_it_is_reset():
    @containers.override(App)
    class Other(containers.DeclarativeContainer):
        db = providers.Resource(numbered, "other db")

    try:
        with lifespan(App):
            assert used()[:2] == ("other db", "ledger on other db")
        with override(App, db="fake"), lifespan(App):
            assert used()[0] == "fake", "`override` stands over it"
    finally:
        App.reset_override()
    with lifespan(App):
        assert used() == REAL
