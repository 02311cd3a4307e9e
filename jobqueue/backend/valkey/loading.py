"""Loads the library into a store: as functions, or, where a service bars these, each body as a script.

Scripts do the same at the same price. But a store forgets them when it is started anew, and tells them to no replica:
then they are loaded again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from jobqueue.backend.valkey import library
from jobqueue.backend.valkey.packing import packed
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

PROBE: Final = "config"
"""A function without arguments that changes nothing."""

log = event_logger(__name__)


async def load(line: AbstractConnection, prefix: str) -> bool:
    """Load the library; return whether it is there as functions, else as scripts.

    One of the same version whose text differs is replaced. Raises RedisError.
    """
    try:
        await _load_functions(line)
    except ResponseError as error:
        if not isinstance(error, NoPermissionError) and "unknown command" not in str(error):
            raise
        barred = str(error)
    else:
        return True
    try:
        await ask(line, "FCALL", library.full_name(PROBE), "1", prefix)
    except ResponseError:
        for name in library.FUNCTIONS:
            await ask(line, "SCRIPT", "LOAD", library.script(name))
        log.warning("store.scripts", reason=barred)
        return False
    return True  # it is loaded by an administrator


async def _load_functions(line: AbstractConnection) -> None:
    text = library.text()
    found = await ask(line, "FUNCTION", "LIST", "LIBRARYNAME", library.library_name(), "WITHCODE")
    if found:
        fields = dict(zip(found[0][::2], found[0][1::2], strict=True))
        if fields.get(b"library_code") == text.encode():
            return
        await ask(line, "FUNCTION", "LOAD", "REPLACE", text)
        log.warning("store.library_replaced", library=library.library_name())
        return
    try:
        await ask(line, "FUNCTION", "LOAD", text)
    except ResponseError as error:
        if "already exists" not in str(error):  # another server was faster
            raise


async def ask(line: AbstractConnection, *command: str) -> Any:
    """Send a command and return its reply. Raises RedisError."""
    await line.send_command(*command)
    return await line.read_response(disable_decoding=True)


def beginnings(*, functions: bool) -> dict[str, tuple[str, str]]:
    """Return how the command of each function begins, by its short name."""
    if functions:
        return {name: ("FCALL", library.full_name(name)) for name in library.FUNCTIONS}
    return {name: ("EVALSHA", _digest(library.script(name))) for name in library.FUNCTIONS}


def command(function: str, *, functions: bool) -> bytes:
    """Return the command that gives a function back to a store that has lost it: the library, or its script alone."""
    if functions:
        return packed("FUNCTION", "LOAD", library.text())
    return packed("SCRIPT", "LOAD", library.script(function))


def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
