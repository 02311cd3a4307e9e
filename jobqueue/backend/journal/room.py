"""Room: what the folder of a journal needs, by the bounds of the records that it keeps.

The greatest snapshot is one of all records that may be held. Beside it stand what it is about to replace, the snapshot
before and the log since then, which becomes twice as large; the file of the log that is written, the next one, and what
the log exceeds that by, since it consists of whole files.
"""

from __future__ import annotations

from typing import Final

from jobqueue.backend.journal.segment import SEGMENT_BYTES

RECORD_BYTES: Final = 100
"""What a record takes in a snapshot beside its arguments and its result."""


def least_bytes(*, records_max: int, record_bytes_max: int) -> int:
    """Return the bound of the folder with which each snapshot frees as much as it writes, whatever is held.

    With less one caller can fill the folder for good. With it nothing is admitted while a snapshot makes room.

    Args:
        records_max: Maximum number of records.
        record_bytes_max: Maximum bytes of their content.
    """
    return 2 * _snapshot_bytes(records_max, record_bytes_max) + 3 * SEGMENT_BYTES


def enough_bytes(*, records_max: int, record_bytes_max: int) -> int:
    """Return the bound of the folder with which it is never full. Args: As `least_bytes`."""
    return 4 * _snapshot_bytes(records_max, record_bytes_max) + 4 * SEGMENT_BYTES


def _snapshot_bytes(records_max: int, record_bytes_max: int) -> int:
    return records_max * RECORD_BYTES + record_bytes_max
