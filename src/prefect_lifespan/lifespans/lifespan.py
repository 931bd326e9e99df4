"""The `lifespan` object: a decorator for flow functions and a context manager of both kinds."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from dependency_injector import containers, providers

from prefect_lifespan.engine import Observer
from prefect_lifespan.engine.events import require_observer
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.anchors import anchor_of, as_written, copy_inside, owner_of
from prefect_lifespan.graph.edges import AnyProvider, is_kind
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.lifespans.asked import Overrides, Settings, refuse_what_does_not_take
from prefect_lifespan.lifespans.drawing import DrawnSession, session_of
from prefect_lifespan.lifespans.flows import wrap_flow
from prefect_lifespan.lifespans.pairing import Enterings, Exit, looked_up
from prefect_lifespan.lifetimes import Lifetime, OnCloseError, Policy, RetryDelay
from prefect_lifespan.overrides import did_you_mean, providers_for

if TYPE_CHECKING:
    from prefect_lifespan.lifespans.session import Session

C = TypeVar("C", bound=containers.DeclarativeContainer)
F = TypeVar("F", bound=Callable[..., Any])
Eager = bool | Sequence["AnyProvider | str"]


class lifespan(Generic[C]):  # noqa: N801 - used as a decorator and a context manager, named as the field names it
    """Open a container's resources, and close them in the end, whatever happens in between.

    Three uses of one object. As a decorator below `@flow` (or above it), each run of the flow, and each attempt of a
    run, has its own container instance: its resources open when the function starts, tasks get them through `@inject`,
    and they close after the last task that was submitted is done. The function's own marked parameters are injected
    too. `with lifespan(C) as container:` and `async with lifespan(C) as container:` do the same for a block; flows
    called in it share its resources.

    Args:
        container: a dependency-injector DeclarativeContainer class.
        overrides: other providers or plain objects for this lifespan, by dotted path; or a container class that declares
            them by the same names; or a function that is given the flow's parameters by keyword and returns them.
        eager: True opens all run resources at the start that can be opened there: without an event loop, asynchronous
            ones and what needs them are left. A list of providers (or their paths) opens those and what they need,
            resources of the process included; False opens none. What is not open opens at first use.
        share: whether to join a lifespan of the same container that is in force here; False opens one of its own. One
            with `overrides` is always its own.
        everywhere: for the block of an application: True has it in force in every context of the process that has no
            lifespan of that container of its own: the requests of an ASGI app, which run in other tasks and threads than
            its lifespan, threads and their flows. One at a time for a container; not for a decorator.
        observers: functions that are told of each opening and closing, an `Event`, where and when it happens; what happens
            in worker processes, when the lifespan ends. One that raises is dropped with a log line. Those of a lifespan that
            joins another one hear what that opens and closes meanwhile.
        report: whether a flow run ends with an artifact that shows when its resources opened, were held and closed.
        max_workers: how many blocking initialisers may run at a time, each in a thread that its resource then stays
            in. 1 runs them in the calling thread.
        open_timeout_seconds: seconds that one attempt to open one resource may take; None for no limit.
        close_timeout_seconds: seconds that closing one resource may take; None for no limit.
        retries: further attempts to open a resource whose initialiser raised.
        retry_delay_seconds: seconds between two attempts: a number, a list with one for each retry, or a function of the
            number of retries that returns either.
        on_close_error: "raise" fails a run whose body succeeded when a resource does not close; "warn" logs it.
        pending: what happens to futures that were submitted and not awaited when the function returns: "wait" lets
            them finish, "cancel" drops those that have not begun. Running ones are always waited for.

    Raises:
        TypeError: `container` is not a container class.
        UsageError: an observer that cannot be called, or is a coroutine function; a name in `overrides` or `eager` that the container does not declare; a `TaskResource` in `eager`;
            `everywhere` on a decorator, or, when entered, while there is another one of that container.
        ValueError: a number or a word out of range.
        InvalidContainerError: when entered, a container that cannot be opened as it is declared and overridden.
        AsyncResourceError: when entered without an event loop, asynchronous resources that `eager` names.
        ResourceTimeoutError: when entered, a resource that does not open within its limit.
        Exception: when left, what the one resource raised that failed to close after a body that succeeded.
        ResourceCloseError: the same, where several did; its message names each.

    An initialiser's own exception arrives with its own type, and a note that says what was being opened.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import lifespan
        >>> def open_db():
        ...     print("open")
        ...     yield "db"
        ...     print("close")
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(open_db)
        >>> with lifespan(App) as container:
        ...     print(container.db())
        open
        db
        close
    """

    def __init__(
        self,
        container: type[C],
        *,
        overrides: Overrides | ContainerClass = None,
        eager: Eager = True,
        share: bool = True,
        everywhere: bool = False,
        observers: Iterable[Observer] = (),
        report: bool = False,
        max_workers: int = 1,
        open_timeout_seconds: float | None = None,
        close_timeout_seconds: float | None = 30,
        retries: int = 0,
        retry_delay_seconds: RetryDelay = 1,
        on_close_error: OnCloseError = "raise",
        pending: Literal["wait", "cancel"] = "wait",
    ) -> None:
        if inspect.isfunction(container):
            raise UsageError("@lifespan is written with its container: @lifespan(Container)")
        require_container(container)
        if not isinstance(cast("object", max_workers), int) or isinstance(max_workers, bool) or max_workers < 1:
            raise ValueError(f"max_workers is {max_workers!r}; it must be one or more")
        for name, value in (("share", share), ("everywhere", everywhere), ("report", report)):
            if value is not True and value is not False:
                raise ValueError(f"{name} is {value!r}; it must be True or False")
        if pending not in ("wait", "cancel"):
            raise ValueError(f"pending is {pending!r}; it must be 'wait' or 'cancel'")
        if isinstance(overrides, type) or (overrides is not None and not callable(overrides)):
            overrides = providers_for(
                graph_of(container), cast("Any", overrides)
            )  # a wrong name speaks here, not at the first run
        self._settings = Settings(
            container=container,
            overrides=overrides,
            eager=eager if isinstance(eager, bool) else _checked(eager, container),
            share=share,
            max_workers=max_workers,
            policy=_policy(
                open_timeout_seconds=open_timeout_seconds,
                close_timeout_seconds=close_timeout_seconds,
                retries=retries,
                retry_delay_seconds=retry_delay_seconds,
                on_close_error=on_close_error,
            ),
            pending=pending,
            everywhere=everywhere,
            observers=_observers(observers),
            report=report,
        )
        self._enterings: Enterings[Session | DrawnSession] = Enterings()

    def __getstate__(self) -> Settings:
        """What is entered here is not entered where it arrives."""
        return self._settings

    def __setstate__(self, settings: Settings) -> None:
        self._settings = settings
        self._enterings = Enterings()

    def __call__(self, function: F) -> F:
        if self._settings.everywhere:
            raise UsageError(
                f"lifespan({self._settings.container.__qualname__}, everywhere=True) is for a block of an application, "
                "`async with lifespan(..., everywhere=True):`; a flow's lifespan is in force for its own run only, so "
                "decorate flows without it: called in the block, they join what it has open"
            )
        return cast("F", wrap_flow(function, self._settings))

    def __enter__(self) -> C:
        session = self._session("with", None)
        try:
            try:
                self._enterings.add(self, session)
                session.open()
                # Dependency-injector makes a DynamicContainer of any class; it has what that class declares.
                return cast("C", session.enter())
            except BaseException as error:
                self._enterings.remove(session)
                session.close(error)
                raise
        except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
            self._enterings.remove(session)
            session.close(error)
            raise

    def _leave(
        self, exit_: Exit, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        session = self._enterings.leaving(exit_)
        session.close(error)
        self._enterings.remove(session)

    async def __aenter__(self) -> C:
        session = self._session("async with", asyncio.get_running_loop())
        try:
            try:
                self._enterings.add(self, session)
                await session.aopen()
                return cast("C", session.enter())
            except BaseException as error:
                self._enterings.remove(session)
                await session.aclose(error)
                raise
        except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
            self._enterings.remove(session)
            await session.aclose(error)
            raise

    async def _aleave(
        self, exit_: Exit, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        session = self._enterings.leaving(exit_)
        await session.aclose(error)
        self._enterings.remove(session)

    if TYPE_CHECKING:  # as a `with` statement takes what it has looked up

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
        ) -> None: ...

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
        ) -> None: ...

    else:
        __exit__ = looked_up(_leave)
        __aexit__ = looked_up(_aleave)

    def _session(self, statement: str, loop: asyncio.AbstractEventLoop | None) -> Session | DrawnSession:
        if callable(self._settings.overrides):
            refuse_what_does_not_take(self._settings.overrides)
        name = f"`{statement} lifespan({self._settings.container.__qualname__})`"
        return session_of(self._settings, None, name=name, loop=loop)


_known_policy = functools.lru_cache(maxsize=32, typed=True)(Policy)


def _policy(**asked: Any) -> Policy:
    """The policy of a lifespan; most ask for the same one."""
    with suppress(TypeError):  # of what cannot be hashed: delays in a list, or what is no number at all
        return _known_policy(**asked)
    return Policy(**asked)


def _observers(given: object) -> tuple[Observer, ...]:
    if not isinstance(given, Iterable):
        raise UsageError(f"observers is {given!r}; give a list of them, observers=[...]")
    observers = tuple(cast("Iterable[Observer]", given))
    for observer in observers:
        require_observer(observer)
    return observers


def _checked(eager: object, container: ContainerClass) -> Sequence[AnyProvider | str]:
    if isinstance(eager, str) or providers.is_provider(eager):
        raise UsageError(f"eager is one {type(eager).__qualname__}; give a list of those to open, eager=[...]")
    if not isinstance(eager, Iterable):
        raise UsageError(f"eager is {eager!r}; it must be True, False, or a list of those to open, eager=[...]")
    items = list(cast("Sequence[AnyProvider | str]", eager))
    for item in items:
        _check(item, container)
    return items


def _check(item: AnyProvider | str, container: ContainerClass) -> None:
    graph = graph_of(container)
    if isinstance(item, str):
        if item not in graph.by_path:
            raise UsageError(f"eager names {item!r}, which {graph.container} lacks{did_you_mean(item, graph)}")
        node = graph.nodes[graph.by_path[item]]
    elif providers.is_provider(item) and id(anchor_of(item)) in graph.nodes:
        node = graph.nodes[id(anchor_of(item))]
    else:
        given = getattr(item, "__qualname__", type(item).__qualname__)
        raise UsageError(f"eager holds a {given} that is no provider of {graph.container}; {_cure(item, container)}")
    if node.lifetime is Lifetime.TASK:
        raise UsageError(
            f"eager names {graph.container}.{node.path}, a {type(node.provider).__name__}: it opens in each task that uses "
            "it, not with the lifespan; leave it out"
        )


def _cure(item: Any, container: ContainerClass) -> str:
    owner = owner_of(item) if is_kind(item, providers.Provider) else None
    path = copy_inside(item, owner, container) if owner is not None else None
    return "name one of its own" if path is None else f"write {as_written(container, path)}"
