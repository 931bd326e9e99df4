"""Prefect blocks as resources: `providers.Resource(open_block, SqlAlchemyConnector, "warehouse")`.

A block is loaded when its resource opens, and its own context manager is entered and exited with it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Generic, TypeVar

from prefect.blocks.abstract import DatabaseBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from prefect_lifespan.engine.initialiser import is_async_manager, is_blocking_manager
from prefect_lifespan.errors import LifespanError, UsageError
from prefect_lifespan.masking import masked

B = TypeVar("B", bound=Block)

_TIMEOUT_SECONDS = 30.0  # for the API to say what is missing


class BlockNotFoundError(LifespanError, ValueError):
    """There is no block of that type and name; `slug` is both, `cure` says what to run."""

    def __init__(self, slug: str, api: str, cure: str) -> None:
        super().__init__(slug, api, cure)
        self.slug = slug
        self.api = api
        self.cure = cure

    def _text(self) -> str:
        return f"There is no block {self.slug} on Prefect's API {self.api}. {self.cure}"


def open_block(block: type[B] | str, name: str | None = None, *, validate: bool = True) -> OpenedBlock[B]:
    """A block of Prefect's as a resource: loaded when it opens, entered where it is a context manager, exited at the end.

    In an asynchronous lifespan an asynchronous context manager of the block is preferred, elsewhere the blocking one is
    used. A block that is none is given as it is loaded.

    Args:
        block: its class, or the slug of its type, alone or with the name: `"secret/api-key"`.
        name: its name.
        validate: as `Block.load` has it.

    Raises:
        BlockNotFoundError: when the resource opens and there is no such block; it says what to run.
        UsageError: no name was given, or a block instead of its class; or the block can only be entered on an event loop
            and there is none.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect.blocks.system import Secret
        >>> from prefect_lifespan.blocks import open_block
        >>> class App(containers.DeclarativeContainer):
        ...     api_key = providers.Resource(open_block, Secret, "api-key")
        ...     same = providers.Resource(open_block, "secret/api-key")
    """
    if isinstance(block, Block):  # told without what it holds
        raise UsageError(
            f"open_block was given a block, of {type(block).__qualname__}: give its class and its name, or hand the block "
            "itself over by providers.Object"
        )
    if isinstance(block, str) and name is None:
        block, _, name = block.partition("/")
    if not name:
        raise UsageError(f"open_block({block!r}) has no name: give it as the second argument, or as {block!r}/NAME")
    return OpenedBlock(block, name, validate=validate)


class OpenedBlock(Generic[B]):
    """What `open_block` returns: a context manager of both kinds, whose value is the block."""

    def __init__(self, block: type[B] | str, name: str, *, validate: bool) -> None:
        self._block = block
        self._name = name
        self._validate = validate
        self._entered: Any = None
        self._enters_blocking = True

    def __enter__(self) -> B:
        block = self._load()
        if _is_blocking(block):
            return self._enter(block)
        if _is_async(block):
            raise UsageError(
                f"the block {self._slug} can only be entered with `async with`: use it in an asynchronous flow or lifespan"
            )
        return block

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._entered is None else self._entered.__exit__(kind, error, traceback)

    async def __aenter__(self) -> B:
        block: Any = await asyncio.to_thread(self._load)
        if not _is_async(block):
            return self._enter(block) if _is_blocking(block) else block
        try:
            value = await block.__aenter__()
        except (NotImplementedError, RuntimeError):  # of both kinds, whose driver refuses this one
            if not _is_blocking(block):
                raise
            return self._enter(block)
        self._entered, self._enters_blocking = block, False
        return value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._entered is None or self._enters_blocking:
            return self.__exit__(kind, error, traceback)
        return await self._entered.__aexit__(kind, error, traceback)

    def _enter(self, block: Any) -> B:
        value = block.__enter__()
        self._entered = block
        return value

    @property
    def _slug(self) -> str:
        block = self._block
        return f"{block if isinstance(block, str) else block.get_block_type_slug()}/{self._name}"

    def _load(self) -> B:
        slug, name = self._slug.split("/", 1)
        loading: Any = Block if isinstance(self._block, str) else self._block
        try:
            # `load` returns a coroutine where a loop runs in this thread, unless it is told.
            return loading.load(self._slug if loading is Block else name, validate=self._validate, _sync=True)
        except ValueError as error:
            if not isinstance(error.__cause__, ObjectNotFound):
                raise
        raise BlockNotFoundError(self._slug, masked(str(PREFECT_API_URL.value() or "(embedded)")), self._cure(slug))

    def _cure(self, slug: str) -> str:
        saving = f"save one in Python: block.save({self._name!r})"
        with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT_SECONDS}) as client:
            try:
                client.read_block_type_by_slug(slug)
            except ObjectNotFound:
                is_known = not isinstance(self._block, str)
                module = self._block.__module__.split(".")[0] if is_known else "THE_MODULE_THAT_DEFINES_IT"
                return f"Its type is not registered there: run `prefect block register -m {module}`, and {saving}."
        return f"Run `prefect block create {slug}`, which opens the page for it, or {saving}; `prefect block ls` lists them."


def _is_blocking(block: object) -> bool:
    return is_blocking_manager(block) and _implements(block, "__enter__")


def _is_async(block: object) -> bool:
    return is_async_manager(block) and _implements(block, "__aenter__")


def _implements(block: object, method: str) -> bool:
    """Prefect's base of databases is a context manager of both kinds by its methods, and by none of them in fact."""
    return getattr(type(block), method) is not getattr(DatabaseBlock, method)
