"""Explanations: for each type of problem its causes, and what a client does about it.

Served as `/problems/{slug}`, to which the member `type` of a problem points. `docs/reference/problems.md` has the same
words; a test compares them.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Explanation(msgspec.Struct, frozen=True):
    """The causes of a problem, and the remedy, as text; names of members and settings stand between backticks."""

    cause: str
    remedy: str


EXPLANATIONS: Final[dict[str, Explanation]] = {
    "malformed-request": Explanation(
        "the HTTP version or framing, a query parameter, a multipart form or an Idempotency-Key is malformed",
        "correct the request; `detail` says what would be right",
    ),
    "malformed-json": Explanation(
        "the body is not JSON in UTF-8, is nested more than 32 levels deep, or has an integer outside of "
        "\N{MINUS SIGN}2^63 … 2^64\N{MINUS SIGN}1",
        "correct the body",
    ),
    "unauthorized": Explanation(
        "the server has keys, and the request none, several, or one that is malformed, unknown or removed. "
        "`WWW-Authenticate`",
        "send a valid key: access",
    ),
    "insufficient-scope": Explanation(
        "the key is valid, and lacks the scope of this operation. `WWW-Authenticate`",
        "use a key that has it",
    ),
    "cross-origin": Explanation(
        "a web page of an origin that `server.origins` doesn't list sent the request",
        "list the origin: web pages",
    ),
    "not-found": Explanation(
        "no resource has this path",
        "correct the path",
    ),
    "job-not-found": Explanation(
        "the id is malformed, or no server ever issued it; or, with keys, the job is another key's",
        "correct the id",
    ),
    "queue-not-found": Explanation(
        "no queue has this name",
        "take one from `GET /v1/queues`",
    ),
    "type-not-found": Explanation(
        "no handler is registered under this type",
        "take one from `GET /v1/types`; `detail` names a similar one",
    ),
    "schedule-not-found": Explanation(
        "no schedule has this name; or, with keys, it is another key's",
        "take one from `GET /v1/schedules`",
    ),
    "method-not-allowed": Explanation(
        "the resource doesn't have this method; the header `Allow` lists those that it has",
        "use one of them",
    ),
    "body-too-slow": Explanation(
        "the body was not complete after `limits.body_timeout_s`",
        "repeat it over a better connection",
    ),
    "wrong-state": Explanation(
        "the action is not possible in the job's state; or, for `:retry`, a live job has its unique value",
        "look at the job, and decide again",
    ),
    "duplicate": Explanation(
        "the submission has the `unique` mode `reject`, and a live job of the type has the value",
        "use the job `id`, or submit again once it has ended",
    ),
    "schedule-fixed": Explanation(
        "the schedule is defined in the code or in the settings",
        "change it there, or pause it",
    ),
    "not-served": Explanation(
        "the API is mounted in an application, so the process is that one's: it is reloaded and drained there",
        "ask the operator of the application",
    ),
    "not-measured": Explanation(
        "the history of the queue has too few seconds, arrivals or runs to simulate it, or there is none",
        "repeat when the queue has had more jobs, or give `arrivals_per_s` and `run_s`",
    ),
    "job-gone": Explanation(
        "the id was issued, but its record is not held any more",
        "don't ask again; submit again if the outcome matters",
    ),
    "too-large": Explanation(
        "the JSON is over `limits.body_bytes`, or there are more files than `limits.files` or `limits.files_bytes` "
        "allow",
        "send less, or raise the limit",
    ),
    "unsupported-media-type": Explanation(
        "the `Content-Type` is missing or another one; or there is a `Content-Encoding`. The header "
        "`Accept-Post`, `Accept-Patch` or, of a PUT, `Accept` lists the types",
        "send one of them, in UTF-8, not compressed",
    ),
    "unknown-expectation": Explanation(
        "the header `Expect` is not `100-continue`",
        "leave it out",
    ),
    "misdirected-request": Explanation(
        "the header `Host` names another server",
        "use a name of the server, or list it in `server.hosts`",
    ),
    "unknown-type": Explanation(
        "no handler is registered under the `type` of the submission",
        "correct the type, or deploy the handler",
    ),
    "invalid-submission": Explanation(
        "a field or an argument is missing, unknown, of the wrong type or out of range; or two fields contradict "
        "each other",
        "correct what `errors` names",
    ),
    "invalid-request": Explanation(
        "the same for a batch, a bulk filter or the change of a queue",
        "correct what `errors` names",
    ),
    "invalid-settings": Explanation(
        "a source of the settings has faults; the settings in effect are the old ones",
        "correct what `faults` names: file, line and column, and what would be right; then reload again",
    ),
    "idempotency-key-reused": Explanation(
        "the same caller submitted something else under this Idempotency-Key, and its job is still held",
        "send a new key",
    ),
    "quota-exceeded": Explanation(
        "the caller sends requests, or submissions, more often than it may, its live jobs take all that it may "
        "hold, or it has as many connections or streams as it may (`limits.caller_…`, `auth.keys.<name>.limits`; "
        "of the streams of all jobs, and of those of topics, no more than are free). `RateLimit-Policy` tells its "
        "limits",
        "repeat after `retry_after_s`",
    ),
    "head-too-large": Explanation(
        "the request line or a header is over `limits.header_bytes`, all together are over four times as much, or "
        "there are more than 64 headers",
        "send less",
    ),
    "internal": Explanation(
        "a fault in the server; its log has the traceback (`http.internal_error`)",
        "report it",
    ),
    "unknown-transfer-coding": Explanation(
        "a `Transfer-Encoding` other than `chunked`",
        "use `chunked`, or a `Content-Length`",
    ),
    "not-in-store": Explanation(
        "the jobs are in a store that servers share, which can't accept several jobs at once, nor keep one for others; "
        "nor does it keep schedules",
        "submit each job on its own, or use a server that keeps its jobs itself; define schedules in the settings",
    ),
    "queue-full": Explanation(
        "the queue holds `capacity` live jobs",
        "repeat after `retry_after_s` (1 s to 5 min)",
    ),
    "type-quarantined": Explanation(
        "the type fails all the time, and enough of its jobs wait already: quarantine",
        "repeat after `retry_after_s` (the next trial); fix the handler",
    ),
    "statuses-full": Explanation(
        "the records of live jobs fill `statuses.jobs_max` or `statuses.bytes_max`",
        "repeat after `retry_after_s` (1 s to 5 min); raise the bound",
    ),
    "spool-full": Explanation(
        "there is no room for the files: `spool.bytes_max`, or the disk",
        "repeat after `retry_after_s` (10 s); make room",
    ),
    "journal-full": Explanation(
        "the journal's folder holds `journal.bytes_max` bytes, and the records of live jobs and statuses leave it no "
        "room to become smaller",
        "repeat after `retry_after_s` (10 s); raise the bound, or let jobs end",
    ),
    "journal-failed": Explanation(
        "the journal can't be written: the disk is full or broken. A submission was not accepted; any other change may "
        "be in effect, and lost at a restart",
        "repeat after `retry_after_s` (10 s); make room on the disk, or see the log (`journal.failed`)",
    ),
    "store-unavailable": Explanation(
        "the store (`backend: valkey`) doesn't answer, or another program has overwritten a key that the request "
        "needs. This says nothing of a job; a submission was not accepted, unless the store failed just then: repeated "
        "under an Idempotency-Key, or with a unique value, it can't be a second job. Any other change may be in effect",
        "repeat after `retry_after_s` (1 to 5 s); see `/readyz`, and the log (`store.lost`, `store.refuses`). "
        "Repeating does not mend an overwritten key: the log names it (`store.key_overwritten`)",
    ),
    "overloaded": Explanation(
        "the event loop is later than `limits.loop_lag_max_s`; `limits.in_flight_bytes` are used up; too many files "
        "are being sent; too many calls are on the way to the store; or memory is short",
        "repeat after `retry_after_s`",
    ),
    "too-many-long-polls": Explanation(
        "an event stream beyond `limits.long_polls_max`, or beyond 256 streams of all jobs, or of topics",
        "poll the job, or repeat after `retry_after_s` (5 s)",
    ),
    "simulator-in-use": Explanation(
        "a simulation runs, and one at a time may",
        "repeat after `retry_after_s` (5 s)",
    ),
    "draining": Explanation(
        "the server stops, and admits no more jobs",
        "repeat after `retry_after_s` (5 s), at the next server",
    ),
    "recovering": Explanation(
        "the server has started, and reads its jobs from the journal: about 5 s for a million",
        "repeat after `retry_after_s` (1 s)",
    ),
    "refused": Explanation(
        "a result file can't be opened at the moment",
        "repeat after `retry_after_s` (1 s)",
    ),
    "too-many-connections": Explanation(
        "a connection beyond `server.connections_max`; it is closed",
        "keep fewer connections; repeat after `retry_after_s` (1 s)",
    ),
}
"""By the slug of the problem's row."""
