"""The catalogue: name, kind, labels and help of each metric.

Rules:

1. Names are those of Prometheus: base units (seconds, bytes), `_total` for counters only, timestamps for ages.
2. The values of a label are known beforehand, and exported as 0 before the first event. A queue has the types that are
   registered for it from the start, and others from their first job on.
3. No label has an id, a caller, a group or a key: their number is the clients'.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["gauge", "counter", "histogram"]


class Spec(msgspec.Struct, frozen=True):
    """One metric; a histogram has the samples `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


def _gauge(name: str, help: str, *labels: str) -> Spec:
    return Spec(name, "gauge", labels, help)


def _counter(name: str, help: str, *labels: str) -> Spec:
    return Spec(name, "counter", labels, help)


def _histogram(name: str, help: str, *labels: str) -> Spec:
    return Spec(name, "histogram", labels, help)


BUILD_INFO = _gauge("jobqueue_build_info", "1; the labels tell the version and its form", "version", "python", "build")
STARTED = _gauge("jobqueue_start_timestamp_seconds", "When the queue started, in Unix time")
DRAINING = _gauge("jobqueue_draining", "1 while no more jobs are admitted because the server stops")
DEGRADED = _gauge("jobqueue_degraded", "Number of parts that are unavailable although the queue runs")

JOBS = _gauge("jobqueue_jobs", "Live jobs", "queue", "state")
CAPACITY = _gauge("jobqueue_queue_capacity", "Maximum number of live jobs", "queue")
WORKERS = _gauge("jobqueue_queue_workers", "Maximum number of running jobs", "queue")
WEIGHT = _gauge("jobqueue_queue_weight", "Share of the workers' time, relative to other queues", "queue")
PAUSED = _gauge("jobqueue_queue_paused", "1 while the queue starts no jobs", "queue")
OLDEST = _gauge(
    "jobqueue_queue_oldest_job_timestamp_seconds",
    "When the oldest queued job became queued; no sample: none is",
    "queue",
)
SUBMITTED = _counter("jobqueue_jobs_submitted_total", "Accepted submissions", "queue", "type")
STARTED_JOBS = _counter("jobqueue_jobs_started_total", "Attempts that began", "queue", "type")
ENDED = _counter("jobqueue_jobs_ended_total", "Jobs that became terminal", "queue", "type", "state")
RETRIED = _counter("jobqueue_jobs_retried_total", "Failed jobs that were sent round again on request", "queue")
REFUSED = _counter(
    "jobqueue_jobs_refused_total", "Submissions that a queue rejected, by the problem", "queue", "reason"
)
DEDUPLICATED = _counter(
    "jobqueue_jobs_deduplicated_total", "Submissions that were answered with an existing job", "type", "by"
)
ATTEMPTS = _counter("jobqueue_attempts_total", "Attempts that ended", "type", "outcome")
WAIT = _histogram("jobqueue_job_wait_seconds", "From when a job is queued to the start of its attempt", "queue")
RUN = _histogram("jobqueue_job_run_seconds", "From the start of an attempt to its end", "type", "outcome")

QUARANTINED = _gauge("jobqueue_type_quarantined", "1 while the type is in quarantine after failures in a row", "type")
LIMITER_HELD = _gauge("jobqueue_limiter_held", "Permits that running jobs hold", "kind", "name")
LIMITER_WAITING = _gauge("jobqueue_limiter_waiting", "Queued jobs that wait for a permit", "kind", "name")
LIMITER_PERMITS = _gauge("jobqueue_limiter_permits", "Maximum number of permits", "kind", "name")

RECORDS = _gauge("jobqueue_records", "Records of jobs, by whether the job is live or terminal", "state")
RECORDS_MAX = _gauge("jobqueue_records_max", "Maximum number of records")
RECORD_BYTES = _gauge("jobqueue_records_bytes", "Bytes of arguments, results and the like in records")
RECORD_BYTES_MAX = _gauge("jobqueue_records_bytes_max", "Maximum number of these bytes")
EVICTED = _counter("jobqueue_records_evicted_total", "Records that were removed, by the reason", "reason")
SPOOL_BYTES = _gauge("jobqueue_spool_bytes", "Bytes of files in the spool")
SPOOL_BYTES_MAX = _gauge("jobqueue_spool_bytes_max", "Maximum number of these bytes")
SPOOL_ERRORS = _counter("jobqueue_spool_errors_total", "Files that could not be written or removed")

JOURNAL_FAILED = _gauge("jobqueue_journal_failed", "1 while the journal can't keep jobs, so that none is admitted")
JOURNAL_COMMITS = _counter("jobqueue_journal_commits_total", "Commits of the journal")
JOURNAL_COMMIT = _histogram(
    "jobqueue_journal_commit_seconds", "From the first write of a commit to the end of its sync"
)
JOURNAL_BYTES = _gauge("jobqueue_journal_bytes", "Bytes of the files in the folder of the journal")
JOURNAL_BYTES_MAX = _gauge("jobqueue_journal_bytes_max", "Maximum number of these bytes")
JOURNAL_SEGMENTS = _gauge("jobqueue_journal_segments", "Files of the journal's log")
JOURNAL_ERRORS = _counter("jobqueue_journal_errors_total", "Writes and syncs of the journal that failed")
JOURNAL_SNAPSHOT = _gauge(
    "jobqueue_journal_snapshot_seconds", "Duration of the last snapshot; no sample: there was none"
)
JOURNAL_SNAPSHOT_AT = _gauge(
    "jobqueue_journal_snapshot_timestamp_seconds", "When the last snapshot was complete, in Unix time"
)
JOURNAL_RECOVERED = _gauge("jobqueue_journal_recovered_jobs", "Jobs that the start restored from the journal", "state")

STORE_UP = _gauge("jobqueue_store_up", "1 while the store answers, 0 while nothing can be accepted or looked up")
STORE_CALLS = _counter("jobqueue_store_calls_total", "Calls of the store that were answered", "function")
STORE_CALL = _histogram("jobqueue_store_call_seconds", "From a call of the store to its answer")
STORE_ERRORS = _counter("jobqueue_store_errors_total", "Calls and connections that failed", "kind")
STORE_RECONNECTS = _counter("jobqueue_store_reconnects_total", "Connections to the store after the first one")
STORE_SERVERS = _gauge("jobqueue_store_servers", "Live servers that share the store, this one included")
STORE_SERVERS_MISSING = _gauge(
    "jobqueue_store_servers_missing",
    "Servers of the store that were lost within 15 minutes, and not replaced; 20 at most",
)
STORE_COPY_AGE = _gauge(
    "jobqueue_store_copy_age_seconds", "Age of the numbers of the store that this server knows; no sample: none yet"
)

WEBHOOK_DELIVERIES = _counter(
    "jobqueue_webhook_deliveries_total",
    "Deliveries that ended, and events for which none could be submitted, by the outcome",
    "webhook",
    "outcome",
)
WEBHOOK_ATTEMPTS_FAILED = _counter(
    "jobqueue_webhook_attempts_failed_total", "Attempts of deliveries that failed", "webhook"
)
WEBHOOK_PENDING = _gauge("jobqueue_webhook_pending", "Live deliveries", "webhook")
WEBHOOK_FAILURES = _gauge(
    "jobqueue_webhook_failures_in_a_row", "Attempts that have failed since the last one that succeeded", "webhook"
)
WEBHOOK_DISABLED = _gauge("jobqueue_webhook_disabled", "1 if the receiver has answered 410", "webhook")

SCHEDULES = _gauge("jobqueue_schedules", "Schedules, by whether they give ticks", "state")
SCHEDULE_TICKS = _counter(
    "jobqueue_schedule_ticks_total", "Ticks, and instants that passed without one, by the outcome", "outcome"
)
SCHEDULES_TROUBLED = _gauge("jobqueue_schedules_troubled", "Schedules in trouble, by its kind", "trouble")
SCHEDULE_DRIFT = _histogram("jobqueue_schedule_drift_seconds", "From the planned instant of a tick to its submission")

TOPICS_PUBLISHED = _counter("jobqueue_topics_published_total", "Data that was published; repetitions don't count")
TOPICS_DELIVERED = _counter("jobqueue_topics_delivered_total", "Jobs that were made for published data", "subscriber")
TOPICS_UNHEARD = _counter("jobqueue_topics_unheard_total", "Data that was published without a subscriber")
TOPICS_LISTENERS = _gauge("jobqueue_http_topic_listeners", "Open event streams of what is published")

THREADS = _gauge("jobqueue_threads", "Threads of handlers", "state")
PROCESSES = _gauge("jobqueue_processes", "Processes of handlers", "state")
RESTARTS = _counter("jobqueue_process_restarts_total", "Processes of handlers that were replaced", "reason")

HTTP_REQUESTS = _counter(
    "jobqueue_http_requests_total", "Requests that were answered, by the path through the server", "path"
)
HTTP_STOCK = _counter(
    "jobqueue_http_stock_requests_total", "Requests that were answered on the stock path", "method", "route", "code"
)
HTTP_PROBLEMS = _counter("jobqueue_http_problems_total", "Problems that answered requests, of this process", "problem")
HTTP_CONNECTIONS = _gauge("jobqueue_http_connections", "Open connections")
HTTP_CONNECTIONS_MAX = _gauge("jobqueue_http_connections_max", "Maximum number of open connections")
HTTP_WAITERS = _gauge("jobqueue_http_waiters", "Requests that wait for jobs, event streams included")
HTTP_WAITERS_MAX = _gauge("jobqueue_http_waiters_max", "Maximum number of these requests")
LOOP_LAG = _histogram("jobqueue_loop_lag_seconds", "Lateness of the event loop, ten times a second")
LOOP_BLOCKED = _counter("jobqueue_loop_blocked_total", "Times that the event loop was blocked for long")
LOG_LINES = _counter("jobqueue_log_lines_total", "Lines that were logged", "level")
LOG_DROPPED = _counter("jobqueue_log_lines_dropped_total", "Log lines that were dropped because the reader is too slow")
RELOAD_OK = _gauge("jobqueue_config_last_reload_successful", "1 if the last reload of the settings succeeded")
RELOAD_AT = _gauge(
    "jobqueue_config_last_reload_success_timestamp_seconds", "When settings were last read successfully, in Unix time"
)

CPU = _counter("process_cpu_seconds_total", "CPU time of the server process, without those of handlers")
RESIDENT = _gauge("process_resident_memory_bytes", "Resident memory of the server process")
VIRTUAL = _gauge("process_virtual_memory_bytes", "Virtual memory of the server process")
OPEN_FILES = _gauge("process_open_fds", "Open file descriptors of the server process")
OPEN_FILES_MAX = _gauge("process_max_fds", "Maximum number of open file descriptors")
PROCESS_STARTED = _gauge("process_start_time_seconds", "When the server process started, in Unix time")
GC_COLLECTIONS = _counter("python_gc_collections_total", "Garbage collections, by generation", "generation")
GC_COLLECTED = _counter("python_gc_objects_collected_total", "Objects that the garbage collector freed", "generation")
GC_UNCOLLECTABLE = _counter(
    "python_gc_objects_uncollectable_total", "Objects that the garbage collector could not free", "generation"
)

CATALOGUE: tuple[Spec, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Spec))
"""All metrics, in the order of their export."""
