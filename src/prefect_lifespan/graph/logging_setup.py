"""Which initialisers set up Python's logging anew, which Prefect's own handlers do not take well during a run.

`logging.config` ends every handler of the process while it holds logging's lock, and Prefect's then wait for threads
that may want to log. Settings that are `incremental` end none.
"""

from __future__ import annotations

import inspect
import logging.config
from collections.abc import Mapping, Sequence
from functools import partial
from types import CodeType
from typing import Any, cast

from prefect_lifespan.graph.cleanup import innermost

_SETUPS: dict[object, str] = {
    logging.config.dictConfig: "logging.config.dictConfig",
    logging.config.fileConfig: "logging.config.fileConfig",
}
_NAMES = {name.rpartition(".")[2]: name for name in _SETUPS.values()}


def sets_up_logging(initialiser: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> str | None:
    """The function of `logging.config` that an initialiser is, or that its own code names; None where it ends no handler."""
    while isinstance(initialiser, partial):
        bound = cast("partial[object]", initialiser)
        args, kwargs, initialiser = (*bound.args, *args), {**bound.keywords, **kwargs}, bound.func
    if inspect.isfunction(initialiser) and (name := _SETUPS.get(initialiser)) is not None:
        config = args[0] if args else kwargs.get("config")
        incremental = isinstance(config, Mapping) and bool(cast("Mapping[str, object]", config).get("incremental"))
        return None if incremental else name
    if inspect.isclass(initialiser):  # one of dependency-injector's Resource classes
        initialiser = getattr(cast("type[Any]", initialiser), "init", None)
    code = getattr(innermost(initialiser), "__code__", None)
    if type(code) is not CodeType or _NAMES.keys().isdisjoint(code.co_names) or _names_incremental(code.co_consts):
        return None
    return next(_NAMES[name] for name in code.co_names if name in _NAMES)


def _names_incremental(constants: tuple[object, ...]) -> bool:
    # The keys of a dict that is written out are one constant, a tuple.
    return any(
        _names_incremental(cast("tuple[object, ...]", each)) if isinstance(each, tuple) else each == "incremental"
        for each in constants
    )
