"""Whether the arguments that a provider is declared with are ones that what it calls takes."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import MethodType
from typing import Any, cast
from weakref import WeakKeyDictionary

from dependency_injector import providers, resources

from prefect_lifespan.graph.edges import is_kind, plain_arguments
from prefect_lifespan.graph.model import Graph, Node

_CALLED_BY_USERS = (providers.Callable, providers.Factory, providers.BaseSingleton)
_COLLECTIONS = (list, tuple, set, frozenset, dict)


def unbindable(graph: Graph) -> Iterator[tuple[Node, str, str]]:
    """Providers whose arguments do not bind, each with what is wrong and what would be right.

    What a resource lacks is told; whoever calls a factory may add to its arguments, so there only those too many are.
    """
    for node in graph.nodes.values():
        provider: Any = node.provider
        if node.overridden or not (node.lifetime is not None or is_kind(provider, _CALLED_BY_USERS)):
            continue
        called, args, kwargs = _with_those_of_partials(provider)
        signature = signature_of(called)
        if signature is None:
            continue
        bind = signature.bind if node.lifetime is not None else signature.bind_partial
        try:
            bind(*args, **kwargs)
        except TypeError as error:
            # By its name: how an object shows itself, or a partial its arguments, may hold what is secret.
            name = getattr(called, "__qualname__", type(called).__qualname__).replace("<locals>.", "")
            yield node, f"{name} {_told(error, signature, kwargs)}", f"it takes {name}{signature}"


def _with_those_of_partials(provider: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a provider calls in the end, and with which arguments: those in partials with its own."""
    called: Any = provider.provides
    args, kwargs = tuple(provider.args), dict(provider.kwargs)
    while True:
        if isinstance(called, functools.partial):
            args, kwargs = (*called.args, *args), {**called.keywords, **kwargs}
            called = called.func
        elif _passes_on(called):  # dependency-injector makes a context manager of a generator, a partial of one too
            called = _wrapped_in(called)
        else:
            return called, args, kwargs


def _wrapped_in(called: Any) -> Any:
    """What the standard library has wrapped; of a bound method that of its function, bound to the same object."""
    wrapped = called.__wrapped__
    return MethodType(wrapped, called.__self__) if is_kind(called, MethodType) else wrapped


def providers_in_collections(graph: Graph) -> Iterator[tuple[Node, str, str]]:
    """Providers with a plain collection of providers among their arguments, or a partial that has some: what, and the cure.

    dependency-injector hands such providers through, uncalled. Those that are written as providers of providers
    (`.provider`) are meant so.
    """
    for node in graph.nodes.values():
        if node.foreign or node.overridden:
            continue
        path = f"{graph.container}.{node.path}"
        for label, value in plain_arguments(node.provider):
            if _holds_providers(value):
                kind = "Dict" if isinstance(value, dict) else "List"
                yield node, f"{label} of {path} is a plain collection of providers", f"write providers.{kind}(...)"
        partial = _partial_of(getattr(node.provider, "provides", None))
        if partial is not None and _holds_providers((*partial.args, *partial.keywords.values())):
            cure = f"give them to the provider itself, providers.{type(node.provider).__name__}(function, ...), without a partial"
            yield node, f"{path} calls a functools.partial that holds providers", cure


def _partial_of(called: Any) -> Any:
    """The partial that is called, perhaps as a context manager that dependency-injector has made of it; None without."""
    while not isinstance(called, functools.partial) and called is not None and _passes_on(called):
        called = called.__wrapped__
    return cast("Any", called) if isinstance(called, functools.partial) else None


def _holds_providers(value: object) -> bool:
    if not isinstance(value, _COLLECTIONS):
        return False
    items = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
    return any(_is_meant_to_be_called(item) or _holds_providers(item) for item in items)


def _is_meant_to_be_called(item: object) -> bool:
    return is_kind(item, providers.Provider) and not is_kind(item, providers.Delegate)


def _told(error: TypeError, signature: inspect.Signature, given: Mapping[str, object]) -> str:
    unknown = next((name for name in given if name not in signature.parameters), None)
    close = difflib.get_close_matches(unknown, signature.parameters, n=1, cutoff=0.5) if unknown is not None else []
    if unknown is not None and f"'{unknown}'" not in str(error):  # a misspelt one leaves the right one missing
        return f"{error}, and got an unexpected keyword argument {unknown!r}" + _did_you_mean(close)
    return f"{error}{_did_you_mean(close)}"


def _did_you_mean(close: list[str]) -> str:
    return f"; did you mean {close[0]!r}?" if close else ""


def signature_of(called: Any) -> inspect.Signature | None:
    """What a callable certainly takes; None where that cannot be told, as of many a class with a metaclass."""
    try:
        known = _SIGNATURES.get(called, _UNKNOWN)
    except TypeError:  # not hashable, or not to be referenced weakly
        return _read(called)
    if known is _UNKNOWN:
        known = _read(called)
        with contextlib.suppress(TypeError):
            _SIGNATURES[called] = known
    return cast("inspect.Signature | None", known)


_UNKNOWN = object()
_SIGNATURES: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _read(called: Any) -> inspect.Signature | None:
    if called is None or is_kind(called, providers.Provider):
        return None
    try:
        if isinstance(called, functools.partial):
            partial = cast("functools.partial[Any]", called)
            return inspect.signature(partial) if signature_of(partial.func) is not None else None
        if isinstance(called, type):
            return _of_a_class(called)
        return inspect.signature(called, follow_wrapped=_passes_on(called))
    except (TypeError, ValueError):
        return None


def _of_a_class(cls: Any) -> inspect.Signature | None:
    """What making an instance takes, where the class itself says it.

    Not pydantic's models, whose values may come from elsewhere, nor what is made by a metaclass or in C.
    """
    if issubclass(cls, (resources.Resource, resources.AsyncResource)):
        return _without_first(cast("Any", cls).init)
    if type(cls).__call__ is not type.__call__ or any("__signature__" in vars(base) for base in cls.__mro__):
        return None
    if cls.__new__ is object.__new__:
        return inspect.Signature() if cls.__init__ is object.__init__ else _without_first(cls.__init__)
    return _without_first(cls.__new__) if cls.__init__ is object.__init__ and inspect.isfunction(cls.__new__) else None


def _without_first(method: Any) -> inspect.Signature:
    parameters = list(inspect.signature(method, follow_wrapped=False).parameters.values())
    return inspect.Signature(parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[1:])


def _passes_on(function: Any) -> bool:
    """Whether it is wrapped by the standard library, which passes on what it is given: a context manager, a cache."""
    code = getattr(function, "__code__", None)
    return isinstance(function, _CACHE) or (code is not None and code.co_filename == contextlib.__file__)


_CACHE = type(functools.lru_cache(lambda: None))
