"""The table of a resource's states: every pair of a state and a change is legal, or an error that names it."""

import itertools

import pytest

from prefect_lifespan.engine.schedule.states import Change, State, after
from prefect_lifespan.errors import LifespanError

LEGAL = {
    (State.PENDING, Change.CLAIMED): State.OPENING,
    (State.OPENING, Change.ENTERED): State.OPEN,
    (State.OPENING, Change.FAILED): State.PENDING,
    (State.OPENING, Change.CAME_LATE): State.CLOSED,
    (State.OPEN, Change.TAKEN_OUT_OF_USE): State.CLOSING,
    (State.CLOSING, Change.CLOSED): State.CLOSED,
    **{(state, Change.FORKED): State.CLOSED for state in State},
}
ILLEGAL = [pair for pair in itertools.product(State, Change) if pair not in LEGAL]


@pytest.mark.parametrize(("state", "change"), LEGAL, ids=str)
def test_a_legal_change_leads_to_its_state(state: State, change: Change) -> None:
    assert after(state, change, "App.db") is LEGAL[state, change]


@pytest.mark.parametrize(("state", "change"), ILLEGAL, ids=str)
def test_an_illegal_change_is_an_error_that_names_the_resource_and_calls_itself_a_defect(
    state: State, change: Change
) -> None:
    with pytest.raises(
        LifespanError, match=r"^App\.db: its? .* This is a defect of prefect_lifespan: please report it$"
    ):
        after(state, change, "App.db")


def test_each_illegal_change_has_a_message_of_its_own() -> None:
    messages: list[str] = []
    for state, change in ILLEGAL:
        with pytest.raises(LifespanError) as raised:
            after(state, change, "App.db")
        messages.append(str(raised.value))
    assert len(set(messages)) == len(messages) == len(State) * len(Change) - len(LEGAL)


def test_what_has_closed_never_opens_again() -> None:
    """Promise 18: no way leads out of CLOSED."""
    assert {LEGAL[pair] for pair in LEGAL if pair[0] is State.CLOSED} == {State.CLOSED}
