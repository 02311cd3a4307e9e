"""The settings: type, bounds, default and description of each."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from jobqueue.config.auth import AuthSettings
from jobqueue.config.console import ConsoleSettings
from jobqueue.config.journal import JournalSettings
from jobqueue.config.limits import LIMITS_FIXED, LimitsSettings
from jobqueue.config.metrics import MetricsSettings
from jobqueue.config.otel import OtelSettings
from jobqueue.config.schedules import ScheduleSettings
from jobqueue.config.section import DAY_S, GIB, HOUR_S, KIB, MIB, MONTH_S, TIB, Section
from jobqueue.config.tls import TlsSettings
from jobqueue.config.valkey import ValkeySettings
from jobqueue.config.webhooks import WEBHOOKS, WebhooksSettings
from jobqueue.core.policy import Discipline, QueuePolicy

QUEUE_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?"
ORIGIN = rf"[A-Za-z][A-Za-z0-9+.-]*://{HOST}"
PROXY = r"unix|[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?"
MODE = r"0[0-7]{3}"


class ServerSettings(Section, frozen=True):
    """Address, connections and shutdown of the server."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="Address to listen on; `0.0.0.0` makes the server reachable from other machines.",
        ),
    ] = "127.0.0.1"
    port: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=65535,
                description="TCP port to listen on; 0 lets the system choose; null: none, beside `server.socket`.",
            ),
        ]
        | None
    ) = 8080
    socket: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="Path of a Unix socket to listen on, beside the port; null: none.",
            ),
        ]
        | None
    ) = None
    socket_mode: Annotated[
        str,
        Meta(
            pattern=f"^{MODE}$",
            max_length=4,
            description="Permissions of the Unix socket: a process needs write permission to connect.",
            examples=["0600", "0660", "0666"],
        ),
    ] = "0600"
    proxies: Annotated[
        tuple[
            Annotated[str, Meta(pattern=f"^(?:{PROXY})$", max_length=64, examples=["127.0.0.1", "10.0.0.0/8", "unix"])],
            ...,
        ],
        Meta(
            max_length=100,
            description="Addresses and networks of proxies whose `Forwarded` or `X-Forwarded-For` tells the caller; "
            "`unix`: whatever connects to the Unix socket. Nothing else is believed.",
        ),
    ] = ()
    connections_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Maximum number of open connections; a further one is answered with 503 and closed.",
        ),
    ] = 16_384
    drain_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=HOUR_S,
            description="Maximum duration of the drain after SIGTERM: queued and running jobs that take longer "
            "are cancelled, or with a journal kept.",
        ),
    ] = 20.0
    drain_mode: Annotated[
        Literal["work_off", "keep"],
        Meta(
            description="What the drain does with queued jobs: work_off (runs them) or keep (starts none, so the next "
            "process runs them; needs `journal.dir`)."
        ),
    ] = "work_off"
    linger_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=HOUR_S,
            description="Duration after the drain in which statuses stay readable, before the process exits; with a "
            "journal there is none, since the next process has them.",
        ),
    ] = 3.0
    fast_path: Annotated[
        bool,
        Meta(
            description="Answers plain requests straight from the parser; with false all requests take aiohttp's "
            "own, slower path to the same answers."
        ),
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
        Meta(max_length=100, description="Accepted origins of web pages, beside the server's own."),
    ] = ()
    hosts: Annotated[
        tuple[
            Annotated[str, Meta(pattern=f"^{HOST}$", max_length=300, examples=["jobs.example.com", "localhost:9000"])],
            ...,
        ],
        Meta(
            max_length=100,
            description="Accepted values of the Host header, beside localhost and the server's own loopback "
            "address; if empty, a server on other addresses accepts any.",
        ),
    ] = ()
    tracebacks: (
        Annotated[
            bool,
            Meta(
                description="Whether job documents contain the tracebacks of failed attempts; null: only on a "
                "loopback address. The log contains them in any case."
            ),
        ]
        | None
    ) = None
    openapi: Annotated[
        Literal["read", "open", "off"],
        Meta(
            description="Access to the description of the API, `/openapi.json`: read (keys with that scope, where keys "
            "are needed), open (without a key, too) or off (404)."
        ),
    ] = "read"
    tls: TlsSettings = TlsSettings()


class QueueSettings(Section, frozen=True):
    """Settings of one queue."""

    workers: Annotated[
        int, Meta(ge=1, le=100_000, description="Maximum number of jobs of this queue that run at the same time.")
    ] = 1000
    capacity: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Maximum number of live jobs (delayed, queued and running); further submissions are "
            "rejected with 503.",
        ),
    ] = 10_000
    discipline: Annotated[
        Discipline,
        Meta(
            description="Order in which queued jobs start: fifo, lifo, priority (9 first), fair (groups take "
            "turns) or adaptive (fifo; newest first while the wait is too long)."
        ),
    ] = Discipline.FIFO
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="Share of the workers relative to the other queues' weights.")
    ] = 1
    patience_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=DAY_S,
            description="Time that clients are expected to wait for a start; with adaptive, a job that has "
            "waited longer expires.",
        ),
    ] = 30.0
    aging_s: (
        Annotated[
            float,
            Meta(
                ge=0.1,
                le=DAY_S,
                description="With priority: waiting time that counts as one priority level more; null: waiting does "
                "not count.",
            ),
        ]
        | None
    ) = None
    codel_target_s: (
        Annotated[
            float,
            Meta(
                ge=0.001,
                le=DAY_S,
                description="With adaptive: waiting time above which the wait is too long; null: a tenth of "
                "patience_s.",
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
                description="With adaptive: duration of too long waits that means a standing queue; null: patience_s.",
            ),
        ]
        | None
    ) = None
    retry_budget: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Number of consecutive failures after which a type is quarantined; 0: never.",
        ),
    ] = 50

    @property
    def policy(self) -> QueuePolicy:
        """The same settings as the core's policy."""
        return QueuePolicy(**msgspec.structs.asdict(self))


class StatusesSettings(Section, frozen=True):
    """Retention of job records."""

    ttl_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=MONTH_S,
            description="Duration for which the record of a job that has succeeded, been cancelled or expired "
            "stays readable.",
        ),
    ] = 600.0
    failed_ttl_s: Annotated[
        float, Meta(ge=0.0, le=MONTH_S, description="Duration for which the record of a failed job stays readable.")
    ] = 3600.0
    ttl_s_max: Annotated[float, Meta(ge=0.001, le=MONTH_S, description="Maximum of `ttl_s` in a submission.")] = DAY_S
    failed_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="Maximum number of records of failed jobs; beyond it the oldest of the caller with the most "
            "are evicted.",
        ),
    ] = 10_000
    jobs_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="Maximum number of records, about 350 bytes each beside `bytes_max`; beyond it the oldest "
            "terminal ones of the caller with the most are evicted.",
        ),
    ] = 1_000_000
    bytes_max: Annotated[
        int,
        Meta(
            ge=KIB,
            le=TIB,
            description="Maximum memory of arguments, results, histories, names and keys of all records; beyond "
            "it the oldest terminal ones of the caller with the most are evicted.",
        ),
    ] = 256 * MIB


class SpoolSettings(Section, frozen=True):
    """Storage of uploaded files and result files."""

    dir: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="Folder for uploaded files and result files; null: a folder below the system's temporary "
                "one.",
            ),
        ]
        | None
    ) = None
    bytes_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1024 * TIB,
            description="Maximum size of all files; beyond it submissions with files are rejected with 503.",
        ),
    ] = 4 * GIB


class RuntimeSettings(Section, frozen=True):
    """Workers, threads and processes that run the handlers."""

    workers: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Maximum number of jobs of all queues that run at the same time; null: the sum of the "
                "queues' workers.",
            ),
        ]
        | None
    ) = None
    shares: Annotated[
        Literal["weighted", "strict"],
        Meta(
            description="How queues share the workers: weighted (in proportion to weight) or strict (the queue "
            "with the higher weight first)."
        ),
    ] = "weighted"
    threads: Annotated[
        int, Meta(ge=1, le=1024, description="Number of threads for handlers that are plain functions.")
    ] = 32
    processes: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=256,
                description='Number of processes for handlers with `run_in="process"`; null: the number of usable '
                "CPUs, or the container's CPU quota, rounded up.",
            ),
        ]
        | None
    ) = None


class StatsSettings(Section, frozen=True):
    """History of queues and types, in memory."""

    bytes_max: Annotated[
        int,
        Meta(
            ge=0,
            le=GIB,
            description="Memory of the history that `/v1/stats` answers with; what does not fit is told as one series; "
            "0: no history is recorded, and less than 6MiB is taken as 6MiB.",
        ),
    ] = 16 * MIB


class LogSettings(Section, frozen=True):
    """Level and format of the log, and the lines of requests and jobs."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Minimum level of the events that are logged.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(
            description="Format of the log: json (one object per line), text, or auto (text on a terminal, else json)."
        ),
    ] = "auto"
    access: Annotated[
        Literal["off", "errors", "all"],
        Meta(
            description=(
                "Lines of answers, at level info: off; errors (statuses from 400 on); or all, which takes several "
                "times the CPU of a cheap request."
            )
        ),
    ] = "off"
    jobs: Annotated[
        Literal["failures", "all"],
        Meta(description="Lines of jobs: failures; or all, with a line at each start of an attempt and end of a job."),
    ] = "failures"
    lines_per_s_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description=(
                "Maximum number of lines in a second that `access` adds, and as many that `jobs: all` adds; "
                "the others are counted."
            ),
        ),
    ] = 100


class Settings(Section, frozen=True):
    """All settings. `Settings()` is the defaults; the queue `default` is always there, named or not."""

    backend: Annotated[
        Literal["memory", "valkey"],
        Meta(
            description="Where the jobs are: memory (in this process; with `journal.dir` they outlive it) or valkey "
            "(in a store that several servers share, see the section `valkey`; needs the extra `valkey`)."
        ),
    ] = "memory"
    server: ServerSettings = ServerSettings()
    queues: dict[Annotated[str, Meta(pattern=f"^{QUEUE_NAME}$")], QueueSettings] = msgspec.field(default_factory=dict)
    schedules: dict[Annotated[str, Meta(pattern=f"^{QUEUE_NAME}$")], ScheduleSettings] = msgspec.field(
        default_factory=dict
    )
    statuses: StatusesSettings = StatusesSettings()
    limits: LimitsSettings = LimitsSettings()
    auth: AuthSettings = AuthSettings()
    spool: SpoolSettings = SpoolSettings()
    journal: JournalSettings = JournalSettings()
    valkey: ValkeySettings = ValkeySettings()
    runtime: RuntimeSettings = RuntimeSettings()
    stats: StatsSettings = StatsSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    console: ConsoleSettings = ConsoleSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    otel: OtelSettings = OtelSettings()

    def __post_init__(self) -> None:
        if "default" not in self.queues:
            msgspec.structs.force_setattr(self, "queues", {"default": QueueSettings(), **self.queues})
        if self.webhooks.wanted and WEBHOOKS not in self.queues:
            # The failures of one receiver quarantine none of the others, and receivers take turns.
            queue = QueueSettings(workers=64, discipline=Discipline.FAIR, retry_budget=0)
            msgspec.structs.force_setattr(self, "queues", {**self.queues, WEBHOOKS: queue})

    @property
    def own_queues(self) -> frozenset[str]:
        """The queues of jobs that the server alone submits."""
        return frozenset({WEBHOOKS}) if self.webhooks.wanted else frozenset()


def reloads_live(path: tuple[str, ...]) -> bool:
    """Whether a reload applies a setting, by its path; other changes need a restart."""
    section, name = path[0], path[-1]
    return (
        section in ("queues", "schedules", "auth", "webhooks")
        or (section == "limits" and name not in LIMITS_FIXED)
        or path == ("log", "level")
        or (section == "console" and name != "path")
        or path[:2] == ("server", "tls")
    )
