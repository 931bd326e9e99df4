"""Probing opens, checks and closes each resource once, goes on after a failure, and says what came of each."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dependency_injector import containers, providers
from pydantic_settings import BaseSettings

from prefect_lifespan import (
    InvalidContainerError,
    ProcessResource,
    TaskResource,
    UsageError,
    aprobe,
    override,
    probe,
    resource,
)


class Journal:
    """What initialisers, checks and closers did, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def opener(self, name: str, **policy: Any) -> Callable[..., Iterator[str]]:
        @resource(**policy)
        def opened(*_: object) -> Iterator[str]:
            self.entries.append(f"open {name}")
            try:
                yield name
            finally:
                self.entries.append(f"close {name}")

        return opened

    def async_opener(self, name: str, **policy: Any) -> Callable[..., AsyncIterator[str]]:
        @resource(**policy)
        async def opened(*_: object) -> AsyncIterator[str]:
            self.entries.append(f"open {name}")
            try:
                yield name
            finally:
                self.entries.append(f"close {name}")

        return opened

    def check(self, value: object) -> None:
        self.entries.append(f"check {value}")

    async def acheck(self, value: object) -> None:
        await asyncio.sleep(0)
        self.entries.append(f"check {value}")


@pytest.fixture
def journal() -> Journal:
    return Journal()


def declare(**declared: Any) -> Any:
    return type("App", (containers.DeclarativeContainer,), declared)


def broken(error: BaseException) -> Callable[..., str]:
    def opened(*_: object) -> str:
        raise error

    return opened


def statuses(report: Any) -> dict[str, str]:
    return {each.path: each.status for each in report.resources}


def errors(report: Any) -> dict[str, str]:
    return {each.path: each.error for each in report.resources if each.error is not None}


def test_each_resource_opens_in_order_is_checked_and_closes_in_reverse(journal: Journal) -> None:
    model = ProcessResource(journal.opener("model"))
    db = providers.Resource(journal.opener("db", health_check=journal.check), model)
    session = TaskResource(journal.opener("session", health_check=journal.acheck), providers.Factory(str, db))

    report = probe(declare(session=session, db=db, model=model))

    assert journal.entries == [
        "open model", "open db", "check db", "open session", "check session", "close session", "close db", "close model",
    ]  # fmt: skip
    assert report.ok
    assert statuses(report) == {"model": "ok", "db": "ok", "session": "ok"}
    assert errors(report) == {}


def test_the_report_has_the_seconds_of_each_step_and_is_what_json_can_hold(journal: Journal) -> None:
    checked = providers.Resource(journal.opener("db", health_check=lambda _: time.sleep(0.01)))
    report = probe(declare(db=checked, cache=providers.Resource(journal.opener("cache"))))

    plain = report.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    db, cache = plain["resources"]
    assert plain["container"] == "App"
    assert (db["path"], db["status"], db["error"]) == ("db", "ok", None)
    assert db["health_seconds"] >= 0.01
    assert all(isinstance(each[f"{step}_seconds"], float) for each in (db, cache) for step in ("opened", "closed"))
    assert cache["health_seconds"] is None
    assert str(report).splitlines()[0] == "App"
    assert str(report).splitlines()[1].startswith("  ok      db: opened in 0.")


def test_what_needs_something_that_has_failed_is_skipped_and_everything_else_goes_on(journal: Journal) -> None:
    db = providers.Resource(broken(ConnectionError("nobody listens")))
    session = TaskResource(journal.opener("session"), db)
    ledger = TaskResource(journal.opener("ledger"), providers.Factory(str, session))

    report = probe(declare(db=db, session=session, ledger=ledger, cache=providers.Resource(journal.opener("cache"))))

    assert journal.entries == ["open cache", "close cache"]
    assert not report.ok
    assert statuses(report) == {"db": "failed", "session": "skipped", "ledger": "skipped", "cache": "ok"}
    assert errors(report) == {
        "db": "ConnectionError: nobody listens",
        "session": "needs db, which has failed",
        "ledger": "needs session, which was skipped",
    }
    assert report.resources[0].opened_seconds is None


def test_an_unwell_resource_has_failed_and_closes_all_the_same(journal: Journal) -> None:
    def unwell(_: object) -> None:
        raise OSError("no answer")

    db = providers.Resource(journal.opener("db", health_check=unwell))
    report = probe(declare(db=db, user=providers.Resource(journal.opener("user"), db)))

    assert journal.entries == ["open db", "close db"]
    assert errors(report) == {"db": "its health check raised OSError: no answer", "user": "needs db, which has failed"}
    assert report.resources[0].opened_seconds is not None
    assert report.resources[0].health_seconds is None
    assert report.resources[0].closed_seconds is not None


def test_a_resource_that_does_not_close_has_failed(journal: Journal) -> None:
    def opened() -> Iterator[str]:
        yield "db"
        raise OSError("disk full")

    report = probe(declare(db=providers.Resource(opened), cache=providers.Resource(journal.opener("cache"))))

    assert statuses(report) == {"db": "failed", "cache": "ok"}
    assert errors(report) == {"db": "closing it raised OSError: disk full"}
    assert journal.entries == ["open cache", "close cache"]


def test_asynchronous_resources_and_checks_share_one_event_loop(journal: Journal) -> None:
    loops: list[object] = []

    async def remember(_: object) -> None:
        loops.append(asyncio.get_running_loop())

    client = providers.Resource(journal.async_opener("client", health_check=remember))
    feed = providers.Resource(journal.async_opener("feed", health_check=remember), client)
    report = probe(
        declare(client=client, feed=feed, db=providers.Resource(journal.opener("db", health_check=journal.check)))
    )

    assert report.ok, str(report)
    assert len(set(loops)) == 1
    assert journal.entries == [
        "open client", "open feed", "open db", "check db", "close db", "close feed", "close client",
    ]  # fmt: skip


def test_aprobe_does_the_same_on_the_loop_that_runs(journal: Journal) -> None:
    container = declare(client=providers.Resource(journal.async_opener("client", health_check=journal.acheck)))
    report = asyncio.run(aprobe(container))
    assert report.ok
    assert journal.entries == ["open client", "check client", "close client"]


def test_probe_where_a_loop_runs_names_aprobe(journal: Journal) -> None:
    container = declare(db=providers.Resource(journal.opener("db")))

    async def called() -> None:
        probe(container)

    with pytest.raises(UsageError, match=r"`await aprobe\(...\)`"):
        asyncio.run(called())
    assert journal.entries == []


def test_a_resource_that_turns_out_to_be_asynchronous_is_probed_on_a_loop(journal: Journal) -> None:
    db = providers.Resource(journal.opener("db"))
    late: Any = lambda *args: journal.async_opener("late")(*args)
    report = probe(declare(db=db, late=providers.Resource(late, db)))

    assert report.ok, str(report)
    assert journal.entries == ["open db", "close db", "open db", "open late", "close late", "close db"]


def test_only_names_what_is_opened_with_what_it_needs(journal: Journal) -> None:
    db = providers.Resource(journal.opener("db"))
    container = declare(db=db, other=providers.Resource(journal.opener("other")), ledger=providers.Factory(str, db))

    assert statuses(probe(container, only=["ledger"])) == {"db": "ok"}
    assert journal.entries == ["open db", "close db"]


def test_skip_leaves_out_resources_sub_containers_and_what_needs_them(journal: Journal) -> None:
    inner = declare(client=providers.Resource(journal.opener("client")))
    gateways: Any = providers.Container(inner)
    db = providers.Resource(journal.opener("db"))
    container = declare(db=db, gateways=gateways, user=providers.Resource(journal.opener("user"), gateways.client))

    report = probe(container, skip=["gateways"])

    assert statuses(report) == {"db": "ok", "gateways.client": "skipped", "user": "skipped"}
    assert errors(report) == {
        "gateways.client": "left out, as asked for", "user": "needs gateways.client, which was skipped",
    }  # fmt: skip
    assert report.ok


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ["dv"]}, "only names 'dv', which App does not declare; did you mean 'db'?"),
        ({"skip": ["dv"]}, "skip names 'dv', which App does not declare; did you mean 'db'?"),
        ({"skip": ["ledger"]}, "skip names App.ledger, a Factory, which is no resource"),
        ({"only": "db"}, "only is one text; give a list of paths, only=['db']"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        probe(declare(db=providers.Resource(str), ledger=providers.Factory(str)), **arguments)


def test_a_container_that_cannot_be_opened_is_refused_with_all_findings() -> None:
    with pytest.raises(InvalidContainerError, match="undefined-dependency"):
        probe(declare(url=providers.Dependency(), db=providers.Resource(str)))


def test_a_branch_that_its_selector_has_not_chosen_is_not_opened(journal: Journal) -> None:
    config: Any = providers.Configuration(default={"kind": "one"})
    one, two = (providers.Resource(journal.opener(name)) for name in ("one", "two"))
    container = declare(config=config, one=one, two=two, db=providers.Selector(config.kind, one=one, two=two))

    report = probe(container)

    assert statuses(report) == {"one": "ok", "two": "skipped"}
    assert errors(report) == {"two": "nothing that is in force needs it"}
    assert journal.entries == ["open one", "close one"]
    assert statuses(probe(container, only=["two"])) == {"two": "ok"}


def test_overrides_in_force_hold(journal: Journal) -> None:
    db = providers.Resource(journal.opener("db"))
    container = declare(db=db, user=providers.Resource(journal.opener("user"), db))
    with override(container, db="a fake"):
        assert statuses(probe(container)) == {"user": "ok"}
    with override(container, db=providers.Resource(journal.opener("fake"))):
        assert statuses(probe(container)) == {"db": "ok", "user": "ok"}


def test_settings_that_cannot_be_made_fail_the_first_that_needs_them_and_are_asked_for_once(journal: Journal) -> None:
    made: list[int] = []

    class Settings(BaseSettings):
        url: str

        def __init__(self) -> None:
            made.append(1)
            super().__init__()

    settings: Any = providers.Singleton(Settings)
    one, two = (TaskResource(journal.opener(name), settings.provided.url) for name in ("one", "two"))
    report = probe(declare(settings=settings, one=one, two=two))

    assert statuses(report) == {"one": "failed", "two": "skipped"}
    assert errors(report)["one"].startswith("ValidationError: 1 validation error for Settings url Field required")
    assert errors(report)["two"] == "needs settings, settings that could not be made"
    assert made == [1]


def test_retries_of_policies_are_off_unless_asked_for() -> None:
    attempts: list[int] = []

    @resource(retries=2, retry_delay_seconds=0)
    def opened() -> str:
        attempts.append(1)
        if len(attempts) < 2:
            raise OSError("not yet")
        return "db"

    container = declare(db=providers.Resource(opened))
    assert statuses(probe(container)) == {"db": "failed"}
    attempts.clear()
    assert statuses(probe(container, retries=True)) == {"db": "ok"}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_hangs_is_left_behind_at_the_limit(journal: Journal, asynchronous: bool) -> None:
    released = threading.Event()

    def hangs(*_: object) -> Iterator[str]:
        released.wait(30)
        yield ""

    @resource(health_check=lambda _: released.wait(30))
    def hangs_when_asked() -> str:
        return "db"

    others = {"client": providers.Resource(journal.async_opener("client"))} if asynchronous else {}
    opening, asking = providers.Resource(hangs), providers.Resource(hangs_when_asked)
    plain = providers.Resource(dict)  # which has nothing to close, so that the next one opens in its thread
    try:
        report = probe(declare(plain=plain, opening=opening, asking=asking, **others), timeout_seconds=0.1)
    finally:
        released.set()

    assert errors(report)["opening"].startswith("ResourceTimeoutError: App.opening did not open within 0.1 s.")
    assert errors(report)["asking"].startswith("its health check raised TimeoutError: no answer within 0.1 s")
    assert all(status == "ok" for path, status in statuses(report).items() if path in ("client", "plain"))


def test_a_limit_is_no_excuse_to_use_a_resource_in_another_thread_than_its_own() -> None:
    @resource(health_check=lambda db: db.execute("SELECT 1"))
    @contextmanager
    def opened() -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(":memory:")
        yield connection
        connection.close()

    report = probe(declare(db=providers.Resource(opened)), timeout_seconds=30)
    assert report.ok, str(report)


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout_seconds is 0; it must be greater than zero, or None"):
        probe(declare(db=providers.Resource(str)), timeout_seconds=0)


def test_secrets_do_not_reach_the_report() -> None:
    def opened(password: str) -> str:
        raise OSError(f"cannot log in with {password} at postgresql://me:{password}@host/db")

    report = probe(declare(db=providers.Resource(opened, "hunter22")))
    assert errors(report)["db"] == "OSError: cannot log in with *** at postgresql://me:***@host/db"


@pytest.mark.parametrize("timeout_seconds", [None, 20])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_interruption_closes_what_is_open_and_goes_on(
    journal: Journal, asynchronous: bool, timeout_seconds: float | None
) -> None:
    first = journal.async_opener("first") if asynchronous else journal.opener("first")

    def interrupted(_: object) -> str:
        signal.raise_signal(signal.SIGINT)
        return "second"

    second = providers.Resource(interrupted, providers.Resource(first))
    container = declare(second=second, third=providers.Resource(journal.opener("third"), second))

    with pytest.raises(KeyboardInterrupt):
        probe(container, timeout_seconds=timeout_seconds)
    assert journal.entries[0] == "open first"
    assert journal.entries[-1] == "close first"
    assert "open third" not in journal.entries


def test_context_variables_that_an_initialiser_sets_do_not_stay_with_the_caller() -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def opened() -> str:
        variable.set("set")
        return "db"

    @resource(health_check=lambda _: variable.get() == "set" or pytest.fail("not set"))
    def user(_: object) -> str:
        return variable.get()

    db = providers.Resource(opened)
    assert probe(declare(db=db, user=providers.Resource(user, db))).ok
    assert variable.get() == "unset"
