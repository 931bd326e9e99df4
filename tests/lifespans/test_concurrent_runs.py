"""Runs of one flow that overlap in one process have nothing of each other: neither resources nor their closing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan
from tests.lifespans.witness import SECONDS, Handle, Witness, in_threads


def test_runs_in_threads_have_resources_of_their_own(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    meeting = threading.Barrier(4)

    @task
    @inject
    def ask(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow
    @lifespan(App)
    def run(db: Handle = Provide[App.db]) -> set[int]:
        seen = {db.use(), ask(), ask.submit().result()}
        meeting.wait(SECONDS)  # all four are open now
        return seen | {ask()}

    seen = [future.result() for future in in_threads(run, run, run, run)]

    assert [len(numbers) for numbers in seen] == [1, 1, 1, 1]
    assert len(set.union(*seen)) == 4
    assert witness.count("open db") == witness.count("close db") == 4


def test_a_run_that_ends_first_leaves_the_other_its_resources(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    both_open, first_has_ended = threading.Barrier(2), threading.Event()

    @task
    @inject
    def ask(db: Handle = Provide[App.db]) -> int:
        return db.use()

    @flow
    @lifespan(App)
    def run(is_first: bool) -> tuple[int, int]:
        before = ask()
        both_open.wait(SECONDS)
        if not is_first:
            assert first_has_ended.wait(SECONDS)
        return before, ask.submit().result()

    def run_first() -> tuple[int, int]:
        numbers = run(True)
        witness.tell("the first has ended")
        first_has_ended.set()
        return numbers

    first, second = in_threads(run_first, lambda: run(False))
    numbers_of_first, numbers_of_second = first.result(), second.result()

    assert witness.record[-3:] == ["close db", "the first has ended", "close db"]

    assert numbers_of_first[0] == numbers_of_first[1]
    assert numbers_of_second[0] == numbers_of_second[1] != numbers_of_first[0]


def test_gathered_runs_have_resources_of_their_own(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)
        db = providers.Resource(witness.blocking)

    @task
    @inject
    async def ask(api: Handle = Provide[App.api], db: Handle = Provide[App.db]) -> tuple[int, int]:
        return api.use(), db.use()

    async def main() -> Any:
        everybody = asyncio.Barrier(3)

        @flow
        @lifespan(App)
        async def run() -> set[tuple[int, int]]:
            before = await ask()
            async with asyncio.timeout(SECONDS):
                await everybody.wait()
            return {before, await ask()}

        return await asyncio.gather(run(), run(), run())

    seen = asyncio.run(main())

    assert [len(numbers) for numbers in seen] == [1, 1, 1]
    assert len({number for numbers in seen for pair in numbers for number in pair}) == 6
    assert witness.count("close api") == witness.count("close db") == 3


def test_a_gathered_run_that_fails_closes_only_its_own(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)

    async def main() -> Any:
        both_open = asyncio.Barrier(2)
        failed = asyncio.Event()

        @flow
        @lifespan(App)
        async def run(fails: bool, api: Handle = Provide[App.api]) -> int:
            await both_open.wait()
            if fails:
                raise ValueError("the first one fails")
            async with asyncio.timeout(SECONDS):
                await failed.wait()
            return api.use()

        async def fail() -> None:
            try:
                await run(True)
            finally:
                failed.set()

        return await asyncio.gather(fail(), run(False), return_exceptions=True)

    first, second = asyncio.run(main())

    assert isinstance(first, ValueError)
    assert isinstance(second, int)
    assert [type(outcome) for outcome in witness.outcomes] == [ValueError, type(None)]


def test_one_lifespan_object_may_be_entered_by_many_threads_at_once(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    application = lifespan(App)
    meeting = threading.Barrier(4)

    def work() -> bool:
        with application as container:
            handle = container.db()
            meeting.wait(SECONDS)
            same = container.db() is handle
            handle.use()
        return same and not handle.is_open

    assert all(future.result() for future in in_threads(work, work, work, work))
    assert witness.count("open db") == witness.count("close db") == 4


def test_one_lifespan_object_may_be_entered_by_many_asyncio_tasks_at_once(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        api = providers.Resource(witness.asynchronous)

    application = lifespan(App)

    async def main() -> Any:
        everybody = asyncio.Barrier(3)

        async def work(turns: int) -> bool:
            async with application as container:
                handle = container.api()
                await everybody.wait()
                for _ in range(turns):  # they leave one after another, in another order than they came
                    await asyncio.sleep(0)
                handle.use()
            return not handle.is_open

        return await asyncio.gather(work(9), work(1), work(5))

    assert all(asyncio.run(main()))
    assert witness.count("open api") == witness.count("close api") == 3


def test_one_lifespan_object_may_be_entered_again_inside_itself(witness: Witness) -> None:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    application = lifespan(App)

    with application as outer:
        with application as inner:
            assert inner.db() is outer.db()
        outer.db().use()

    assert witness.record == ["open db", "close db"]
