"""The settings of limits: of a request, a job and a caller."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobqueue.config.section import GIB, HOUR_S, KIB, MIB, MONTH_S, TIB, Section
from jobqueue.core.rate import Rate

LIMITS_FIXED = ("header_bytes", "idle_timeout_s", "write_timeout_s", "result_bytes")
"""Limits that connections and workers are created with: they need a restart."""


class LimitsSettings(Section, frozen=True):
    """Limits of one request, one job and one caller, and the load above which submissions are rejected."""

    body_bytes: Annotated[int, Meta(ge=1, le=GIB, description="Maximum size of the JSON body of a request.")] = MIB
    in_flight_bytes: Annotated[
        int,
        Meta(
            ge=2 * MIB,
            le=TIB,
            description="Memory for request bodies being received and answers not yet read, of all connections "
            "together, at least twice `limits.body_bytes`; beyond it requests are rejected with 503.",
        ),
    ] = 32 * MIB
    files: Annotated[int, Meta(ge=0, le=1000, description="Maximum number of files of one job.")] = 16
    files_bytes: Annotated[int, Meta(ge=0, le=TIB, description="Maximum size of the files of one job together.")] = (
        256 * MIB
    )
    result_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=GIB,
            description="Maximum size of the JSON result of a handler; a larger one fails the job with "
            "`result_too_large`.",
        ),
    ] = MIB
    header_bytes: Annotated[
        int,
        Meta(
            ge=KIB,
            le=MIB,
            description="Maximum size of the request line and of each header; all headers together may have four "
            "times as much.",
        ),
    ] = 16 * KIB
    idle_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=HOUR_S,
            description="Time that a connection may be idle, or take to send a request's head, before it is closed.",
        ),
    ] = 15.0
    body_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=HOUR_S,
            description="Maximum time for a request body to arrive; an upload gets further time in proportion to "
            "the bytes received.",
        ),
    ] = 10.0
    write_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=HOUR_S,
            description="Time that a client may leave an answer unread before the connection is closed.",
        ),
    ] = 15.0
    long_poll_max_s: Annotated[
        float,
        Meta(
            ge=0.0, le=HOUR_S, description="Maximum duration of a wait (`Prefer: wait=N`); longer ones are cut to it."
        ),
    ] = 60.0
    long_polls_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Maximum number of waiting requests and event streams; a further wait is answered at "
            "once, a further stream is rejected with 503.",
        ),
    ] = 10_000
    heartbeat_s: Annotated[
        float, Meta(ge=0.1, le=HOUR_S, description="Time without an event after which an event stream sends a comment.")
    ] = 15.0
    delay_s_max: Annotated[
        float,
        Meta(
            ge=0.0,
            le=MONTH_S,
            description="Maximum of `delay_s`, and of the time until `run_at`, in a submission.",
        ),
    ] = MONTH_S
    caller_requests: Annotated[
        Rate | None,
        Meta(
            description="Requests of any kind per caller and time, such as 100/s or 100/s burst 10; more are rejected "
            "with 429; null: no limit."
        ),
    ] = None
    caller_rate: Annotated[
        Rate | None,
        Meta(
            description="Submissions per caller and time, such as 50/s (50 at once after a pause) or 50/s burst "
            "5; more are rejected with 429; null: no limit."
        ),
    ] = None
    caller_jobs_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=10_000_000,
                description="Maximum number of live jobs per caller; more are rejected with 429; null: no limit.",
            ),
        ]
        | None
    ) = None
    caller_records_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000_000,
                description="Maximum number of records per caller; beyond it the oldest terminal ones of the caller "
                "are evicted, and while all are live, submissions are rejected with 429; null: no limit.",
            ),
        ]
        | None
    ) = None
    caller_bytes_max: (
        Annotated[
            int,
            Meta(
                ge=KIB,
                le=TIB,
                description="Maximum memory of a caller's records, as `statuses.bytes_max` counts it; beyond it the "
                "oldest terminal ones of the caller are evicted, and where live ones take it, submissions are "
                "rejected with 429; null: no limit.",
            ),
        ]
        | None
    ) = None
    caller_connections_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000_000,
                description="Maximum number of open connections per caller; a further one is answered with 429 and "
                "closed; null: no limit.",
            ),
        ]
        | None
    ) = None
    keyless_connections_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Maximum number of open connections per remote address over which no request with a valid "
                "key has come yet, where requests need keys; a further one is answered with 429 and closed. Those of "
                "listed proxies and of Unix sockets don't count; null: no limit.",
            ),
        ]
        | None
    ) = 1024
    caller_waits_max: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1_000_000_000,
                description="Maximum number of waiting requests and event streams per caller; a further wait is "
                "answered at once, a further stream is rejected with 429; null: no limit.",
            ),
        ]
        | None
    ) = None
    caller_spool_bytes_max: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=TIB,
                description="Maximum size of the uploaded files per caller: of uploads under way, of live jobs, and of "
                "failed ones; more are rejected with 429; null: no limit but `spool.bytes_max`.",
            ),
        ]
        | None
    ) = None
    loop_lag_max_s: Annotated[
        float,
        Meta(ge=0.01, le=HOUR_S, description="Lag of the event loop above which submissions are rejected with 503."),
    ] = 0.5
