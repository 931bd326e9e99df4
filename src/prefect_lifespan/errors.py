"""Everything this library raises, and the one way its messages are told: what, where, what to do.

    LifespanError
    ├── InvalidContainerError      a container that cannot be opened as it is declared
    ├── LifespanClosedError        a resource used after its lifespan has ended
    ├── AsyncResourceError         a synchronous function that would have to open an asynchronous resource
    ├── ResourceTimeoutError       opening or closing took longer than its limit (also a TimeoutError)
    ├── ResourceCloseError         several failed to close while the body succeeded (also an ExceptionGroup)
    └── UsageError                 a call that the library cannot serve as it stands (also a TypeError)

Errors carry data and draw their text late, so they survive pickling between processes. Each text ends in the address of
its entry on the page of errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect_lifespan.finding import PAGE, Finding, address


class LifespanError(Exception):
    """Base of every error that this library raises itself.

    An error of a user's initialiser or task is never wrapped in one: it arrives with its own type.
    """

    def __str__(self) -> str:
        text = self._text()
        if PAGE in text:  # a finding's, which has an entry of its own
            return text
        return f"{text} ({address(type(self).__name__)})"

    def _text(self) -> str:
        return super().__str__()


class InvalidContainerError(LifespanError):
    """A container cannot be opened as it is declared; nothing has been opened.

    `container` is the qualified name of the class, `findings` all that `check` found, each with the path drawn
    and the cure.
    """

    def __init__(self, container: str, findings: Sequence[Finding]) -> None:
        super().__init__(container, tuple(findings))
        self.container = container
        self.findings: tuple[Finding, ...] = tuple(findings)

    def _text(self) -> str:
        count = len(self.findings)
        head = f"{self.container} cannot be opened: {count} finding{'s' if count != 1 else ''}."
        return "\n\n".join([head, *(str(finding) for finding in self.findings)])


class LifespanClosedError(LifespanError):
    """A resource was asked for after its lifespan had ended, or after it had failed or been shut down while that was open.

    `resource` is its path in the container (or the container itself), `lifespan` names the run whose lifespan it was,
    `failure` is what failed meanwhile, such as a child of a task group in the resource: that is also the error's cause.
    `shut_down` says that the user's code has closed it by hand.
    """

    def __init__(self, resource: str, lifespan: str, failure: str = "", shut_down: bool = False) -> None:
        super().__init__(resource, lifespan, failure, shut_down)
        self.resource = resource
        self.lifespan = lifespan
        self.failure = failure
        self.shut_down = shut_down

    def _text(self) -> str:
        if self.failure:
            return (
                f"{self.resource} has failed while it was open: {self.failure}. It is of no use any more, closes with the "
                f"lifespan of {self.lifespan} and does not open again in it. Handle the error where it is raised, in what "
                "the resource runs in the background, or begin a new lifespan."
            )
        if self.shut_down:
            return (
                f"{self.resource} was asked for after `shutdown()` or `shutdown_resources()` had closed it, and it does not "
                f"open again in the lifespan of {self.lifespan}. Leave closing to the lifespan; what is to open and close "
                "many times in it is a TaskResource, or has a `with lifespan(..., share=False)` of its own each time."
            )
        return (
            f"{self.resource} was asked for after the lifespan of {self.lifespan} had closed. "
            "Await or wait for whatever uses it before the flow function returns, or give the work a lifespan of its own."
        )


class AsyncResourceError(LifespanError):
    """A synchronous function would have to open an asynchronous resource.

    `resources` are their paths in the container, `where` names the function or lifespan that asked, and `on_loop` says
    that an event loop runs in the thread that asked.
    """

    def __init__(self, resources: Sequence[str], where: str, on_loop: bool = False) -> None:
        super().__init__(tuple(resources), where, on_loop)
        self.resources: tuple[str, ...] = tuple(resources)
        self.where = where
        self.on_loop = on_loop

    def _text(self) -> str:
        names = ", ".join(self.resources)
        kind = "an asynchronous resource" if len(self.resources) == 1 else "asynchronous resources"
        head = f"{self.where[:1].upper()}{self.where[1:]} cannot open {names}: {kind} needs an event loop to open on"
        if self.on_loop:
            name = self.resources[0].rpartition(".")[2]
            # Not what is declared in place, without a name of its own.
            first = f"`await container.{name}.init()` first, " if name.isidentifier() else ""
            return (
                f"{head}, and a synchronous call cannot wait for the one that runs here. In a coroutine, "
                f"{first}take it as a parameter of an `async def` function under @inject, "
                "or open it beforehand with `async with lifespan(...)`."
            )
        return (
            f"{head}. "
            "Make the function `async def`, or open it beforehand in an asynchronous lifespan "
            "(`async with lifespan(...)`, or an `async def` flow), where it is open then."
        )


class ResourceTimeoutError(LifespanError, TimeoutError):
    """Opening or closing a resource took longer than its limit.

    `resource` is its path, `action` is "open" or "close", `seconds` the limit; `waiting` names the resources
    that were still at it when an opening of the whole container ran out of time.
    """

    def __init__(self, resource: str, action: str, seconds: float, waiting: Sequence[str] = ()) -> None:
        super().__init__(resource, action, seconds, tuple(waiting))
        self.resource = resource
        self.action = action
        self.seconds = seconds
        self.waiting: tuple[str, ...] = tuple(waiting)

    def _text(self) -> str:
        text = f"{self.resource} did not {self.action} within {self.seconds:g} s."
        if self.waiting:
            text += f" Still at it: {', '.join(self.waiting)}."
        return f"{text} Raise {self.action}_timeout_seconds if it needs longer."


class ResourceCloseError(LifespanError, ExceptionGroup[Exception]):
    """Several resources failed to close although the body succeeded; holds every error, each with a note naming its resource.

    Raised with `on_close_error="raise"`; the error of a single one is raised as itself. Where the body failed, its own
    exception is raised instead and these are its notes.
    """

    def derive(self, excs: Sequence[Any], /) -> ResourceCloseError:
        return ResourceCloseError(self.message, excs)


class UsageError(LifespanError, TypeError):
    """The library was called in a way that it cannot serve: a wrong decorator order, a name that does not exist."""
