"""`assert_closes_cleanly`: a whole container through every case in which one thing fails."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

from prefect_lifespan.engine.events import Happening, declared_path
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.errors import AsyncResourceError, UsageError
from prefect_lifespan.graph import Graph, Node, read, refusals
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass, qualified_name
from prefect_lifespan.injection import Provide, inject
from prefect_lifespan.lifespans import lifespan
from prefect_lifespan.lifetimes import policy_of
from prefect_lifespan.overrides import Overrides
from prefect_lifespan.overriding import override
from prefect_lifespan.scope import current_scope
from prefect_lifespan.signal_safe import under
from prefect_lifespan.testing.cases import Case, CleanClosing, Expected, problems_of
from prefect_lifespan.testing.faults import Fault, Faults, InjectedFault
from prefect_lifespan.testing.recording import recording

# Not a word about one case: they end the whole trial.
_STOPPING = (KeyboardInterrupt, SystemExit)


class _Recording(recording):
    """A recording that has the exceptions as they are, to tell one from another."""

    @property
    def happenings(self) -> list[Happening]:
        """Everything so far."""
        return under(self._lock, self._happenings.copy)


class BodyError(Exception):
    """What the body raises, in the case that it fails."""


def assert_closes_cleanly(
    container: ContainerClass,
    overrides: Overrides | None = None,
    *,
    after_each: Callable[[], object] | None = None,
    **arguments: Any,
) -> CleanClosing:
    """Run a container through every case in which one thing fails, and see that all it opened closes.

    The cases: nothing fails; the body fails; and for each resource, its opening fails, its closing fails, and, where
    it is asynchronous, the run is cancelled as it starts to open. In each of them everything that opened must close
    exactly once, before what it needs, with the right outcome; and the right error must come out. All resources are
    opened, those of tasks and of the process too. The container's own initialisers run, so give what must not be
    touched in `overrides`; an overridden resource is tried as what stands in for it.

    What an initialiser does inside its closing is not seen: look at that in `after_each`.

    Args:
        container: the container class.
        overrides: as `override` takes them.
        after_each: called after each case; what it raises is a problem of that case.
        arguments: as `lifespan` takes them.

    Returns:
        What came of each case; its text is a table.

    Raises:
        AssertionError: with all cases, where one of them failed.
        UsageError: a container that cannot be opened as it is declared and overridden, with what `check` found.
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan.testing import assert_closes_cleanly
        >>> class App(containers.DeclarativeContainer):
        ...     url = providers.Resource(lambda: "sqlite://")
        ...     db = providers.Resource("connection to {}".format, url)
        >>> print(assert_closes_cleanly(App))
        App: 6 cases, 0 failed
          ok      nothing fails
          ok      the body fails
          ok      url does not open
          ok      url does not close
          ok      db does not open
          ok      db does not close
    """
    with nullcontext() if overrides is None else override(require_container(container), overrides):
        trial = Trial(require_container(container), arguments, after_each)
        report = trial.run() if running_loop() is None else _in_a_thread(trial.run)
    if report.failures:
        raise AssertionError(str(report))
    return report


def _in_a_thread(function: Callable[[], CleanClosing]) -> CleanClosing:
    """In an asynchronous test: its event loop is busy with the test, and the trial needs one of its own."""
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, "assert_closes_cleanly") as pool:
        return pool.submit(lambda: context.run(function)).result()


class Trial:
    """All cases of one container."""

    def __init__(
        self, container: ContainerClass, arguments: dict[str, Any], after_each: Callable[[], object] | None
    ) -> None:
        self._container = container
        self._arguments: dict[str, Any] = {**arguments, "share": False}
        self._after_each = after_each
        graph = self._read()
        found = refusals(graph)
        if found:
            raise UsageError("\n\n".join([f"{graph.container} cannot be opened:", *map(str, found)]))
        self._nodes = {declared_path(node.path): node for node in graph.eager}
        self._named = [path for path in self._nodes if path in graph.by_path]
        self._asynchronous = any(node.is_async for node in graph.eager)
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> CleanClosing:
        """Every case; where nothing fails and something is wrong, the others would tell the same."""
        first = self._case("nothing fails", Expected())
        cases = [first] if first.problems else [first, *self._faulty_cases()]
        untried = tuple(path for path in self._nodes if path not in self._named)
        return CleanClosing(qualified_name(self._container), tuple(cases), untried)

    def _faulty_cases(self) -> Iterator[Case]:
        failure = BodyError("the body fails")
        yield self._case("the body fails", Expected(failure, outcome=failure), body=failure)
        for path in self._named:
            error = InjectedFault(f"{path} does not open")
            faults = Faults(self._container).fail(path, "open", error=error)
            yield self._case(str(error), Expected(error, outcome=error), faults)
            error = InjectedFault(f"{path} does not close")
            faults = Faults(self._container).fail(path, "close", error=error)
            yield self._case(str(error), Expected(error, closing=path, warns=self._warns(path)), faults)
            if self._nodes[path].is_async:
                faults = Faults(self._container).add(path, Fault("open", None, then=self._cancel))
                yield self._case(f"{path} is cancelled as it opens", Expected(asyncio.CancelledError), faults)

    def _case(
        self, name: str, expected: Expected, faults: Faults | None = None, *, body: BaseException | None = None
    ) -> Case:
        with faults or nullcontext():
            raised, happenings = self._run(body)
        events = [happening.event for happening in happenings]
        graph = self._read()
        needs = {node.path: self._paths(graph, node) for node in graph.resources}
        problems = [*problems_of(events, needs), *expected.differs(raised, happenings), *self._found_afterwards()]
        return Case(name, tuple(problems), tuple(events))

    def _read(self) -> Graph:
        return read(self._container, current_scope().overrides_for(self._container))

    @staticmethod
    def _paths(graph: Graph, node: Node) -> list[str]:
        return [graph.nodes[key].path for key in graph.direct[node.key]]

    def _warns(self, path: str) -> bool:
        policy = policy_of(getattr(self._nodes[path].provider, "provides", None))
        return (policy.on_close_error or self._arguments.get("on_close_error")) == "warn"

    def _found_afterwards(self) -> Iterator[str]:
        try:
            if self._after_each is not None:
                self._after_each()
        except _STOPPING:
            raise
        except BaseException as error:
            yield f"after_each: {type(error).__name__}: {error}"

    # Running

    def _run(self, body: BaseException | None) -> tuple[BaseException | None, list[Happening]]:
        """One run, in which every resource is used: what came out of it, and what was recorded."""
        if not self._asynchronous:
            with _Recording(self._container) as record:
                raised = self._blocking(body)
            if not isinstance(raised, AsyncResourceError):
                return raised, record.happenings
            self._asynchronous = True  # an initialiser that did not look it: what opened before that counts for nothing
        with _Recording(self._container) as record:
            raised = asyncio.run(self._on_a_loop(body))
        return raised, record.happenings

    def _blocking(self, body: BaseException | None) -> BaseException | None:
        try:
            with lifespan(self._container, **self._arguments):
                self._use(self._named, body)
        except _STOPPING:
            raise
        except BaseException as error:
            return error
        return None

    async def _on_a_loop(self, body: BaseException | None) -> BaseException | None:
        self._task = asyncio.current_task()
        try:
            async with lifespan(self._container, **self._arguments):
                await self._ause(self._named, body)
        except _STOPPING:
            raise
        except BaseException as error:
            return error
        return None

    def _cancel(self) -> None:
        """Cancel the run; it reaches an initialiser at its first wait."""
        assert self._task is not None, "only asynchronous resources are cancelled"
        self._task.get_loop().call_soon(self._task.cancel)

    def _use(self, paths: Sequence[str], body: BaseException | None) -> None:
        """Take each resource as an injected parameter, one inside the other, so that those of a task are one's."""
        if not paths:
            if body is not None:
                raise body
            return

        @inject
        def use(_: Any = Provide[paths[0]]) -> None:
            self._use(paths[1:], body)

        use()

    async def _ause(self, paths: Sequence[str], body: BaseException | None) -> None:
        if not paths:
            self._use(paths, body)
            return

        @inject
        async def use(_: Any = Provide[paths[0]]) -> None:
            await self._ause(paths[1:], body)

        await use()
