"""A flow that is only drawn: `flow.visualize()` runs its function and calls no task, so nothing is opened for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prefect_lifespan.lifespans.asked import Settings
from prefect_lifespan.lifespans.prefect_run import is_being_drawn
from prefect_lifespan.loading import loaded
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Scope, current_scope, enter, leave
from prefect_lifespan.signal_safe import awaited_within, within

if TYPE_CHECKING:
    from prefect_lifespan.lifespans.session import Session

T = TypeVar("T")


class StandIn:
    """What stands in the place of everything that a container provides: it takes everything, does nothing."""

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        return self

    def __getitem__(self, _: Any) -> StandIn:
        return self

    def __iter__(self) -> Iterator[StandIn]:
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __await__(self) -> Generator[Any, Any, Self]:
        return self
        yield

    async def __aiter__(self) -> AsyncIterator[StandIn]:
        nothing: tuple[StandIn, ...] = ()
        for each in nothing:
            yield each

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


class DrawnSession:
    """A lifespan that is entered while a flow is drawn."""

    def __init__(self) -> None:
        self.outer: Scope = current_scope()
        self.scope: Scope = Scope(self.outer.lifespans, self.outer.overrides, self.outer.call_scope)
        self.container: Any = StandIn()
        self.is_closed: bool = False

    def enter(self) -> Any:
        """Stand in here until it is left."""
        enter(self.scope)
        return self.container

    def around(self, body: Callable[[], T]) -> T:
        """Nothing opens for the body."""
        return within(self.scope.in_force(), lambda _: body())

    async def aaround(self, body: Callable[[], Awaitable[T]]) -> T:
        """Nothing opens for the body."""
        return await awaited_within(self.scope.in_force(), lambda _: body())

    def stepping(self, body: Callable[[], Generator[Any, Any, T]]) -> Generator[Any, Any, T]:
        """Nothing opens for the steps."""
        return body()

    def is_in_force(self) -> bool:
        """Whether this lifespan is in force here."""
        return current_scope() is self.scope

    def returns(self, value: T) -> T:
        """The value of the body, as it is."""
        return value

    def open(self) -> None:
        """Nothing opens."""

    async def aopen(self) -> None:
        """Nothing opens."""

    def close(self, outcome: BaseException | None) -> None:  # noqa: ARG002 - nothing is told of it
        """Nothing closes."""
        leave(self.scope, self.outer)
        self.is_closed = True

    async def aclose(self, outcome: BaseException | None) -> None:
        """Nothing closes."""
        self.close(outcome)


def session_of(
    settings: Settings, parameters: Mapping[str, Any] | None, *, name: str, loop: asyncio.AbstractEventLoop | None
) -> Session | DrawnSession:
    """A session of what a lifespan was asked for; one that opens nothing where a flow is drawn."""
    if is_being_drawn():
        return DrawnSession()
    # With all that only a run needs, and shows.
    return loaded("prefect_lifespan.lifespans.session").Session(settings, parameters, name=name, loop=loop)


run_context.stand_in = lambda: StandIn() if is_being_drawn() else None
