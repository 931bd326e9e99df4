"""What a decorated flow looks like to Prefect: names, parameters, options, methods, and the order of decorators."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.exceptions import ParameterTypeError
from prefect.runtime import flow_run, task_run

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.errors import UsageError
from tests.lifespans.witness import Handle, Witness


def make(witness: Witness) -> Any:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        api = providers.Resource(witness.asynchronous)

    return App


def blocking_only(app: Any, **options: Any) -> lifespan:
    return lifespan(app, eager=[app.db], **options)


def test_the_parameters_of_a_flow_are_those_that_the_caller_gives(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(first: int, db: Handle = Provide[app.db], second: str = "two") -> tuple[int, str, int]:
        """What it does."""
        return first, second, db.use()

    assert list(run.parameters.properties) == ["first", "second"]
    assert run.parameters.required == ["first"]
    assert run.name == "run"
    assert run.description == "What it does."
    assert run(1) == (1, "two", 1)
    assert cast("Any", run)(1, "three") == (1, "three", 2)
    assert run(second="four", first=3) == (3, "four", 3)


def test_parameters_are_validated_and_converted(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(number: int, db: Handle = Provide[app.db]) -> int:
        return number

    called = cast("Any", run)
    assert called("3") == 3
    with pytest.raises(ParameterTypeError, match="number"):
        called("three")
    assert witness.count("open db") == 1


# Prefect describes the parameters of the function first, as it finds them.
@pytest.mark.filterwarnings("ignore:Default value .* is not JSON serializable:UserWarning")
def test_the_decorator_is_accepted_above_the_flow(witness: Witness) -> None:
    app = make(witness)

    @blocking_only(app)
    @flow(name="upside down", retries=1)
    def run(number: int, db: Handle = Provide[app.db]) -> int:
        witness.tell("body")
        if witness.count("body") == 1:
            raise ValueError("the first attempt fails")
        return number + db.use()

    assert run.name == "upside down"
    assert list(run.parameters.properties) == ["number"]
    assert run(10) == 12
    assert witness.record == ["open db", "body", "close db"] * 2


def test_with_options_keeps_the_lifespan(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(db: Handle = Provide[app.db]) -> str:
        return f"{flow_run.get_flow_name()} {db.use()}"

    assert run.with_options(name="other", retries=2)() == "other 1"
    assert witness.record == ["open db", "close db"]


def test_methods_are_flows_and_tasks(witness: Witness) -> None:
    app = make(witness)

    class Job:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @task
        @inject
        def scaled(self, number: int, db: Handle = Provide[app.db]) -> int:
            return number * self.factor + db.use()

        @flow
        @blocking_only(app)
        def run(self, number: int, db: Handle = Provide[app.db]) -> int:
            me: Any = self
            return me.scaled(number) + db.use()

    tens, hundreds = cast("Any", Job(10)), cast("Any", Job(100))
    assert tens.run(2) == 22
    assert hundreds.run(number=2) == 204


def test_static_and_class_methods_are_flows(witness: Witness) -> None:
    app = make(witness)

    class Jobs:
        factor = 10

        @classmethod
        @flow
        @blocking_only(app)
        def of_class(cls, number: int, db: Handle = Provide[app.db]) -> int:
            return number * cls.factor + db.use()

        @staticmethod
        @flow
        @blocking_only(app)
        def of_nobody(number: int, db: Handle = Provide[app.db]) -> int:
            return number + db.use()

    jobs: Any = Jobs
    assert jobs.of_class(1) == 11
    assert Jobs.of_nobody(1) == 3


def test_templates_of_run_names_see_the_visible_parameters(witness: Witness) -> None:
    app = make(witness)

    @task(task_run_name="ask-{number}")
    @inject
    def ask(number: int, db: Handle = Provide[app.db]) -> str:
        return str(task_run.get_name())

    @flow(flow_run_name="run-{number}")
    @blocking_only(app)
    def run(number: int, db: Handle = Provide[app.db]) -> tuple[str, str, str]:
        return str(flow_run.get_name()), ask(number), ask.submit(number + 1).result()

    assert run(1) == ("run-1", "ask-1", "ask-2")


def test_what_a_flow_and_its_tasks_print_is_logged(witness: Witness, caplog: pytest.LogCaptureFixture) -> None:
    app = make(witness)

    @task
    @inject
    def ask(db: Handle = Provide[app.db]) -> None:
        print(f"task has {db!r}")

    @flow(log_prints=True)
    @blocking_only(app)
    def run(db: Handle = Provide[app.db]) -> None:
        print(f"flow has {db!r}")
        ask()

    with caplog.at_level(logging.INFO):
        run()

    assert {"flow has db#1", "task has db#1"} <= {record.getMessage() for record in caplog.records}


def test_a_generator_flow_keeps_its_resources_until_it_is_done(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(db: Handle = Provide[app.db]) -> Iterator[int]:
        for number in range(3):
            witness.tell("item")
            yield number + db.use()

    assert inspect.isgeneratorfunction(run.fn)
    assert list(run()) == [1, 2, 3]
    assert witness.record == ["open db", "item", "item", "item", "close db"]


def test_an_async_generator_flow_keeps_its_resources_until_it_is_done(witness: Witness) -> None:
    app = make(witness)

    @flow
    @lifespan(app)
    async def run(api: Handle = Provide[app.api], db: Handle = Provide[app.db]) -> AsyncIterator[int]:
        for number in range(3):
            yield number + api.use() + db.use()

    async def main() -> list[int]:
        return [item async for item in run()]

    assert asyncio.run(main()) == [3, 4, 5]
    assert witness.record == ["open api", "open db", "close db", "close api"]


def test_a_generator_flow_that_is_not_exhausted_closes_when_it_is_closed(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(db: Handle = Provide[app.db]) -> Iterator[int]:
        while True:
            yield db.use()

    items = run()
    assert next(items) == 1
    assert witness.record == ["open db"]
    items.close()  # type: ignore[attr-defined]
    assert witness.record == ["open db", "close db"]


def test_generator_tasks_and_async_generator_tasks(witness: Witness) -> None:
    app = make(witness)

    @task
    @inject
    def rows(db: Handle = Provide[app.db]) -> Iterator[int]:
        yield from (db.use() for _ in range(2))

    @task
    @inject
    async def pages(api: Handle = Provide[app.api]) -> AsyncIterator[int]:
        for _ in range(2):
            yield api.use()

    @flow
    @lifespan(app)
    async def run() -> tuple[list[int], list[int]]:
        return list(rows()), [page async for page in pages()]

    assert asyncio.run(run()) == ([2, 2], [1, 1])
    assert witness.record == ["open api", "open db", "close db", "close api"]


def test_a_task_and_a_class_are_refused(witness: Witness) -> None:
    app = make(witness)

    with pytest.raises(UsageError, match="@inject"):

        @lifespan(app)
        @task
        def work() -> None: ...

    with pytest.raises(UsageError, match="flow functions, not a type"):

        @lifespan(app)
        class Nothing: ...


def test_the_function_behind_a_flow_is_called_as_any_other(witness: Witness) -> None:
    app = make(witness)

    @flow
    @blocking_only(app)
    def run(number: int, db: Handle = Provide[app.db]) -> int:
        return number + db.number

    assert run.fn(1) == 2
    assert run.fn(1, db=Handle("fake", 41)) == 42
    assert witness.count("open db") == witness.count("close db") == 2
