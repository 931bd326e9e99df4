"""Any opening: whatever fails, ends late, is stopped or interrupted, in whatever order, the schedule keeps its promises."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prefect_lifespan.engine.schedule.commands import Done, Enter, Leave, Remedy, Stop, Wait
from prefect_lifespan.engine.schedule.limits import GRACE_SECONDS, TICK_SECONDS
from prefect_lifespan.engine.schedule.opening import OpeningSchedule
from tests.engine.schedule.support import CLOSE_LIMIT, Thing, is_side_by_side, needs_of, things

REMEDIES = st.sampled_from([Remedy.LEAVE, Remedy.STOP])


class Cancelled(BaseException):
    """What stopping makes an opening raise."""


class Signal(BaseException):
    """What a signal's handler raises."""


class AnyOpening(RuleBasedStateMachine):
    """An opener whose places do what hypothesis makes up: it carries out each command, and tells what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.graph: list[Thing] = []
        self.open: set[Thing] = set()
        self.entering: dict[Thing, Remedy] = {}
        self.exiting: dict[Thing, BaseException] = {}
        self.stopped: set[Thing] = set()
        self.elsewhere: set[Thing] = set()
        self.attempts: dict[Thing, int] = {}
        self.failures: list[BaseException] = []  # that count
        self.ended_at: float | None = None  # when the first came
        self.command: Any = None

    @initialize(graph=things(), at_once=st.integers(1, 3), others_take_turns=st.booleans())
    def begin(self, graph: list[Thing], at_once: int, others_take_turns: bool) -> None:
        self.graph, self.at_once, self.others_take_turns = graph, at_once, others_take_turns
        self.schedule = OpeningSchedule(
            graph,
            needs_of,
            side_by_side=is_side_by_side,
            at_once=at_once,
            others_take_turns=others_take_turns,
            given_up=Cancelled,
        )

    # What the driver does

    @rule(data=st.data())
    def obey(self, data: st.DataObject) -> None:
        command = self.command = self.schedule.next(self.now)
        if isinstance(command, Enter):
            self._enter(command.resource, data)
        elif isinstance(command, Stop):
            assert self.entering[command.resource] is Remedy.STOP, "only what can be stopped is"
            assert command.for_its_limit or self.failures, "it is past its limit, or nobody wants it any more"
            self.stopped.add(command.resource)
        elif isinstance(command, Leave):
            self._leave(command, data)
        elif isinstance(command, Wait):
            self._check_that_there_is_something_to_wait_for(command)
        else:
            self._check_that_it_is_done()

    def _enter(self, thing: Thing, data: st.DataObject) -> None:
        assert not self.failures, "after a failure nothing more is entered (promise 5)"
        assert set(thing.needs) <= self.open, "what it needs is open (promise 2)"
        assert thing not in self.open, "each opens once (promise 4)"
        assert thing not in self.entering
        self.attempts[thing] = self.attempts.get(thing, 0) + 1
        assert self.attempts[thing] <= 1 + (thing.policy.retries or 0), "no more attempts than its policy grants"
        self.elsewhere.discard(thing)
        self.stopped.discard(thing)
        how = data.draw(st.sampled_from(["here", "begun", "elsewhere", "fails here"]), label="entering")
        if how == "elsewhere" and self.attempts[thing] == 1:
            self.attempts[thing] = 0
            self.elsewhere.add(thing)
            self.schedule.elsewhere(thing)
        elif how == "begun":
            self.entering[thing] = data.draw(REMEDIES)
            self.schedule.begun(thing, self.entering[thing], self.now)
        elif how == "fails here":
            self._failed(thing, OSError())
        else:
            self._entered(thing)

    def _leave(self, command: Leave[Thing], data: st.DataObject) -> None:
        thing = command.resource
        if thing in self.exiting:
            self.schedule.failed(thing, self.exiting.pop(thing), self.now)
        elif data.draw(st.booleans(), label="entered in the last moment"):
            self._entered(thing)
        else:
            self._failed(thing, command.error, again=command.again)

    def _check_that_there_is_something_to_wait_for(self, command: Wait) -> None:
        if self.failures:
            assert self.entering or self.exiting
            assert command.seconds is not None, "what is under way when it fails is waited for no longer than its limit"
            return
        assert self.entering or self.exiting or self.elsewhere or command.seconds is not None
        waiting = {thing for thing in self.graph if self._could_be_entered(thing)}
        assert not {thing for thing in waiting if thing.side_by_side}, "what can open side by side does (promise 3)"
        assert not waiting or self._turns_taken() >= self.at_once, "no turn is left unused (promise 3)"

    def _could_be_entered(self, thing: Thing) -> bool:
        at_it = thing in self.entering or thing in self.exiting or thing in self.elsewhere or thing in self.open
        return not at_it and set(thing.needs) <= self.open and not self.attempts.get(thing)

    def _turns_taken(self) -> int:
        """Those between two attempts keep theirs."""
        taking = [*self.entering, *self.exiting, *(self.elsewhere if self.others_take_turns else ())]
        between = [t for t in self.graph if self.attempts.get(t) and t not in self.open and t not in taking]
        return len(
            {thing for thing in (*taking, *between) if not thing.side_by_side and thing not in self.elsewhere}
        ) + (len({t for t in self.elsewhere if not t.side_by_side}) if self.others_take_turns else 0)

    def _check_that_it_is_done(self) -> None:
        assert not self.entering, "nothing is left under way (promise 5)"
        assert not self.exiting
        assert self.failures or self.open == set(self.graph), "everything is open, or the failure says why not"

    # What comes of it

    @precondition(lambda self: self.entering)
    @rule(data=st.data())
    def something_is_entered(self, data: st.DataObject) -> None:
        self._entered(data.draw(st.sampled_from(sorted(self.entering, key=lambda thing: thing.number))))

    @precondition(lambda self: self.entering)
    @rule(data=st.data(), error=st.sampled_from([OSError, Signal]), again=st.booleans())
    def something_fails(self, data: st.DataObject, error: type[BaseException], again: bool) -> None:
        self._failed(
            data.draw(st.sampled_from(sorted(self.entering, key=lambda thing: thing.number))), error(), again=again
        )

    @precondition(lambda self: self.stopped & self.entering.keys())
    @rule(data=st.data())
    def something_ends_as_it_was_told(self, data: st.DataObject) -> None:
        ending = sorted(self.stopped & self.entering.keys(), key=lambda thing: thing.number)
        self._failed(data.draw(st.sampled_from(ending)), Cancelled(), stopped=True)

    @precondition(lambda self: self.exiting)
    @rule(data=st.data())
    def something_is_exited_again(self, data: st.DataObject) -> None:
        thing = data.draw(st.sampled_from(sorted(self.exiting, key=lambda thing: thing.number)))
        self._failed(thing, self.exiting.pop(thing))

    @precondition(lambda self: self.elsewhere)
    @rule(data=st.data(), how=st.sampled_from(["opened", "freed", "failed"]))
    def another_opener_is_done(self, data: st.DataObject, how: str) -> None:
        thing = data.draw(st.sampled_from(sorted(self.elsewhere, key=lambda thing: thing.number)))
        self.elsewhere.discard(thing)
        if how == "opened":
            self.open.add(thing)
            self.schedule.opened(thing)
        elif how == "freed":
            self.schedule.freed(thing)
        else:
            error = OSError()
            self._note_failure(error)
            self.schedule.refused(thing, error, self.now)

    @rule(error=st.sampled_from([Cancelled, Signal, OSError]))
    def the_opener_is_interrupted(self, error: type[BaseException]) -> None:
        raised = error()
        self._note_failure(raised, of_the_opener=True)
        self.schedule.interrupted(raised, self.now)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
    def time_goes_by(self, seconds: float) -> None:
        """No longer than the schedule said to wait: its driver would be back then."""
        left = self.command.seconds if isinstance(self.command, Wait) else 0.0
        self.now += seconds if left is None else max(0.0, min(seconds, left))

    @precondition(lambda self: self.graph)
    @rule(data=st.data(), seconds=st.sampled_from([0.5, 3.0]))
    def a_stop_watch_stands_still(self, data: st.DataObject, seconds: float) -> None:
        thing = data.draw(st.sampled_from(self.graph))
        thing.own_time.pause(self.now - seconds)
        thing.own_time.resume(self.now)

    def _entered(self, thing: Thing) -> None:
        late = self.schedule.entered(thing, self.now)
        self.entering.pop(thing, None)
        if late is not None:
            self.exiting[thing] = late
            self.schedule.exiting(thing, self.now)
        else:
            self.open.add(thing)
            self.schedule.opened(thing)

    def _failed(self, thing: Thing, error: BaseException, *, again: bool = True, stopped: bool = False) -> None:
        self.entering.pop(thing, None)
        failed = self.schedule.failed(thing, error, self.now, again=again, stopped=stopped)
        if failed.kind == "open-failed":
            self._note_failure(failed.error)
        else:
            assert not self.failures, "nothing is tried again that nobody waits for"
            assert again

    def _note_failure(self, error: BaseException, *, of_the_opener: bool = False) -> None:
        if not self.failures:
            self.ended_at = self.now
        if not self.failures or of_the_opener or not isinstance(error, Cancelled):
            self.failures.append(error)

    # What always holds

    @invariant()
    def the_first_failure_counts_unless_a_signal_or_a_cancellation_follows_it(self) -> None:
        """Promises 5 and 17: the initialiser's own exception; and what asks to end goes on, with that as its cause."""
        if not self.failures:
            assert not self.graph or self.schedule.failure is None
            return
        first = self.failures[0]
        asking = [error for error in self.failures if not isinstance(error, Exception)]
        expected = first if not isinstance(first, Exception) or not asking else asking[0]
        assert self.schedule.failure is expected
        assert expected is first or expected.__cause__ is first

    @invariant()
    def after_a_failure_what_is_under_way_is_bounded(self) -> None:
        """Promise 17: within the limit for closing and its grace, and once more where it is exited again."""
        if self.ended_at is not None and (self.entering or self.exiting):
            assert self.now - self.ended_at <= 2 * (CLOSE_LIMIT + GRACE_SECONDS) + 8 * TICK_SECONDS + 5.0

    def teardown(self) -> None:
        """It comes to an end, and in few steps, when everything that is under way does."""
        if not self.graph:
            return
        for _ in range(60 * len(self.graph)):
            command = self.schedule.next(self.now)
            if isinstance(command, Done):
                self._check_that_it_is_done()
                return
            if isinstance(command, Enter):
                self._entered(command.resource)
            elif isinstance(command, Leave):
                self._failed(command.resource, command.error, again=command.again)
                self.exiting.pop(command.resource, None)
            elif isinstance(command, Wait):
                self._bring_one_to_its_end(command)
        raise AssertionError("it has not come to an end")

    def _bring_one_to_its_end(self, command: Wait) -> None:
        if self.exiting:
            thing, late = self.exiting.popitem()
            self._failed(thing, late)
        elif self.entering:
            self._entered(next(iter(self.entering)))
        elif self.elsewhere:
            thing = self.elsewhere.pop()
            self.open.add(thing)
            self.schedule.opened(thing)
        else:
            assert command.seconds is not None
            self.now += command.seconds


AnyOpening.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOpening = AnyOpening.TestCase
