"""Any closing: whatever hangs, ends late or is interrupted, in whatever order, the schedule keeps its promises."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from prefect_lifespan.engine.schedule.closing import ClosingSchedule
from prefect_lifespan.engine.schedule.commands import Exit, GiveUp, GiveUpOpening, Wait
from tests.engine.schedule.support import CLOSE_LIMIT, Thing, is_side_by_side, needs_of, things


class AnyClosing(RuleBasedStateMachine):
    """A closer whose places do what hypothesis makes up, and that may be interrupted before each command."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.opened: list[Thing] = []
        self.opening: set[Thing] = set()
        self.exited: list[Thing] = []  # in the order in which their exits were called
        self.exiting: dict[Thing, float] = {}
        self.closed: set[Thing] = set()
        self.command: Any = None
        self.given: dict[Thing, int] = {}

    @initialize(graph=things(), data=st.data())
    def begin(self, graph: list[Thing], data: st.DataObject) -> None:
        """Some are open, and some of those that need only these are under way."""
        for thing in graph:
            if set(thing.needs) <= set(self.opened):
                how = data.draw(st.sampled_from(["open", "open", "opening", "not"]), label=str(thing))
                if how == "open":
                    self.opened.append(thing)
                elif how == "opening":
                    self.opening.add(thing)
        self.schedule = ClosingSchedule(
            self.opened, needs_of, side_by_side=is_side_by_side, opening=sorted(self.opening, key=str), now=self.now
        )

    @rule(interrupted=st.booleans(), data=st.data())
    def obey(self, interrupted: bool, data: st.DataObject) -> None:
        command = self.command = self.schedule.next(self.now)
        assert self.schedule.next(self.now) == command, "a command is given until it has been carried out"
        if interrupted:
            return
        if isinstance(command, Exit):
            self._exit(command.resource, data)
        elif isinstance(command, GiveUp):
            assert self.now >= self.exiting[command.resource], "it had all of its time (promise 17)"
            self._closed(command.resource)
        elif isinstance(command, GiveUpOpening):
            assert self.now >= CLOSE_LIMIT
            self._opening_ended(command.resource)
        elif isinstance(command, Wait):
            self._check_that_nothing_else_can_be_done(command)
        else:
            self._check_that_it_is_done()

    def _exit(self, thing: Thing, data: st.DataObject) -> None:
        assert thing not in self.exited, "each closes exactly once (promise 13)"
        users = [user for user in self.opened if thing in user.needs]
        assert set(users) <= self.closed, "what needs it has closed (promise 13)"
        assert not [late for late in self.opening if thing in late.needs], "nor is what needs it being opened"
        if not thing.side_by_side:
            later = self.opened[self.opened.index(thing) + 1 :]
            assert set(later) <= self.closed, "the exact reverse of the order of opening (promise 13)"
        self.exited.append(thing)
        how = data.draw(st.sampled_from(["at once", "begun", "before it was called"]), label="exiting")
        if how == "at once":
            self._closed(thing)
            return
        limit = data.draw(st.sampled_from([0.0, 3.0, CLOSE_LIMIT]))
        self.schedule.begun(thing, limit, self.now)
        self.exiting[thing] = self.now + limit
        if how == "before it was called" and self.given.setdefault(thing, 0) < 2:
            self.given[thing] += 1
            self.exited.remove(thing)
            del self.exiting[thing]
            self.schedule.not_begun(thing)

    def _check_that_nothing_else_can_be_done(self, command: Wait) -> None:
        assert self.exiting or self.opening, "something is waited for"
        assert command.seconds is not None, "and for no longer than its limit (promise 17)"
        for thing in self.opened:
            waits_for = {user for user in (*self.opened, *self.opening) if thing in user.needs} - self.closed
            at_it = thing in self.exiting or thing in self.closed
            assert at_it or waits_for or not thing.side_by_side, (
                "side by side, as soon as nothing needs it (promise 13)"
            )

    def _check_that_it_is_done(self) -> None:
        assert self.closed == set(self.opened), "nothing that fails or hangs skips another (promise 16)"
        assert not self.opening, "nor is anything still being opened (promise 14)"

    @precondition(lambda self: self.exiting)
    @rule(data=st.data(), times=st.integers(1, 2))
    def something_has_closed(self, data: st.DataObject, times: int) -> None:
        """It may be told twice, where the first telling was interrupted."""
        thing = data.draw(st.sampled_from(sorted(self.exiting, key=str)))
        for _ in range(times):
            self._closed(thing)

    @precondition(lambda self: self.opening)
    @rule(data=st.data(), times=st.integers(1, 2))
    def an_opening_has_ended(self, data: st.DataObject, times: int) -> None:
        thing = data.draw(st.sampled_from(sorted(self.opening, key=str)))
        for _ in range(times):
            self._opening_ended(thing)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    def _closed(self, thing: Thing) -> None:
        self.exiting.pop(thing, None)
        self.closed.add(thing)
        self.schedule.closed(thing)

    def _opening_ended(self, thing: Thing) -> None:
        self.opening.discard(thing)
        self.schedule.opening_ended(thing)

    def teardown(self) -> None:
        """Where everything hangs from now on, it is all the same done when the limits are over."""
        if not self.opened and not self.opening:
            return
        for _ in range(6 * (len(self.opened) + len(self.opening)) + 6):
            command = self.schedule.next(self.now)
            if isinstance(command, Exit):
                self.schedule.begun(command.resource, 3.0, self.now)
            elif isinstance(command, GiveUp):
                self._closed(command.resource)
            elif isinstance(command, GiveUpOpening):
                self._opening_ended(command.resource)
            elif isinstance(command, Wait):
                assert command.seconds is not None
                self.now += command.seconds
            else:
                self._check_that_it_is_done()
                return
        raise AssertionError("it has not come to an end")


AnyClosing.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyClosing = AnyClosing.TestCase
