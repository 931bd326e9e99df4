"""What `signal` has behind its two functions: the system's own, which give a handler as it is."""

import inspect
import signal


def test_the_functions_behind_give_and_set_a_handler_without_looking_at_it() -> None:
    class Handler:
        def __call__(self, *_: object) -> None: ...

        def __repr__(self) -> str:
            raise AssertionError("it was shown")

    handler_of, handle_by = inspect.unwrap(signal.getsignal), inspect.unwrap(signal.signal)
    handler, before = Handler(), signal.getsignal(signal.SIGUSR2)
    try:
        handle_by(signal.SIGUSR2, handler)
        assert handler_of(signal.SIGUSR2) is handler
    finally:
        handle_by(signal.SIGUSR2, before)
