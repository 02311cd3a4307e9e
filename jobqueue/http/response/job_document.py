"""The job document: its members, in their order. A template writes the same bytes for plain jobs (`job_template`)."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec
from msgspec import Meta

from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode, JobError, Progress
from jobqueue.core.scheduling.eta import WaitReason
from jobqueue.http.response.problems import ProblemDocument  # noqa: TC001  # read from annotations
from jobqueue.http.response.value_types import Count, Duration, Id, Instant, Status


class JobDocument(msgspec.Struct, gc=False):
    """A job; absent values are null.

    A struct is encoded in half the time of a dict; its fields are in the order of the document.

    Attributes:
        id: Names the job; greater for later ones.
        type: The handler's registered name.
        queue: The queue that holds the job.
        state: Live are delayed, queued and running; the others are terminal.
        attempt: Number of the latest attempt, from 1; 0 before the first. A retry on request continues the count.
        attempts_max: The number that `attempt` may reach; grows with a retry on request.
        priority: 9 first, with the discipline `priority`.
        group: The group of the submission; null: it had none.
        created_at: When the submission was accepted.
        run_at: The earliest start of the next attempt.
        started_at: The start of the latest attempt; null: none has started (since a retry on request).
        finished_at: The end of the job; null: it is live.
        progress: The handler's latest report; null: the latest attempt has made none.
        position: Number of starts of its queue until its own, 1 for the next; null: it is not queued.
        eta_s: Estimated seconds until its end; null: it is terminal, or too little is known.
        poll_after_ms: When a poll is worthwhile, in milliseconds; null: it is terminal.
        waiting_for: Why a queued or waiting job waits, beside the jobs before it; null: for nothing else.
        result: The handler's result; null: the job has not succeeded, or its result is null or a file.
        error: Why the job failed, or was cancelled by a shutdown; null: no error.
        history: The latest failed attempts, oldest first; null: none has failed.
    """

    id: Id
    type: str
    queue: str
    state: JobState
    attempt: Count
    attempts_max: Annotated[int, Meta(ge=1)]
    priority: Annotated[int, Meta(ge=0, le=9)]
    group: str | None
    created_at: Instant
    run_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    progress: Progress | None
    position: Annotated[int, Meta(ge=1)] | None
    eta_s: Duration | None
    poll_after_ms: Count | None
    waiting_for: WaitingDocument | None
    result: msgspec.Raw | None
    error: JobError | None
    history: list[AttemptDocument] | None


class WaitingDocument(msgspec.Struct, gc=False):
    """Why a queued job waits although it could be its turn.

    Attributes:
        reason: What holds it back.
        retry_at: The earliest start; null: not known.
    """

    reason: WaitReason
    retry_at: Instant | None


class AttemptDocument(msgspec.Struct, gc=False):
    """One failed attempt in a job's history.

    Attributes:
        attempt: Its number.
        started_at: Its start.
        ended_at: Its end.
        code: Why it failed, for programs.
        message: Why it failed, for readers.
        traceback: The end of the traceback; null: the handler has not raised, or the server doesn't tell it.
    """

    attempt: Annotated[int, Meta(ge=1)]
    started_at: Instant
    ended_at: Instant
    code: ErrorCode
    message: str
    traceback: str | None


class UnknownJobDocument(TypedDict):
    """An entry of a list for a job without a record.

    Attributes:
        id: The id of the request.
        status: What a request for the job alone would be answered with.
        problem: Why there is none.
    """

    id: str
    status: Status
    problem: ProblemDocument
