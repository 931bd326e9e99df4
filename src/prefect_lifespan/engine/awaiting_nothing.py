"""Singletons that hand over what they are given as it is, and await nothing of it.

dependency-injector awaits arguments that can be awaited, as a task can, unless a provider is told not to. A singleton makes
its object by a factory of its own, which cannot be told: so it is given one that has been, and what it is declared with is
what that one is, for whoever reads or changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dependency_injector import providers


class AwaitsNothing:
    """Mixed into a class of singletons."""

    _factory: Any = None

    def await_nothing(self) -> None:
        """Await nothing from now on."""
        own: Any = self
        factory: Any = providers.Factory(own.provides, *own.args, **own.kwargs)
        factory.set_attributes(**own.attributes)
        factory.disable_async_mode()
        own.set_provides(factory).clear_args().clear_kwargs().clear_attributes()
        self._factory = factory


def _read(name: str) -> Any:
    def read(self: Any) -> Any:
        return getattr(super(AwaitsNothing, self) if self._factory is None else self._factory, name)

    return property(read)


def _changing(name: str) -> Callable[..., Any]:
    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        getattr(super(AwaitsNothing, self) if self._factory is None else self._factory, name)(*args, **kwargs)
        return self

    change.__name__ = name
    return change


for _what in ("provides", "args", "kwargs", "attributes"):
    setattr(AwaitsNothing, _what, _read(_what))
    for _verb in ("set",) if _what == "provides" else ("set", "add", "clear"):
        setattr(AwaitsNothing, f"{_verb}_{_what}", _changing(f"{_verb}_{_what}"))
