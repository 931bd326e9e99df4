"""Which failed openings are tried again, after what delay, and what is not worth another attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import providers
from prefect.tasks import exponential_backoff

from prefect_lifespan import resource
from prefect_lifespan.engine import Event
from prefect_lifespan.lifetimes import Policy, policy_of
from tests.engine.support import aopen_all, async_engine_of, declare, engine_of, open_all, run

DRIVERS = ["blocking", "lanes", "asynchronous"]


class Transient(OSError):
    """What may be better in a moment."""


def opened(declared: Any, driver: str, events: list[Event], **policy: Any) -> None:
    """Open a container with one of the drivers."""
    if driver == "asynchronous":

        async def main() -> None:
            engine = async_engine_of(declared, events=events, **policy)
            try:
                await aopen_all(engine)
            finally:
                await engine.aclose(None)

        run(main)
        return
    engine = engine_of(declared, events=events, max_workers=1 if driver == "blocking" else 2, **policy)
    try:
        open_all(engine)
    finally:
        engine.close()


def failing_with(driver: str, errors: list[Exception], **policy: Any) -> Any:
    """An initialiser that raises one error after another, and then opens."""
    left = iter(errors)

    def blocking(*_: object) -> str:
        for error in left:
            raise error
        return "open"

    async def asynchronous(*_: object) -> str:
        return blocking()

    return resource(**policy)(asynchronous if driver == "asynchronous" else blocking)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "retry_on",
    [Transient, (KeyError, Transient), lambda error: isinstance(error, Transient)],
    ids=["type", "types", "fn"],
)
def test_only_what_retry_on_names_is_tried_again(driver: str, retry_on: Any) -> None:
    events: list[Event] = []
    again = failing_with(driver, [Transient()], retry_on=retry_on, retries=2, retry_delay_seconds=0)
    opened(declare(db=providers.Resource(again)), driver, events)
    assert kinds(events) == ["open-retried", "opened", "closed"]

    events.clear()
    final = failing_with(
        driver, [Transient(), ValueError(), Transient()], retry_on=retry_on, retries=5, retry_delay_seconds=0
    )
    with pytest.raises(ValueError):
        opened(declare(db=providers.Resource(final)), driver, events)
    assert kinds(events) == ["open-retried", "open-failed"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_argument_that_cannot_be_made_is_not_tried_again(driver: str) -> None:
    def missing() -> str:
        raise Transient("no such setting")

    initialiser: Callable[..., Any] = resource(retries=3, retry_delay_seconds=0)(
        failing_with(driver, []) if driver != "asynchronous" else failing_with("asynchronous", [])
    )
    events: list[Event] = []
    with pytest.raises(Transient):
        opened(declare(db=providers.Resource(initialiser, providers.Callable(missing))), driver, events)
    assert kinds(events) == ["open-failed"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["retry_on", "retry_delay_seconds"])
def test_a_policys_own_function_that_raises_hides_nothing(driver: str, name: str) -> None:
    def broken(_: object) -> Any:
        raise ZeroDivisionError("of the policy")

    events: list[Event] = []
    declared = declare(db=providers.Resource(failing_with(driver, [Transient()], retries=2, **{name: broken})))
    with pytest.raises(Transient) as caught:
        opened(declared, driver, events)
    assert kinds(events) == ["open-failed"]
    assert any(f"its {name} raised ZeroDivisionError: of the policy" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        (2, [2, 2, 2]),
        ([1, 5], [1, 5, 5]),
        (lambda retries: [float(retries)] * retries, [3, 3, 3]),
        (lambda retries: retries * 10, [30, 30, 30]),
        (exponential_backoff(2), [2, 4, 8]),
    ],
    ids=["number", "list", "function of a list", "function of a number", "prefect's"],
)
def test_delays_are_given_as_those_of_prefects_tasks(given: Any, waits: list[float]) -> None:
    policy = Policy(retries=3, retry_delay_seconds=given)
    assert [policy.delay_before(retry) for retry in range(3)] == waits


def test_a_jitter_varies_a_delay_within_its_factor() -> None:
    policy = Policy(retries=1, retry_delay_seconds=10, retry_jitter_factor=1)
    delays = [policy.delay_before(0) for _ in range(300)]
    assert all(5 <= delay <= 20 for delay in delays)
    assert min(delays) < 8
    assert max(delays) > 12


def test_the_lifespans_delays_hold_where_a_resource_says_nothing() -> None:
    own = Policy(retries=2, retry_on=Transient).over(Policy(retry_delay_seconds=[1, 2], retry_jitter_factor=0))
    assert (own.delay_before(1), own.retry_on) == (2, Transient)


def test_a_health_check_is_kept_and_not_called() -> None:
    def check(_: object) -> None:
        raise AssertionError

    initialiser = resource(health_check=check)(lambda: "open")
    opened(declare(db=providers.Resource(initialiser)), "blocking", [])
    assert policy_of(initialiser).health_check is check
