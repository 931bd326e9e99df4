"""Closing on an event loop: asynchronous resources side by side, each as soon as nothing open needs it any more.

Blocking ones close one after another in their own threads, each after everything that was opened later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from time import perf_counter

from prefect_lifespan.engine.blocking import close_begun, give_up, patience_with, start_closing
from prefect_lifespan.engine.closing import CloseReport, apersist, closing_plan
from prefect_lifespan.engine.host import GRACE_SECONDS, Host
from prefect_lifespan.engine.hosting import arrival_of, uninterrupted
from prefect_lifespan.engine.late import LateOpenings, Needs
from prefect_lifespan.engine.slot import Ledger, Slot, State
from prefect_lifespan.errors import ResourceTimeoutError


async def aclose_all(ledger: Ledger, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open; neither a failure nor a cancellation skips what remains.

    To be called again where a signal has interrupted it, in a step of ours.
    """
    ledger.end(report)
    late = LateOpenings(ledger, needs, report)
    await _Closing(ledger.opened, needs, report, late).run()
    ledger.opened.clear()
    for slot in late.left:
        report.interrupted(await uninterrupted(_await_late(slot, late)))
    ledger.lanes.stop()


async def aclose_some(slots: Iterable[Slot], needs: Needs, container: str) -> CloseReport:
    """Close the given slots, which come in opening order, where they are open."""
    report = CloseReport(container, None)
    closing = [*slots]
    await apersist(report, lambda: _Closing(closing, needs, report).run())
    return report


class _Closing:
    """One closing: what may close when, and what is at it.

    As in opening, no callback of the loop is ours: what has ended comes into the queue by itself.
    """

    def __init__(
        self, opened: Iterable[Slot], needs: Needs, report: CloseReport, late: LateOpenings | None = None
    ) -> None:
        self._report = report
        self._needs = needs
        self._users = closing_plan((slot for slot in opened if slot.state is not State.CLOSED), needs)
        self._started: dict[Slot, float] = {}
        self._closed: set[Slot] = set()
        self._others: set[Slot] = set()  # that another closing is at, which reports on them
        self._limits: dict[Slot, asyncio.TimerHandle] = {}
        self._finished: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._at: dict[asyncio.Task[None], tuple[Slot, Host | None]] = {}
        self._order = deque(self._users)  # last opened first
        self._late_users: dict[Slot, list[asyncio.Task[None]]] = {}
        if late is not None:
            for slot in late.left:
                self._wait_with_what_is_needed(slot, late)

    async def run(self) -> None:
        """Close all of it."""
        for slot, users in self._users.items():
            if not users:
                self._start(slot)
        while self._order:
            slot = self._order[0]
            if slot in self._closed:
                self._order.popleft()
            elif slot.host is None:  # blocking, and all that was opened later has closed
                if slot in self._late_users:
                    self._report.interrupted(await uninterrupted(asyncio.wait(self._late_users[slot])))
                await self._close_blocking(slot)
                self._release(slot)
            else:
                await self._take_finished()

    def _start(self, slot: Slot) -> None:
        """Let the host of an asynchronous slot exit it; a blocking one waits for its turn."""
        host = slot.host
        if host is None:
            return
        self._started[slot] = perf_counter()
        if slot.begin_close(self._report):
            self._report.interrupted(host.interruption)
            host.request_close(self._report.told)
        else:
            self._others.add(slot)
        self._at[host.task] = slot, host
        host.task.add_done_callback(self._finished.put_nowait)
        limit = slot.policy.close_timeout_seconds
        if limit is not None:
            too_long = host.task.get_loop().call_later(limit + GRACE_SECONDS, self._finished.put_nowait, host.task)
            self._limits[slot] = too_long

    async def _take_finished(self) -> None:
        try:
            task = await self._finished.get()
        except asyncio.CancelledError as cancelled:
            self._report.interrupted(cancelled)
            return
        slot, host = self._at.pop(task, (None, None))
        if slot is None:
            return
        if host is None:  # a late opening has ended
            self._let_go(slot)
            return
        if slot in self._limits:
            self._limits.pop(slot).cancel()
        if slot not in self._others:
            self._record(slot, host)
        self._release(slot)

    def _record(self, slot: Slot, host: Host) -> None:
        error = host.error
        if not host.task.done():
            host.task.cancel()
            error = ResourceTimeoutError(slot.path, "close", slot.policy.close_timeout_seconds or 0.0)
        elif host.is_to_be_left:  # interrupted before its exit was called: it is tried again
            raise host.interruption or asyncio.CancelledError()
        else:
            self._report.interrupted(host.interruption)
        self._report.record(slot, self._started[slot], error)

    async def _close_blocking(self, slot: Slot) -> None:
        if slot.lane is None:
            if slot.begin_close(self._report):
                close_begun(slot, self._report)
        elif slot.begin_close(self._report):
            started = perf_counter()
            closing = start_closing(slot, self._report.told)
            waiting = asyncio.wait([arrival_of(closing)], timeout=patience_with(slot))
            self._report.interrupted(await uninterrupted(waiting))
            self._report.record(slot, started, closing.exception() if closing.done() else give_up(slot))

    def _release(self, slot: Slot) -> None:
        """`slot` has closed: what it needed may be free now."""
        self._closed.add(slot)
        self._let_go(slot)

    def _let_go(self, user: Slot) -> None:
        for needed in self._needs(user):
            if needed in self._users:
                self._users[needed] -= 1
                if not self._users[needed]:
                    self._start(needed)

    def _wait_with_what_is_needed(self, slot: Slot, late: LateOpenings) -> None:
        """An opening is under way: it counts as a user until it has ended."""
        needed = [other for other in self._needs(slot) if other in self._users]
        if not needed:
            return
        ending = asyncio.get_running_loop().create_task(_await_late(slot, late))
        self._at[ending] = slot, None
        ending.add_done_callback(self._finished.put_nowait)
        for other in needed:
            self._users[other] += 1
            self._late_users.setdefault(other, []).append(ending)


async def _await_late(slot: Slot, late: LateOpenings) -> None:
    """Wait for one late opening; not in a thread of the loop's pool, all of which may hang in such openings."""
    under_way = slot.opening_under_way
    if under_way is None:
        return
    ended = arrival_of(under_way, in_this_thread=slot.loop is asyncio.get_running_loop())
    await asyncio.wait([ended], timeout=slot.policy.close_timeout_seconds)
    if not ended.done():
        late.give_up(slot)
