"""Result caching and persistence, with parameters that Prefect never sees."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.cache_policies import DEFAULT, INPUTS, TASK_SOURCE

from prefect_lifespan import Provide, inject, lifespan
from tests.lifespans.witness import Handle, Witness, state_of


@pytest.fixture
def salt(tmp_path: Any) -> str:
    """An input that no other test, nor an earlier session, has used."""
    return f"{tmp_path.name}-{uuid4()}"


def make(witness: Witness) -> Any:
    class App(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    return App


def test_equal_inputs_hit_the_cache_of_an_earlier_run_whatever_is_injected(witness: Witness, salt: str) -> None:
    app = make(witness)

    @task(cache_policy=INPUTS, persist_result=True)
    @inject
    def ask(salt: str, db: Handle = Provide[app.db]) -> int:
        witness.tell("asked")
        return db.use()

    @flow
    @lifespan(app)
    def run() -> tuple[int, str]:
        state = ask(salt, return_state=True)
        return state.result(), state.name or ""

    assert run() == (1, "Completed")
    assert run() == (1, "Cached")
    assert witness.count("asked") == 1
    assert witness.count("open db") == 2


def test_the_default_policy_caches_within_a_run(witness: Witness, salt: str) -> None:
    app = make(witness)

    @task(cache_policy=DEFAULT, persist_result=True)
    @inject
    def ask(salt: str, db: Handle = Provide[app.db]) -> int:
        witness.tell("asked")
        return db.use()

    @flow
    @lifespan(app)
    def run() -> list[str | None]:
        return [ask(salt, return_state=True).name, ask.submit(salt, return_state=True).name]

    assert run() == ["Completed", "Cached"]
    assert run() == ["Completed", "Cached"]
    assert witness.count("asked") == 2


def test_tasks_of_different_source_never_share_a_cached_result(witness: Witness, salt: str) -> None:
    app = make(witness)

    @task(cache_policy=TASK_SOURCE + INPUTS, persist_result=True)
    @inject
    def first(salt: str, db: Handle = Provide[app.db]) -> str:
        return "first"

    @task(cache_policy=TASK_SOURCE + INPUTS, persist_result=True)
    @inject
    def second(salt: str, db: Handle = Provide[app.db]) -> str:
        return "second"

    @flow
    @lifespan(app)
    def run() -> list[str]:
        return [first(salt), second(salt), first(salt), second(salt)]

    assert run() == ["first", "second", "first", "second"]


def test_a_cache_key_function_sees_the_visible_parameters_only(witness: Witness, salt: str) -> None:
    app = make(witness)
    seen: list[Any] = []

    def key(context: Any, parameters: dict[str, Any]) -> str:
        seen.append(parameters)
        return salt

    @task(cache_key_fn=key, persist_result=True)
    @inject
    def ask(salt: str, db: Handle = Provide[app.db]) -> int:
        return db.use()

    @flow
    @lifespan(app)
    def run() -> list[int]:
        return [ask(salt), ask("another input, the same key")]

    assert run() == [1, 1]
    assert [set(parameters) for parameters in seen] == [{"salt"}, {"salt"}]


def test_the_result_of_a_flow_is_persisted(witness: Witness) -> None:
    app = make(witness)

    @flow(persist_result=True)
    @lifespan(app)
    def run(number: int, db: Handle = Provide[app.db]) -> dict[str, int]:
        return {"number": number, "db": db.use()}

    state = state_of(run, 7)

    assert state.data.metadata.storage_key
    assert state.result() == {"number": 7, "db": 1}


def test_task_inputs_do_not_name_what_is_injected(witness: Witness) -> None:
    app = make(witness)
    inputs: list[Any] = []

    def look(task: Any, task_run: Any, state: Any) -> None:
        inputs.append(set(task_run.task_inputs))

    @task(on_completion=[look])
    @inject
    def ask(number: int, db: Handle = Provide[app.db]) -> int:
        return number + db.use()

    @flow
    @lifespan(app)
    def run() -> int:
        return ask.submit(1).result() + ask(2)

    run()

    assert inputs == [{"number"}, {"number"}]
