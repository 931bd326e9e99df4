"""A container class that goes by value is pickled once while a lifespan holds it, and loaded once where it arrives."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject
from prefect_lifespan.provider_pickling.sent_classes import hold, release
from tests.provider_pickling.travelling import Elsewhere, loads


class Counted:
    """How often it is pickled is how often the class is that declares it."""

    times = 0

    def __reduce__(self) -> tuple[Callable[[], str], tuple[()]]:
        Counted.times += 1
        return str, ()


@pytest.fixture
def app(shop: Any) -> Iterator[Any]:
    """A container that nobody can import, held by a lifespan."""

    class App(containers.DeclarativeContainer):
        counted = providers.Object(Counted())
        db = providers.Resource(shop.open_db, "sqlite://")
        ledger = providers.Factory(dict, db=db)

    Counted.times = 0
    hold(App, "lifespan")
    yield App
    release("lifespan")


def task_of(app: Any) -> bytes:
    """What is sent of a function, as with each task."""

    @inject
    def store(db: str = Provide[app.db], ledger: Any = Provide[app.ledger]) -> None: ...

    return cloudpickle.dumps((store, Provide[app.db]))


def test_it_is_pickled_once_for_all_that_is_sent_of_it(app: Any) -> None:
    for _ in range(3):
        task_of(app)

    assert Counted.times == 1


def test_each_process_has_one_of_it_whatever_names_it(app: Any, elsewhere: Elsewhere) -> None:
    tasks = [task_of(app), task_of(app)]
    itself = cloudpickle.dumps(app)
    marked = "[each[1].provider for each in arrived[:2]]"

    assert elsewhere(f"[p is last.db is last.ledger.kwargs['db'] for p in {marked}]", *tasks, itself) == "[True, True]"
    assert elsewhere(f"[p is first.db for p in {marked.replace('[:2]', '[1:]')}]", itself, *tasks) == "[True, True]"


def test_what_it_declares_anew_is_sent_with_it(app: Any, elsewhere: Elsewhere) -> None:
    before = task_of(app)
    app.fake = providers.Object("fake")

    assert elsewhere("last.provider()", before, cloudpickle.dumps(Provide[app.fake])) == "'fake'"


def test_what_has_changed_on_it_arrives_with_the_next_lifespan_also_where_it_has_been_before(
    app: Any, elsewhere: Elsewhere
) -> None:
    sent = [cloudpickle.dumps((Provide[app.db], Provide[app.ledger]))]
    app.db.set_args("postgresql://")
    app.ledger.override(providers.Object("fake"))
    hold(app, "another lifespan")
    sent.append(cloudpickle.dumps((Provide[app.db], Provide[app.ledger])))
    release("another lifespan")
    db, ledger = "last[0].provider", "last[1].provider"

    facts = f"{db} is first[0].provider, {db}.args, {ledger} is first[1].provider, {ledger}()"
    assert elsewhere(facts, *sent) == "(True, ('postgresql://',), True, 'fake')"
    back = [*sent, sent[0]]
    assert elsewhere(f"{db}.args, {ledger}() == {{'db': 'connection to sqlite://'}}", *back) == "(('sqlite://',), True)"


def test_what_its_functions_find_may_be_another_when_nobody_holds_it_any_more(elsewhere: Elsewhere) -> None:
    url = "first"

    def opened() -> Iterator[str]:
        yield url

    class App(containers.DeclarativeContainer):
        db = providers.Resource(opened)

    sent: list[bytes] = []
    for now in ("first", "second"):
        url = now
        hold(App, now)
        sent.append(cloudpickle.dumps(Provide[App.db]))
        release(now)

    assert elsewhere("first.provider is last.provider, last.provider.init()", *sent) == "(True, 'second')"


def test_what_has_changed_on_it_arrives_with_a_lifespan_also_where_it_came_without_one(
    shop: Any, elsewhere: Elsewhere
) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(shop.open_db, "sqlite://")

    sent = [cloudpickle.dumps(Provide[App.db])]
    App.db.set_args("postgresql://")
    hold(App, "lifespan")
    sent.append(cloudpickle.dumps(Provide[App.db]))
    release("lifespan")

    assert elsewhere("first.provider is last.provider, last.provider.args", *sent) == "(True, ('postgresql://',))"


class Releasing:
    """What is pickled while the last lifespan that holds its class ends, in another thread perhaps."""

    def __reduce__(self) -> tuple[Callable[[], str], tuple[()]]:
        release("ending")
        return str, ()


def test_what_was_pickled_as_its_last_lifespan_ended_is_not_what_the_next_one_sends(elsewhere: Elsewhere) -> None:
    url = "first"

    def opened() -> Iterator[str]:
        yield url

    class App(containers.DeclarativeContainer):
        db = providers.Resource(opened)
        releasing = providers.Object(Releasing())

    hold(App, "ending")
    sent = [cloudpickle.dumps(Provide[App.db])]
    url = "second"
    hold(App, "next")
    sent.append(cloudpickle.dumps(Provide[App.db]))
    release("next")

    assert elsewhere("last.provider.init()", *sent) == "'second'"


def test_its_own_process_knows_better_than_what_comes_back(app: Any) -> None:
    before = task_of(app)
    app.db.set_args("postgresql://")

    assert loads(before)[1].provider is app.db
    assert app.db.args == ("postgresql://",)


def test_what_it_derives_from_is_pickled_once_with_it_and_once_by_itself(app: Any, elsewhere: Elsewhere) -> None:
    class Derived(app):
        more = providers.Factory(dict, db=app.db)

    hold(Derived, "derived")
    sent = [cloudpickle.dumps((Provide[Derived.more], Provide[app.db], Derived)) for _ in range(3)]
    release("derived")

    assert Counted.times == 2
    facts = "last[2].more is first[0].provider, last[2].db is last[1].provider is last[0].provider.kwargs['db']"
    assert elsewhere(facts, *sent) == "(True, True)"


def test_what_has_changed_on_what_it_derives_from_arrives_with_it(shop: Any, elsewhere: Elsewhere) -> None:
    class Base(containers.DeclarativeContainer):
        db = providers.Resource(shop.open_db, "sqlite://")

    class Derived(Base):
        more = providers.Factory(dict, db=Base.db)

    sent: list[bytes] = []
    for lifespan, url in [("one", "sqlite://"), ("two", "postgresql://")]:
        Base.db.set_args(url)
        hold(Derived, lifespan)
        sent.append(cloudpickle.dumps(Provide[Derived.more]))
        release(lifespan)

    facts = "first.provider is last.provider, last.provider.kwargs['db'].args"
    assert elsewhere(facts, *sent) == "(True, ('postgresql://',))"


def test_classes_that_derive_from_each_other_are_not_sent_many_times_over(shop: Any) -> None:
    def bytes_of(levels: int) -> int:
        container: Any = containers.DeclarativeContainer
        for level in range(levels):
            container = type(f"App{level}", (container,), {f"db{level}": providers.Resource(shop.open_db, str(level))})
        hold(container, "lifespan")
        sent = cloudpickle.dumps(Provide[getattr(container, f"db{levels - 1}")])
        release("lifespan")
        return len(sent)

    one, two, nine = map(bytes_of, (1, 2, 9))

    assert nine < one + 12 * (two - one)  # it doubled with each


def test_two_threads_that_are_the_first_to_load_it_have_one_of_it(shop: Any, elsewhere: Elsewhere) -> None:
    met = shop.with_a_meeting()
    hold(met, "lifespan")
    data = cloudpickle.dumps(cloudpickle.dumps((met, Provide[met.whole])))
    release("lifespan")
    facts = "one[0] is other[0], one[1].provider is other[1].provider is one[0].whole, other[1].provider()"

    seen = elsewhere(f"[({facts}) for one, other in [__import__('shop').at_once(first)]][0]", data)

    db = "{'db': 'connection to sqlite://'}"
    assert seen == f"(True, True, {{'ledger': {db}, 'stripe': {db}}})"


def test_plain_pickle_has_its_class_by_name_as_ever(app: Any) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="App"):
        pickle.dumps(app.db)
