"""The head of a submission, read once: what its answer and its checks need of the request's headers.

Rules:

1. A head is read before anything is rejected; only a malformed Idempotency-Key can't be read.
2. `kind` says which body the head announces. Whether that body is taken is judged by `check_head`, later: a server that
   takes no submission at all says that first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import hdrs

from jobqueue.core.job import Uniqueness
from jobqueue.http.request.body import BodyKind, kind_of
from jobqueue.http.request.idempotency import key_of, with_key
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.request.traceparent import traceparent_of

if TYPE_CHECKING:
    from aiohttp import web

UNIQUE_BYTES_MAX = 16 * 1024
"""While every queue is full, a larger JSON body is rejected unread, even if it has the unique value of a live job."""


class SubmissionHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a submission.

    Attributes:
        plain: The identity of a submission without a key and a unique value: its caller and owner.
        key: The Idempotency-Key; None: there is none.
        kind: The body's; None: one that is not taken.
        content_type: The Content-Type, with its parameters; empty: there is none.
        length_bytes: The Content-Length; None: the body is chunked, or there is none.
        wait_s: Seconds of `Prefer: wait`; None: there is no such preference.
        traceparent: The span within which the job is submitted; None: there is none, or no valid one.
    """

    plain: Uniqueness
    key: str | None
    kind: BodyKind | None
    content_type: str
    length_bytes: int | None
    wait_s: int | None
    traceparent: str | None

    @property
    def caller(self) -> str | None:
        return self.plain.caller

    @property
    def owner(self) -> str | None:
        return self.plain.owner

    @property
    def uniqueness(self) -> Uniqueness:
        """The submission's identity as far as the head tells it."""
        return self.plain if self.key is None else with_key(self.plain, self.key)

    @property
    def may_be_unique(self) -> bool:
        """Whether the body is read for the unique value that it may have, while no new job is admitted.

        A form has it in its first part, before any file.
        """
        if self.kind is BodyKind.MULTIPART:
            return True
        return self.length_bytes is not None and self.length_bytes <= UNIQUE_BYTES_MAX


def head_of(request: web.BaseRequest, plain: Uniqueness) -> SubmissionHead:
    """Read the head of a submission, given the identity of a plain one. Raises MalformedRequest."""
    headers = request.headers
    content_type = headers.get(hdrs.CONTENT_TYPE, "")
    return SubmissionHead(
        plain=plain,
        key=key_of(headers),
        kind=kind_of(content_type),
        content_type=content_type,
        length_bytes=request.content_length,
        wait_s=preferred_wait_s(headers),
        traceparent=traceparent_of(headers),
    )
