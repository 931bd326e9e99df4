"""The states of another process's lifespan in this one, and what may follow what; docs/inside.md draws them.

`Life` is how far it has got here, `Notice` whether anybody will say when it ends. They are two because neither follows
from the other: a lifespan that this process has not asked about may be told its end (Dask's scheduler tells all
workers), and one that nobody tells of may be in use.
"""

from __future__ import annotations

from enum import Enum, auto


class Life(Enum):
    """How far a lifespan of another process has got in this one."""

    OPEN = auto()  # tasks are let in, and what they ask for opens
    ENDING = auto()  # its end has been told; tasks of its run are still let in, and it closes after the last one
    CLOSED = auto()  # closing, or closed: whatever is asked for is refused by name

    def then(self, following: Life, of: str) -> Life:
        """The state that follows.

        Raises:
            RuntimeError: this library has a defect; the message says which step it took twice or too late.
        """
        refusal = _REFUSED.get((self, following))
        if refusal is not None:
            raise RuntimeError(f"{of}: {refusal}")
        return following


# A defect in what calls, so it is loud. CLOSED follows CLOSED: a process that ends closes what has closed just now.
_REFUSED = {
    (Life.OPEN, Life.OPEN): "it is open here already",
    (Life.ENDING, Life.OPEN): "its end has been told, so it does not open again here",
    (Life.ENDING, Life.ENDING): "its end has been told twice",
    (Life.CLOSED, Life.OPEN): "it has closed, and does not open again here",
    (Life.CLOSED, Life.ENDING): "its end has been told after it had closed here",
}


class Notice(Enum):
    """Whether anybody gives this process notice of the end of a lifespan of another one."""

    NOT_ASKED = auto()  # nothing was opened here yet, so nobody has been asked
    PROMISED = auto()  # whoever the lifespan belongs to, or its scheduler, will say
    NONE = auto()  # nobody will: nothing leads there, or this process has taken its name off
    TOO_LATE = auto()  # it had ended before this process asked
