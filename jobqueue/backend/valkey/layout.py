"""The layout of a record in the store: numbers of a fixed size, then texts, whose lengths are the last of the numbers.

`records.lua` has the same, and says what each is.
"""

from __future__ import annotations

from struct import Struct, calcsize
from typing import Final

HEAD: Final = Struct("<cBBIIiIIIiIdddddddddHHHHIIHHII")

_LOST: Final = Struct("<I")
_LOST_AT: Final = calcsize("<cBBIIiIIIi")
_PLACE: Final = Struct("<d")
_PLACE_AT: Final = calcsize("<cBBIIiIIIiId")


def place_of(record: bytes) -> int:
    """Return the place of a record in lists."""
    place: float
    (place,) = _PLACE.unpack_from(record, _PLACE_AT)
    return int(place)


def lost_attempt(record: bytes) -> int:
    """Return the attempt after the latest one that was lost with its process; 0: none was."""
    attempt: int
    (attempt,) = _LOST.unpack_from(record, _LOST_AT)
    return attempt
