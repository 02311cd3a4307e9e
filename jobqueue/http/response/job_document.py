"""The job document: its members, in their order. A template writes the same bytes for plain jobs (`job_template`)."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from jobqueue.core.job import JobId, JobState
from jobqueue.core.report import ErrorCode, JobError, Progress
from jobqueue.core.scheduling.eta import WaitReason
from jobqueue.http.response.problems import ProblemDocument  # noqa: TC001  # read from annotations


class JobDocument(msgspec.Struct, gc=False):
    """A job's document; absent values are null.

    A struct is encoded in half the time of a dict; its fields are in the order of the document.

    Attributes:
        position: Number of starts of its queue until its own, 1 for the next.
        eta_s: Estimated seconds until its end.
        waiting_for: Why a queued job waits, beside the jobs before it.
        result: The handler's result as encoded, passed through.
    """

    id: JobId
    type: str
    queue: str
    state: JobState
    attempt: int
    attempts_max: int
    priority: int
    group: str | None
    created_at: str
    run_at: str
    started_at: str | None
    finished_at: str | None
    progress: Progress | None
    position: int | None
    eta_s: float | None
    poll_after_ms: int | None
    waiting_for: WaitingDocument | None
    result: msgspec.Raw | None
    error: JobError | None
    history: list[AttemptDocument] | None


class WaitingDocument(msgspec.Struct, gc=False):
    """Why a queued job waits, and its earliest start, if known."""

    reason: WaitReason
    retry_at: str | None


class AttemptDocument(msgspec.Struct, gc=False):
    """One failed attempt in a job's history."""

    attempt: int
    started_at: str
    ended_at: str
    code: ErrorCode
    message: str
    traceback: str | None


class UnknownJobDocument(TypedDict):
    """An entry of a list for a job without a record."""

    id: str
    status: int
    problem: ProblemDocument
