"""The header `traceparent`: the span within which a job was submitted (W3C Trace Context, section 3.2).

Rules:

1. It is kept with the job, for its log lines and spans. An invalid one is ignored, as the recommendation says.
2. Versions after 00 may be longer: of those the known part is kept. So it has 55 characters, always.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACEPARENT = "traceparent"
LENGTH = 55

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(headers: Mapping[str, str]) -> str | None:
    """Return the header, if it is there and valid."""
    text = headers.get(TRACEPARENT)
    if text is None or not _FORM.match(text):
        return None
    if len(text) > LENGTH and (text.startswith("00") or text[LENGTH] != "-"):
        return None
    return text[:LENGTH]
