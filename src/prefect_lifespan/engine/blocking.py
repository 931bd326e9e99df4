"""Opening and closing without an event loop: in the calling thread, or in lanes that keep a resource's thread."""

from __future__ import annotations

import contextvars
import queue
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from time import perf_counter
from typing import NoReturn

from prefect_lifespan.engine.closing import CloseReport, note_on_its_limit, persist
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.lane_entry import LaneEntry, close_late
from prefect_lifespan.engine.lanes import Lane, Lanes
from prefect_lifespan.engine.late import LateOpenings, Needs
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import Attempts, Readiness, while_holding_the_loop, while_opening
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Abandoned, Ledger, Slot, State
from prefect_lifespan.errors import AsyncResourceError, ResourceTimeoutError
from prefect_lifespan.steps import within


def open_in_order(slots: Iterable[Slot], where: str, *, in_callers_context: Ledger | None = None) -> None:
    """Open slots one after another, in the given order: dependencies first.

    Context variables that an initialiser sets are the caller's where its slot is of the ledger `in_callers_context`,
    which whoever also closes that gives; else each initialiser has a context of its own, and its closer runs in the same.

    Raises:
        AsyncResourceError: one turned out to be asynchronous.
        LifespanClosedError: one has closed.
        Exception: an initialiser's own.
    """
    for slot in slots:
        if slot.state is not State.OPEN:
            open_one(slot, where, in_callers_context=slot.ledger is in_callers_context)


def open_in_lanes(ledger: Ledger, slots: Iterable[Slot], needs: Needs, where: str) -> None:
    """Open slots in up to `max_workers` lanes at a time, each as soon as what it needs is open; raises the same."""
    # Threads that wait for the lanes, each no longer than its resource's limit; what hangs, hangs in a lane of its own.
    waiters = Lanes(f"opening-{ledger.container}", ledger.max_workers)
    try:
        try:
            _open_each(ledger, Readiness(slots, needs), waiters, where)
        finally:
            waiters.stop()
    finally:  # where a signal has interrupted that
        waiters.stop()


def _open_each(ledger: Ledger, readiness: Readiness, waiters: Lanes, where: str) -> None:
    finished: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
    waiting: list[Slot] = []
    running: dict[Future[None], Slot] = {}
    failure: BaseException | None = None
    while running or (readiness.left and failure is None):
        waiting.extend(readiness.take())
        while waiting and len(running) < ledger.max_workers and failure is None:
            slot = waiting.pop(0)
            _, future = waiters.submit(partial(_open_waiting, slot, where), contextvars.copy_context())
            running[future] = slot
            future.add_done_callback(finished.put)
        done = finished.get()
        failure = failure or done.exception()
        readiness.opened(running.pop(done))
    if failure is not None:
        raise failure


def _open_waiting(slot: Slot, where: str, _: Lane) -> None:
    open_one(slot, where)


def open_one(slot: Slot, where: str, *, in_callers_context: bool = False) -> None:
    """Open one slot whose needs are open, or wait for whoever is at it."""
    while True:
        settle_left_here(slot)
        theirs = slot.claim(blocking=True)
        if theirs is None:
            open_claimed(slot, where, in_callers_context=in_callers_context)
            return
        if not theirs.done() and slot.loop is not None and slot.loop is running_loop():
            raise AsyncResourceError(
                [slot.path], where, on_loop=True
            )  # waiting would keep the loop from ever opening it
        try:
            theirs.result()
            return
        except Abandoned:
            continue


def open_claimed(slot: Slot, where: str, *, in_callers_context: bool = False) -> None:
    """Open a slot that the caller has claimed, in a thread that will be there to close it."""
    attempts = Attempts(slot)
    try:
        _try(slot, attempts, where, in_callers_context=in_callers_context)
        if not slot.opened():
            _close_late(slot)
    except BaseException as error:
        settle(slot, error)
        raise
    slot.event("opened", attempts.seconds)


def _try(slot: Slot, attempts: Attempts, where: str, *, in_callers_context: bool) -> None:
    while True:
        attempts.start()
        try:
            _attempt(slot, attempts, in_callers_context=in_callers_context)
            return
        except NeedsEventLoop as needs:
            needs.discard()
            slot.found_asynchronous = True
            raise AsyncResourceError([slot.path], where, on_loop=running_loop() is not None) from None
        except BaseException as error:
            delay = attempts.delay_after(error)
            if delay is None:
                raise
        time.sleep(delay)


def _close_late(slot: Slot) -> NoReturn:
    """The lifespan has ended meanwhile, as whoever asked for it is told."""
    raise slot.closed_error() from _closed_late(slot, None)


def settle(slot: Slot, error: BaseException) -> None:
    """End an opening that `error` has interrupted: what has been entered is open, everything else has failed.

    Where the lifespan has ended meanwhile, it closes at once. Doing it again does nothing.
    """
    entered = slot.entered
    if slot.state is State.OPENING:
        if entered is None or not entered.is_held:
            slot.failed(error)
        elif not slot.opened():
            _closed_late(slot, error)
    slot.tell()


def settle_left_here(slot: Slot) -> None:
    """The same for an opening that an exception has taken this thread out of, where that is so."""
    if slot.is_left_by_this_thread:
        settle(slot, Abandoned())


def _closed_late(slot: Slot, told: Outcome) -> BaseException | None:
    """Close what was opened when the lifespan had ended, and let those go on who wait for it; gives an error of that."""
    assert slot.entered is not None, "it has been entered"
    closing = run_in_place(slot, partial(close_late, slot, slot.entered, told))
    wait([closing])
    slot.came_late()
    return closing.exception()


def _attempt(slot: Slot, attempts: Attempts, *, in_callers_context: bool) -> None:
    slot.lane = slot.ledger.lanes.current()
    if slot.ledger.at_home or slot.lane is not None:
        attempt_here(slot, attempts, on_loop=False, in_callers_context=in_callers_context)
        if slot.lane is not None and slot.entered is not None and slot.entered.has_exit:
            slot.lane.holds.add(slot)
        return
    entry = LaneEntry(slot, attempts, on_loop=False)
    try:
        entry.wait()
    except BaseException as interruption:
        entry.interrupted(interruption)
        raise


def attempt_here(slot: Slot, attempts: Attempts, *, on_loop: bool, in_callers_context: bool) -> None:
    """One attempt to open a blocking slot in the calling thread."""
    slot.entered = Entered()
    attempt = partial(_attempt_here, slot, slot.entered, attempts, on_loop, in_callers_context)
    within(while_holding_the_loop(slot), lambda _: while_opening(slot, attempt))


def _attempt_here(slot: Slot, entered: Entered, attempts: Attempts, on_loop: bool, in_callers_context: bool) -> None:
    slot.context = None if in_callers_context else ResourceContext()
    enter = partial(_enter_in_time, slot, entered, attempts, on_loop=on_loop)
    return enter() if slot.context is None else slot.context.context.run(enter)


def _enter_in_time(slot: Slot, entered: Entered, attempts: Attempts, *, on_loop: bool) -> None:
    enter_blocking(entered, call_of(slot.provider), slot.path, on_loop=on_loop)
    # Nothing can interrupt an initialiser in its own thread, so its limit is looked at when it is done.
    if attempts.limit is not None and attempts.seconds > attempts.limit:
        late, seconds = attempts.timeout(), attempts.seconds
        try:
            entered.close(late)
        except Exception as error:
            note_on_its_limit(slot, late, seconds, error)
        raise late


def close_all(ledger: Ledger, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open, last opened first; nothing that fails or interrupts skips what remains.

    To be called again where it was interrupted.
    """
    for slot in ledger.interrupted_here():
        settle(slot, report.outcome or Abandoned())
    ledger.end(report)
    late = LateOpenings(ledger, needs, report)
    _close_from_the_end(ledger.opened, report, late)
    persist(report, lambda: late.wait(late.left))
    ledger.lanes.stop()


def close_some(slots: Iterable[Slot], container: str) -> CloseReport:
    """Close the given slots, in the given order, where they are open."""
    report = CloseReport(container, None)
    _close_from_the_end([*slots][::-1], report)
    return report


def _close_from_the_end(opened: list[Slot], report: CloseReport, late: LateOpenings | None = None) -> None:
    while opened:
        slot = opened[-1]
        if not persist(report, partial(_close_one, slot, report, late)):
            report.give_up(slot)
        if opened and opened[-1] is slot:  # another thread may be closing as well
            opened.pop()


def _close_one(slot: Slot, report: CloseReport, late: LateOpenings | None) -> None:
    if late is not None:
        late.wait(late.users_of(slot))
    if slot.begin_close(report):
        close_begun(slot, report)


def close_begun(slot: Slot, report: CloseReport) -> None:
    """Close one blocking slot that the caller took out of use, within its limit where it has a lane of its own.

    Signals that an event loop holds back interrupt it. To be called again where that was before the exit was called.
    """
    started = perf_counter()
    try:
        closing = within(held_signals.let_through(), lambda _: start_closing(slot, report.told))
    except BaseException as raised:
        if slot.entered is not None and slot.entered.is_held:
            raise  # before the exit was called
        report.record(slot, started, raised)
        return
    limit = patience_with(slot)
    while not closing.done() and (limit is None or perf_counter() - started < limit):
        try:
            wait([closing], timeout=None if limit is None else started + limit - perf_counter())
        except BaseException as interruption:  # a signal while another thread is at it, which goes on
            report.interrupted(interruption)
    report.record(slot, started, closing.exception() if closing.done() else give_up(slot))


def start_closing(slot: Slot, outcome: Outcome) -> Future[None]:
    """Start closing a slot where it was opened; done on return where that is the calling thread."""
    if slot.host is not None:
        return slot.host.close_from_outside(outcome)
    assert slot.entered is not None, "a slot that is open was entered"
    return run_in_place(slot, partial(slot.entered.close, outcome))


def patience_with(slot: Slot) -> float | None:
    """Seconds that closing may take; none where another resource hangs in the one thread that could do it."""
    hangs = slot.lane is not None and slot.lane.hangs_in is not None
    return 0.0 if hangs else slot.policy.close_timeout_seconds


def give_up(slot: Slot) -> ResourceTimeoutError:
    """Leave a lane behind whose resource does not close in time."""
    limit, lane = slot.policy.close_timeout_seconds or 0.0, slot.lane
    if lane is None:
        return ResourceTimeoutError(slot.path, "close", limit)
    waiting = [] if lane.hangs_in is None else [lane.hangs_in]
    slot.ledger.lanes.drop(lane, slot.path)
    return ResourceTimeoutError(slot.path, "close", limit, waiting)


def run_in_place(slot: Slot, function: Callable[[], None]) -> Future[None]:
    """Run a closer where its resource was opened: in its lane and context, or here.

    What has no exit has none to run in its lane, where another resource may hang that was opened there after it.
    """
    context = slot.context
    has_exit = slot.entered is None or slot.entered.has_exit
    closing = function if context is None else context.closing(function)
    if has_exit and slot.lane is not None and context is not None and not slot.lane.is_current:
        holds = slot.lane.holds
        closing_in_lane = slot.lane.submit(closing, context.context)
        closing_in_lane.add_done_callback(lambda _: holds.discard(slot))
        return closing_in_lane
    done: Future[None] = Future()
    try:
        closing() if context is None else context.context.run(closing)
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
    return done
