"""The layout of a record in the store: numbers of a fixed size, texts behind them, and so on for the rest.

`records.lua` has the same, and says what each is; `specs.lua` has it of kinds.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

HEAD: Final = Struct("<cBIIiIIddddHHHHI")
"""Its last five numbers are the lengths of texts, of which the last is the kind."""

KIND: Final = Struct("<HII")
"""The lengths of queue, spec and claims, which follow."""

REST: Final = Struct("<BIiIdddddHII")
"""Its last three numbers are the lengths of texts."""


def rest_at(record: bytes) -> int:
    """Return where the rest of a record begins."""
    *_, process, stopping, args, result, kind = HEAD.unpack_from(record)
    return HEAD.size + int(process + stopping + args + result + kind)


def place_of(record: bytes) -> int:
    """Return the place of a record in lists."""
    return int(REST.unpack_from(record, rest_at(record))[4])


def lost_attempt(record: bytes) -> int:
    """Return the attempt after the latest one that was lost with its process; 0: none was."""
    return int(REST.unpack_from(record, rest_at(record))[3])
