"""`override_everywhere`: an override that all contexts of the process see, for as long as it is entered."""

from __future__ import annotations

from types import TracebackType

from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.overrides import EnteredOverride, Overrides, overrides_of
from prefect_lifespan.overriding import tell_of_copies
from prefect_lifespan.process_wide import process_wide
from prefect_lifespan.scope import current_scope


class override_everywhere:  # noqa: N801 - a context manager, named as the field names it
    """`override` for a whole test: seen in every thread and task of the process, whatever contexts they run in.

    Fixtures and tests run in contexts of their own under the plugins for asynchronous tests, and so do threads that a
    test starts itself: what is entered in one is not seen in another. Whichever override was entered last wins, this
    or another. Runs that go on beside it see it too, so it is for tests, of which a process runs one at a time.

    Args:
        container: the container class.
        overrides: as `override` takes them.
        by_name: the same by keyword.

    Raises:
        UsageError: a name that the container does not declare.
        TypeError: `container` is not a container class.

    Example:
        >>> import threading
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import Provide, inject
        >>> from prefect_lifespan.testing import override_everywhere
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(lambda: "the real one")
        >>> @inject
        ... def query(db: str = Provide[App.db]) -> None:
        ...     print(f"asked {db}")
        >>> with override_everywhere(App, db="a fake"):
        ...     thread = threading.Thread(target=query)
        ...     thread.start()
        ...     thread.join()
        asked a fake
    """

    def __init__(self, container: ContainerClass, overrides: Overrides | None = None, /, **by_name: object) -> None:
        self._container = require_container(container)
        self._overrides = overrides_of(self._container, overrides, by_name)
        self._entered: list[EnteredOverride] = []

    def __enter__(self) -> None:
        entered = EnteredOverride(self._container, self._overrides, owner=self, everywhere=True)
        self._entered.append(entered)
        process_wide.add_override(entered)
        for lifespan in current_scope().lifespans:
            tell_of_copies(lifespan, [entered])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process_wide.remove_override(self._entered.pop())
