"""Rules of findings about the server: its start and stop, settings, event loop, processes, connections, log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.quantile import quantile_s
from jobqueue.findings.words import counted, per_s, percent, size, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.findings.sight import ProcessCounts, Sight

BLOCKS_REMEDY = (
    "Move handlers that compute into threads (plain functions) or processes (run_in), and await what is slow; until "
    "then, pause their queue. loop.blocked in the log has the stack."
)
CALLER_LIMITS = ("quota-exceeded",)
OVERLOADS = {
    "overloaded": "the event loop is late, or memory is short",
    "too-many-connections": "all connections are taken",
    "too-many-long-polls": "all long polls and streams are taken",
}


def draining(sight: Sight) -> Finding | None:
    """The server stops."""
    snapshot = sight.snapshot
    if not snapshot.draining:
        return None
    drain_s, jobs = snapshot.settings.server.drain_s, counted(snapshot.store.live, "live job")
    if snapshot.shared_store is not None:  # most of these jobs are other servers'
        jobs = "what it runs"
    return Finding(
        kind="draining",
        severity="info",
        sentence=f"The server drains: {jobs} may run on for {spell(drain_s)} at most.",
        cause="It was told to stop, by a signal or a request.",
        remedy=f"Start it again: what is not done by then is {'kept' if snapshot.keeps else 'lost'}.",
        problem="draining",
        is_open=True,
    )


def started(sight: Sight) -> Finding | None:
    """The server has started a short while ago, again perhaps."""
    age_s = sight.now + sight.snapshot.wall_offset_s - sight.snapshot.started_at
    if not 0 <= age_s < at.STARTED_WINDOW_S:
        return None
    journal = sight.snapshot.journal
    outcome = "what an earlier run had queued is lost"
    if sight.snapshot.shared_store is not None:
        outcome = "what waits in the store went on meanwhile on other servers, or goes on now"
    elif journal is not None:
        outcome = f"the journal had {counted(sum(journal.recovered.values()), 'job')} of an earlier run"
    return Finding(
        kind="started_recently",
        severity="info",
        sentence=f"The server started {spell(age_s)} ago: {outcome}.",
        cause="A deploy, or a crash: the log of the run before ends with the reason.",
        remedy="If it starts again and again, look at its supervisor: memory limits, probes that are too strict.",
        since=sight.now - age_s,
    )


def degraded(sight: Sight) -> Iterator[Finding]:
    """Parts are unavailable although jobs are admitted."""
    for part in sight.snapshot.degraded:
        yield Finding(
            kind="degraded",
            severity="critical",
            sentence=f"The server is degraded: {text(part, 500)}.",
            cause="A part could not be started again.",
            remedy="Mend the cause; the part is tried again by itself.",
        )


def config_reload_failed(sight: Sight, process: ProcessCounts) -> Finding | None:
    """The last reload of the settings failed."""
    if not process.config_faults:
        return None
    faults = len(process.config_faults)
    more = f" ({faults - 1} more in the log)" if faults > 1 else ""
    return Finding(
        kind="config_reload_failed",
        severity="warning",
        sentence="The last reload of the settings failed: the earlier ones are in effect.",
        cause=f"{text(process.config_faults[0], 500)}{more}",
        remedy="Mend the file (jobqueue config check names each fault), then reload.",
        problem="invalid-settings",
    )


def restart_required(sight: Sight, process: ProcessCounts) -> Finding | None:
    """Changed settings wait for a restart."""
    names = process.restart_required
    if not names:
        return None
    told = f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
    when = " when it may lose what is queued" if not sight.snapshot.keeps else ""
    return Finding(
        kind="restart_required",
        severity="info",
        sentence=f"A restart is needed for {counted(len(names), 'changed setting')}: {text(told, 500)}.",
        cause="A reload has read them, and can't apply them.",
        remedy=f"Restart the server{when}, or set them back.",
    )


def loop_lag(sight: Sight, process: ProcessCounts) -> Finding | None:
    """The event loop is late for a tenth of the time."""
    late_s = quantile_s(sight.late_counts, at.LOOP_LAG_QUANTILE)
    if late_s <= at.LOOP_LAG_S:
        return None
    return Finding(
        kind="loop_lag",
        severity="warning",
        sentence=(
            f"The event loop was over {spell(late_s)} late for a tenth of the last {spell(at.LOOP_LAG_WINDOW_S)}: "
            "all answers wait that long."
        ),
        cause="The CPU is exhausted, or handlers on the loop take long without an await.",
        remedy=BLOCKS_REMEDY,
        problem="overloaded",
    )


def loop_blocked(sight: Sight, process: ProcessCounts) -> Finding | None:
    """One call has held the event loop."""
    if sight.blocked <= 0:
        return None
    block = process.block
    last = "" if block is None else f"the last time for {spell(block.seconds)}"
    where = "" if block is None or not block.where else f" in {text(block.where)}"
    return Finding(
        kind="loop_blocked",
        severity="warning",
        sentence=(
            f"The event loop was blocked {counted(sight.blocked, 'time')} in the last "
            f"{spell(at.LOOP_BLOCKED_WINDOW_S)}, {last}{where}."
        ).replace(", .", "."),
        cause="A handler or callback held it: no request was answered meanwhile.",
        remedy=BLOCKS_REMEDY,
    )


def processes_restart(sight: Sight) -> Iterator[Finding]:
    """Processes of handlers die again and again."""
    for reason, count in sight.restarts.items():
        if reason != "stopped" and count > at.RESTARTS:
            yield Finding(
                kind="processes_restart",
                severity="warning",
                sentence=(
                    f"{count:,} processes of handlers were replaced in the last "
                    f"{spell(at.RESTARTS_WINDOW_S)}: they die again and again."
                ),
                cause="They are killed (memory), crash, or exit." if reason == "exited" else "The fork server died.",
                remedy="process.exited in the log has the signal and the last line; bound what a job may take.",
            )


def threads_abandoned(sight: Sight) -> Finding | None:
    """Threads run handlers on that were told to stop."""
    threads = sight.snapshot.threads
    if threads.abandoned <= 0:
        return None
    return Finding(
        kind="threads_abandoned",
        severity="critical" if threads.abandoned >= threads.size else "warning",
        sentence=f"Handlers that were told to stop run on in {counted(threads.abandoned, 'thread')}.",
        cause="A thread can't be ended: the handler hangs, or ignores ctx.cancelled.",
        remedy="Give what the handler calls a timeout of its own, check ctx.cancelled, or run it in a process.",
    )


def connections(sight: Sight, process: ProcessCounts) -> Finding | None:
    """Few connections are left."""
    if process.connections <= at.CONNECTIONS_FILL * process.connections_max:
        return None
    share = percent(process.connections / process.connections_max)
    return Finding(
        kind="connections_nearly_full",
        severity="critical" if process.connections >= process.connections_max else "warning",
        sentence=f"{share} of the connections are taken: {process.connections:,} of {process.connections_max:,}.",
        cause="More clients than server.connections_max, or clients that open a connection for each request.",
        remedy="Raise server.connections_max and the limit on open files, or have clients keep their connections.",
        problem="too-many-connections",
    )


def long_polls(sight: Sight) -> Finding | None:
    """Few long polls and streams are left."""
    most = sight.snapshot.settings.limits.long_polls_max
    if sight.long_polls <= at.LONG_POLLS_FILL * most:
        return None
    return Finding(
        kind="long_polls_nearly_full",
        severity="warning",
        sentence=f"{sight.long_polls:,} of {most:,} long polls and streams are open.",
        cause="Many clients wait for jobs at the same time.",
        remedy="Raise limits.long_polls_max, or bound each caller (limits.caller_waits_max).",
        problem="too-many-long-polls",
    )


def memory(sight: Sight, process: ProcessCounts) -> Finding | None:
    """The process uses nearly all memory of its container."""
    used, most = process.memory_bytes, process.memory_bytes_max
    if most is None or used <= at.MEMORY_FILL * most:
        return None
    return Finding(
        kind="memory_nearly_full",
        severity="critical",
        sentence=f"The process uses {percent(used / most)} of its memory: {size(used)} of {size(most)}.",
        cause="Records, bodies and handlers together; beyond the limit the kernel kills the process.",
        remedy="Lower statuses.bytes_max, jobs_max or limits.in_flight_bytes, or raise the limit of the container.",
    )


def log_dropped(sight: Sight) -> Finding | None:
    """The log loses lines."""
    if sight.log_dropped <= 0:
        return None
    return Finding(
        kind="log_dropped",
        severity="warning",
        sentence=(
            f"The log has dropped {counted(sight.log_dropped, 'line')} in the last {spell(at.LOG_DROPPED_WINDOW_S)}."
        ),
        cause="What reads the log is too slow, or gone.",
        remedy="A faster reader, or a higher log.level.",
    )


def metrics_port(sight: Sight, process: ProcessCounts) -> Finding | None:
    """The port of the metrics is closed."""
    settings = sight.snapshot.settings.metrics
    if process.metrics_listens or settings.listen is None or not settings.enabled:
        return None
    return Finding(
        kind="metrics_port_down",
        severity="warning",
        sentence=f"The port of the metrics ({settings.listen}) is closed: Prometheus sees nothing.",
        cause="It was not opened, or it is closed already, because the server stops.",
        remedy="Restart the server, or set metrics.listen to null, which puts them on the server's own port.",
    )


def caller_limits(sight: Sight) -> Iterator[Finding]:
    """Callers run into their limits."""
    for slug in CALLER_LIMITS:
        if count := sight.problems.get(slug, 0):
            yield Finding(
                kind="caller_limits",
                severity="info",
                sentence=(
                    f"{counted(count, 'request')} exceeded a limit of their callers in the last minute "
                    f"({per_s(count / at.REJECTIONS_WINDOW_S)})."
                ),
                cause="Limits of all callers (limits.caller_…), or of a key (auth.keys.….limits).",
                remedy="Nothing, if the limit is meant so: clients get a 429 with Retry-After. Else raise it.",
                problem=slug,
            )


def overloads(sight: Sight) -> Iterator[Finding]:
    """Requests are rejected for the server's own reasons, before a queue is known."""
    for slug, reason in OVERLOADS.items():
        if count := sight.problems.get(slug, 0):
            yield Finding(
                kind="requests_rejected",
                severity="warning",
                sentence=(
                    f"The server has rejected {counted(count, 'request')} in the last minute "
                    f"({per_s(count / at.REJECTIONS_WINDOW_S)}): {reason}."
                ),
                cause=f"They get a 503 of the kind {slug}.",
                remedy="The page of the problem has the causes; clients that heed Retry-After come back in time.",
                problem=slug,
            )


def internal_errors(sight: Sight) -> Finding | None:
    """Requests were answered with 500."""
    if sight.internal_errors <= 0:
        return None
    return Finding(
        kind="internal_errors",
        severity="critical",
        sentence=(
            f"{counted(sight.internal_errors, 'request')} failed with an internal error in the last "
            f"{spell(at.ERRORS_WINDOW_S)}."
        ),
        cause="A fault of the server or of a type of its arguments.",
        remedy="http.internal_error in the log has the traceback: please report it.",
        problem="internal",
    )


RULES = (draining, started, threads_abandoned, long_polls, log_dropped, internal_errors)
"""One finding each."""

MANY = (degraded, processes_restart, caller_limits, overloads)
"""Several findings each."""

OF_PROCESS = (
    config_reload_failed,
    restart_required,
    loop_lag,
    loop_blocked,
    connections,
    memory,
    metrics_port,
)
"""One finding each, where there is a process of ours."""
