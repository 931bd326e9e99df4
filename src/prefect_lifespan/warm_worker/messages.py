"""What the worker and a warm process tell each other: frames of a length and JSON, on a socket of their own.

Each message is a dataclass here; its name goes with it. A frame that is none of them is a fault of this library.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size
# What a process leaves in the folder of a run whose flow has hooks: by it Prefect runs them when the process has gone.
MANIFEST = "workspace.json"


@dataclass(frozen=True)
class Run:
    """To the process: run this flow run, with these variables in the environment for as long."""

    flow_run_id: str
    environment: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Close:
    """To the process: close what is open, and end."""


@dataclass(frozen=True)
class Begins:
    """From the process: the code is there, and the run begins."""


@dataclass(frozen=True)
class Stale:
    """From the process: it cannot run this one, as its code is not what the run asks for any more."""

    why: str


@dataclass(frozen=True)
class Ended:
    """From the process: the run has ended, as a process of its own would have with this exit code.

    `unfit` says why the process can have no other run, or nothing; `memory_bytes` is what it holds now.
    """

    exit_code: int
    memory_bytes: int
    unfit: str | None = None


Message = Run | Close | Begins | Stale | Ended
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Run, Close, Begins, Stale, Ended)}


def packed(message: Message) -> bytes:
    """The frame of a message."""
    body = json.dumps([type(message).__name__, asdict(message)]).encode()
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """How many bytes follow the first `LENGTH_BYTES` of a frame."""
    return int(_LENGTH.unpack(head)[0])


def unpacked(body: bytes) -> Message:
    """The message of a frame, without its length."""
    kind, values = json.loads(body)
    return _KINDS[kind](**values)
