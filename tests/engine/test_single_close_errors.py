"""What a resource raises as it closes: alone it is raised as itself; from the body's exception it translates that."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import CloseReport, Event
from prefect_lifespan.engine.events import logging_to
from prefect_lifespan.errors import ResourceCloseError
from tests.engine.support import aopen_all, async_engine_of, declare, engine_of, in_threads, open_all, run

Step = Callable[[BaseException | None], None]
Closing = Callable[[Any, BaseException | None], CloseReport]


class IntegrityError(Exception):
    pass


class Conflict(Exception):
    pass


def blocking(step: Step, *needs: Any) -> Any:
    """A resource that is told how the body ended, and does with it what `step` says."""

    def initialiser(*_: object) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            step(error)
            raise
        step(None)

    return providers.Resource(initialiser, *needs)


def hosted(step: Step, *needs: Any) -> Any:
    async def initialiser(*_: object) -> AsyncGenerator[None]:
        try:
            yield
        except BaseException as error:
            await asyncio.sleep(0)
            step(error)
            raise
        await asyncio.sleep(0)
        step(None)

    return providers.Resource(initialiser, *needs)


def here(container: Any, outcome: BaseException | None) -> CloseReport:
    engine = engine_of(container)
    open_all(engine)
    return engine.close(outcome)


def in_lanes(container: Any, outcome: BaseException | None) -> CloseReport:
    engine = engine_of(container, max_workers=2)
    open_all(engine)
    return engine.close(outcome)


def first_used_in_a_thread(container: Any, outcome: BaseException | None) -> CloseReport:
    engine = engine_of(container)
    in_threads(1, lambda: engine.open(engine.eager(), "first use"))
    return engine.close(outcome)


def on_a_loop(container: Any, outcome: BaseException | None, *, workers: int = 1) -> CloseReport:
    async def main() -> CloseReport:
        engine = async_engine_of(container, max_workers=workers)
        await aopen_all(engine)
        return await engine.aclose(outcome)

    return run(main)


def in_lanes_on_a_loop(container: Any, outcome: BaseException | None) -> CloseReport:
    return on_a_loop(container, outcome, workers=2)


def of_a_view(container: Any, outcome: BaseException | None) -> CloseReport:
    """As a task's resources are, which close with the engine that theirs stands on."""
    engine = engine_of(container)
    view = engine.derive(lambda node: node.is_resource, name="the task", lasts=True)
    open_all(view)
    return engine.close(outcome)


DRIVERS = [
    (here, blocking),
    (in_lanes, blocking),
    (first_used_in_a_thread, blocking),
    (of_a_view, blocking),
    (on_a_loop, blocking),
    (in_lanes_on_a_loop, blocking),
    (on_a_loop, hosted),
]
each_driver = pytest.mark.parametrize(
    ("close", "made"), DRIVERS, ids=[f"{close.__name__} {made.__name__}" for close, made in DRIVERS]
)


def nothing(_: BaseException | None) -> None:
    """What a well-behaved one does."""


@each_driver
def test_the_one_close_error_of_a_body_that_succeeded_is_raised_as_itself_with_a_note(
    close: Closing, made: Callable[..., Any]
) -> None:
    at_commit = IntegrityError("FOREIGN KEY constraint failed")

    def commit(_: BaseException | None) -> None:
        raise at_commit

    report = close(declare(a=made(nothing), b=made(commit), c=made(nothing)), None)
    with pytest.raises(IntegrityError) as raised:
        report.settle()
    assert raised.value is at_commit
    assert at_commit.__notes__ == ["while closing App.b"]


@each_driver
def test_one_that_is_raised_from_the_bodys_exception_goes_on_and_those_behind_it_are_told(
    close: Closing, made: Callable[..., Any]
) -> None:
    body, told = IntegrityError("duplicate key"), list[BaseException | None]()
    conflict = Conflict("there is one already")

    def translate(error: BaseException | None) -> None:
        raise conflict from error

    a = made(told.append)
    b = made(translate, a)
    report = close(declare(a=a, b=b, c=made(told.append, b)), body)
    with pytest.raises(Conflict) as raised:
        report.settle()
    assert (raised.value, conflict.__cause__) == (conflict, body)
    assert told == [body, conflict]


@each_driver
def test_a_translation_of_a_translation_goes_on_with_both_as_its_causes(
    close: Closing, made: Callable[..., Any]
) -> None:
    body = IntegrityError("duplicate key")

    def twice(error: BaseException | None) -> None:
        try:
            raise KeyError("in between") from error
        except KeyError as between:
            raise Conflict("in the end") from between

    def again(error: BaseException | None) -> None:
        raise RuntimeError("for the user") from error

    a = made(again)
    with pytest.raises(RuntimeError, match="for the user") as raised:
        close(declare(a=a, b=made(twice, a)), body).settle()
    causes = [raised.value.__cause__]
    while (cause := causes[-1]) is not None:
        causes.append(cause.__cause__)
    assert [type(cause) for cause in causes] == [Conflict, KeyError, IntegrityError, type(None)]


def from_nothing(_: BaseException | None) -> None:
    raise OSError("disk full") from None


def from_something_else(_: BaseException | None) -> None:
    raise OSError("disk full") from KeyError()


def beside_it(_: BaseException | None) -> None:
    raise OSError("disk full")


@each_driver
@pytest.mark.parametrize("raising", [from_nothing, from_something_else, beside_it])
def test_anything_else_it_raises_is_a_note_of_the_bodys_exception(
    close: Closing, made: Callable[..., Any], raising: Step
) -> None:
    body, told = ValueError("of the body"), list[BaseException | None]()
    a = made(told.append)
    close(declare(a=a, b=made(raising, a)), body).settle()
    assert body.__notes__ == ["while closing App.b, OSError was raised: disk full"]
    assert told == [body]


def test_close_errors_beside_a_translation_are_its_notes() -> None:
    def translate(error: BaseException | None) -> None:
        raise Conflict from error

    with pytest.raises(Conflict) as raised:
        here(declare(a=blocking(beside_it), b=blocking(translate), c=blocking(beside_it)), ValueError()).settle()
    assert raised.value.__notes__ == [
        "while closing App.c, OSError was raised: disk full",
        "while closing App.a, OSError was raised: disk full",
    ]


def test_of_two_that_translate_at_the_same_time_the_first_goes_on_and_the_other_is_a_note() -> None:
    body = ValueError("of the body")

    def translating(name: str) -> Step:
        def translate(error: BaseException | None) -> None:
            raise Conflict(name) from error

        return translate

    with pytest.raises(Conflict) as raised:
        on_a_loop(declare(a=hosted(translating("a")), b=hosted(translating("b"))), body).settle()
    (other,) = {"a", "b"} - {str(raised.value)}
    assert raised.value.__notes__ == [f"while closing App.{other}, Conflict was raised: {other}"]


@each_driver
@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_signal_and_a_cancellation_cannot_be_translated(
    close: Closing, made: Callable[..., Any], signal: type[BaseException]
) -> None:
    body = signal()

    def translate(error: BaseException | None) -> None:
        raise Conflict("not now") from error

    close(declare(a=made(translate)), body).settle()
    assert body.__notes__ == ["while closing App.a, Conflict was raised: not now"]


def test_what_a_resource_raises_from_the_error_of_another_ones_opening_goes_on_in_its_place() -> None:
    """As with two `with` statements: it is what the resource was told."""

    def translate(error: BaseException | None) -> None:
        raise Conflict("no database") from error

    def failing() -> None:
        raise OSError("connection refused")

    engine = engine_of(declare(a=blocking(translate), b=providers.Resource(failing)))
    with pytest.raises(OSError, match="refused") as raised:
        open_all(engine)
    with pytest.raises(Conflict) as translated:
        engine.close(raised.value).settle()
    assert translated.value.__cause__ is raised.value


def test_a_message_of_several_has_no_secrets() -> None:
    def leaking(_: BaseException | None) -> None:
        raise OSError("cannot leave postgresql://app:hunter2@db/orders")

    with pytest.raises(ResourceCloseError) as raised:
        here(declare(a=blocking(leaking), b=blocking(leaking)), None).settle()
    assert "hunter2" not in str(raised.value)
    assert "OSError: cannot leave postgresql://app:***@db/orders" in str(raised.value)


def test_a_note_on_the_bodys_exception_has_no_secrets() -> None:
    def leaking(_: BaseException | None) -> None:
        raise OSError("cannot leave postgresql://app:hunter2@db/orders")

    body = ValueError()
    here(declare(a=blocking(leaking)), body).settle()
    assert "hunter2" not in str(body.__notes__)


@pytest.mark.parametrize("outcome", [None, ValueError()], ids=["well", "failed"])
def test_the_log_has_the_text_of_a_close_error_and_its_traceback_without_secrets(
    outcome: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    def disconnect() -> None:
        password = "hunter2"
        raise OSError(f"the server says that {password} is wrong") from KeyError("postgresql://app:hunter3@db/orders")

    def leaking(_: BaseException | None) -> None:
        disconnect()

    events: list[Event] = []
    engine = engine_of(declare(a=blocking(leaking)), on_close_error="warn", events=events)
    open_all(engine)
    engine.close(outcome).settle()
    with caplog.at_level(logging.INFO):
        logging_to(logging.getLogger("test"))(events[-1])
    (record,) = caplog.records
    first, *rest = record.getMessage().splitlines()
    assert first.endswith("OSError: the server says that *** is wrong")
    assert any("in disconnect" in line for line in rest)
    assert any("KeyError: 'postgresql://app:***@db/orders'" in line for line in rest)
    assert "hunter" not in record.getMessage()


# Exceptions that are hard to handle


def test_every_manager_of_contextlib_lets_awkward_exceptions_through() -> None:
    """contextlib's own would replace them, on Python 3.11."""
    told: list[BaseException | None] = []

    @contextmanager
    def managed() -> Generator[None]:
        try:
            yield
        except Exception as error:
            told.append(error)
            raise

    body = Frozen(1)
    here(declare(a=providers.Resource(managed), b=blocking(told.append)), body).settle()
    assert told == [body, body]
    assert not getattr(body, "__notes__", None)


class Frozen(Exception):
    """As one that is a frozen dataclass."""

    def __init__(self, number: int) -> None:
        super().__init__(number)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to {name}")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Slotted(Exception):
    __slots__ = ("code",)


class Noteless(Exception):
    def add_note(self, _: str) -> None:
        raise RuntimeError("no notes")


class Unanswering(Exception):
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


AWKWARD = [Frozen, Slotted, Noteless, Speechless, Unanswering]


@each_driver
@pytest.mark.parametrize("awkward", AWKWARD)
def test_an_awkward_exception_of_the_body_goes_its_way_and_close_errors_replace_it_not(
    close: Closing, made: Callable[..., Any], awkward: type[Exception]
) -> None:
    body, told = awkward(1), list[BaseException | None]()
    a = made(told.append)
    report = close(declare(a=a, b=made(beside_it, a), c=made(told.append)), body)
    report.settle()
    assert len(told) == 2
    assert all(error is body for error in told)
    assert [type(error) for error in report.raising] == [OSError]


@each_driver
@pytest.mark.parametrize("awkward", AWKWARD)
def test_an_awkward_close_error_is_raised_as_itself_and_is_a_note_of_the_bodys(
    close: Closing, made: Callable[..., Any], awkward: type[Exception]
) -> None:
    error = awkward(1)

    def fail(_: BaseException | None) -> None:
        raise error

    report = close(declare(a=made(fail)), None)
    with pytest.raises(awkward) as raised:
        report.settle()
    assert raised.value is error
    body = ValueError("of the body")
    close(declare(a=made(fail)), body).settle()
    assert [note for note in body.__notes__ if awkward.__name__ in note]


@pytest.mark.parametrize("awkward", AWKWARD)
def test_awkward_close_errors_are_in_a_group_and_named(awkward: type[Exception]) -> None:
    def fail(_: BaseException | None) -> None:
        raise awkward(1)

    with pytest.raises(ResourceCloseError, match=awkward.__name__):
        here(declare(a=blocking(fail), b=blocking(fail)), None).settle()


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
@pytest.mark.parametrize("awkward", AWKWARD)
def test_an_awkward_exception_of_an_initialiser_is_raised_as_itself(awkward: type[Exception], on_loop: bool) -> None:
    error = awkward(1)

    def failing() -> None:
        raise error

    container = declare(a=providers.Resource(failing))

    async def main() -> None:  # which raises nothing: asyncio.run makes a text of that
        with pytest.raises(awkward) as raised:
            await aopen_all(async_engine_of(container))
        assert raised.value is error

    if on_loop:
        run(main)
        return
    with pytest.raises(awkward) as raised:
        open_all(engine_of(container))
    assert raised.value is error
