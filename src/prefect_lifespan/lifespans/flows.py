"""A flow function with a lifespan around each of its calls, of the same kind as the function."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

from prefect.flows import Flow
from prefect.tasks import Task
from prefect.utilities.callables import parameter_schema

from prefect_lifespan.errors import UsageError
from prefect_lifespan.functions import Function, dressed, of_kind
from prefect_lifespan.generator_steps import AsyncSteps, Steps
from prefect_lifespan.graph import Finding, graph_of
from prefect_lifespan.injection.markers import check_string_ids, markers_of
from prefect_lifespan.injection.plan import Plan, planned
from prefect_lifespan.lifespans.asked import Settings, refuse_what_does_not_take
from prefect_lifespan.lifespans.drawing import DrawnSession, session_of
from prefect_lifespan.lifespans.forgotten import refuse_reachable, tell, tell_of_asynchronous
from prefect_lifespan.lifespans.mistakes import blocking_in_force, helpers_named_in
from prefect_lifespan.visible import without

if TYPE_CHECKING:
    from prefect_lifespan.lifespans.session import Session


def wrap_flow(function: Any, settings: Settings) -> Any:
    """Wrap a flow function, or the function of a flow.

    Raises:
        UsageError: at decoration, for what is no function, and for markers that cannot be injected.
    """
    if isinstance(function, Flow):
        wrapped = copy.copy(cast("Flow[..., Any]", function))
        wrapped.fn = wrap_flow(wrapped.fn, settings)
        wrapped.parameters = parameter_schema(wrapped.fn)
        return wrapped
    if isinstance(function, Task):
        raise UsageError("@lifespan is for flows; a task gets the resources of the flow that calls it through @inject")
    if not inspect.isfunction(function):
        own = (
            ""
            if not hasattr(function, "router")
            else ("; in an application's own lifespan write `async with lifespan(Container, everywhere=True): yield`")
        )
        raise UsageError(f"@lifespan decorates flow functions, not a {type(function).__qualname__}{own}")
    around = FlowLifespan(function, settings)
    wrapper = planned(dressed(of_kind(function, around), function, around.plan.markers), around.plan)
    setattr(wrapper, _SETTINGS, settings)
    return wrapper


_SETTINGS = "__prefect_lifespan_settings__"


def settings_of(function: object) -> Settings | None:
    """What the lifespan of a flow function was asked for, for whoever looks at it; None where it has none."""
    settings = getattr(function, _SETTINGS, None)
    return settings if isinstance(settings, Settings) else None


class FlowLifespan:
    """The lifespan of one flow function. It is what the wrapper holds of the library, beside the function."""

    def __init__(self, function: Function, settings: Settings) -> None:
        markers = markers_of(function)
        self._function = function
        self._looked_through = False
        self._helpers: Sequence[Finding] = ()
        self._blocking: Sequence[Function] = ()
        self.plan: Plan = Plan(function, markers, settings.container)
        check_string_ids(markers, graph_of(settings.container), self.plan.where)
        self._settings = settings
        self._visible = without(function, markers)
        if callable(settings.overrides):
            refuse_what_does_not_take(settings.overrides, self._visible, self.plan.where)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with a lifespan of its own, or one that it joins, open around it."""
        session = self._session(args, kwargs)

        def body() -> Any:
            self._tell_of_suspicions(session)
            return self.plan.call(args, kwargs)

        return session.around(body)

    async def acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for a coroutine function."""
        session = self._session(args, kwargs, asyncio.get_running_loop())

        async def body() -> Any:
            self._tell_of_suspicions(session)
            return await self.plan.acall(args, kwargs)

        return await session.aaround(body)

    def steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """The same for a generator function, whose caller goes on without it between two steps."""
        session = self._session(args, kwargs)
        return (yield from session.stepping(lambda: self._steps(session, args, kwargs)))

    def _steps(
        self, session: Session | DrawnSession, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Any, Any, Any]:
        self._tell_of_suspicions(session)
        steps = session.scope.stepping(self.plan.steps(args, kwargs))
        return session.returns((yield from steps))

    def asteps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        """The same for an asynchronous generator function."""
        session = self._session(args, kwargs, asyncio.get_running_loop())
        injected: AsyncSteps | None = None

        async def begin_injected() -> Steps:
            nonlocal injected
            self._tell_of_suspicions(session)
            injected = self.plan.asteps(args, kwargs)
            return await injected.begin()

        async def begin() -> Steps:
            await session.aopen()
            return await session.scope.aaround(begin_injected)

        async def close(outcome: BaseException | None) -> None:
            try:
                if injected is not None:
                    await injected.aclose(outcome)
            except BaseException as error:
                await session.aclose(error)
                raise
            await session.aclose(outcome)

        return AsyncSteps(begin, close)

    def _session(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> Session | DrawnSession:
        self._refuse_mistakes()
        self.plan.check(args, kwargs)  # nothing opens for a call that does not fit
        return session_of(self._settings, self._parameters(args, kwargs), name=self.plan.where, loop=loop)

    def _refuse_mistakes(self) -> None:
        """Once: what it names does not change from run to run, and where it does, the engine looks at each call."""
        if not self._looked_through:
            refuse_reachable(self._function, self._settings.container)
            self._helpers = list(helpers_named_in(self._function))
            self._blocking = blocking_in_force(self._function)
            self._looked_through = True

    def _tell_of_suspicions(self, session: Session | DrawnSession) -> None:
        """Say at the start of a run what is wrong with functions that it names, if it calls them."""
        in_force = session.scope.innermost(self._settings.container)
        if in_force is not None and not isinstance(session, DrawnSession):
            tell(self._helpers, in_force)
            tell_of_asynchronous(self._blocking, in_force)

    def _parameters(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The flow's parameters by name, where overrides depend on them."""
        if not callable(self._settings.overrides):
            return {}
        visible = {name: value for name, value in kwargs.items() if name not in self.plan.markers}
        bound = self._visible.bind(*args, **visible)
        bound.apply_defaults()
        parameters: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self._visible.parameters[name].kind
            if kind is not inspect.Parameter.VAR_POSITIONAL:  # those have no names
                parameters.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        return parameters
