"""Whether the arguments that a provider is declared with are ones that what it calls takes."""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
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
        signature = signature_of(provider.provides)
        if signature is None:
            continue
        bind = signature.bind if node.lifetime is not None else signature.bind_partial
        try:
            bind(*provider.args, **provider.kwargs)
        except TypeError as error:
            name = getattr(provider.provides, "__qualname__", repr(provider.provides)).replace("<locals>.", "")
            yield node, f"{name} {_told(error, signature, provider.kwargs)}", f"it takes {name}{signature}"


def providers_in_collections(graph: Graph) -> Iterator[tuple[Node, str, str]]:
    """Providers with a plain collection of providers among their arguments, each with its label and kind.

    dependency-injector hands such providers through, uncalled. Those that are written as providers of providers
    (`.provider`) are meant so.
    """
    for node in graph.nodes.values():
        if node.foreign or node.overridden:
            continue
        for label, value in plain_arguments(node.provider):
            if _holds_providers(value):
                yield node, label, "Dict" if isinstance(value, dict) else "List"


def _holds_providers(value: object) -> bool:
    if not isinstance(value, _COLLECTIONS):
        return False
    items = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
    return any(_is_meant_to_be_called(item) or _holds_providers(item) for item in items)


def _is_meant_to_be_called(item: object) -> bool:
    return is_kind(item, providers.Provider) and not is_kind(item, (providers.Delegate, providers.Object))


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
        if not isinstance(called, type):
            return inspect.signature(called, follow_wrapped=_is_of_contextlib(called))
        cls: Any = called
        if _is_resource_class(cls):
            return inspect.Signature(list(inspect.signature(cls.init).parameters.values())[1:])
        return inspect.signature(cls, follow_wrapped=False) if _is_plain(cls) else None
    except (TypeError, ValueError):
        return None


def _is_resource_class(cls: type) -> bool:
    return issubclass(cls, (resources.Resource, resources.AsyncResource))


def _is_plain(cls: type[Any]) -> bool:
    """Whether its own `__init__` says what a class takes: not pydantic's models, whose values may come from elsewhere."""
    return (
        type(cls).__call__ is type.__call__
        and cls.__new__ is object.__new__
        and cls.__init__ is not object.__init__
        and not any("__signature__" in vars(base) for base in cls.__mro__)
    )


def _is_of_contextlib(function: Any) -> bool:
    """Whether `contextmanager` or `asynccontextmanager` has wrapped it, which pass on what they are given."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename == contextlib.__file__
