"""A signal's exception in a function, at each place in turn, and whether others can go on after it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

# Python looks for signals as a function begins, and as a call has returned. In these two of the standard library a condition
# is taken then, and stays so. Other locks are entered and left in C.
DOORS = {threading.Condition.__enter__.__code__: "return", threading.Condition.__exit__.__code__: "line"}


class Interrupted(BaseException):
    """What a signal's handler raises."""


def interrupted_at(number: int, function: Callable[[], object], file: str, *, only_doors: bool = False) -> bool:
    """Call a function, and raise at a line of that number in a file of the library; whether it has so many.

    The lines count with it that enter and leave a condition there; or nothing else does.
    """
    count = 0

    def local(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        count += event == DOORS.get(frame.f_code, "none" if only_doors else "line")
        if count == number:
            count += 1  # once
            raise Interrupted
        return local

    def tracer(frame: Any, *_: object) -> Any:
        at = frame.f_back if frame.f_code in DOORS else frame
        return local if at.f_code.co_filename.endswith(file) else None

    before = sys.gettrace()  # coverage's, which would see nothing of this process any more
    sys.settrace(tracer)
    try:
        function()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def returns(function: Callable[[], object]) -> bool:
    """Whether a call in another thread comes back."""
    calling = threading.Thread(target=function, daemon=True)
    calling.start()
    calling.join(20)
    return not calling.is_alive()
