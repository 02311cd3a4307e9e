"""The bounds of the job store: settings that it takes at its start."""

from __future__ import annotations

import msgspec


class StoreBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Maximum number of records, and of bytes of arguments, results and histories; the TTL of terminal records.

    `failed_max` bounds the failed jobs, which keep their arguments for a retry.
    """

    jobs_max: int = 1_000_000
    failed_max: int = 10_000
    bytes_max: int = 256 * 1024 * 1024
    ttl_s: float = 600.0
    failed_ttl_s: float = 3600.0
