"""The settings: what may be set, its type, bounds, default, and a sentence on each.

It must not know where a value comes from (`configsources` does), nor what a setting does: whoever
reads a setting does.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from jobqueue.core.bucket import Rate
from jobqueue.core.policy import Discipline, QueuePolicy

QUEUE_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?"
ORIGIN = rf"[A-Za-z][A-Za-z0-9+.-]*://{HOST}"

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MONTH_S = 30 * DAY_S


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The common form of every group of settings."""


class ServerSettings(_Section, frozen=True):
    """Where the server listens, and how it stops."""

    host: Annotated[str, Meta(min_length=1, max_length=255, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 lets the system choose.")] = 8080
    connections_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="How many connections may be open; a further one is closed at once.")
    ] = 16_384
    drain_s: Annotated[
        float, Meta(ge=0.0, le=HOUR_S, description="At SIGTERM: how long queued and running jobs may still take.")
    ] = 20.0
    linger_s: Annotated[
        float, Meta(ge=0.0, le=HOUR_S, description="After the drain: how long statuses stay readable before the exit.")
    ] = 3.0
    fast_lane: Annotated[
        bool, Meta(description="Whether plain requests are answered past aiohttp's stock path; off is slower.")
    ] = True
    origins: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=f"^{ORIGIN}$",
                    max_length=300,
                    examples=["https://app.example.com", "http://localhost:5173"],
                ),
            ],
            ...,
        ],
        Meta(max_length=100, description="The origins of web pages, beside the server's own, that may use it."),
    ] = ()
    hosts: Annotated[
        tuple[
            Annotated[str, Meta(pattern=f"^{HOST}$", max_length=300, examples=["jobs.example.com", "localhost:9000"])],
            ...,
        ],
        Meta(
            max_length=100,
            description="The names (Host) under which it may be reached, beside its own loopback address and "
            "localhost; on other addresses any name will do while this is empty.",
        ),
    ] = ()
    tracebacks: (
        Annotated[
            bool,
            Meta(
                description="Whether clients are sent the tracebacks of failed attempts; null: if the server listens "
                "on a loopback address. The log has them in any case."
            ),
        ]
        | None
    ) = None


class QueueSettings(_Section, frozen=True):
    """One named queue."""

    workers: Annotated[int, Meta(ge=1, le=100_000, description="How many jobs of this queue may run at once.")] = 1000
    capacity: Annotated[
        int,
        Meta(ge=1, le=10_000_000, description="How many jobs it holds: delayed, queued and running. More are refused."),
    ] = 10_000
    discipline: Annotated[
        Discipline,
        Meta(
            description="The order in which its jobs are taken: oldest first, newest first, by priority, in turn by "
            "group, or oldest first until the wait is too long and newest first then."
        ),
    ] = Discipline.FIFO
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="Its share of the workers, against the weights of the other queues.")
    ] = 1
    patience_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=DAY_S,
            description="How long a client is thought to wait for a start; with adaptive, jobs expire after it.",
        ),
    ] = 30.0
    aging_s: (
        Annotated[
            float,
            Meta(
                ge=0.1, le=DAY_S, description="With priority: each such wait counts as one more; null: it never does."
            ),
        ]
        | None
    ) = None
    codel_target_s: (
        Annotated[
            float,
            Meta(
                ge=0.001, le=DAY_S, description="With adaptive: a longer wait is too long; null: a tenth of patience_s."
            ),
        ]
        | None
    ) = None
    codel_interval_s: (
        Annotated[
            float,
            Meta(
                ge=0.001,
                le=DAY_S,
                description="With adaptive: waits too long for this long are a standing queue; null: patience_s.",
            ),
        ]
        | None
    ) = None
    retry_budget: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="After so many failures in a row a type is paused for a while; 0: it never is.",
        ),
    ] = 50

    @property
    def policy(self) -> QueuePolicy:
        """The same settings, as the core takes them."""
        return QueuePolicy(**msgspec.structs.asdict(self))


class StatusesSettings(_Section, frozen=True):
    """How long, and how many, records of jobs are kept."""

    ttl_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=MONTH_S,
            description="How long the record of a job stays readable that ended, but not in failure.",
        ),
    ] = 600.0
    failed_ttl_s: Annotated[
        float, Meta(ge=0.0, le=MONTH_S, description="How long the record of a failed job stays readable.")
    ] = 3600.0
    ttl_s_max: Annotated[
        float, Meta(ge=0.001, le=MONTH_S, description="The longest `ttl_s` that a submission may ask for.")
    ] = DAY_S
    failed_max: Annotated[
        int, Meta(ge=1, le=100_000_000, description="How many records of failed jobs are held; the oldest make room.")
    ] = 10_000
    jobs_max: Annotated[
        int, Meta(ge=1, le=100_000_000, description="How many records are held; the oldest finished ones make room.")
    ] = 1_000_000
    bytes_max: Annotated[
        int,
        Meta(
            ge=KIB,
            le=TIB,
            description="How many bytes of arguments, results, histories, names and keys are held in all.",
        ),
    ] = 256 * MIB


class LimitsSettings(_Section, frozen=True):
    """What one request, and one caller, may ask of the server, and from when on it sheds."""

    body_bytes: Annotated[int, Meta(ge=1, le=GIB, description="The largest JSON body of a request.")] = MIB
    in_flight_bytes: Annotated[
        int,
        Meta(
            ge=2 * MIB,
            le=TIB,
            description="Memory for requests being received and answers not yet taken, of all connections together; "
            "at least two of the largest bodies.",
        ),
    ] = 32 * MIB
    files: Annotated[int, Meta(ge=0, le=1000, description="How many files one job may bring.")] = 16
    files_bytes: Annotated[
        int, Meta(ge=0, le=TIB, description="How many bytes the files of one job may have together.")
    ] = 256 * MIB
    result_bytes: Annotated[int, Meta(ge=1, le=GIB, description="The largest JSON result of a handler.")] = MIB
    header_bytes: Annotated[
        int, Meta(ge=KIB, le=MIB, description="The longest request line, and the largest header, of a request.")
    ] = 16 * KIB
    silent_s: Annotated[
        float, Meta(ge=0.1, le=HOUR_S, description="How long a connection may be silent before it is closed.")
    ] = 15.0
    body_s: Annotated[float, Meta(ge=0.1, le=HOUR_S, description="How long a body may take to arrive.")] = 10.0
    reader_s: Annotated[float, Meta(ge=0.1, le=HOUR_S, description="How long a client may leave an answer unread.")] = (
        15.0
    )
    wait_s: Annotated[
        float, Meta(ge=0.0, le=HOUR_S, description="How long a request may wait for a job (`Prefer: wait=N`) at most.")
    ] = 60.0
    waiters: Annotated[
        int, Meta(ge=0, le=1_000_000, description="How many requests may wait at once; a further one is answered now.")
    ] = 10_000
    heartbeat_s: Annotated[
        float, Meta(ge=0.1, le=HOUR_S, description="How often an event stream with no news sends a comment.")
    ] = 15.0
    delay_s_max: Annotated[
        float,
        Meta(
            ge=0.0,
            le=MONTH_S,
            description="The longest `delay_s`, or time until `run_at`, of a submission.",
        ),
    ] = MONTH_S
    caller_rate: Annotated[
        Rate | None,
        Meta(
            description="How often one caller may submit, such as 50/s, with as many at once after a pause, or "
            "50/s burst 5; null: as often as it likes."
        ),
    ] = None
    caller_queued: (
        Annotated[
            int, Meta(ge=1, le=10_000_000, description="How many live jobs one caller may have; null: any number.")
        ]
        | None
    ) = None
    lag_s: Annotated[
        float, Meta(ge=0.01, le=HOUR_S, description="While the loop runs later than this, submissions are refused.")
    ] = 0.5


class SpoolSettings(_Section, frozen=True):
    """Where uploaded files and result files lie."""

    dir: (
        Annotated[str, Meta(min_length=1, max_length=4096, description="The folder; null: one under the system's own.")]
        | None
    ) = None
    bytes_max: Annotated[
        int, Meta(ge=0, le=1024 * TIB, description="How many bytes of files it holds before submissions are refused.")
    ] = 4 * GIB


class RuntimeSettings(_Section, frozen=True):
    """What handlers run on."""

    workers: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="How many jobs may run at once, of all queues together; null: the sum of their workers.",
            ),
        ]
        | None
    ) = None
    shares: Annotated[
        Literal["weighted", "strict"],
        Meta(description="How queues share the workers: by weight, or strictly: the one of more weight goes first."),
    ] = "weighted"
    threads: Annotated[int, Meta(ge=1, le=1024, description="How many handlers may run in threads at once.")] = 32
    processes: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=256,
                description="How many handlers may run in processes at once; null: one a CPU, of a quota as well.",
            ),
        ]
        | None
    ) = None


class LogSettings(_Section, frozen=True):
    """What is logged, and in which form."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Events below this level are not written.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="One line of JSON an event, or lines for people; auto: on a terminal for people, else JSON."),
    ] = "auto"


class Settings(_Section, frozen=True):
    """All settings. `Settings()` is the defaults; the queue `default` is always there, named or not."""

    server: ServerSettings = ServerSettings()
    queues: dict[Annotated[str, Meta(pattern=f"^{QUEUE_NAME}$")], QueueSettings] = msgspec.field(default_factory=dict)
    statuses: StatusesSettings = StatusesSettings()
    limits: LimitsSettings = LimitsSettings()
    spool: SpoolSettings = SpoolSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        if "default" not in self.queues:
            msgspec.structs.force_setattr(self, "queues", {"default": QueueSettings(), **self.queues})
