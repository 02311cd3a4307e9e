"""Replies of the store that are errors: what each means for the call that met it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redis.exceptions import RedisError


class Remedy(Enum):
    """What is to be done about a call whose reply is an error. It was not done.

    LATER: The store can't do it now: it starts, is busy with a script, or may not write. The same is sent again.
    ELSEWHERE: This server is no primary, or no longer knows us: another connection is made, and the same sent again.
    LOAD: It lacks the function: the library is loaded, and the same sent again.
    FULL: It has no memory for it.
    OVERWRITTEN: A key that it needs was overwritten by another program.
    NONE: The function failed, or rejected its arguments.
    """

    LATER = "later"
    ELSEWHERE = "elsewhere"
    LOAD = "load"
    FULL = "full"
    OVERWRITTEN = "overwritten"
    NONE = "none"


_BY_CODE: Final = {
    "OOM": Remedy.FULL,
    "WRONGTYPE": Remedy.OVERWRITTEN,
    "LOADING": Remedy.LATER,
    "BUSY": Remedy.LATER,
    "MISCONF": Remedy.LATER,
    "NOREPLICAS": Remedy.LATER,
    "MASTERDOWN": Remedy.LATER,
    "TRYAGAIN": Remedy.LATER,
    "NOPERM": Remedy.LATER,
    "READONLY": Remedy.ELSEWHERE,
    "UNBLOCKED": Remedy.ELSEWHERE,
    "NOAUTH": Remedy.ELSEWHERE,
    "NOSCRIPT": Remedy.LOAD,
}

_MEANINGS: Final = {
    "LOADING": "the store reads its data from disk",
    "BUSY": "the store is busy with a script",
    "MISCONF": "the store can't save to its disk, and so accepts no writes",
    "NOREPLICAS": "the store has fewer replicas than it needs for writes",
    "MASTERDOWN": "the store is a replica without a primary",
    "NOPERM": "the user may not call the store's functions",
    "READONLY": "the store is a replica now",
    "UNBLOCKED": "the store has become a replica",
    "NOAUTH": "the store wants a password",
}

_NO_FUNCTION: Final = "Function not found"


def code_of(error: RedisError) -> str:
    """Return the word that the error began with, such as `OOM`."""
    return error.status_code or str(error).partition(" ")[0]


def text_of(error: RedisError) -> str:
    """Return what the store said, whole."""
    text = str(error)
    return text if error.status_code is None or text.startswith(error.status_code) else f"{error.status_code} {text}"


def remedy_of(error: RedisError) -> Remedy:
    """Return what is to be done about an error."""
    if _NO_FUNCTION in str(error):
        return Remedy.LOAD
    return _BY_CODE.get(code_of(error), Remedy.NONE)


def meaning_of(error: RedisError) -> str:
    """Return what an error means for an operator, with what the store said."""
    meaning = _MEANINGS.get(code_of(error))
    return f"{meaning} ({text_of(error)})" if meaning else text_of(error)
