"""Flows whose tasks pass their lifespan on, fail, or leave work behind; they leave marks as those of `journey` do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan
from tests.workers.programs.journey import Broken, Handle, mark, opened, wait_for

# How long a task looks whether what it uses is closed under it; what is right never takes that long.
LOOKING_SECONDS = 1.0


class Part(containers.DeclarativeContainer):
    level = providers.Dependency(default="declared")
    given = providers.Dependency()


class Asked(containers.DeclarativeContainer):
    """What a test overrides on the class, once for all: dependency-injector cannot take all of it back."""

    marks = providers.Object("")
    limit = providers.Dependency(instance_of=int, default=1)
    named = providers.Object("named")
    part = providers.Container(Part, given=named)
    users = providers.DependenciesContainer()


class App(containers.DeclarativeContainer):
    marks = providers.Object("")
    db = providers.Resource(opened, marks, "db")
    other = providers.Resource(opened, marks, "other")


class NotElsewhere(Exception):
    """An exception that no other process can unpickle."""

    def __reduce__(self) -> Any:
        return _here_alone, (os.getpid(),)


def _here_alone(pid: int) -> NotElsewhere:
    if pid != os.getpid():
        raise ImportError("there is no such package here")
    return NotElsewhere()


def unclosable(marks: str) -> Any:
    """A resource whose closing fails with what the driver cannot unpickle."""
    mark(marks, "open unclosable")
    try:
        yield Handle("unclosable")
    finally:
        raise NotElsewhere


class Unclosable(containers.DeclarativeContainer):
    marks = providers.Object("")
    unclosable = providers.Resource(unclosable, marks)


@task
@inject
def use(number: int, db: Handle = Provide[App.db], marks: str = Provide[App.marks]) -> int:
    mark(marks, f"use {number}")
    return db.use()


@task
def passes_on() -> int:
    """Needs nothing itself."""
    return use.submit(1).result()


@task
@inject
def lasts(number: int, db: Handle = Provide[App.db], marks: str = Provide[App.marks]) -> None:
    """Is at work when the body of the flow ends, and looks whether anything is closed under it."""
    db.use()
    mark(marks, f"lasts {number}")
    wait_for(marks, "body ends")
    deadline = time.monotonic() + LOOKING_SECONDS
    while time.monotonic() < deadline:
        db.use()
        time.sleep(0.02)
    mark(marks, f"lasted {number}")


@task
@inject
def leaves_behind(count: int, marks: str = Provide[App.marks], db: Handle = Provide[App.db]) -> None:
    """Submits what it does not wait for."""
    for number in range(count):
        use.submit(number)
    mark(marks, f"{count} left behind")


@task
@inject
def ask(
    limit: int = Provide[Asked.limit],
    level: str = Provide[Asked.part.container.level],
    given: str = Provide[Asked.part.container.given],
    user: str = Provide["users.user"],
) -> tuple[int, str, str, str]:
    return limit, level, given, user


@flow
@lifespan(App, eager=[App.other, "db"], share=False, overrides=lambda marks: {"marks": marks})
def opens_some(marks: str) -> None:
    """Opens just what it names."""


@task
def runs_a_subflow(marks: str) -> None:
    opens_some(marks)


@task
@inject
def use_unclosable(unclosable: Handle = Provide[Unclosable.unclosable]) -> int:
    return unclosable.use()


def _in(container: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda function: flow(
        lifespan(container, eager=False, overrides=lambda marks: {"marks": marks}, **options)(function)
    )


@_in(App)
def passing(marks: str) -> int:
    return passes_on.submit().result()


@_in(App)
def failing_beside(marks: str) -> None:
    """Fails while a task is at work."""
    lasts.submit(0)
    wait_for(marks, "lasts 0")
    mark(marks, "body ends")
    raise Broken("the body")


@_in(App, pending="cancel")
def cancelling_beside(marks: str) -> None:
    """Is done while a task is at work."""
    lasts.submit(0)
    wait_for(marks, "lasts 0")
    mark(marks, "body ends")


@_in(App)
def leaving_behind(marks: str) -> None:
    leaves_behind.submit(6).result()


@_in(Asked)
def asking(marks: str) -> tuple[int, str, str, str]:
    return ask.submit().result()


@_in(App)
def delegating(marks: str) -> None:
    runs_a_subflow.submit(f"{marks}.child").result()


@_in(App)
def failing_with_what_stays_here(marks: str) -> None:
    use.submit(0).result()
    raise NotElsewhere


@_in(Unclosable)
def closing_badly(marks: str) -> None:
    use_unclosable.submit().result()


@_in(Unclosable)
def failing_and_closing_badly(marks: str) -> None:
    use_unclosable.submit().result()
    raise Broken("the body")
