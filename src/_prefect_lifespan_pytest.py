"""The pytest plugin of prefect-lifespan: fixtures for overriding and opening containers, and the check for leaks.

It stands beside the package, and imports from it in fixtures only: a test run that uses none of
this pays for this one module.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pytest

if TYPE_CHECKING:
    from dependency_injector import containers

    from prefect_lifespan.engine import Event
    from prefect_lifespan.testing import AsyncLifespanContainer, LifespanContainer, OverrideProviders

    C = TypeVar("C", bound=containers.DeclarativeContainer)
    ContainerClass: TypeAlias = type[containers.DeclarativeContainer]

INI = MARKER = "lifespan_leak_check"
OUTCOME = pytest.StashKey[BaseException]()
MARK = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The switch of the check."""
    parser.addini(INI, "fail a test that leaves resources of a lifespan open (prefect-lifespan)", "bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """The marker of the check, and the check."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(enabled=True, process_resources=False): whether resources that the test leaves open fail it, and "
        "whether those that live as long as the process count (prefect-lifespan)",
    )
    config.pluginmanager.register(LeakCheck(config), "prefect-lifespan-leak-check")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the outcome of the test's setup for what is closed after it."""
    if OUTCOME in item.stash:
        del item.stash[OUTCOME]  # of another try
    return (yield from _keeping_the_outcome(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the outcome of the test itself."""
    return (yield from _keeping_the_outcome(item))


def _keeping_the_outcome(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except BaseException as error:
        item.stash[OUTCOME] = error
        raise


def _node_of(request: Any) -> Any:
    """What the fixture is set up for; pytest's own annotation of it differs from release to release."""
    return request.node


@pytest.fixture
def override_providers() -> Iterator[OverrideProviders]:
    """A function that overrides providers of a container until the test ends, as `prefect_lifespan.override` does.

    `override_providers(Container, {"gateways.api": fake}, db=other)`, in the test or in a fixture: whatever thread,
    task or context the test uses sees it.
    """
    from prefect_lifespan.testing import override_everywhere  # noqa: PLC0415

    with ExitStack() as stack:

        def override(
            container: ContainerClass, overrides: Mapping[str, object] | None = None, /, **by_name: object
        ) -> None:
            stack.enter_context(override_everywhere(container, overrides, **by_name))

        yield override


@pytest.fixture
def lifespan_container(request: pytest.FixtureRequest) -> Iterator[LifespanContainer]:
    """A function that opens a container without a flow and gives it: `lifespan_container(Container, **arguments)`.

    It takes the arguments of `prefect_lifespan.lifespan`, and closes with the outcome of the test.
    """
    from prefect_lifespan import AsyncResourceError, lifespan  # noqa: PLC0415
    from prefect_lifespan.scope import current_scope  # noqa: PLC0415

    item, stack = _node_of(request), ExitStack()
    test = item.obj

    # On an event loop that outlives the test, so does its context, and what it has opened is closed in another one.
    @functools.wraps(test)
    async def in_a_scope_of_its_own(*args: Any, **kwargs: Any) -> None:
        with current_scope().in_force():
            await test(*args, **kwargs)

    def open_container(container: type[C], **arguments: Any) -> C:
        try:
            return stack.enter_context(lifespan(container, **arguments))
        except AsyncResourceError as error:
            error.add_note("In an `async def` test: container = await async_lifespan_container(...)")
            raise

    if inspect.iscoroutinefunction(test):
        item.obj = in_a_scope_of_its_own
    yield open_container
    item.obj = test
    outcome: BaseException | None = item.stash.get(OUTCOME, None)
    if outcome is None:
        stack.close()
    else:
        stack.__exit__(type(outcome), outcome, outcome.__traceback__)


@pytest.fixture
def async_lifespan_container(request: pytest.FixtureRequest) -> Iterator[AsyncLifespanContainer]:
    """What `lifespan_container` is, for an asynchronous test, whatever plugin runs that; to be awaited.

    Opened and closed on the test's own event loop, in the task of the test; so it is the test that calls it, and no
    fixture.
    """
    from prefect_lifespan import lifespan  # noqa: PLC0415

    item, stack, running = _node_of(request), AsyncExitStack(), False
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        pytest.fail("async_lifespan_container is for `async def` tests; others take lifespan_container", pytrace=False)

    # An event loop may be gone when fixtures are torn down, and a fixture on it is for the plugin that has made it. So
    # it is the test itself that closes what it has opened.
    @functools.wraps(test)
    async def closing(*args: Any, **kwargs: Any) -> None:
        nonlocal running
        running = True
        try:
            async with stack:
                await test(*args, **kwargs)
        finally:
            running = False

    async def open_container(container: type[C], **arguments: Any) -> C:
        if not running:
            pytest.fail(
                "async_lifespan_container is to be awaited in the test itself, which closes what it opens; an "
                "asynchronous fixture opens with `async with lifespan(Container) as container: yield container`",
                pytrace=False,
            )
        return await stack.enter_async_context(lifespan(container, **arguments))

    item.obj = closing
    yield open_container
    item.obj = test


@pytest.fixture(scope="session")
def prefect_harness() -> Iterator[str]:
    """Prefect's own API for the tests of the session, with a database of its own; the address.

    Under xdist there is one for each process. Flows send no heartbeats: the thread that does holds up the end of each
    run for a second.
    """
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield str(PREFECT_API_URL.value())


@dataclass(frozen=True)
class Opening:
    """A resource that is open, and the line of the test-suite that opened it, as far as that can be told."""

    event: Event
    where: str

    def __str__(self) -> str:
        return f"{self.event.container}.{self.event.path}, opened by {self.event.lifespan}{self.where}"


@dataclass(eq=False)
class Span:
    """The setup of a fixture that outlives a test: lifespans with these numbers are the fixture's, until it ends."""

    first: int
    name: str
    node: pytest.Item | pytest.Collector  # of its scope: the class, the module, the session
    last: int = sys.maxsize


@dataclass(eq=False)
class LeakCheck:
    """Fails a test, or the end of a fixture, that leaves resources open.

    Nothing is looked at before the library has been imported by somebody else.
    """

    config: pytest.Config
    _open: dict[object, Opening] = field(default_factory=dict[object, Opening])
    _spans: list[Span] = field(default_factory=list[Span])
    _due: list[tuple[Opening, Span]] = field(default_factory=list["tuple[Opening, Span]"])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: dict[object, Event] = field(default_factory=dict[object, "Event"])  # before its opening was told
    _watching: bool = False

    def pytest_unconfigure(self) -> None:
        """The end of the session."""
        if self._watching:
            from prefect_lifespan.engine import observers  # noqa: PLC0415

            observers.remove(self.observe)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """From here on what opens is the test's."""
        if self._is_watching():
            item.stash[MARK] = _next_number()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """What a fixture opens that outlives the test is the fixture's."""
        if request.scope == "function" or not self._is_watching():
            return (yield)
        span = Span(_next_number(), fixturedef.argname, _node_of(request))
        self._spans.append(span)
        fixturedef.addfinalizer(functools.partial(self._fixture_has_ended, span))  # runs after the fixture's own
        try:
            return (yield)
        finally:
            span.last = _next_number()

    def _fixture_has_ended(self, span: Span) -> None:
        with self._lock: self._keep(span)  # noqa: E701 # fmt: skip
        self._spans.remove(span)

    # Bodies under the lock stand on one line with it: see `prefect_lifespan.signal_safe`, which is not imported here.

    def _keep(self, span: Span) -> None:
        kept = [key for key, opening in self._open.items() if self._owner(opening) is span]
        self._due += [(self._open.pop(key), span) for key in kept]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """What is left when all fixtures have been torn down, the test has left open."""
        try:
            result = yield
        except BaseException as error:
            for line in self._leaks_of(item):
                error.add_note(line)
            raise
        leaks = self._leaks_of(item)
        if leaks:
            pytest.fail("\n".join(leaks), pytrace=False)
        return result

    def _leaks_of(self, item: pytest.Item) -> list[str]:
        with self._lock: left, due = self._left_and_due(item.stash.get(MARK, sys.maxsize))  # noqa: E701 # fmt: skip
        lines = [f"  {opening}" for opening in left if self._counts(opening, item)]
        # What its last test allows itself is no word about a fixture that outlives it.
        kept = [f"  {opening}, by the fixture {span.name}" for opening, span in due if self._counts(opening, span.node)]
        if not lines and not kept:
            return []
        where = "the test" if lines else "the class or module of the fixture"
        return [
            "resources were left open:",
            *lines,
            *kept,
            f"Close them, or mark {where}: @pytest.mark.{MARKER}(False)",
        ]

    def _left_and_due(self, mark: int) -> tuple[list[Opening], list[tuple[Opening, Span]]]:
        left = [o for o in self._open.values() if o.event.number > mark and self._owner(o) is None]
        due, self._due = self._due, []
        self._closed.clear()
        for opening in left:
            self._open.pop(opening.event.opening, None)
        return left, due

    def _counts(self, opening: Opening, node: pytest.Item | pytest.Collector) -> bool:
        """Whether what was left open is a leak, to whom it belongs."""

        def read(enabled: bool = True, *, process_resources: bool = False) -> bool:
            return enabled and (process_resources or not _is_of_the_process(opening.event))

        marker = node.get_closest_marker(MARKER)
        if marker is not None:
            return read(*marker.args, **marker.kwargs)
        return read(bool(self.config.getini(INI)))

    def _owner(self, opening: Opening) -> Span | None:
        number = opening.event.number
        return next((span for span in reversed(self._spans) if span.first < number < span.last), None)

    def _is_watching(self) -> bool:
        if not self._watching and "prefect_lifespan" in sys.modules:
            from prefect_lifespan.engine import observers  # noqa: PLC0415

            observers.add(self.observe)
            self._watching = True
        return self._watching

    def observe(self, event: Event) -> None:
        """Keep account of what is open."""
        with self._lock: self._note(event)  # noqa: E701 # fmt: skip

    def _note(self, event: Event) -> None:
        key = event.opening
        if event.kind in ("closed", "close-failed"):
            if self._open.pop(key, None) is None:
                self._closed[key] = event  # two threads may tell of the two in the other order
        elif event.kind == "opened" and self._closed.pop(key, None) is None:
            self._open[key] = Opening(event, _place(self.config.rootpath))


def _next_number() -> int:
    from prefect_lifespan.engine import lifespan_numbers  # noqa: PLC0415

    return next(lifespan_numbers)


def _is_of_the_process(event: Event) -> bool:
    # Others that are declared to live as long are a run's alone: what an override brings, and asynchronous ones.
    return event.lifespan == "the process"


# Whose frames stand between a test and what it opens.
_BETWEEN = (__name__, "prefect_lifespan", "prefect", "dependency_injector", "contextlib")
_BEYOND = ("_pytest", "pluggy", "threading", "asyncio", "anyio", "concurrent")


def _place(root: Path) -> str:
    """The line that opened what is told of just now; nothing where that runs in a thread or task of the library's."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _BEYOND:
            return ""
        if package not in _BETWEEN:
            file = Path(frame.f_code.co_filename)
            return f" in {file.relative_to(root) if file.is_relative_to(root) else file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
