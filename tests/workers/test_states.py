"""The states of a driver's lifespan in a worker process: each step that makes no sense is refused, with its reason."""

from __future__ import annotations

import itertools

import pytest

from prefect_lifespan.engine import CloseReport, library_logger
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.workers.membership import Membership
from prefect_lifespan.workers.references import LifespanReference
from prefect_lifespan.workers.remote_workers import HasEnded, Joined
from prefect_lifespan.workers.states import Life, Notice

LOGGER: Logger = library_logger
STEPS = {(Life.OPEN, Life.ENDING), *((life, Life.CLOSED) for life in Life)}


@pytest.mark.parametrize("step", [step for step in itertools.product(Life, Life) if step in STEPS])
def test_a_lifespan_ends_and_closes(step: tuple[Life, Life]) -> None:
    now, following = step

    assert now.then(following, "flow run 'x'") is following


def test_every_other_step_is_a_defect_with_a_message_of_its_own() -> None:
    told = set[str]()
    for now, following in set(itertools.product(Life, Life)) - STEPS:
        with pytest.raises(RuntimeError, match="flow run 'x': ") as raised:
            now.then(following, "flow run 'x'")
        told.add(str(raised.value))

    assert len(told) == len(Life) ** 2 - len(STEPS)


class Driver:
    """Stands for whoever a lifespan belongs to; its own link."""

    is_last_word = False

    def __init__(self, *, gives_notice: bool, has_ended: bool = False) -> None:
        self.asked = 0
        self.heard: list[CloseReport] = []
        self._gives_notice = gives_notice
        self._has_ended = has_ended

    def join(self, lifespan: str) -> Joined | None:
        self.asked += 1
        if self._has_ended:
            raise HasEnded
        return Joined(self.heard.append) if self._gives_notice else None


def member(driver: Driver | None, *, attached: bool = True, ended: bool = False) -> Membership:
    reference = LifespanReference("id", "flow run 'x'", LOGGER, driver, (), b"")
    return Membership(reference, lambda _: None, attached=attached, ended=ended)


def test_notice_is_asked_for_once_and_answered_when_the_lifespan_has_closed() -> None:
    driver = Driver(gives_notice=True)
    membership = member(driver)
    assert membership.notice is Notice.NOT_ASKED

    membership.ask_for_notice()
    membership.ask_for_notice()
    report = CloseReport("", None)
    membership.say_farewell(report)

    assert (membership.notice, driver.asked, driver.heard) == (Notice.PROMISED, 1, [report])


@pytest.mark.parametrize(
    ("driver", "attached", "notice"),
    [
        (None, True, Notice.NONE),
        (Driver(gives_notice=False), True, Notice.NONE),
        (Driver(gives_notice=True, has_ended=True), True, Notice.TOO_LATE),
        (Driver(gives_notice=True, has_ended=True), False, Notice.NONE),
    ],
    ids=["no link", "the link leads nowhere here", "it has ended", "it has ended, and a delayed task opens its own"],
)
def test_where_nobody_gives_notice_it_says_so(driver: Driver | None, attached: bool, notice: Notice) -> None:
    membership = member(driver, attached=attached)

    membership.ask_for_notice()

    assert (membership.notice, membership.is_told, membership.is_unsure) == (notice, False, True)


def test_who_has_resigned_is_told_no_more() -> None:
    driver = Driver(gives_notice=True)
    membership = member(driver)
    membership.ask_for_notice()

    membership.resign()
    membership.resign()
    membership.ask_for_notice()

    assert (membership.notice, driver.asked, len(driver.heard)) == (Notice.NONE, 1, 1)


def test_of_a_lifespan_that_is_known_to_have_ended_nobody_is_asked() -> None:
    driver = Driver(gives_notice=True)
    membership = member(driver, ended=True)

    membership.ask_for_notice()

    assert (membership.notice, driver.asked) == (Notice.TOO_LATE, 0)
