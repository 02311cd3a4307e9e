"""The server's URL and the API key of a client: given, or from the environment.

Rules:

1. What is given wins over `JOBQUEUE_URL` and `JOBQUEUE_KEY`; an empty variable counts as none.
2. A key goes into the header `Authorization: Bearer` (RFC 6750), and nowhere else: no message and no `repr` shows it.
3. A key in the environment gives way to a user in the URL, and to an `Authorization` among the headers. A key that is
   given beside one of them is a mistake.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from jobqueue.keys import masked

if TYPE_CHECKING:
    from pathlib import Path

URL_VARIABLE = "JOBQUEUE_URL"
KEY_VARIABLE = "JOBQUEUE_KEY"
FILE_BYTES_MAX = 65_536  # of a key's file: the path of another file, or of a device, is a slip

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_AUTHORIZATION = re.compile(r"((?i:authorization)[\"']?\s*[:=]\s*[\"']?(?i:bearer|basic)\s+)[A-Za-z0-9._~+/-]+=*")


class Secret(str):
    """A string that its `repr` doesn't show: tracebacks with local variables, and dictionaries in logs, hide it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (str(self),)


def key_in_file(path: Path) -> Secret:
    """Return the key that a file holds alone, in one line.

    Raises:
        ValueError: It holds none, or more; the message doesn't show it.
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        text = file.read(FILE_BYTES_MAX).decode("utf-8", errors="replace").strip()
    if not text or "\n" in text:
        raise ValueError(f"{path} must hold one key, in one line")
    return checked_key(text, str(path))


def given_url(url: str | None) -> str:
    """Return the server's URL. Raises ValueError if there is none, neither here nor in `JOBQUEUE_URL`."""
    found = os.environ.get(URL_VARIABLE) if url is None else url
    if url is None and not found:
        raise ValueError(f"no server URL: give one, such as http://127.0.0.1:8080, or set {URL_VARIABLE}")
    return found or ""


def given_key(key: str | None) -> tuple[Secret, bool]:
    """Return the key, empty for none, and whether it was given here rather than in `JOBQUEUE_KEY`.

    Raises:
        ValueError: It is malformed; the message doesn't show it.
    """
    if key is None:
        return checked_key(os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE), False
    return checked_key(key, "the key"), bool(key)


def checked_key(key: str, name: str) -> Secret:
    """Return a key that can stand in a header.

    Args:
        name: Begins the message.

    Raises:
        ValueError: It can't; the message doesn't show it.
    """
    if not isinstance(key, str):
        raise TypeError(f"{name} must be a string, not {type(key).__name__}")
    if not key or _BEARER.fullmatch(key):
        return Secret(key)
    if _BEARER.fullmatch(key.strip()):
        raise ValueError(f"{name} begins or ends with a blank or a line break: remove it")
    if key.lower().startswith("bearer "):
        raise ValueError(f"{name} must be the key alone, without 'Bearer'")
    wrong = next(character for character in key if not _BEARER.fullmatch(character))
    raise ValueError(
        f"{name} is no API key: it has {_named(wrong)}; expected letters, digits and -._~+/, as in jq_<id>_<secret>"
    )


def _named(character: str) -> str:
    if character == "=":
        return "'=' before its end"
    names = {" ": "a blank", "\n": "a line break", "\r": "a line break", "\t": "a tab"}
    return names.get(character) or f"the character {character!a}"


def without_keys(text: str) -> str:
    """Return a text of a server or proxy without the keys that it may repeat."""
    return _AUTHORIZATION.sub(r"\1***", masked(text))
