"""The Python client: `Client` for asyncio, `SyncClient` for threads.

The calls, and the meaning of their answers, are written once, without I/O (`submit`, `jobs`, `queues`, `events`);
`async_client` and `sync_client` carry their requests.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from jobqueue.client.credentials import KEY_VARIABLE, URL_VARIABLE, Secret, checked_key, key_in_file
from jobqueue.client.events import JobEvent
from jobqueue.client.models import (
    BulkCount,
    FailedAttempt,
    FailureFilter,
    FlowDocument,
    FlowJob,
    FlowPage,
    FlowSummary,
    JobDocument,
    JobError,
    JobFilter,
    JobPage,
    JobStatus,
    ListFilter,
    QueueChanges,
    ScheduleOptions,
    Submission,
    SubmitOptions,
    Unique,
    WaitingFor,
)
from jobqueue.client.multipart import Multipart
from jobqueue.client.prefer import waited_out
from jobqueue.client.protocol import Answer, ErrorAnswer, FateUnknown, NoAnswer, Request, Unreachable
from jobqueue.client.retry_after import pause_s_of, retry_after_s
from jobqueue.client.sse import EventParser, ServerSentEvent
from jobqueue.client.sync_client import SyncClient
from jobqueue.client.tls import CA_VARIABLE, CERT_KEY_VARIABLE, CERT_VARIABLE, TlsFiles
from jobqueue.client.topics import Publication, PublishedJob, TopicEvent
from jobqueue.client.transport import Address, address_of
from jobqueue.extras import extra

if TYPE_CHECKING:
    from jobqueue.client.async_client import Client

__all__ = [
    "CA_VARIABLE",
    "CERT_KEY_VARIABLE",
    "CERT_VARIABLE",
    "KEY_VARIABLE",
    "URL_VARIABLE",
    "Address",
    "Answer",
    "BulkCount",
    "Client",
    "ErrorAnswer",
    "EventParser",
    "FailedAttempt",
    "FailureFilter",
    "FateUnknown",
    "FlowDocument",
    "FlowJob",
    "FlowPage",
    "FlowSummary",
    "JobDocument",
    "JobError",
    "JobEvent",
    "JobFilter",
    "JobPage",
    "JobStatus",
    "ListFilter",
    "Multipart",
    "NoAnswer",
    "Publication",
    "PublishedJob",
    "QueueChanges",
    "Request",
    "ScheduleOptions",
    "Secret",
    "ServerSentEvent",
    "Submission",
    "SubmitOptions",
    "SyncClient",
    "TlsFiles",
    "TopicEvent",
    "Unique",
    "Unreachable",
    "WaitingFor",
    "address_of",
    "checked_key",
    "key_in_file",
    "pause_s_of",
    "retry_after_s",
    "waited_out",
]


def __getattr__(name: str) -> object:
    """Import `Client` on first use: `SyncClient` needs no aiohttp."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extra("async", "jobqueue.client.Client"):
        return import_module("jobqueue.client.async_client").Client
