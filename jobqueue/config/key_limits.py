"""The settings of the limits of one key."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobqueue.config.section import KIB, TIB, Section
from jobqueue.core.rate import Rate

COUNT_MAX = 1_000_000_000


class KeyLimits(Section, frozen=True):
    """Limits of one key; null: as `limits.caller_…` says."""

    requests: Annotated[
        Rate | None, Meta(description="Requests per time, in place of `limits.caller_requests`; null: as that says.")
    ] = None
    rate: Annotated[
        Rate | None, Meta(description="Submissions per time, in place of `limits.caller_rate`; null: as that says.")
    ] = None
    jobs_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=COUNT_MAX,
                description="Maximum number of live jobs, in place of `limits.caller_jobs_max`; null: as that says.",
            ),
        ]
        | None
    ) = None
    records_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=COUNT_MAX,
                description="Maximum number of records, in place of `limits.caller_records_max`; null: as that says.",
            ),
        ]
        | None
    ) = None
    bytes_max: (
        Annotated[
            int,
            Meta(
                ge=KIB,
                le=TIB,
                description="Maximum memory of records, in place of `limits.caller_bytes_max`; null: as that says.",
            ),
        ]
        | None
    ) = None
    connections_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=COUNT_MAX,
                description="Maximum number of open connections, in place of `limits.caller_connections_max`; null: as "
                "that says.",
            ),
        ]
        | None
    ) = None
    waits_max: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=COUNT_MAX,
                description="Maximum number of waiting requests and event streams, in place of "
                "`limits.caller_waits_max`; null: as that says.",
            ),
        ]
        | None
    ) = None
    spool_bytes_max: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=TIB,
                description="Maximum size of uploaded files, in place of `limits.caller_spool_bytes_max`; null: as "
                "that says.",
            ),
        ]
        | None
    ) = None
