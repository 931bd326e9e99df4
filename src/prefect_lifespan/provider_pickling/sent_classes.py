"""Container classes that go by value, as bytes: made once for all that is sent while a lifespan is open.

To pickle such a class takes as long as to pickle all of its providers, and each task that has a marker names it. A class
that has changed is pickled anew: with the next provider that it declares, or with the next lifespan, whichever comes
first, as what is open keeps what it was opened with. In the process that they come to, the bytes are loaded once, and
again where they are others than those before: the class that is there becomes what it is elsewhere by now.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
import threading
import uuid
from collections.abc import Callable, Generator
from contextvars import ContextVar
from types import FrameType
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from dependency_injector import containers

from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.managers import manager
from prefect_lifespan.provider_pickling.by_name import is_importable
from prefect_lifespan.provider_pickling.classes_by_value import keeping, refilling
from prefect_lifespan.signal_safe import under, within

# Each has its own record of the classes that came by it, and takes a class that came by the other for another one.
_PICKLERS = ("cloudpickle.cloudpickle", "ray.cloudpickle.cloudpickle")
_ELSEWHERE = "the process that it came from"


class _Bytes(NamedTuple):
    """A class as one of the picklers has it; they hold while the class declares what it did."""

    stamp: list[int]
    digest: str
    data: bytes


class SentClass:
    """Stands for a class in a pickle, which holds it once, however many providers are sent of it."""

    def __init__(self, container: ContainerClass, class_id: str) -> None:
        self.id: str = class_id  # the same in all processes
        self.holders: set[str] = set()
        self._container = ref(container)
        self._graph = ref(graph_of(container))
        self._made: dict[str, _Bytes] = {}

    @property
    def has_come(self) -> bool:
        """Whether the class came from another process."""
        return _ELSEWHERE in self.holders

    def held_by(self, holder: str, container: ContainerClass) -> None:
        """One more will send it, from now on, as it is now."""
        graph = graph_of(container)
        # Without holders: what somebody was still pickling when the last one released it.
        if not self.holders or self._graph() is not graph:
            self._graph = ref(graph)
            self._made.clear()
        self.holders.add(holder)

    def released_by(self, holder: str) -> None:
        """One will send it no more; without any, what its functions find in their globals may be something else next time."""
        self.holders.discard(holder)
        if not self.holders:
            self._made.clear()

    def has_arrived(self, pickler: str, digest: str, data: bytes, container: ContainerClass) -> None:
        """It has come from another process, and goes on as it came."""
        self.held_by(_ELSEWHERE, container)
        self._made[pickler] = _Bytes(_stamp(container), digest, data)

    def is_as(self, pickler: str, digest: str) -> bool:
        """Whether the class is what these bytes say: its own process knows better than any that it comes back from."""
        made = self._made.get(pickler)
        return not self.has_come or (made is not None and made.digest == digest)

    def __reduce__(self) -> tuple[Callable[..., ContainerClass], tuple[object, ...]]:
        container = self._container()
        assert container is not None, "whatever is pickled of it keeps it"
        pickler = _asking(inspect.currentframe())
        if pickler is None:
            return _itself, (container,)
        made = self._made.get(pickler)
        if made is None or made.stamp != _stamp(container):
            made = self._made[pickler] = _pickled(container, pickler)
            _here[pickler, self.id] = container
        return _loaded, (pickler, self.id, made.digest, made.data)


def _asking(frame: FrameType | None) -> str | None:
    """The pickler that calls a `__reduce__`, which nothing else tells; None for one that pickles classes by name."""
    caller = None if frame is None else frame.f_back
    name = "" if caller is None else caller.f_globals.get("__name__")
    return name if name in _PICKLERS else None


def _pickled(container: ContainerClass, pickler: str) -> _Bytes:
    # With all others that it is made of or names: each would stand there as bytes too, and its others in those.
    data: bytes = within(whole(), lambda _: cast("Any", sys.modules[pickler]).dumps(container))
    return _Bytes(_stamp(container), hashlib.sha256(data).hexdigest(), data)


def _stamp(container: ContainerClass) -> list[int]:
    return [*map(id, container.providers.values())]


def _itself(container: ContainerClass) -> ContainerClass:
    return container


def _loaded(pickler: str, class_id: str, digest: str, data: bytes) -> ContainerClass:
    """The class of this process that the bytes stand for."""
    container = _here.get((pickler, class_id))
    if container is None:
        container = within(keeping(), lambda kept: _arrived(kept, pickler, class_id, digest, data))
    elif not _sent[container].is_as(pickler, digest):
        under(_lock, _change, container, pickler, digest, data)
    return container


def _arrived(kept: set[ContainerClass], pickler: str, class_id: str, digest: str, data: bytes) -> ContainerClass:
    """The class, loaded from these bytes for the first time."""
    # Several threads may be the first: they load it side by side, as one may wait for what the other imports.
    container: ContainerClass = pickle.loads(data)  # noqa: S301 - from a process of the same run
    # It may have come before without such bytes, as it does with a task that is sent outside of its lifespans.
    under(_lock, _has_arrived, container, pickler, class_id, digest, data, was_there=container in kept)
    return container


def _has_arrived(
    container: ContainerClass, pickler: str, class_id: str, digest: str, data: bytes, *, was_there: bool
) -> None:
    sent = _sent.setdefault(container, SentClass(container, class_id))
    if was_there and not (sent.has_come and sent.is_as(pickler, digest)):
        _refill(container, data)
    sent.has_arrived(pickler, digest, data, container)
    _here[pickler, class_id] = container


def _change(container: ContainerClass, pickler: str, digest: str, data: bytes) -> None:
    sent = _sent[container]
    if not sent.is_as(pickler, digest):
        _refill(container, data)
        sent.has_arrived(pickler, digest, data, container)


def _refill(container: ContainerClass, data: bytes) -> None:
    within(refilling(container), lambda _: pickle.loads(data))  # noqa: S301 - from a process of the same run


def hold(container: ContainerClass, holder: str) -> None:
    """Let a class, and what it derives from, be pickled once, until the holder releases it."""
    under(_lock, _hold, container, holder)


def _hold(container: ContainerClass, holder: str) -> None:
    for declared in container.__mro__:
        if issubclass(declared, _BASE) and declared is not _BASE and not is_importable(declared):
            sent = _sent.setdefault(declared, SentClass(declared, uuid.uuid4().hex))
            sent.held_by(holder, declared)


def release(holder: str) -> None:
    """Let the classes that nobody else holds be pickled as they are, from now on."""
    under(_lock, _release, holder)


def _release(holder: str) -> None:
    for sent in list(_sent.values()):
        sent.released_by(holder)


def sent_as(container: ContainerClass | None) -> ContainerClass | SentClass | None:
    """What is to be pickled in the place of a class; what arrives is the class."""
    return None if container is None else standing_for(container) or container


def standing_for(container: ContainerClass) -> SentClass | None:
    """What is to be pickled for a class that goes by value; None where that is the class itself."""
    if _is_whole.get():
        return None
    sent = _sent.get(container)
    return sent if sent is not None and sent.holders else None


@manager
def whole() -> Generator[None]:
    """Pickle all classes as they are in the body."""
    token = _is_whole.set(True)
    try:
        yield
    finally:
        _is_whole.reset(token)


_BASE = containers.DeclarativeContainer
_sent: WeakKeyDictionary[Any, SentClass] = WeakKeyDictionary()
_here: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
_lock = threading.RLock()
_is_whole: ContextVar[bool] = ContextVar("prefect_lifespan_is_whole", default=False)
