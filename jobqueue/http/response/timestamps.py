"""Timestamps: instants as RFC 3339 texts, in UTC."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from math import floor
from typing import Final

from jobqueue import caches

STAMPS_MAX: Final = 8192
"""Instants kept as JSON: those of some thousand jobs that clients read now, at about 250 bytes each."""


def timestamp(seconds: float) -> str:
    """Write Unix seconds as RFC 3339, in UTC, with milliseconds."""
    whole = floor(seconds)  # a third of what `int` costs
    # The microsecond compensates for rounded sums: 0.123 must not become 0.122.
    return _second(whole) + _MILLISECONDS[floor((seconds - whole) * 1000 + 0.001)]


def exact_timestamp(seconds: float) -> str:
    """As `timestamp`, but with microseconds where there are any."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    if microseconds % 1000:
        return f"{_second(whole)}.{microseconds:06d}Z"
    return _second(whole) + _MILLISECONDS[microseconds // 1000]


# Cached, because a client reads a job more than once, and jobs of one loop iteration share their instants. Not by
# `lru_cache`, which makes a tuple of each float.
_stamps: Final[dict[float, bytes]] = caches.table()


def json_timestamp(seconds: float) -> bytes:
    """As `timestamp`, as JSON."""
    stamp = _stamps.get(seconds)
    if stamp is None:
        if len(_stamps) >= STAMPS_MAX:
            _stamps.clear()
        stamp = _stamps[seconds] = f'"{timestamp(seconds)}"'.encode()
    return stamp


_MILLISECONDS: Final = (*(f".{milliseconds:03d}Z" for milliseconds in range(1000)), ".999Z")


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # Cached, because the times of a job, and of jobs in one list, share their seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
