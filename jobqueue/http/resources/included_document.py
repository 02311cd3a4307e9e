"""The members that a job's document has on request (`?include=`), and their documents."""

from __future__ import annotations

from typing import TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.core.job import UniqueMode
from jobqueue.core.lineage import OnFailure
from jobqueue.handlers import RunIn
from jobqueue.http.response.job_document import JobDocument
from jobqueue.http.response.value_types import Count, Duration, Id, Instant
from jobqueue.http.streams.event_document import EventName, JobEventDocument  # noqa: TC001  # read from annotations


class UniqueDocument(msgspec.Struct, gc=False):
    """A unique value and its mode.

    Attributes:
        value: At most one live job of the type has it.
        mode: What a further submission with it does.
    """

    value: str
    mode: UniqueMode


class WorkerDocument(msgspec.Struct, gc=False):
    """Where the attempt of a running job runs.

    Attributes:
        kind: On the event loop, in a thread or in a process of the pool.
        pid: The server's process, or that of the pool; null: the job waits for one.
    """

    kind: RunIn
    pid: int | None


class LineageDocument(msgspec.Struct, gc=False):
    """How a job depends on others.

    Attributes:
        flow: The id of its flow; null: it is in none.
        name: Its name in the flow; null: it has none.
        after: Ids of its parents, the first 1,000.
        after_count: The number of its parents.
        on_failure: What becomes of it if a parent does not succeed.
    """

    flow: Id | None
    name: str | None
    after: tuple[Id, ...]
    after_count: Count
    on_failure: OnFailure


class SpecDocument(msgspec.Struct, gc=False):
    """The options of a job, and its place while it runs.

    Attributes:
        run_in: Where its handler runs.
        timeout_s: The time that one attempt may take; null: no limit.
        start_by_at: The job expires unless its first attempt has started by then; null: no limit.
        ttl_s: How long the record stays after its end; null: as long as the settings say.
        unique: Its unique value; null: it has none.
        idempotency_key: The Idempotency-Key of the submission; null: it had none.
        caller: Submitted the job; null: the application itself did.
        worker: Where the attempt runs; null: the job is not running.
        lineage: Its parents and its flow; null: it has neither.
    """

    run_in: RunIn
    timeout_s: Duration | None
    start_by_at: Instant | None
    ttl_s: Duration | None
    unique: UniqueDocument | None
    idempotency_key: str | None
    caller: str | None
    worker: WorkerDocument | None
    lineage: LineageDocument | None


class FileDocument(msgspec.Struct, gc=False):
    """A file that came with a submission.

    Attributes:
        part: Name of its part; several files of one part have the same.
        filename: The client's name for it, sanitised; null: it had none.
        media_type: Of its part.
        size_bytes: Its size.
    """

    part: str
    filename: str | None
    media_type: str
    size_bytes: Count


class ResultFileDocument(msgspec.Struct, gc=False):
    """The file that a handler wrote.

    Attributes:
        media_type: As the handler named it.
        size_bytes: Its size.
    """

    media_type: str
    size_bytes: Count


class RecordedEventDocument(TypedDict):
    """An event of a job, as event streams have it.

    Attributes:
        id: Its id in streams.
        event: What happened.
        data: The job as it was at that instant.
    """

    id: str
    event: EventName
    data: JobEventDocument


class IncludedDocument(JobDocument, gc=False):
    """A job, with what the request asked for beside it.

    Attributes:
        args: The arguments as they were sent, values that the handler redacts hidden: with `include=args`. A string if
            they are hidden as a whole; null: the job has ended without needing them again.
        spec: The options of the job, and where it runs: with `include=spec`.
        files: The files of the submission: with `include=files`.
        result_file: The file that the handler wrote, null: none: with `include=files`.
        events: The latest events, oldest first, null: none are recorded: with `include=events`.
    """

    args: msgspec.Raw | UnsetType | None = UNSET
    spec: SpecDocument | UnsetType = UNSET
    files: list[FileDocument] | UnsetType = UNSET
    result_file: ResultFileDocument | UnsetType | None = UNSET
    events: list[RecordedEventDocument] | UnsetType | None = UNSET
