"""The provider that stands for a resource in a container instance."""

from __future__ import annotations

from typing import Any, NoReturn, Self

from dependency_injector import providers

from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import UsageError
from prefect_lifespan.signal_safe import under

_ANY_PROVIDER: Any = providers.Provider
_OPEN = State.OPEN  # looked up on every call otherwise, which takes longer than the call


class ManagedResource(providers.Resource[Any]):
    """Stands in a container instance for one of its resources, whatever asks for it: a factory, a user, a task.

    An open resource is its value, synchronously, whichever way it was opened. One that is not open yet opens on the
    spot where that can be done; a closed one says so.
    """

    # As a provider of dependency-injector's, it has no other attributes.
    __slots__ = ("argument_failure", "engine", "initialiser", "slot")

    slot: Slot  # set by whoever makes one

    def __init__(self, engine: Any) -> None:
        # Not `Resource`'s own, which looks at length at an initialiser that is not there yet: `declare_like` sets all else.
        _ANY_PROVIDER.__init__(self)
        # Left undecided, an awaitable value would switch it on, and later values arrive wrapped in futures.
        self.disable_async_mode()
        self.engine: Any = engine  # the Engine that it is of
        self.initialiser: Any = None  # as dependency-injector calls it, to which a generator function is its wrapper
        # Of the last attempt, where it did not get as far as the initialiser.
        self.argument_failure: BaseException | None = None

    def declare_like(self, initialiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Be declared as a resource of a class is, whose generator function dependency-injector has found and wrapped."""
        self.initialiser = initialiser
        self.set_args(*args)
        self.set_kwargs(**kwargs)

    @property
    def provides(self) -> Any:
        """What opens it."""
        return self.initialiser

    def set_provides(self, provides: Any) -> Self:
        """Let another initialiser open it."""
        super().set_provides(provides)
        resource: Any = super()
        self.initialiser = resource.provides
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Its value; the way of `_provide`, which this saves a detour where the value is at hand."""
        value = self.slot.value
        if self.slot.at_hand and not args and not kwargs:
            return value
        provider: Any = super()
        return provider.__call__(*args, **kwargs)

    def _provide(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        slot = self.slot
        if args or kwargs:
            raise UsageError(
                f"{slot.path} was called with arguments, but its lifespan opens it once, with those it is declared "
                "with; make what differs from call to call a Factory that is given the resource"
            )
        while True:
            value = slot.value
            if slot.state is _OPEN:  # looked at after the value was taken: it is not one that was closed meanwhile
                return value
            self.engine.demand(slot)

    def override(self, provider: Any) -> Any:
        """Let another provider stand in, for this container instance."""
        under(self.slot.schedule.lock, self.slot.withdraw)
        overriding: Any = super()
        return overriding.override(provider)

    def reset_last_overriding(self) -> None:
        """Take back the last override."""
        super().reset_last_overriding()
        self.slot.overridden()

    def reset_override(self) -> None:
        """Take back every override."""
        super().reset_override()
        self.slot.overridden()

    def __deepcopy__(self, memo: dict[Any, Any] | None = None) -> Any:
        # Who copies the providers of an engine says beforehand, in the memo, what takes the place of each.
        raise UsageError(
            f"{self.slot.path} cannot be copied: it belongs to a lifespan, and nobody would close what a copy opens. Copy the "
            "container class and open a lifespan of that one"
        )

    def __reduce__(self) -> NoReturn:
        slot = getattr(self, "slot", None)
        name = "a resource of a lifespan" if slot is None else f"{slot.path} of the lifespan of {slot.schedule.name}"
        raise UsageError(
            f"{name} is live and cannot be pickled for another process; do not hand the container or its providers to a "
            "task, inject what it needs by marker instead: `db: Db = Provide[Container.db]`"
        )

    @property
    def initialized(self) -> bool:
        """Whether it is open."""
        return self.slot.state is State.OPEN

    def init(self) -> Any:
        """Open it, where it is not open yet; its value, to be awaited where that takes an event loop."""
        return self.engine.calls.initialise(self.slot)

    def async_(self, *args: Any, **kwargs: Any) -> Any:
        """Its value, to be awaited where an event loop runs; it opens there, where it is not open yet."""
        return self(*args, **kwargs) if args or kwargs else self.engine.calls.awaited(self.slot)

    def shutdown(self) -> Any:
        """Close it, and before it whatever is open and needs it. It does not open again."""
        return self.engine.calls.retire(self.slot)
