"""Slots of global concurrency limits on a real API: never more than the limit, given back whatever happens."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.runtime import task_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_lifespan import Provide, TaskResource, UsageError, inject, lifespan
from prefect_lifespan.concurrency import LimitNotFoundError, concurrency_slots

LIMIT = os.environ.get("LIMIT_NAME", "")
WITNESS = os.environ.get("WITNESS", "")

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


@pytest.fixture
def limit(prefect_server: str) -> Iterator[str]:
    """A limit of three."""
    name = f"warehouse-{uuid.uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=3))
    yield name
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(name)


def held(limit: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit).active_slots


def app_of(*arguments: Any, **options: Any) -> Any:
    class App(containers.DeclarativeContainer):
        slots = providers.Resource(concurrency_slots, *arguments, **options)

    return App


def test_slots_are_held_while_open_and_given_back_also_after_an_exception(limit: str) -> None:
    with lifespan(app_of(limit, occupy=2)) as container:
        assert container.slots() == (limit,)
        assert held(limit) == 2
    assert held(limit) == 0
    with pytest.raises(OSError), lifespan(app_of([limit])):
        raise OSError
    assert held(limit) == 0


def test_on_an_event_loop_too_and_after_a_cancellation(limit: str) -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async def hold() -> None:
            async with lifespan(app_of(limit)):
                opened.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await asyncio.wait_for(opened.wait(), 60)
        assert await asyncio.to_thread(held, limit) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert held(limit) == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_slots_of_a_run_that_a_task_is_the_first_to_ask_for_stay_held_when_that_task_ends(
    limit: str, kind: str
) -> None:
    app = app_of(limit)

    @task
    @inject
    def ask(slots: object = Provide[app.slots]) -> int:
        return held(limit)

    @task
    @inject
    async def aask(slots: object = Provide[app.slots]) -> int:
        return await asyncio.to_thread(held, limit)

    @flow
    @lifespan(app, eager=False)
    def run() -> list[int]:
        return [ask(), held(limit), ask(), held(limit)]

    @flow
    @lifespan(app, eager=False)
    async def arun() -> list[int]:
        return [await aask(), await asyncio.to_thread(held, limit), await aask()]

    found: Any = run() if kind == "sync" else asyncio.run(arun())
    assert set(found) == {1}
    assert held(limit) == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_task_has_slots_of_its_own_given_back_with_it(limit: str, kind: str) -> None:
    class App(containers.DeclarativeContainer):
        slots = TaskResource(concurrency_slots, limit, occupy=3, timeout_seconds=100)

    @task(retries=1)
    @inject
    def ask(number: int, slots: object = Provide[App.slots]) -> int:
        if number and task_run.get_run_count() == 1:
            raise OSError
        return held(limit)

    @task
    @inject
    async def aask(number: int, slots: object = Provide[App.slots]) -> int:
        return await asyncio.to_thread(held, limit)

    @flow
    @lifespan(App)
    def run() -> list[int]:
        return [future.result() for future in [ask.submit(number) for number in range(3)]]

    @flow
    @lifespan(App)
    async def arun() -> list[int]:
        return await asyncio.gather(*(aask(number) for number in range(3)))

    found: Any = run() if kind == "sync" else asyncio.run(arun())
    assert found == [3] * 3, "one after another, as all three slots are one task's"
    assert held(limit) == 0


def test_one_that_gets_none_in_time_is_told_which(limit: str) -> None:
    with (
        lifespan(app_of(limit, occupy=3)),
        pytest.raises(TimeoutError, match=rf"{limit} were not to be had within 0\.5 s"),
        lifespan(app_of(limit, timeout_seconds=0.5)),
    ):
        pytest.fail("the body does not run")
    assert held(limit) == 0


def test_a_limit_that_is_not_there_is_told_with_what_creates_it(prefect_server: str) -> None:
    with pytest.raises(LimitNotFoundError, match="prefect gcl create no-such --limit N"), lifespan(app_of("no-such")):
        pytest.fail("the body does not run")

    async def main() -> None:
        async with lifespan(app_of("no-such")):
            pytest.fail("the body does not run")

    with pytest.raises(LimitNotFoundError):
        asyncio.run(main())


@pytest.mark.parametrize("wrong", [{"occupy": 0}, {"lease_seconds": 5}, {"names": ""}, {"names": []}, {"names": [""]}])
def test_what_the_api_would_refuse_or_pass_over_is_told_at_once(wrong: Any) -> None:
    with pytest.raises(UsageError, match="concurrency_slots"):
        concurrency_slots(**{"names": "warehouse"} | wrong)


def test_more_slots_than_the_limit_has_are_no_reason_to_wait_for_ever(limit: str) -> None:
    with (
        pytest.raises(ConcurrencySlotAcquisitionError, match="4"),
        lifespan(app_of(limit, occupy=4, timeout_seconds=100)),
    ):
        pytest.fail("the body does not run")


def note(change: int) -> None:
    """One line in the witness, in the order in which it happened."""
    with Path(WITNESS).open("a", encoding="utf-8") as witness:
        fcntl.flock(witness, fcntl.LOCK_EX)
        witness.write(f"{change}\n")


def warehouse(slots: object) -> Iterator[str]:
    note(1)
    time.sleep(0.2)  # work, during which others may try
    yield "warehouse"
    note(-1)


class Fleet(containers.DeclarativeContainer):
    slots = providers.Resource(concurrency_slots, LIMIT, timeout_seconds=150)
    warehouse = providers.Resource(warehouse, slots)


@flow
@lifespan(Fleet)
def one_of_many() -> None: ...


@flow
@lifespan(Fleet)
def held_until_terminated() -> None:
    print("held", flush=True)
    time.sleep(100)


@flow
@lifespan(Fleet)
async def aheld_until_terminated() -> None:
    print("held", flush=True)
    await asyncio.sleep(100)


def started(limit: str, api: str, what: str, witness: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PREFECT_API_URL": api, "LIMIT_NAME": limit, "WITNESS": str(witness)}
    command = [sys.executable, __file__, what]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own


def test_eight_runs_in_four_processes_never_hold_more_than_three(
    limit: str, prefect_server: str, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    programs = [started(limit, prefect_server, "two runs", witness) for _ in range(4)]
    for program in programs:
        program.communicate(timeout=200)
    assert [program.returncode for program in programs] == [0] * 4

    now = most = 0
    changes = [int(line) for line in witness.read_text().split()]
    for change in changes:
        now += change
        most = max(most, now)
    assert (len(changes), now) == (16, 0)
    assert 1 <= most <= 3
    assert held(limit) == 0


@pytest.mark.parametrize("what", ["hold", "ahold"])
def test_sigterm_gives_back(limit: str, prefect_server: str, tmp_path: Path, what: str) -> None:
    program = started(limit, prefect_server, what, tmp_path / "witness")
    assert program.stdout is not None
    assert program.stdout.readline() == "held\n"
    assert held(limit) == 1
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) != 0
    program.stdout.close()
    assert held(limit) == 0


@pytest.mark.extended
def test_after_sigkill_a_server_frees_them_when_the_lease_ends(tmp_path: Path) -> None:
    from tests import prefect_api  # this file is a program as well, which finds no other tests

    with prefect_api.running(with_services=True) as address:
        prefect_api.wait(address)
        with temporary_settings({PREFECT_API_URL: address}):
            with get_client(sync_client=True) as client:
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="killed", limit=1))
            program = started("killed", address, "hold", tmp_path / "witness")
            assert program.stdout is not None
            assert program.stdout.readline() == "held\n"
            program.kill()
            assert program.wait(60) == -signal.SIGKILL
            program.stdout.close()
            assert held("killed") == 1, "nobody has given it back"
            # The lease is 60 s, the shortest there is; Prefect looks for ended ones every 15 s.
            with lifespan(app_of("killed", timeout_seconds=120)):
                assert held("killed") == 1


def main(what: str) -> None:
    if what == "hold":
        held_until_terminated()
    if what == "ahold":
        asyncio.run(aheld_until_terminated())
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(one_of_many) for _ in range(2)]:
            run.result()


if __name__ == "__main__":
    main(sys.argv[1])
