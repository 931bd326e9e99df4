"""What an error says, fit for a log: on one line, of bounded length, and without secrets.

Masked are the password of an address (`://user:password@`), what is given to a name that sounds secret
(`password=...`, `"token": ...`, `Bearer ...`), the signature of an address (`?sig=...`), a private key, and the value of every secret that the error's own frames hold: pydantic's
`SecretStr` and its kin, alone or in settings, and local variables whose names sound secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from traceback import format_exception
from types import FrameType
from typing import Any, cast

MASK = "***"
LONGEST = 500  # characters of an error's text that a log line holds
_LONGEST_READ, _LONGEST_TRACEBACK = 10_000, 100_000  # and that are looked at: some hold a whole response

_FRAMES, _DEPTH, _ITEMS = 50, 4, 100  # how far secrets are looked for: an error must not cost more than what failed
_SHORTEST = 4  # characters of a secret that is masked wherever it stands: shorter ones are parts of ordinary words

_WORDS = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?"
_NAME = re.compile(rf"(?:^|[_-]|(?<=[a-z0-9])(?=[A-Z]))(?i:{_WORDS})(?:[_-]|$|(?=[A-Z]))")
_ADDRESS = re.compile(r"(://[^\s:/@]*:)\S+(@)")
_IN_ADDRESS = re.compile(r"://[^\s:/@]*:([^\s@]+)@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}")
# In texts alone: an argument of such a name need not be secret.
_IN_TEXTS = r"account[_-]?key|access_?signature|[_-]signature|\bsig(?==)|cookie"
_PRIVATE_KEY = re.compile(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|$)")
_GIVEN = re.compile(
    rf"""(?ix) ( (?: {_WORDS} | {_IN_TEXTS} ) (?: [_-]\w+ )? ['"]? \s* [=:] \s* )
         ( (['"]) .*? \3 | [^\s,;&)'"\]}}]+ )"""
)


def sounds_secret(name: str) -> bool:
    """Whether what goes by a name is a secret, as the name says: `db_password`, `X-Api-Key`, `accessToken`."""
    return _NAME.search(name) is not None


def in_addresses(text: str) -> list[str]:
    """The passwords of the addresses in a text."""
    return _IN_ADDRESS.findall(text[:_LONGEST_READ])


def revealed(value: object) -> str | None:
    """What a value keeps secret that is made for that, as pydantic's `SecretStr`; None for any other."""
    # Asked of the class: a value may answer to any attribute, or raise for one.
    reveal = getattr(type(value), "get_secret_value", None)
    if reveal is None:
        return None
    secret: object = reveal(value)
    return secret.decode(errors="replace") if isinstance(secret, bytes) else str(secret)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text, with what looks like a secret, and each of `secrets`, masked."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _ADDRESS.sub(rf"\1{MASK}\2", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
    return _GIVEN.sub(rf"\1{MASK}", text)


def text_of(error: BaseException) -> str:
    """What an error says, masked, on one line; nothing where it says nothing or cannot say it."""
    try:
        text = masked(" ".join(_beginning(str(error), _LONGEST_READ).split()), secrets_of(error))
    except Exception:  # a text that cannot be made, whatever the user's class does for it
        return ""
    text = _sendable(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def summary_of(error: BaseException) -> str:
    """The error as a log line tells it: its type, and what it says."""
    kind, text = type(error).__qualname__, text_of(error)
    return f"{kind}: {text}" if text else kind


def traceback_of(error: BaseException) -> str:
    """An error's traceback with those of its causes and contexts, masked; nothing where it cannot be made."""
    try:
        text = _beginning("".join(format_exception(error)).rstrip(), _LONGEST_TRACEBACK)
        return _sendable(masked(text, {secret for each in _chain(error) for secret in secrets_of(each)}))
    except Exception:  # the class of a user's exception is asked for its name, its notes and more
        return ""


def _sendable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot say, as bytes in a file's name, and for NUL, which PostgreSQL refuses:
    one such character would keep a whole log line, event or report from Prefect's API.
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _beginning(text: str, longest: int) -> str:
    """What is looked at of a text, in whole words: half a secret would not be known for one."""
    return text if len(text) <= longest else f"{text[:longest].rpartition(' ')[0]} …"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, or holds."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _FRAMES:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            held = cast("BaseExceptionGroup[Any]", each).exceptions if isinstance(each, BaseExceptionGroup) else ()
            waiting += [other for other in (each.__cause__, each.__context__, *held) if other is not None]


def secrets_of(error: BaseException) -> set[str]:
    """The secrets that the frames of an error's traceback hold, by type or by name."""
    found: set[str] = set()
    traceback, frames = error.__traceback__, 0
    while traceback is not None and frames < _FRAMES:
        found.update(_in_frame(traceback.tb_frame))
        traceback, frames = traceback.tb_next, frames + 1
    return {secret for secret in found if len(secret) >= _SHORTEST}


def _in_frame(frame: FrameType) -> Iterator[str]:
    for name, value in list(frame.f_locals.items())[:_ITEMS]:
        yield from _in_named(name, value, _DEPTH)


def _in_named(name: object, value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if isinstance(name, str) and sounds_secret(name):
            yield value
        yield from in_addresses(value)
        return
    yield from _in_value(value, depth)


def _in_value(value: object, depth: int) -> Iterator[str]:
    secret = revealed(value)
    if secret is not None:
        yield secret
    elif depth:
        held = cast("object", value if isinstance(value, (dict, list, tuple)) else getattr(value, "__dict__", None))
        if isinstance(held, Mapping):
            for name, item in list(cast("Mapping[Any, Any]", held).items())[:_ITEMS]:
                yield from _in_named(name, item, depth - 1)
        elif isinstance(held, (list, tuple)):
            for item in cast("list[Any]", held)[:_ITEMS]:
                yield from _in_value(item, depth - 1)
