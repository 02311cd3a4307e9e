"""The Python client: `Client` for asyncio, `SyncClient` for threads.

It speaks HTTP and knows nothing of the engine. What the calls say and what the answers mean is written once,
without I/O (`submitting`, `jobs`, `queues`, `listening`); `asynchronous` and `blocking` carry it.
"""

from jobqueue.client.answers import ErrorAnswer, FateUnknown, NoAnswer, Unreachable
from jobqueue.client.asynchronous import Client
from jobqueue.client.blocking import SyncClient
from jobqueue.client.documents import (
    BulkCount,
    FailedAttempt,
    JobDocument,
    JobError,
    JobFilter,
    JobPage,
    JobStatus,
    ListFilter,
    QueueChanges,
    Submission,
    SubmitOptions,
    Unique,
)
from jobqueue.client.listening import JobEvent
from jobqueue.client.multipart import Multipart
from jobqueue.client.sse import EventParser, ServerSentEvent

__all__ = [
    "BulkCount",
    "Client",
    "ErrorAnswer",
    "EventParser",
    "FailedAttempt",
    "FateUnknown",
    "JobDocument",
    "JobError",
    "JobEvent",
    "JobFilter",
    "JobPage",
    "JobStatus",
    "ListFilter",
    "Multipart",
    "NoAnswer",
    "QueueChanges",
    "ServerSentEvent",
    "Submission",
    "SubmitOptions",
    "SyncClient",
    "Unique",
    "Unreachable",
]
