"""Secrets at rest: what is in force is stored with a task that is delayed, and a secret is not left there."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from dependency_injector import containers, providers
from prefect import flow, get_client, task
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import BaseModel, SecretBytes, SecretStr
from sqlalchemy import make_url

from prefect_lifespan import Provide, UsageError, inject, lifespan, override
from prefect_lifespan.provider_pickling import register
from prefect_lifespan.provider_pickling.sent_classes import hold, release
from prefect_lifespan.workers.stored_secrets import secret_in

PLANTED = "planted-7c1f"
ADDRESS = f"postgresql://app:{PLANTED}@db.example/shop"


class Settings(BaseModel):
    user: str = "app"
    password: SecretStr = SecretStr("")


def open_db(*_: object, **__: object) -> Iterator[str]:
    yield "open"


def closing_over(dsn: str) -> Any:
    return lambda: dsn


class App(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)
    db = providers.Resource(open_db, settings)


HOLD_A_SECRET = {
    "a SecretStr": providers.Object(SecretStr(PLANTED)),
    "SecretBytes": providers.Object([SecretBytes(PLANTED.encode())]),
    "settings": providers.Singleton(Settings, password=SecretStr(PLANTED)),
    "settings that are made": providers.Object(Settings(password=SecretStr(PLANTED))),
    "an address": providers.Resource(open_db, ADDRESS),
    "an address of SQLAlchemy": providers.Resource(open_db, providers.Object(make_url(ADDRESS))),
    "a password by name": providers.Resource(open_db, password=PLANTED),
    "a token in a dictionary": providers.Object({"api_token": PLANTED}),
    "what a partial binds": providers.Resource(partial(open_db, dsn=ADDRESS)),
    "what a function closes over": providers.Resource(closing_over(ADDRESS)),
}
HOLD_NONE = {
    "settings without": providers.Object(Settings()),
    "an address without": providers.Resource(open_db, "postgresql://app@db.example/shop"),
    "a masked address": providers.Object("postgresql://app:***@db.example/shop"),
    "a function with annotations": providers.Resource(lambda password: password, ""),
    "a class of secrets": providers.Factory(SecretStr, ""),
}


@pytest.mark.parametrize("provider", HOLD_A_SECRET.values(), ids=HOLD_A_SECRET)
def test_a_secret_is_found_wherever_it_would_be_pickled(provider: Any) -> None:
    register()
    assert secret_in((App, {"db": provider})) is not None


@pytest.mark.parametrize("provider", HOLD_NONE.values(), ids=HOLD_NONE)
def test_what_holds_none_passes(provider: Any) -> None:
    register()
    assert secret_in((App, {"db": provider})) is None


def test_a_secret_is_found_in_a_class_that_goes_by_value_and_has_been_pickled_before() -> None:
    class Local(containers.DeclarativeContainer):
        password = providers.Object(SecretStr(PLANTED))

    hold(Local, "a lifespan")
    cloudpickle.dumps(Local)
    found = secret_in((Local, {}))
    release("a lifespan")

    assert found is not None


@task
@inject
def length_of_password(_: int, settings: Settings = Provide[App.settings]) -> int:
    return len(settings.password.get_secret_value())


@pytest.fixture
def stored(prefect_server: str, tmp_path: Path) -> Iterator[Path]:
    """A folder that Prefect keeps results in."""
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        yield tmp_path


def bytes_in(folder: Path) -> bytes:
    """What Prefect has stored, with what it has written in base 64 as it was."""
    stored = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    # With what tells how it is written, or without.
    written = [json.loads(each)["result"].encode() if each.startswith(b"{") else each for each in stored]
    pickled = [base64.decodebytes(each) for each in written]
    return b"".join(stored + pickled)


@pytest.mark.parametrize("by", ["override", "lifespan"])
def test_a_task_that_would_leave_a_secret_in_the_result_storage_is_not_delayed(stored: Path, by: str) -> None:
    secret = Settings(password=SecretStr(PLANTED))
    given = {"settings": secret} if by == "lifespan" else None

    @flow
    @lifespan(App, overrides=given, eager=False)
    def delays() -> None:
        if by == "override":
            with override(App, settings=secret):
                length_of_password.delay(1)
        else:
            length_of_password.delay(1)

    with pytest.raises(UsageError, match=r"the override of .*App\.settings holds a secret \(a SecretStr\)") as error:
        delays()

    assert "Secret block" in str(error.value)
    assert PLANTED not in str(error.value)
    assert PLANTED.encode() not in bytes_in(stored)


def test_an_override_without_a_secret_is_stored_with_a_delayed_task(stored: Path) -> None:
    @flow
    @lifespan(App, overrides={"settings": Settings(user="told-apart")}, eager=False)
    def delays() -> None:
        length_of_password.delay(1)

    delays()

    assert b"told-apart" in bytes_in(stored), "the test sees what is stored"


def test_a_task_that_is_submitted_to_a_pool_has_the_secret_and_leaves_it_nowhere(stored: Path) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1), persist_result=True)  # pyright: ignore  Prefect's own types differ
    @lifespan(App, overrides={"settings": Settings(password=SecretStr(PLANTED))}, eager=False)
    def submits() -> int:
        return length_of_password.submit(1).result()

    assert submits() == len(PLANTED)

    with get_client(sync_client=True) as client:
        logs = pickle.dumps([log.message for log in client.read_logs()])
    assert bytes_in(stored), "it is stored that the flow has returned"
    assert PLANTED.encode() not in bytes_in(stored) + logs
