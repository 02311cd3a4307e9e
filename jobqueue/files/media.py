"""Media types from clients and handlers: only those that are valid in a header are kept."""

from __future__ import annotations

import re

DEFAULT_MEDIA_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}(?:\s*;\s*[\w!#$&^.+=\"' -]{1,200})?", re.ASCII)


def is_media_type(text: str) -> bool:
    """Whether a text is a media type, with one parameter at most."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def media_type_or_default(text: str | None) -> str:
    """Return a media type that is valid in a header: the given one, or the most general."""
    return text if text is not None and is_media_type(text) else DEFAULT_MEDIA_TYPE
