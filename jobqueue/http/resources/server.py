"""The server as a resource: what it is and how it is, and what an operator may have it do.

Rules:

1. All of it has the scope `admin`: it concerns all callers.
2. A reload and a drain are those of SIGHUP and SIGTERM. Where the API is mounted in an application the server is that
   one's, so they are answered with 409.
3. Each command leaves a line in the log, with the caller.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue import __version__
from jobqueue.backend.journal.figures import JournalState, Sync  # noqa: TC001  # read from annotations below
from jobqueue.build import build, interpreter
from jobqueue.http.errors import NotServed
from jobqueue.http.request.auth import caller_of_request
from jobqueue.http.request.body import check_head
from jobqueue.http.request.json_body import decode
from jobqueue.http.resources.server_log import Logs
from jobqueue.http.resources.server_settings import Configured
from jobqueue.http.response.durations import to_microseconds
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.store_document import StoreDocument, store_document
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Duration, Instant  # noqa: TC001  # read from annotations below
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.backend.journal.figures import JournalFigures
    from jobqueue.config.reload import Reloaded
    from jobqueue.findings.sight import ProcessCounts
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.runtime.pools.pool_counts import PoolCounts
    from jobqueue.service import Service

Level = Literal["debug", "info", "warning", "error"]

log = event_logger(__name__)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the server process knows of itself at one instant.

    Attributes:
        connections: Number of open ones.
        lag_s_p50, lag_s_max: Lateness of the event loop over the last minute.
        log_level: The minimum level of events that are logged.
        log_dropped: Number of lines that the log could not write.
        config: The sources of the settings.
        config_at: When they were last read successfully, in Unix seconds.
        config_ok: Whether the last reload succeeded.
    """

    connections: int
    connections_max: int
    lag_s_p50: float
    lag_s_max: float
    rss_bytes: int
    open_files: int
    log_level: str
    log_dropped: int
    config: str
    config_at: float
    config_ok: bool


class Process(Logs, Configured, Protocol):
    """The server process, as far as its resources need it. Its methods are called on the loop."""

    def figures(self) -> Figures:
        """Measure now."""
        ...

    def counts(self) -> ProcessCounts:
        """Count now, at less cost: without a look at the system."""
        ...

    async def reload(self) -> Reloaded:
        """Read the settings again and apply them, as at SIGHUP. Raises ConfigError, Draining."""
        ...

    def drain(self) -> None:
        """Begin to stop, as at SIGTERM; again: nothing, where a second SIGTERM would end it by force."""

    def set_log_level(self, level: Level) -> None:
        """Log no event below this level, until the next reload."""


class ServerChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change while the server runs, until the next reload or a restart.

    Attributes:
        log_level: Minimum level of the events that are logged.
    """

    log_level: Level | UnsetType = UNSET


class ThreadsDocument(TypedDict):
    """The threads of handlers.

    Attributes:
        size: How many may run at once.
        busy: Those that run a handler.
        idle: Those that wait for one.
        abandoned: Those whose attempt was stopped while the handler runs on.
    """

    size: Count
    busy: Count
    idle: Count
    abandoned: Count


class ProcessesDocument(TypedDict):
    """The processes of handlers.

    Attributes:
        size: How many there are; 0 while no handler runs in one.
        busy: Those that run a handler.
        idle: Those that wait for one.
        restarts: Those that were replaced since the start.
    """

    size: Count
    busy: Count
    idle: Count
    restarts: Count


class ProcessDocument(TypedDict):
    """The server process.

    Attributes:
        connections: Open ones.
        connections_max: How many may be open.
        loop_lag_s_p50: How late the event loop ran in the last minute, the median.
        loop_lag_s_max: The maximum.
        rss_bytes: Memory.
        open_files: Open files, connections included.
        log_level: Minimum level of the events that are logged.
        log_lines_dropped: Lines that the log could not write.
        config: Where the settings come from.
        config_loaded_at: When they were last read successfully.
        config_reload_failed: Whether a later reload failed.
    """

    connections: Count
    connections_max: Count
    loop_lag_s_p50: Duration
    loop_lag_s_max: Duration
    rss_bytes: Count
    open_files: Count
    log_level: str
    log_lines_dropped: Count
    config: str
    config_loaded_at: Instant
    config_reload_failed: bool


class JournalDocument(TypedDict):
    """The journal: the log on disk from which the next start restores the jobs.

    Attributes:
        folder: Where it is.
        sync: When it is synced: with `always` before each answer that promises something.
        state: With `full`, `stalled` and `failed` it can't keep jobs, so none is admitted.
        reason: Why it can't; null: it can.
        bytes: Of its files.
        bytes_max: How many bytes there may be.
        segments: Number of files of the log.
        commits: Commits since the start.
        commit_s_last: How long the last one took; null: there was none.
        commit_s_p50: The median of the latest ones.
        commit_s_max: The longest of the latest ones.
        errors: Writes and syncs that failed since the start.
        snapshot_at: When the last snapshot was complete; null: there is none.
        snapshot_s: How long it took; null: it is of an earlier run.
        recovered: Jobs that the start has restored, by state.
        recovered_s: How long that took; null: there was nothing.
    """

    folder: str
    sync: Sync
    state: JournalState
    reason: str | None
    bytes: Count
    bytes_max: Count
    segments: Count
    commits: Count
    commit_s_last: Duration | None
    commit_s_p50: Duration | None
    commit_s_max: Duration | None
    errors: Count
    snapshot_at: Instant | None
    snapshot_s: Duration | None
    recovered: dict[str, Count]
    recovered_s: Duration | None


class ServerDocument(TypedDict):
    """The server: what it is, and how it is now.

    Attributes:
        version: Of the package.
        build: Its form.
        python: The interpreter.
        run: The first characters of the ids of all jobs of this run.
        pid: Of the process.
        started_at: The start of the queue.
        uptime_s: Seconds since then.
        draining: Whether it stops, and admits no jobs.
        degraded: What can't be done although jobs are admitted.
        loop_lag_s: How late the event loop runs now; null: not measured.
        long_polls: Requests that wait: long polls and event streams.
        long_polls_max: How many may wait.
        streams: Event streams among them.
        jobs_live: Records of live jobs.
        jobs_terminal: Records of terminal jobs.
        jobs_max: How many records there may be.
        jobs_bytes: Bytes that they hold.
        jobs_bytes_max: How many bytes they may hold.
        spool_bytes: Bytes of files.
        spool_bytes_max: How many bytes of files there may be.
        journal: The log on disk; null: there is none.
        store: The store that holds the jobs; null: they are in this process.
        threads: Threads of handlers.
        processes: Processes of handlers.
        cpu_s: CPU time of this process since its start, in seconds.
        process: What the server process knows; null: the API is mounted in an application, which has its own.
    """

    version: str
    build: Literal["pure", "compiled"]
    python: str
    run: str
    pid: Count
    started_at: Instant
    uptime_s: Duration
    draining: bool
    degraded: list[str]
    loop_lag_s: Duration | None
    long_polls: Count
    long_polls_max: Count
    streams: Count
    jobs_live: Count
    jobs_terminal: Count
    jobs_max: Count
    jobs_bytes: Count
    jobs_bytes_max: Count
    spool_bytes: Count
    spool_bytes_max: Count
    journal: JournalDocument | None
    store: StoreDocument | None
    threads: ThreadsDocument
    processes: ProcessesDocument
    cpu_s: Duration
    process: ProcessDocument | None


class ReloadDocument(TypedDict):
    """The result of a reload.

    Attributes:
        changed: Settings that have changed, and are in effect.
        restart_required: Settings that have changed, and take effect with a restart.
    """

    changed: list[str]
    restart_required: list[str]


class DrainDocument(TypedDict):
    """The beginning of a drain.

    Attributes:
        live: Jobs that are live now.
        drain_s: How long they may run on at most.
        linger_s: How long their statuses stay readable then.
    """

    live: Count
    drain_s: Duration
    linger_s: Duration


class Server:
    """The handlers of `/v1/server`.

    Args:
        streams: Returns the number of event streams.
        lag: Returns the lag of the event loop; None: it is not measured.

    Attributes:
        process: The server process; None: there is none of ours.
    """

    def __init__(
        self,
        service: Service,
        bodies: Bodies,
        waiters: Waiters,
        streams: Callable[[], int],
        lag: Callable[[], float] | None,
    ) -> None:
        self.process: Process | None = None
        self._service = service
        self._bodies = bodies
        self._waiters = waiters
        self._streams = streams
        self._lag = lag

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/server"""
        return whole_answer(request, orjson.dumps(self._document()), JSON)

    async def change(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v1/server: change the level of the log."""
        check_head(request, self._service.settings.limits)
        given = decode(await self._bodies.read(request), ServerChange)
        process = self._process()
        if given.log_level is not UNSET:
            log.info("server.commanded", command="log_level", to=given.log_level, caller=caller_of_request(request))
            process.set_log_level(given.log_level)
        return await self.look(request)

    async def reload(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/server:reload: read the settings again, and answer with the changes."""
        process = self._process()
        log.info("server.commanded", command="reload", caller=caller_of_request(request))
        reloaded = await process.reload()
        body: ReloadDocument = {"changed": reloaded.changed, "restart_required": reloaded.restart_required}
        return whole_answer(request, orjson.dumps(body), JSON)

    async def drain(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/server:drain: begin to stop."""
        process = self._process()
        log.info("server.commanded", command="drain", caller=caller_of_request(request))
        settings = self._service.settings.server
        body: DrainDocument = {
            "live": sum(self._service.live_counts().values()),
            "drain_s": settings.drain_s,
            "linger_s": settings.linger_s,
        }
        process.drain()
        return whole_answer(request, orjson.dumps(body), JSON, status=202)

    def _process(self) -> Process:
        if self.process is None:
            raise NotServed("the API is mounted in an application: ask that one's server")
        return self.process

    def _document(self) -> ServerDocument:
        snapshot = self._service.snapshot()
        store = snapshot.shared_store
        settings, now = snapshot.settings, snapshot.at + snapshot.wall_offset_s
        cpu = os.times()
        return {
            "version": __version__,
            "build": build(),
            "python": interpreter(),
            "run": snapshot.run,
            "pid": os.getpid(),
            "started_at": timestamp(snapshot.started_at),
            "uptime_s": round(max(0.0, now - snapshot.started_at), 3),
            "draining": snapshot.draining,
            "degraded": snapshot.degraded,
            "loop_lag_s": None if self._lag is None else round(self._lag(), 4),
            "long_polls": self._waiters.count,
            "long_polls_max": settings.limits.long_polls_max,
            "streams": self._streams(),
            "jobs_live": snapshot.store.live,
            "jobs_terminal": snapshot.store.terminal,
            "jobs_max": settings.statuses.jobs_max,
            "jobs_bytes": snapshot.store.bytes_used,
            "jobs_bytes_max": settings.statuses.bytes_max,
            "spool_bytes": snapshot.spool.bytes_used,
            "spool_bytes_max": settings.spool.bytes_max,
            "journal": None if snapshot.journal is None else _journal_document(snapshot.journal),
            "store": None if store is None else store_document(store, self._service.wall),
            "threads": _threads(snapshot.threads),
            "processes": _processes(snapshot.processes),
            "cpu_s": round(cpu.user + cpu.system, 3),
            "process": None if self.process is None else _process_document(self.process.figures()),
        }


def _process_document(figures: Figures) -> ProcessDocument:
    return {
        "connections": figures.connections,
        "connections_max": figures.connections_max,
        "loop_lag_s_p50": round(figures.lag_s_p50, 4),
        "loop_lag_s_max": round(figures.lag_s_max, 4),
        "rss_bytes": figures.rss_bytes,
        "open_files": figures.open_files,
        "log_level": figures.log_level,
        "log_lines_dropped": figures.log_dropped,
        "config": figures.config,
        "config_loaded_at": timestamp(figures.config_at),
        "config_reload_failed": not figures.config_ok,
    }


def _journal_document(figures: JournalFigures) -> JournalDocument:
    return {
        "folder": figures.folder,
        "sync": figures.sync,
        "state": figures.state,
        "reason": figures.reason,
        "bytes": figures.bytes_used,
        "bytes_max": figures.bytes_max,
        "segments": figures.segments,
        "commits": figures.commits_total,
        "commit_s_last": to_microseconds(figures.commit_s_last),
        "commit_s_p50": to_microseconds(figures.commit_s_p50),
        "commit_s_max": to_microseconds(figures.commit_s_max),
        "errors": figures.errors_total,
        "snapshot_at": None if figures.snapshot_at is None else timestamp(figures.snapshot_at),
        "snapshot_s": to_microseconds(figures.snapshot_s),
        "recovered": dict(figures.recovered),
        "recovered_s": to_microseconds(figures.recovered_s),
    }


def _threads(counts: PoolCounts) -> ThreadsDocument:
    return {"size": counts.size, "busy": counts.busy, "idle": counts.idle, "abandoned": counts.abandoned}


def _processes(counts: PoolCounts) -> ProcessesDocument:
    restarts = sum(counts.restarts.values())
    return {"size": counts.size, "busy": counts.busy, "idle": counts.idle, "restarts": restarts}
