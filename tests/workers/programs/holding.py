"""A flow whose tasks hold a block and a slot of a global limit each, and one of both for their process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from dependency_injector import containers
from prefect import flow, task
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan
from prefect_lifespan.blocks import open_block
from prefect_lifespan.concurrency import concurrency_slots

NAME = "tests-holding"
WIDE = f"{NAME}-wide"


class TestsLedger(Block):
    """A block that notes when it is entered and left, in which process."""

    __test__ = False
    path: str

    def note(self, what: str) -> None:
        with Path(self.path).open("a", encoding="utf-8") as marks:
            marks.write(f"{os.getpid()} {what}\n")

    def __enter__(self) -> Self:
        self.note("+")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.note(f"- {kind.__name__ if kind else None}")


class App(containers.DeclarativeContainer):
    session = TaskResource(open_block, TestsLedger, NAME)
    slot = TaskResource(concurrency_slots, NAME, timeout_seconds=200)
    wide = ProcessResource(open_block, f"testsledger/{WIDE}")
    wide_slot = ProcessResource(concurrency_slots, WIDE, timeout_seconds=200)


def held(limit: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit).active_slots


@task
@inject
def use(
    number: int, session: TestsLedger = Provide[App.session], slot: Sequence[str] = Provide[App.slot]
) -> tuple[int, int]:
    session.note("used")
    if number == 1:
        raise ValueError
    return os.getpid(), held(slot[0])


@task
@inject
def use_widely(
    number: int, wide: TestsLedger = Provide[App.wide], slot: Sequence[str] = Provide[App.wide_slot]
) -> tuple[int, int]:
    wide.note("used")
    return os.getpid(), held(slot[0])


@flow
@lifespan(App)
def holding() -> list[Any]:
    return [future.result(raise_on_failure=False) for future in [use.submit(number) for number in range(4)]]


@flow
@lifespan(App)
def holding_widely() -> list[Any]:
    return [future.result() for future in [use_widely.submit(number) for number in range(4)]]
