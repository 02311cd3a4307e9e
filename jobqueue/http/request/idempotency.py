"""The Idempotency-Key header, and the fingerprint of the submission under it.

The header's form is that of draft-ietf-httpapi-idempotency-key-header: a structured field's string, in quotes;
a bare one is accepted, too.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from jobqueue.api_limits import KEY_LENGTH_MAX
from jobqueue.core.job import IdempotencyKey
from jobqueue.http.errors import MalformedRequest

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from jobqueue.http.request.body import BodyKind

IDEMPOTENCY_KEY = "Idempotency-Key"
FINGERPRINT_BYTES = 16

# RFC 9651, section 3.3.3: printable ASCII, in which a quote and a backslash are escaped.
_CHARACTER = r'(?:[ !#-\[\]-~]|\\["\\])'
_QUOTED = re.compile(rf'"({_CHARACTER}*)"')
_BARE = re.compile(r"[!#-~][ -~]*")
KEY_PATTERN = rf'"{_CHARACTER}{{1,{KEY_LENGTH_MAX}}}"|[!#-~][ -~]{{0,{KEY_LENGTH_MAX - 1}}}'
"""What the header may be, for the description of the API."""
_ESCAPED = re.compile(r"\\(.)")


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
    text = lines[0].strip(" \t")
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


class Fingerprint:
    """The digest of a submission under a key, made while it is received.

    Each piece is hashed with its length, so that the boundaries count, too.
    """

    def __init__(self, kind: BodyKind) -> None:
        self._digest = blake2b(kind.value.encode(), digest_size=FINGERPRINT_BYTES)

    def add(self, piece: bytes) -> None:
        """Add a whole piece: a body, a name, a media type."""
        self._digest.update(len(piece).to_bytes(8, "big"))
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
