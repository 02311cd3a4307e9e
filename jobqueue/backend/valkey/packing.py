"""Commands as they go over the wire."""

from __future__ import annotations

from typing import Any

import hiredis

_PACK: Any = hiredis.pack_command  # its types take a tuple of one element for one of any length


def packed(*parts: bytes | str | int | float) -> bytes:
    """Return a command of these parts."""
    command: bytes = _PACK(parts)
    return command
