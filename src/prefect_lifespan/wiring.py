"""`wire`: functions that carry dependency-injector's own `@inject` get what is in force where they are called.

dependency-injector binds such functions to the providers of one container instance, for the whole process. The one
they are bound to here opens nothing: each of its providers passes a call on to the lifespan in force.
"""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Annotated, Any, Self, cast, get_args, get_origin

from dependency_injector import containers, providers, wiring
from dependency_injector.wiring import ProvidersMap

from prefect_lifespan.engine import Engine, Slot, State
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.errors import LifespanError, UsageError
from prefect_lifespan.graph.edges import children_of, named
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass, qualified_name
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import current_scope


def wire(
    container: ContainerClass,
    *,
    modules: Iterable[ModuleType | str] | None = None,
    packages: Iterable[ModuleType | str] | None = None,
) -> Wiring:
    """Connect functions that carry dependency-injector's own `@inject` to the lifespan in force where they are called.

    For code that uses dependency-injector already; functions with this library's `inject` need no wiring. Wiring is
    process-wide, as dependency-injector has it, and needed once; what a function gets is decided at each call.
    A `Closing[...]` marker does not close there: the resource is the lifespan's.

    Args:
        container: the container class that the functions' markers name.
        modules: modules, or their names, also relative to the caller's package (".services"), whose functions are connected.
        packages: packages, or their names, with all their modules. Without either, those of the container's `wiring_config`,
            which lifespans themselves leave alone.

    Returns:
        What undoes it: `unwire()`, or its use as a context manager.

    Raises:
        TypeError: `container` is not a container class.
        UsageError: a marker on an attribute of a module or class, which would be given one value for good; nothing to
            connect.
        LifespanError: when such a function is called and no lifespan of the container is in force there; or when it
            asks for a `TaskResource` and is not called by a task or function with this library's `inject`.

    Example:
        >>> import sys
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import wire
        >>> class App(containers.DeclarativeContainer):
        ...     greeting = providers.Resource(lambda: "hello")
        >>> with wire(App, modules=[sys.modules[__name__]]):
        ...     pass  # functions of this module are connected here
    """
    frame = inspect.currentframe()
    outer = None if frame is None else frame.f_back
    caller = None if outer is None else outer.f_globals.get("__package__")
    connected = Wiring(require_container(container))
    if modules is None and packages is None:
        declared: containers.WiringConfiguration = container.wiring_config
        modules, packages = declared.modules, declared.packages
        # Relative to the container's package, not to the caller's, as dependency-injector has it.
        caller = declared.from_package or import_module(container.__module__).__package__
        if not modules and not packages:
            raise UsageError(
                f"wire({container.__qualname__}) says nothing to connect, and {qualified_name(container)} has no wiring_config "
                "that does; name it, modules=[...] or packages=[...]"
            )
    connected.connect(_imported(modules, caller), _imported(packages, caller))
    return connected


def _imported(names: Iterable[ModuleType | str] | None, caller: str | None) -> list[ModuleType]:
    """Modules by themselves or by name; a relative one is relative to the package of whoever calls `wire`."""
    if isinstance(names, (str, ModuleType)):
        raise UsageError(f"wire() was given one {type(names).__name__}; give a list of modules or their names, [...]")
    modules = [import_module(each, caller) if isinstance(each, str) else each for each in names or ()]
    for each in cast("list[object]", modules):
        if not isinstance(each, ModuleType):
            raise UsageError(
                f"wire() connects modules, not a {type(each).__qualname__}; give the one that it stands in, or its name"
            )
    return modules


class Wiring:
    """Modules connected to the lifespans of one container; `unwire` disconnects them."""

    def __init__(self, container: ContainerClass) -> None:
        self._instance: Any = _relaying_instance(container)

    def connect(self, modules: list[ModuleType], packages: list[ModuleType]) -> None:
        """Connect more modules and packages.

        Raises:
            UsageError: an attribute carries a marker, which would be given one value for good.
        """
        inside = (import_module(name) for package in packages for name in _names_in(package))
        self._refuse_attributes(dict.fromkeys((*modules, *packages, *inside)))
        warns = self._instance.wiring_config.warn_unresolved
        self._instance.wire(modules=modules, packages=packages, warn_unresolved=warns)

    def _refuse_attributes(self, modules: Iterable[ModuleType]) -> None:
        """Refuse markers on attributes of modules and classes, by name: what they name differs from lifespan to lifespan.

        dependency-injector sets such an attribute once, to a value that would be closed in the next lifespan. `Provider`
        is none of them: what it gives is asked at each use.
        """
        known: Any = ProvidersMap(self._instance)
        found = [
            f"{place.__name__}.{name}"
            if isinstance(place, ModuleType)
            else f"{place.__module__}.{place.__qualname__}.{name}"
            for module in modules
            for place in _places_in(module)
            for name, marker in _provided_in(place)
            if known.resolve_provider(marker.provider, marker.modifier) is not None
        ]
        if found:
            raise UsageError(
                f"{', '.join(dict.fromkeys(found))}: a marker on an attribute of a module or class is given its value once, "
                "and each lifespan has a value of its own; take it as a parameter of a function with @inject, mark the "
                "attribute with Provider[...] and call it where it is used, or ask current_container() there"
            )

    def unwire(self) -> None:
        """Disconnect what this wiring connected."""
        self._instance.unwire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unwire()


def _places_in(module: ModuleType) -> Iterator[ModuleType | type]:
    """A module, its classes, and what these inherit from: dependency-injector sets an inherited attribute anew."""
    yield module
    for value in list(vars(module).values()):
        yield from value.__mro__ if isinstance(value, type) else ()


def _provided_in(place: ModuleType | type) -> Iterator[tuple[str, Any]]:
    """The attributes of a module or class that `Provide` marks, as their values or in their annotations, with the markers."""
    for name, value in list(vars(place).items()):
        if type(value) is _PROVIDE:
            yield name, value
    for name, annotation in inspect.get_annotations(place).items():
        origin: object = get_origin(annotation)
        if origin is Annotated:
            yield from ((name, extra) for extra in get_args(annotation)[1:] if type(extra) is _PROVIDE)


def _names_in(package: ModuleType) -> Iterator[str]:
    """The names of all modules in a package, as dependency-injector walks it."""
    path = getattr(package, "__path__", None)
    return (
        (found.name for found in pkgutil.walk_packages(path, f"{package.__name__}.")) if path is not None else iter(())
    )


Step = Callable[[Any], Any]
_PROVIDE: type = cast("Any", wiring.Provide)  # a class, which the stubs declare as an instance


class Relay(providers.Provider[Any]):
    """Passes a call on to the provider of the same place in the lifespan in force."""

    def __init__(self, container: ContainerClass | None = None, path: str = "", steps: tuple[Step, ...] = ()) -> None:
        super().__init__()
        self._container = container
        self._path = path
        self._steps = steps
        self.disable_async_mode()  # it would be settled by the first call, and an awaitable may come with any

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        stand_in = run_context.stand_in()
        if stand_in is not None:
            return stand_in
        engine = self._engine()
        key = engine.graph.by_path.get(self._path)
        provider: Any = engine.resolve(self._path or ProvidersMap.CONTAINER_STRING_ID)
        for step in self._steps:
            provider = step(provider)
        slots = engine.needed([] if key is None else [key])
        pending = [slot for slot in slots if slot.state is not State.OPEN]
        where = f"a wired function that asks for {engine.graph.container}.{self._path}"
        if any(slot.asynchronous for slot in pending) and engine.schedule.loop is running_loop() is not None:
            return _opened(engine, pending, provider, where)
        engine.open(slots, where)
        return provider(*args, **kwargs)

    def _engine(self) -> Engine:
        scope = current_scope()
        in_force = scope.innermost(self._container)
        if in_force is None:
            name = qualified_name(self._container) if self._container is not None else "the container"
            raise LifespanError(
                f"a wired function asks for {name}.{self._path}, and no lifespan of that container is in force here; "
                "call it inside one, or use prefect_lifespan's own @inject"
            )
        engine = in_force.under(scope.overrides)
        key = engine.graph.by_path.get(self._path)
        keys = () if key is None else (key,)
        return scope.view(engine, "a wired function") if engine.graph.needs_task_resource(keys) else engine


class ConfigurationRelay(Relay):
    """The same for a configuration and its options, whose own kind keeps the first value that it gave."""

    def __getattr__(self, name: str) -> ConfigurationRelay:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._then(lambda option: getattr(option, name))

    def __getitem__(self, item: Any) -> ConfigurationRelay:
        return self._then(lambda option: option[item])

    def as_(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> ConfigurationRelay:
        """The option's value, converted."""
        return self._then(lambda option: option.as_(callback, *args, **kwargs))

    def as_int(self) -> ConfigurationRelay:
        """The option's value as an int."""
        return self.as_(int)

    def as_float(self) -> ConfigurationRelay:
        """The option's value as a float."""
        return self.as_(float)

    def required(self) -> ConfigurationRelay:
        """The option, which has to have a value."""
        return self._then(lambda option: option.required())

    def _then(self, step: Step) -> ConfigurationRelay:
        return ConfigurationRelay(self._container, self._path, (*self._steps, step))


async def _opened(engine: Engine, slots: list[Slot], provider: Any, where: str) -> Any:
    await engine.aopen(slots, where)
    value = provider()
    promised = asyncio.isfuture(value) or asyncio.iscoroutine(value)
    return await value if promised and not any(slot.value is value for slot in slots) else value


def _relaying_instance(container: ContainerClass) -> containers.DynamicContainer:
    instance = _relaying(container, container.providers, "")
    instance.declarative_parent = container
    instance.wiring_config = container.wiring_config  # for what it says besides modules and packages
    instance.__self__.override(Relay(container))
    return instance


def _relaying(container: ContainerClass, declared: Any, prefix: str) -> Any:
    """A container with a relay for each declared provider, sub-containers of the same kind inside."""
    instance: Any = containers.DynamicContainer()
    for name, provider in named(declared):
        path = prefix + name
        relay: Any
        if isinstance(provider, providers.Container):
            sub_container: Any = providers.Container
            relay = sub_container(container=_relaying(container, children_of(provider), f"{path}."))
        elif isinstance(provider, providers.Configuration):
            relay = ConfigurationRelay(container, path)
        else:
            relay = Relay(container, path)
        instance.set_provider(name, relay)
    return instance
