"""Media types from outside: only one that may stand in a header is kept."""

from __future__ import annotations

import re

DEFAULT_MEDIA_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}(?:\s*;\s*[\w!#$&^.+=\"' -]{1,200})?", re.ASCII)


def is_media_type(text: str) -> bool:
    """Tell whether a text is a media type, with one parameter at most."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def media_type_or_default(text: str | None) -> str:
    """Return a media type that may stand in a header: the given one, or the most general."""
    return text if text is not None and is_media_type(text) else DEFAULT_MEDIA_TYPE
