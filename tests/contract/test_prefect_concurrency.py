"""Global concurrency limits of Prefect's, as `concurrency` takes and gives back slots of them."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.asyncio import concurrency as asynchronous
from prefect.concurrency.context import ConcurrencyContext
from prefect.concurrency.sync import concurrency as blocking

pytestmark = pytest.mark.usefixtures("prefect_server", "garbage_collected")


@pytest.fixture
def limit(prefect_server: str) -> Iterator[str]:
    """A limit of one."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    yield name
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(name)


def held(limit: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit).active_slots


def taken(limit: str, **options: Any) -> Any:
    """As the library takes them."""
    how: dict[str, Any] = {"occupy": 1, "strict": True, "lease_duration": 60, "raise_on_lease_renewal_failure": False}
    return blocking([limit], holder=None, **how | options)


async def atake(limit: str, **options: Any) -> None:
    how: dict[str, Any] = {"occupy": 1, "strict": True, "lease_duration": 60, "raise_on_lease_renewal_failure": False}
    async with asynchronous([limit], holder=None, **how | options):
        pass


def test_slots_are_held_while_it_is_entered_and_named_after_their_holder(limit: str) -> None:
    holder = ConcurrencyLeaseHolder(type="flow_run", id=uuid.uuid4())
    with blocking([limit], occupy=1, strict=True, holder=holder):
        assert held(limit) == 1
    assert held(limit) == 0


def test_a_limit_that_is_not_there_is_an_error_without_a_cause() -> None:
    with pytest.raises(ConcurrencySlotAcquisitionError) as raised, taken("no-such"):
        pytest.fail("nothing is taken")
    assert raised.value.__cause__ is None
    with pytest.raises(ConcurrencySlotAcquisitionError) as raised:
        asyncio.run(atake("no-such"))
    assert raised.value.__cause__ is None


def test_more_slots_than_there_are_in_time_are_a_timeout_whose_type_takes_a_text(limit: str) -> None:
    with taken(limit):
        with pytest.raises(TimeoutError) as raised, taken(limit, timeout_seconds=0.5):
            pytest.fail("nothing is taken")
        with pytest.raises(TimeoutError):
            asyncio.run(atake(limit, timeout_seconds=0.5))
    assert str(type(raised.value)("a text")) == "a text"


def test_the_api_refuses_a_lease_of_less_than_60_seconds(limit: str) -> None:
    with pytest.raises(ConcurrencySlotAcquisitionError) as raised, taken(limit, lease_duration=59):
        pytest.fail("nothing is taken")
    assert isinstance(raised.value.__cause__, httpx.HTTPStatusError)


def test_what_a_task_has_taken_is_given_back_at_its_end_although_it_is_still_entered(limit: str) -> None:
    """If this fails, `concurrency` need not take slots in a context of its own."""
    entered: list[Any] = []

    @task
    def take() -> int:
        entered.append(taken(limit))
        entered[0].__enter__()
        return held(limit)

    @flow
    def run() -> tuple[int, int]:
        during = take()
        return during, held(limit)

    assert run() == (1, 0)
    entered[0].__exit__(None, None, None)


def test_a_context_gives_back_what_it_has_noted_and_nothing_that_was_struck_out(limit: str) -> None:
    kept = taken(limit)
    with ConcurrencyContext() as own:
        kept.__enter__()
        assert len(own.cleanup_lease_ids) == 1
        own.cleanup_lease_ids.clear()
    assert held(limit) == 1
    kept.__exit__(None, None, None)
    assert held(limit) == 0
