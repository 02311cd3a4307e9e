"""Signatures of deliveries, as Standard Webhooks defines them (https://www.standardwebhooks.com, version 1.0.0).

A secret is `whsec_` and 24 to 64 bytes in base64; HMAC-SHA256 over `ID.TIMESTAMP.BODY` is the signature. Two secrets,
with a space between, sign both: while a receiver changes from one to the other, it may check either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
SECRETS_MAX: Final = 2
SECRET_EXPECTED: Final = (
    f"{PREFIX} and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random bytes in base64, or two of these with a space between; "
    "`jobqueue webhooks secret` makes one"
)


def keys_of(secret: str) -> tuple[bytes, ...]:
    """Return the bytes of one or two secrets. Raises ValueError, which doesn't show them."""
    texts = secret.split(" ")
    if len(texts) > SECRETS_MAX:
        raise ValueError(f"more than {SECRETS_MAX} secrets")
    return tuple(map(_key, texts))


def _key(text: str) -> bytes:
    if not text.startswith(PREFIX):
        raise ValueError(f"no secret begins without {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise ValueError(f"{len(key)} bytes")
    return key


def signature(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`: one signature a key. Args: timestamp: Unix seconds."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    made = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(each).decode()}" for each in made)
