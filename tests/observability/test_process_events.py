"""Who hears of what lives as long as the process: an exception at any line of that keeps nobody waiting."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from prefect_lifespan.observability import process_events as module
from prefect_lifespan.observability.process_events import Hearing, ProcessEvents


class Interrupted(BaseException):
    """What a signal's handler raises."""


def leaving(events: ProcessEvents, hearing: Hearing, line: int) -> int:
    """Remove it, interrupted at that line of the module, if so many run; how many ran."""
    count = 0

    def local(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        if event == "line" and count == line:
            raise Interrupted
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, _, __: local if frame.f_code.co_filename == module.__file__ else None)
    try:
        with suppress(Interrupted):
            events.remove(hearing)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("line", range(1, 6))
def test_an_interrupted_leaving_can_be_done_again(line: int) -> None:
    events = ProcessEvents()
    hearing = Hearing("a run", frozenset({"App"}), None)  # type: ignore[arg-type]
    events._hearings[hearing] = None
    leaving(events, hearing, line)

    again = threading.Thread(target=events.remove, args=(hearing,), daemon=True)
    again.start()
    again.join(10)
    assert not again.is_alive()
    assert not events.hears(0)
