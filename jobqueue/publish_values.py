"""The values of a publish in Python: the topic, the data and the key, each checked."""

from __future__ import annotations

from typing import Any

from jobqueue.api_limits import KEY_LENGTH_MAX
from jobqueue.core.topics import topic_fault
from jobqueue.encoder import encode
from jobqueue.errors import InvalidField, InvalidSubmission


def checked_topic(topic: str) -> str:
    """Return a topic. Raises InvalidSubmission if it is none."""
    fault = topic_fault(topic) if isinstance(topic, str) else f"a topic is a text, not {topic!r:.100}"
    if fault is not None:
        raise InvalidSubmission(InvalidField(pointer="/topic", detail=fault))
    return topic


def encoded_data(data: Any) -> bytes:
    """Return data as JSON. Raises InvalidSubmission where JSON can't say it."""
    try:
        return encode(data)
    except ValueError as error:
        raise InvalidSubmission(InvalidField(pointer="/data", detail=str(error))) from None


def checked_key(key: str | None) -> str | None:
    """Return an idempotency key. Raises InvalidSubmission if it is none."""
    if key is None:
        return None
    is_text = isinstance(key, str)
    if not is_text or not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        detail = f"an idempotency key has 1 to {KEY_LENGTH_MAX} printable ASCII characters"
        raise InvalidSubmission(InvalidField(pointer="/key", detail=detail))
    return key
