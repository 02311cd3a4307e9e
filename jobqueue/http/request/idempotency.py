"""The Idempotency-Key header, and the fingerprint of the submission under it.

The header's form is that of draft-ietf-httpapi-idempotency-key-header: a structured field's string, in quotes;
a bare one is accepted, too.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from jobqueue.api_limits import KEY_LENGTH_MAX
from jobqueue.core.job import IdempotencyKey, Uniqueness
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.body import BodyKind

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

IDEMPOTENCY_KEY = "Idempotency-Key"
FINGERPRINT_BYTES = 16
LENGTH_BYTES = 8

# RFC 9651, section 3.3.3: printable ASCII, in which a quote and a backslash are escaped.
_CHARACTER = r'(?:[ !#-\[\]-~]|\\["\\])'
_QUOTED = re.compile(rf'"({_CHARACTER}*+)"')
_BARE = re.compile(r"[!#-~][ -~]*")
KEY_PATTERN = rf'"{_CHARACTER}{{1,{KEY_LENGTH_MAX}}}"|[!#-~][ -~]{{0,{KEY_LENGTH_MAX - 1}}}'
"""What the header may be, for the description of the API."""
_ESCAPED = re.compile(r"\\(.)")

_JSON = blake2b(BodyKind.JSON.value.encode(), digest_size=FINGERPRINT_BYTES)
"""The digest before a JSON body: to be copied."""


def key_of(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the key in a request's headers; `"k"` and `k` are the same.

    Raises:
        MalformedRequest: It is duplicate, empty, too long, or has invalid characters.
    """
    lines = headers.getall(IDEMPOTENCY_KEY, ())
    if not lines:
        return None
    if len(lines) > 1:
        raise MalformedRequest(f"duplicate {IDEMPOTENCY_KEY} header")
    return key_in(lines[0])


def key_in(text: str) -> str:
    """Return the key in the header's value. Raises MalformedRequest."""
    text = text.strip(" \t")
    key = text[1:-1]
    # Most: in quotes, and nothing is escaped. The expression takes three times as long.
    if text[:1] == text[-1:] == '"' and key.isascii() and key.isprintable() and 0 < len(key) <= KEY_LENGTH_MAX:
        plain = key.find('"') < 0 and key.find("\\") < 0
        if plain:
            return key
    quoted = _QUOTED.fullmatch(text)
    if quoted is None and not _BARE.fullmatch(text):
        raise MalformedRequest(
            f"{IDEMPOTENCY_KEY} takes 1 to {KEY_LENGTH_MAX} printable ASCII characters, in quotes or bare; "
            'in quotes, \\" and \\\\ stand for a quote and a backslash'
        )
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted is not None else text
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise MalformedRequest(f"{IDEMPOTENCY_KEY} takes 1 to {KEY_LENGTH_MAX} characters, and this one has {len(key)}")
    return key


def readable_key(given: bytes) -> str | None:
    """Return the key in the header's value as it was sent; None: it is invalid."""
    try:
        return key_in(given.decode("latin-1"))
    except MalformedRequest:
        return None


def with_key(plain: Uniqueness, key: str) -> Uniqueness:
    """Return the identity of a submission as far as its head tells it: without its unique value and fingerprint."""
    return Uniqueness(plain.caller, key=IdempotencyKey(key, b""), owner=plain.owner)


def json_key(key: str, body: bytes) -> IdempotencyKey:
    """Return a key with the digest of a JSON body, as `Fingerprint` makes it of one piece."""
    digest = _JSON.copy()
    digest.update(len(body).to_bytes(LENGTH_BYTES, "big"))
    digest.update(body)
    return IdempotencyKey(key, digest.digest())


class Fingerprint:
    """The digest of a submission under a key, made while it is received.

    Each piece is hashed with its length, so that the boundaries count, too.
    """

    def __init__(self, kind: BodyKind) -> None:
        self._digest = blake2b(kind.value.encode(), digest_size=FINGERPRINT_BYTES)

    def add(self, piece: bytes) -> None:
        """Add a whole piece: a body, a name, a media type."""
        self._digest.update(len(piece).to_bytes(LENGTH_BYTES, "big"))
        self._digest.update(piece)

    def add_file(self, name: str, filename: str, media_type: str, content: bytes) -> None:
        """Add a file, by the digest of its content (`content_digest`): its size is known only at its end."""
        for text in (name, filename, media_type):
            self.add(text.encode("utf-8", "surrogatepass"))
        self.add(content)

    def under(self, key: str) -> IdempotencyKey:
        """Return the key with the digest of all pieces."""
        return IdempotencyKey(key, self._digest.digest())


def content_digest() -> blake2b:
    """Begin the digest of a file's content."""
    return blake2b(digest_size=FINGERPRINT_BYTES)
