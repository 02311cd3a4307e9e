"""API keys: their form, their scopes, and the digest by which a server knows one.

    jq_k3v9tq2m_6x7qxk…            jq_<id>_<secret>

Rules:

1. The id, 8 characters, is public: it stands in settings and finds the key. The secret, 52 characters, is 256 random
   bits, so a plain SHA-256 of it can't be reversed, and needs no salt and no slow hash.
2. Both are base32 in lower case (`a-z`, `2-7`), so a key is one word for shells, URLs, YAML and a double click.
3. A secret never becomes part of a message: `masked` takes keys out of a text, and `Key` shows its id only.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Literal, NamedTuple, get_args

Scope = Literal["submit", "read", "operate", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a key may do: submit jobs; read its jobs; change them and the queues; all that with the jobs of all callers."""

IMPLIED: dict[Scope, frozenset[Scope]] = {
    "submit": frozenset({"submit"}),
    "read": frozenset({"read"}),
    "operate": frozenset({"operate", "read"}),
    "admin": frozenset(SCOPES),
}
"""The scopes that a scope includes: what changes a job answers with it, so `operate` includes `read`."""

CALLER_PREFIX = "key:"
"""No address, user or certificate as a caller begins so: a key named like one is another caller."""

ID_PATTERN = "[a-z2-7]{8}"
SECRET_PATTERN = "[a-z2-7]{52}"
DIGEST_PATTERN = "[0-9a-f]{64}"

_KEY = re.compile(f"jq_({ID_PATTERN})_({SECRET_PATTERN})", re.ASCII)
_SECRET_PART = re.compile(r"(jq_[A-Za-z0-9]{1,32})_[A-Za-z0-9_+/=-]+")


class Key(NamedTuple):
    """A key in its two parts."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        """The key as clients send it."""
        return f"jq_{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """The SHA-256 of the secret, in hexadecimal digits, as it stands in the settings."""
        return digest_of(self.secret).hex()

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"


def caller_of_key(name: str) -> str:
    """Return the caller that all requests with a key are of, by the key's name."""
    return f"{CALLER_PREFIX}{name}"


def new_key() -> Key:
    """Draw a key from the system's random source."""
    return Key(_base32(secrets.token_bytes(5)), _base32(secrets.token_bytes(32)))


def parse(text: str) -> Key | None:
    """Return the parts of a key; None: the text is none."""
    found = _KEY.fullmatch(text)
    return None if found is None else Key(found[1], found[2])


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def masked(text: str) -> str:
    """Return a text with the secrets of all keys in it, and of what looks like one, left out."""
    return _SECRET_PART.sub(r"\1_***", text)


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
