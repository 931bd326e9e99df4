"""A container is run through every case in which one thing fails; what does not close as it must is told, all at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, ResourceCloseError, TaskResource, lifespan, override, resource
from prefect_lifespan.engine import Event, observers
from prefect_lifespan.engine.events import Happening, watchers
from prefect_lifespan.errors import UsageError
from prefect_lifespan.testing import CleanClosing, assert_closes_cleanly
from prefect_lifespan.testing.cases import Expected, problems_of

OPEN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    OPEN.clear()


def opened(name: str, *needs: object) -> Iterator[str]:
    OPEN.append(name)
    try:
        yield name
    finally:
        OPEN.remove(name)


async def opened_on_a_loop(name: str, *needs: object) -> AsyncIterator[str]:
    OPEN.append(name)
    try:
        await asyncio.sleep(0)
        yield name
    finally:
        await asyncio.sleep(0)
        OPEN.remove(name)


def committing_whatever_happened(name: str) -> Iterator[str]:
    try:
        yield name
    finally:
        if name == "broken":
            raise OSError("disk full")


def refusing_to_roll_back(name: str) -> Iterator[str]:
    try:
        yield name
    except BaseException:
        raise RuntimeError("cannot roll back") from None


def leaking(name: str) -> Iterator[str]:
    OPEN.append(name)
    yield name
    OPEN.remove(name)  # never reached when the body fails


@resource(on_close_error="warn")
def warning_only(name: str) -> Iterator[str]:
    yield from opened(name)


class Gateways(containers.DeclarativeContainer):
    api = providers.Resource(opened, "api")


class App(containers.DeclarativeContainer):
    dsn = providers.Resource(opened, "dsn")
    engine = providers.Factory("engine of {}".format, dsn)
    db = providers.Resource(opened, "db", engine)
    session = TaskResource(opened, "session", db)
    model = ProcessResource(opened, "model")
    gateways = providers.Container(Gateways)
    cache = providers.Resource(warning_only, "cache")


class Asynchronous(containers.DeclarativeContainer):
    first = providers.Resource(opened_on_a_loop, "first")
    blocking = providers.Resource(opened, "blocking", first)
    second = providers.Resource(opened_on_a_loop, "second", blocking)
    session = TaskResource(opened_on_a_loop, "session", second)


class Refusing(containers.DeclarativeContainer):
    db = providers.Resource(refusing_to_roll_back, "db")
    ok = providers.Resource(opened, "ok")


class Incomplete(containers.DeclarativeContainer):
    url = providers.Dependency(instance_of=str)
    db = providers.Resource(opened, "db", url)


def nothing_open() -> None:
    assert OPEN == []


def names(report: CleanClosing) -> list[str]:
    return [case.name for case in report.cases]


def test_every_resource_of_every_lifetime_is_tried():
    report = assert_closes_cleanly(App, after_each=nothing_open)
    assert names(report)[:4] == ["nothing fails", "the body fails", "dsn does not open", "dsn does not close"]
    tried = {name.partition(" ")[0] for name in names(report)[2:]}
    assert tried == {"dsn", "db", "session", "model", "gateways.api", "cache"}
    assert report.failures == ()
    assert str(report).startswith("App: 14 cases, 0 failed\n  ok      nothing fails\n")
    every = {event.path for event in report.cases[0].events if event.kind == "opened"}
    assert every == tried


def test_asynchronous_resources_are_cancelled_as_they_open_as_well():
    report = assert_closes_cleanly(Asynchronous, after_each=nothing_open)
    assert len(report.cases) == 2 + 2 * 4 + 3
    assert "second is cancelled as it opens" in names(report)
    assert "blocking is cancelled as it opens" not in names(report)


def test_it_works_inside_an_asynchronous_test_and_an_open_lifespan():
    async def main() -> CleanClosing:
        async with lifespan(Asynchronous):
            return assert_closes_cleanly(Asynchronous)

    assert len(asyncio.run(main()).cases) == 13
    with lifespan(App) as container:
        assert len(assert_closes_cleanly(App).cases) == 14
        assert container.db() == "db"


def test_an_initialiser_that_turns_out_to_be_asynchronous_is_run_on_a_loop():
    class Hidden(containers.DeclarativeContainer):
        db = providers.Resource(lambda: opened_on_a_loop("db"))

    report = assert_closes_cleanly(Hidden, after_each=nothing_open)
    assert names(report) == ["nothing fails", "the body fails", "db does not open", "db does not close"]


def test_what_opened_before_that_turned_out_is_not_counted_with_the_run_on_a_loop():
    class Client:
        async def __aenter__(self) -> str:
            return "client"

        async def __aexit__(self, *error: object) -> None:
            await asyncio.sleep(0)

    class Hidden(containers.DeclarativeContainer):
        db = providers.Resource(opened, "db")
        client = providers.Resource(lambda db: Client(), db)

    report = assert_closes_cleanly(Hidden, after_each=nothing_open)
    assert len(report.cases) == 6
    assert [event.kind for event in report.cases[0].events if event.path == "db"] == ["opened", "closed"]


def test_all_failures_are_told_at_once_with_what_was_recorded():
    with pytest.raises(AssertionError) as failed:
        assert_closes_cleanly(Refusing)
    told = str(failed.value)
    assert "Refusing: 6 cases, 2 failed" in told
    assert "FAILED  the body fails\n          db failed to close: RuntimeError('cannot roll back')" in told
    assert "FAILED  ok does not open" in told
    assert "Closing Refusing.db failed after" in told
    assert "ok      db does not open" in told


def test_where_nothing_fails_and_something_is_wrong_the_rest_is_not_tried():
    class Broken(containers.DeclarativeContainer):
        db = providers.Resource(committing_whatever_happened, "broken")

    with pytest.raises(AssertionError) as failed:
        assert_closes_cleanly(Broken)
    told = str(failed.value)
    assert "Broken: 1 cases, 1 failed" in told
    assert "OSError('disk full') came out, not nothing" in told
    assert "db failed to close: OSError('disk full')" in told


def test_what_an_initialiser_forgets_is_found_by_looking_after_each_case():
    class Leaking(containers.DeclarativeContainer):
        db = providers.Resource(leaking, "db")
        other = providers.Resource(opened, "other")

    with pytest.raises(AssertionError, match="after_each: AssertionError: assert"):
        assert_closes_cleanly(Leaking, after_each=nothing_open)
    assert_closes_cleanly(Leaking)


def test_what_after_each_says_by_pytest_fails_its_case_and_the_others_are_run():
    calls: list[int] = []

    def looking() -> None:
        calls.append(len(calls))
        with pytest.raises(ValueError, match="closed") if len(calls) == 2 else nullcontext():
            pass
        if len(calls) == 3:
            pytest.fail("of the third")

    with pytest.raises(AssertionError) as failed:
        assert_closes_cleanly(Refusing, {"db": "a value"}, after_each=looking)
    told = str(failed.value)
    assert "Refusing: 4 cases, 2 failed" in told
    assert "FAILED  the body fails\n          after_each: Failed: DID NOT RAISE" in told
    assert "FAILED  ok does not open\n          after_each: Failed: of the third" in told


@pytest.mark.parametrize("stopping", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("container", [App, Asynchronous])
def test_what_is_to_end_the_program_ends_the_trial(stopping: type[BaseException], container: Any):
    def stop(*_: object) -> None:
        raise stopping

    calls: list[int] = []
    with pytest.raises(stopping):
        assert_closes_cleanly(container, after_each=stop)
    with pytest.raises(stopping):
        path = "cache" if container is App else "blocking"
        assert_closes_cleanly(container, {path: providers.Resource(stop)}, after_each=lambda: calls.append(1))
    assert calls == [], "no case came to its end"


def test_overrides_are_in_force_and_what_they_bring_is_tried():
    class Fakes(containers.DeclarativeContainer):
        dsn = providers.Object("a value")
        db = providers.Resource(opened, "fake", providers.Resource(opened, "nameless"))

    report = assert_closes_cleanly(App, Fakes, after_each=nothing_open)
    assert "dsn does not open" not in names(report)
    assert "db does not close" in names(report)
    assert report.untried == ("db(override)(argument 1)",)
    assert "untried db(override)(argument 1)" in str(report)
    with override(App, Fakes):
        assert names(assert_closes_cleanly(App, {"gateways.api": "fake"})) == [
            name for name in names(report) if "gateways" not in name
        ]


@pytest.mark.parametrize("arguments", [{"max_workers": 3}, {"on_close_error": "warn"}, {"eager": False}])
def test_arguments_are_those_of_a_lifespan(arguments: Any):
    assert len(assert_closes_cleanly(App, **arguments).cases) == 14
    assert len(assert_closes_cleanly(Asynchronous, **arguments).cases) == 13


def test_what_check_refuses_is_refused_before_anything_opens():
    with pytest.raises(UsageError, match=r"Incomplete cannot be opened:\n\nundefined-dependency: Incomplete\.url"):
        assert_closes_cleanly(Incomplete)
    assert len(assert_closes_cleanly(Incomplete, {"url": "sqlite://"}).cases) == 4
    with pytest.raises(TypeError, match="expected a container class"):
        assert_closes_cleanly("App")  # pyright: ignore[reportArgumentType]


def test_nothing_observes_any_more_afterwards():
    before = observers.observers
    assert_closes_cleanly(App)
    assert observers.observers == before
    assert watchers == []


# What a correct engine never lets happen, told from events


def event(kind: Any, path: str, **values: Any) -> Event:
    return Event(kind, "App", path, 0.0, **{"opening": path, **values})


def test_what_closes_before_its_user_or_not_at_all_is_a_problem():
    events = [event("opened", "dsn"), event("opened", "db"), event("closed", "dsn"), event("closed", "db")]
    assert list(problems_of(events, {"db": ["dsn"], "dsn": []})) == ["dsn closed before db, which needs it"]
    assert list(problems_of(events[:3], {"db": ["dsn"]})) == ["db opened and did not close"]
    assert list(problems_of([*events, events[2]], {})) == ["dsn closed 2 times"]


def test_a_wrong_error_or_outcome_is_a_problem():
    wanted, other = ValueError("wanted"), KeyError("other")
    assert list(Expected(wanted).differs(other, [])) == ["KeyError(\"'other'\") came out, not ValueError('wanted')"]
    assert list(Expected().differs(other, [])) == ["KeyError(\"'other'\") came out, not nothing"]
    assert list(Expected(wanted, closing="db", warns=True).differs(other, [])) == [
        "KeyError(\"'other'\") came out, not nothing"
    ]
    assert list(Expected(asyncio.CancelledError).differs(None, [])) == ["nothing came out, not CancelledError"]
    failed = ResourceCloseError("1 resource of App failed to close", [other])
    told = str(failed)
    assert told.endswith("(docs/errors.md#resourcecloseerror)")
    assert list(Expected(wanted, closing="db").differs(failed, [])) == [
        f"ResourceCloseError({told!r}) came out, not ValueError('wanted')"
    ]
    both = ResourceCloseError("2 resources of App failed to close", [other, wanted])
    assert list(Expected(wanted, closing="db").differs(both, [])) == []
    told = list(Expected(wanted, outcome=wanted).differs(wanted, [Happening(event("closed", "db"), None, None, other)]))
    assert told == ["db closed with KeyError(\"'other'\") as its outcome, not ValueError('wanted')"]
